//! The binary on `PostgreSQL`: the same job, several processes, and what operators see of it.

use std::process::Output;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::sleep;
use valetkey_core::encode::base64;

use crate::support::browser::Browser;
use crate::support::fake::Fake;
use crate::support::place::Schema;
use crate::support::secret;
use crate::support::stage::{Stage, connector_for};
use crate::support::valetkey::Setup;
use crate::support::wait::{together, until, within};

/// A process on a database.
fn on(schema: &Schema) -> Setup {
    Setup::new().set("DATABASE_URL", &schema.url())
}

fn new_master_key() -> String {
    base64(digest(&SHA256, secret("master").as_bytes()).as_ref())
}

/// Runs a command of the binary to its end.
async fn run(arguments: &[&str], database: &str) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let command = Command::new(env!("CARGO_BIN_EXE_valetkey"))
        .args(arguments)
        .env_clear()
        .env("VALETKEY_DATABASE_URL", database)
        .current_dir(dir.path())
        .output();
    within("the command", command).await.expect("an output")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn an_account_is_connected_used_and_kept_over_a_restart() {
    let Some(schema) = Schema::new().await else { return };
    let mut stage = Stage::per_user_with(on(&schema)).await;
    let status = stage.admin.get("/api/status").await.expect(200);
    assert_eq!(
        status["details"]["store"],
        json!({"kind": "postgres", "writable": true})
    );
    stage.connect(&stage.user, "api").await;
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
    let before = stage.user.token_text("api").await;
    stage.valetkey.restart().await;
    assert_eq!(stage.user.token_text("api").await, before);
    stage.user.renew("api").await.expect(200);
    assert_ne!(stage.user.token_text("api").await, before);
    assert_eq!(stage.fake.refreshes(), 1);
    assert!(!stage.valetkey.setup.data_dir().join("valetkey.db").exists());
    let output = stage.valetkey.whole_output().await;
    assert!(!output.contains("only%20for%20tests"), "{output}");
}

#[tokio::test]
async fn g36_two_processes_refresh_once_and_both_have_the_new_token() {
    let Some(schema) = Schema::new().await else { return };
    let master_key = new_master_key();
    let admin_key = secret("vk_bootstrap");
    let setup = || on(&schema).set("MASTER_KEY", &master_key).with_admin_key(&admin_key);
    let fake = Fake::start().await;
    let (one, two) = (setup().start().await, setup().start().await);
    let (first, second) = (one.admin().for_user("u1"), two.admin().for_user("u1"));
    one.admin()
        .create("api", &connector_for(&fake, &json!({}), &json!({})))
        .await;
    fake.set_lifetime(1);
    let started = second.start("api", json!({})).await;
    Browser::new().connect(&started.url).await.connected();
    fake.set_lifetime(3_600);
    fake.wait_for_expiry().await;

    let calls = (0..20).map(|number| {
        let api = if number % 2 == 0 { first.clone() } else { second.clone() };
        // Whoever meets the other process at work is told to try again.
        async move {
            loop {
                let answer = api.token("api").await;
                if answer.status == 200 {
                    return answer.expect(200)["access_token"].to_string();
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let mut tokens = together(calls).await;
    tokens.dedup();
    assert_eq!((tokens.len(), fake.refreshes()), (1, 1), "{tokens:?}");

    // What one process changes, the other one knows soon after.
    first.delete("/api/actions/connector/api").await;
    until("the end at the other process", async || {
        let answer = second.token("api").await;
        (answer.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_process_with_another_master_key_is_refused() {
    let Some(schema) = Schema::new().await else { return };
    let mut first = on(&schema).start().await;
    first.stop().await;
    let output = on(&schema).start_in_vain().await;
    assert!(
        output.contains("master_key_file") && output.contains("the database was made with one"),
        "{output}"
    );
    let other = on(&schema).set("MASTER_KEY", &new_master_key());
    let output = other.start_in_vain().await;
    assert!(output.contains("the master key does not open the database"), "{output}");
}

#[tokio::test]
async fn a_database_is_migrated_by_hand_and_its_password_not_shown() {
    let Some(schema) = Schema::new().await else { return };
    let migrated = run(&["migrate"], &schema.url()).await;
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
    assert_eq!(text(&migrated.stdout), "the database is at this version\n");
    let checked = run(&["check-config"], &schema.url()).await;
    let shown = text(&checked.stdout) + &text(&checked.stderr);
    assert!(checked.status.success() && shown.contains("127.0.0.1"), "{shown}");
    assert!(
        !shown.contains("only for tests") && !shown.contains("only%20for%20tests"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_with_a_code_of_its_own() {
    let nowhere = "postgres://ada:hunter2@127.0.0.1:1/x";
    let refused = run(&["migrate"], nowhere).await;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(75), "{said}");
    assert!(
        said.contains("the database: the store is unavailable") && !said.contains("hunter2"),
        "{said}"
    );
    let wrong = run(&["migrate"], "postgres://ada:hunter2").await;
    let said = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(78), "{said}");
    assert!(said.contains("database_url") && !said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn g61_a_server_waits_for_its_database() {
    let Some(schema) = Schema::new().await else { return };
    let url = schema.url();
    let after_host = url.split("127.0.0.1:").nth(1).expect("a port");
    let port = after_host.split('/').next().expect("a port");
    let door = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let other = door.local_addr().expect("its address").port();
    let setup = Setup::new().set(
        "DATABASE_URL",
        &url.replace(&format!(":{port}/"), &format!(":{other}/")),
    );
    let opening = async {
        // The first one is turned away, as by a server that is not up yet.
        drop(door.accept().await.expect("a client"));
        let mut pairs = JoinSet::new();
        loop {
            let (mut client, _) = door.accept().await.expect("a client");
            let mut server = TcpStream::connect(format!("127.0.0.1:{port}"))
                .await
                .expect("the server");
            pairs.spawn(async move { copy_bidirectional(&mut client, &mut server).await.map(drop) });
        }
    };
    let valetkey = tokio::select! {
        valetkey = setup.start() => valetkey,
        () = opening => unreachable!("it goes on"),
    };
    let output = valetkey.output();
    assert!(output.contains("not ready; trying again"), "{output}");
}

#[tokio::test]
async fn an_installation_moves_from_a_file_to_a_database_without_a_re_consent() {
    let Some(schema) = Schema::new().await else { return };
    let mut stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let token = stage.user.token_text("api").await;
    stage.valetkey.stop().await;

    let data_dir = stage.valetkey.setup.data_dir();
    let data_dir = data_dir.to_str().expect("a text");
    let file = format!("sqlite:{data_dir}/valetkey.db");
    let copied = run(&["copy", "--from", &file], &schema.url()).await;
    let shown = text(&copied.stdout) + &text(&copied.stderr);
    assert!(
        copied.status.success() && shown.contains("connections: 1 copied\n"),
        "{shown}"
    );
    assert!(
        !shown.contains("only for tests") && !shown.contains("only%20for%20tests"),
        "{shown}"
    );
    // One more run compares.
    let compared = run(&["copy", "--from", &file], &schema.url()).await;
    let shown = text(&compared.stdout);
    assert!(
        shown.contains("connections: 0 copied, 1 were there and are equal"),
        "{shown}"
    );

    // The same master key, another store: the file is not used any more.
    stage.valetkey.setup = stage.valetkey.setup.clone().set("DATABASE_URL", &schema.url());
    stage.valetkey.start_again().await;
    let status = stage.admin.get("/api/status").await.expect(200);
    assert_eq!(status["details"]["store"]["kind"], "postgres");
    assert_eq!(stage.user.token_text("api").await, token);
    stage.user.renew("api").await.expect(200);
    assert_ne!(stage.user.token_text("api").await, token);
    assert_eq!(stage.fake.refreshes(), 1);
    let audit = stage.admin.get("/api/audit?type=flow.complete").await.expect(200);
    assert_eq!(audit["records"].as_array().map(Vec::len), Some(1), "{audit}");
}

#[tokio::test]
async fn a_copy_says_what_it_wants() {
    let refused = run(
        &[
            "copy",
            "--from",
            "sqlite:/nowhere/valetkey.db",
            "--to",
            "mysql://me:secret@db/x",
        ],
        "",
    )
    .await;
    let shown = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{shown}");
    assert!(
        shown.contains("--from: there is no file /nowhere/valetkey.db"),
        "{shown}"
    );
    let dir = tempfile::tempdir().expect("a directory");
    let file = format!("sqlite:{}", dir.path().join("a.db").display());
    std::fs::write(dir.path().join("a.db"), "").expect("a file");
    let refused = run(&["copy", "--from", &file, "--to", "mysql://me:secret@db/x"], "").await;
    let shown = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{shown}");
    assert!(
        shown.contains("--to: must be a URL") && !shown.contains("secret"),
        "{shown}"
    );
    let refused = run(&["copy", "--from", &file], "").await;
    let shown = text(&refused.stderr);
    assert!(shown.contains("--to or database_url"), "{shown}");
}
