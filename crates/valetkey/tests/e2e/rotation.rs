//! Keys that seal are rotated while the server runs, and at the command line while it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::api::Api;
use crate::support::canary::Canaries;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::{until, within};

const USERS: [&str; 4] = ["u1", "u2", "u3", "u4"];

/// A stage where four users are connected.
async fn connected(setup: Setup) -> Stage {
    let stage = Stage::per_user_with(setup).await;
    for user in USERS {
        stage.connect(&stage.admin.for_user(user), "api").await;
    }
    stage
}

async fn everybody_is_served(stage: &Stage) {
    for user in USERS {
        let answer = stage.admin.for_user(user).call("api", "/api/whoami").await;
        assert_eq!(answer["status"], "ok", "{user}: {answer}");
    }
}

async fn rotate(stage: &Stage, key: &str) -> Value {
    let rotated = stage
        .admin
        .post("/api/security/sealing/_rotate", &json!({"key": key}))
        .await;
    rotated.expect(200)
}

async fn sealing(stage: &Stage) -> Value {
    stage.admin.get("/api/security/sealing").await.expect(200)
}

async fn everything_is_sealed_again(stage: &Stage) -> Value {
    until("everything to be sealed again", async || {
        let view = sealing(stage).await;
        (view["reseal"]["state"] == "done").then_some(view)
    })
    .await
}

/// Puts the new master key in the place of the old one, as an operator would.
fn exchange_files(setup: &Setup) {
    let file = |name: &str| setup.data_dir().join(name);
    fs::rename(file("master.key"), file("master.key.old")).expect("moved");
    fs::rename(file("master.key.new"), file("master.key")).expect("moved");
}

fn exchange_files_back(setup: &Setup) {
    let file = |name: &str| setup.data_dir().join(name);
    fs::rename(file("master.key"), file("master.key.new")).expect("moved");
    fs::rename(file("master.key.old"), file("master.key")).expect("moved");
}

/// Calls that go on until they are told to stop; each must work.
struct Traffic {
    stop: Arc<AtomicBool>,
    calls: JoinSet<u32>,
}

impl Traffic {
    fn start(stage: &Stage) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let user = |user: &str| Self::calls(stage.admin.for_user(user), Arc::clone(&stop));
        let calls = USERS.into_iter().map(user).collect();
        Self { stop, calls }
    }

    async fn calls(user: Api, stop: Arc<AtomicBool>) -> u32 {
        let mut calls = 0;
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(user.call("api", "/api/whoami").await["status"], "ok");
            user.token("api").await.expect(200);
            // A refresh that meets the sealing of the same row, again and again.
            user.renew("api").await.expect(200);
            calls += 1;
        }
        calls
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for calls in within("the last calls", self.calls.join_all()).await {
            assert!(calls > 0);
        }
    }
}

#[tokio::test]
async fn c15_the_master_key_is_exchanged_while_requests_run() {
    let mut stage = connected(Setup::new()).await;
    let traffic = Traffic::start(&stage);
    let old = sealing(&stage).await["master_keys"][0]["name"].clone();
    let rotated = rotate(&stage, "master").await;
    assert_eq!(rotated["data_key"], 2);
    let new = rotated["new_master_key"].clone();
    assert_eq!(new["made"], true);
    let view = everything_is_sealed_again(&stage).await;
    traffic.end().await;
    let names: Vec<_> = view["master_keys"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| (key["name"].clone(), key["in_use"] == true))
        .collect();
    assert_eq!(names, [(old.clone(), true), (new["name"].clone(), false)]);
    assert_eq!(view["data_keys"][1]["seals"], true);
    assert_eq!(view["reseal"]["connections"]["unreadable"], 0);
    everybody_is_served(&stage).await;

    let refused = stage.admin.post("/api/security/sealing/_retire", &json!({})).await;
    refused.refused(409, "rotation_under_way");
    assert_eq!(
        rotate(&stage, "master").await["new_master_key"]["made"],
        false,
        "asking again changes nothing"
    );
    let refused = stage
        .admin
        .post("/api/security/sealing/_rotate", &json!({"key": "data"}))
        .await;
    refused.refused(409, "rotation_under_way");

    stage.valetkey.stop().await;
    exchange_files(&stage.valetkey.setup);
    stage.valetkey.start_again().await;
    everybody_is_served(&stage).await;
    let retired = stage.admin.post("/api/security/sealing/_retire", &json!({})).await;
    assert_eq!(retired.expect(200)["retired"], json!([old]));
    everybody_is_served(&stage).await;
    let steps: Vec<_> = stage
        .admin
        .audit("key.rotate")
        .await
        .iter()
        .map(|r| r["details"]["step"].clone())
        .collect();
    assert_eq!(steps, ["master_keys_retired", "new_master_key"]);
    let metrics = stage.admin.metrics().await;
    for line in ["valetkey_sealing_master_keys 1\n", "valetkey_sealing_data_keys 2\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }

    stage.valetkey.stop().await;
    exchange_files_back(&stage.valetkey.setup);
    let output = stage.valetkey.setup.start_in_vain().await;
    for part in [
        new["name"].as_str(),
        old.as_str(),
        Some("nothing was changed"),
        Some("exit code 78"),
    ] {
        assert!(output.contains(part.expect("a text")), "{output}");
    }
}

#[tokio::test]
async fn g16_sealing_again_goes_on_after_a_kill() {
    let mut stage = connected(Setup::new().set("SEALING__RESEAL_RATE", "1")).await;
    assert_eq!(rotate(&stage, "data").await, json!({"key": "data", "data_key": 2}));
    until("the first rows to be sealed again", async || {
        let reseal = sealing(&stage).await["reseal"]["connections"].clone();
        reseal["resealed"].as_u64().filter(|rows| *rows > 0)
    })
    .await;
    stage.valetkey.kill().await;
    let (code, said) = stage.valetkey.setup.command(&["keys", "reseal", "--dry-run"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        !said.contains("connections: 4 looked at, 4 under"),
        "some were done: {said}"
    );
    assert!(
        !said.contains("connections: 4 looked at, 0 under"),
        "some were not: {said}"
    );
    stage.valetkey.setup = stage.valetkey.setup.clone().set("SEALING__RESEAL_RATE", "100");
    stage.valetkey.start_again().await;
    everybody_is_served(&stage).await;
    everything_is_sealed_again(&stage).await;
    everybody_is_served(&stage).await;
    stage.valetkey.stop().await;
    let (_, said) = stage.valetkey.setup.command(&["keys", "reseal", "--dry-run"]).await;
    assert!(
        said.contains("connections: 4 looked at, 0 under an older data key"),
        "{said}"
    );
}

async fn keys(setup: &Setup, arguments: &[&str]) -> (i32, String) {
    let arguments: Vec<_> = ["keys"].into_iter().chain(arguments.iter().copied()).collect();
    setup.command(&arguments).await
}

/// Runs a command that must end well; what it said.
async fn said(setup: &Setup, arguments: &[&str]) -> String {
    let (code, said) = keys(setup, arguments).await;
    assert_eq!(code, 0, "{said}");
    said
}

#[tokio::test]
async fn on_a_directory_in_use_the_command_line_says_what_to_call() {
    let stage = connected(Setup::new()).await;
    let setup = &stage.valetkey.setup;
    for (arguments, call) in [
        (
            &["rotate-master"][..],
            "POST /api/security/sealing/_rotate with {\"key\": \"master\"}",
        ),
        (
            &["rotate-data"],
            "POST /api/security/sealing/_rotate with {\"key\": \"data\"}",
        ),
        (&["retire-master"], "POST /api/security/sealing/_retire with {}"),
        (
            &["retire-master", "--undo"],
            "POST /api/security/sealing/_retire with {\"undo\": true}",
        ),
        (&["reseal"], "GET /api/security/sealing"),
        (&["reseal", "--dry-run"], "GET /api/security/sealing"),
        (&["status"], "GET /api/security/sealing"),
    ] {
        let (code, said) = keys(setup, arguments).await;
        assert!(code == 75 && said.contains(call), "{said}");
    }
    assert!(!setup.data_dir().join("master.key.new").exists());
}

#[tokio::test]
async fn the_command_line_exchanges_the_master_key_while_no_server_runs() {
    let mut stage = connected(Setup::new()).await;
    let old = stage.valetkey.setup.clone();
    let file = old.data_dir().join("next.key");
    let path = file.to_str().expect("a path");
    let rotate = ["rotate-master", "--new-key-file", path];
    stage.valetkey.stop().await;
    let told = said(&old, &rotate).await;
    assert!(told.contains(&format!("made {path}")), "{told}");
    let text = fs::read_to_string(&file).expect("a key");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let again = said(&old, &rotate).await;
    assert!(again.contains("already") && !again.contains("made"), "{again}");
    let (code, refused) = keys(&old, &["retire-master"]).await;
    assert!(
        code == 1 && refused.contains("is newer than the master key in use"),
        "{refused}"
    );

    let new = old.clone().set("MASTER_KEY_FILE", path);
    stage.valetkey.setup = new.clone();
    stage.valetkey.start_again().await;
    everybody_is_served(&stage).await;
    stage.valetkey.stop().await;
    assert!(said(&new, &["retire-master"]).await.contains("retired: "));
    assert!(said(&new, &["retire-master"]).await.contains("nothing to retire"));
    let (code, refused) = keys(&old, &["status"]).await;
    assert!(code == 78 && refused.contains("nothing was changed"), "{refused}");
    assert!(
        said(&new, &["rotate-data"])
            .await
            .contains("data key 3 seals from now on")
    );
    let status = said(&new, &["status"]).await;
    let count = |what: &str| status.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("master key\t"), count("data key\t")), (1, 3), "{status}");
    assert!(
        status.contains("\tin use\n") && status.contains("\tseals\n"),
        "{status}"
    );
    stage.valetkey.start_again().await;
    everybody_is_served(&stage).await;

    let output = stage.valetkey.whole_output().await;
    Canaries::new([text.trim().to_owned()]).are_not_in("what was said", [output, told, again, status].concat());
}

#[tokio::test]
async fn the_command_line_seals_again_and_only_counts_in_a_dry_run() {
    let mut stage = connected(Setup::new()).await;
    let setup = stage.valetkey.setup.clone();
    stage.valetkey.stop().await;
    said(&setup, &["rotate-data"]).await;
    let database = || fs::read(setup.data_dir().join("valetkey.db")).expect("a database");
    let before = database();
    let counted = said(&setup, &["reseal", "--dry-run"]).await;
    assert!(
        counted.contains("connectors: 1 looked at, 1 under an older data key"),
        "{counted}"
    );
    assert!(
        counted.contains("connections: 4 looked at, 4 under an older data key"),
        "{counted}"
    );
    assert!(before == database(), "a dry run changes nothing");
    let done = said(&setup, &["reseal"]).await;
    assert!(
        done.contains("5 of 5\n") && done.contains("4 sealed again, 0 changed meanwhile, 0 do not open"),
        "{done}"
    );
    let again = said(&setup, &["reseal"]).await;
    assert!(
        again.contains("4 looked at, 0 under an older data key: 0 sealed again"),
        "{again}"
    );
    stage.valetkey.start_again().await;
    everybody_is_served(&stage).await;
}

fn key_file(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

#[tokio::test]
async fn c20_a_new_master_key_that_is_none_changes_nothing() {
    let mut stage = connected(Setup::new()).await;
    let file = stage.valetkey.setup.data_dir().join("master.key.new");
    let current = fs::read_to_string(stage.valetkey.setup.data_dir().join("master.key")).expect("a key");
    let good = format!("{}A=\n", &current.trim()[..42].chars().rev().collect::<String>());
    let before = sealing(&stage).await;
    let wrong = [
        ("hunter2-hunter2-hunter2", 0o600),
        ("", 0o600),
        (good.as_str(), 0o644),
        (current.as_str(), 0o600),
    ];
    for (text, mode) in wrong {
        key_file(&file, text, mode);
        let refused = stage
            .admin
            .post("/api/security/sealing/_rotate", &json!({"key": "master"}))
            .await;
        let body = refused.refused(400, "validation_failed").to_string();
        assert!(text.is_empty() || !body.contains(text.trim()), "{body}");
        assert_eq!(sealing(&stage).await, before);
    }
    stage.valetkey.stop().await;
    for (text, mode) in &wrong[..3] {
        key_file(&file, text, *mode);
        let (code, said) = stage.valetkey.setup.command(&["keys", "rotate-master"]).await;
        assert!(code == 78 && said.contains("new_master_key_file"), "{said}");
        assert!(text.is_empty() || !said.contains(text.trim()), "{said}");
    }
    let environment = stage
        .valetkey
        .setup
        .clone()
        .set("NEW_MASTER_KEY", "hunter2-hunter2-hunter2");
    let (code, said) = environment.command(&["keys", "rotate-master"]).await;
    assert!(
        code == 78 && said.contains("new_master_key") && !said.contains("hunter2"),
        "{said}"
    );
    stage.valetkey.start_again().await;
    everybody_is_served(&stage).await;
    assert_eq!(sealing(&stage).await["data_keys"], before["data_keys"]);
}

#[tokio::test]
async fn a_new_master_key_may_come_from_the_environment_and_the_exchange_be_undone() {
    let mut stage = connected(Setup::new()).await;
    stage.valetkey.stop().await;
    let text = valetkey_core::encode::base64(&std::array::from_fn::<u8, 32, _>(|i| {
        u8::try_from(i * i % 251).expect("small")
    }));
    let setup = stage.valetkey.setup.clone();
    let environment = setup.clone().set("NEW_MASTER_KEY", &text);
    let (code, said) = environment.command(&["keys", "rotate-master"]).await;
    assert!(code == 0 && !said.contains("made") && !said.contains(&text), "{said}");
    let new = setup.clone().set("MASTER_KEY", &text);
    stage.valetkey.setup = new.clone();
    stage.valetkey.start_again().await;
    everybody_is_served(&stage).await;
    stage.valetkey.stop().await;

    let (code, said) = setup.command(&["keys", "retire-master", "--undo"]).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = new.command(&["keys", "status"]).await;
    assert_eq!(code, 78, "{said}");
    stage.valetkey.setup = setup;
    stage.valetkey.start_again().await;
    everybody_is_served(&stage).await;
}

#[tokio::test]
async fn only_an_administrator_sees_and_rotates_keys() {
    let stage = Stage::new().await;
    let others = [
        "connectors:read",
        "connectors:write",
        "connectors:execute",
        "oauth:connect",
        "tokens:read",
        "keys:write",
        "audit:read",
    ];
    let key = stage.admin.make_key(&others, json!({})).await;
    key.get("/api/security/sealing").await.refused(403, "privilege_missing");
    for (route, body) in [
        ("_rotate", json!({"key": "master"})),
        ("_rotate", json!({"key": "data"})),
        ("_retire", json!({})),
    ] {
        let refused = key.post(&format!("/api/security/sealing/{route}"), &body).await;
        refused.refused(403, "privilege_missing");
    }
    assert!(!stage.valetkey.setup.data_dir().join("master.key.new").exists());
    for (route, body, code) in [
        ("_rotate", json!({}), "validation_failed"),
        ("_rotate", json!({"key": "everything"}), "validation_failed"),
        (
            "_rotate",
            json!({"key": "data", "file": "/etc/passwd"}),
            "unknown_field",
        ),
        ("_retire", json!({"all": true}), "unknown_field"),
    ] {
        let refused = stage.admin.post(&format!("/api/security/sealing/{route}"), &body).await;
        refused.refused(400, code);
    }
    assert_eq!(sealing(&stage).await["data_keys"].as_array().map(Vec::len), Some(1));
}
