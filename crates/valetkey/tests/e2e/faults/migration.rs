//! G62: a first start that is cut short anywhere. The next one goes on or begins anew; there is no half.

use std::process::{Output, Stdio};

use serde_json::json;
use tokio::process::Command;
use valetkey_store::Vault as _;

use super::damage::{FRAME, Files, HEADER, start_on};
use crate::support::link::{Link, Way};
use crate::support::place::Schema;
use crate::support::site::{new_master_key, port_of, through};
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::within;

#[tokio::test]
async fn g62_however_much_of_a_first_start_reached_the_disk_the_next_one_works() {
    let setup = Setup::new();
    let mut first = setup.start().await;
    let files = Files::of(&first).await;
    first.kill().await;
    let cuts: Vec<_> = (HEADER..=files.log.len()).step_by(FRAME).collect();
    let mut vaults = Vec::new();
    for &cut in &cuts {
        let (store, _dir) = files.with_log(&files.log[..cut]).open().expect("a store");
        vaults.push(store.vault().await.expect("a read").is_some());
    }
    assert!(vaults.is_sorted() && vaults[vaults.len() - 1], "{vaults:?}");
    for part in [cuts[0], cuts[cuts.len() / 2], cuts[cuts.len() - 2]] {
        let (mut next, _dir) = start_on(&files.with_log(&files.log[..part]), &setup).await;
        let keys = setup.admin().get("/api/security/api_keys").await.expect(200);
        assert_eq!(keys.as_array().expect("keys").len(), 1, "{keys}");
        next.kill().await;
    }
}

async fn migrate(database: &str, master_key: &str) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let command = Command::new(env!("CARGO_BIN_EXE_valetkey"))
        .arg("migrate")
        .env_clear()
        .env("VALETKEY_DATABASE_URL", database)
        .env("VALETKEY_MASTER_KEY", master_key)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output();
    within("a migration", command).await.expect("an output")
}

#[tokio::test]
async fn g62_a_migration_that_loses_its_database_anywhere_is_done_by_the_next_one() {
    let Some(schema) = Schema::new().await else { return };
    let link = Link::to(port_of(&schema.url())).await;
    let url = through(&schema.url(), link.port());
    let (mut attempts, master_key) = (0, new_master_key());
    loop {
        link.set(Way::Answers(attempts));
        let output = migrate(&url, &master_key).await;
        if output.status.success() {
            break;
        }
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{text}");
        attempts += 1;
        assert!(attempts < 100, "it never ends: {text}");
    }
    assert!(attempts > 3, "it was not interrupted: {attempts}");
    let setup = Setup::new()
        .set("DATABASE_URL", &schema.url())
        .set("MASTER_KEY", &master_key);
    let stage = Stage::per_user_with(setup).await;
    stage.connect(&stage.user, "api").await;
    stage.user.renew("api").await.expect(200);
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
}
