//! A store that is put back from a backup is noticed at the next start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::until;

/// Copies the database of a server that is stopped.
fn copy(from: &Path, to: &Path) {
    fs::copy(from.join("valetkey.db"), to.join("valetkey.db")).expect("copied");
}

async fn restored_at(stage: &Stage) -> Value {
    stage.admin.get("/api/security/sealing").await.expect(200)["restored_at"].clone()
}

/// Waits until the mark is another than before.
async fn mark_is_kept(setup: &Setup, before: &str) -> String {
    until("the mark to be raised", async || {
        let text = fs::read_to_string(setup.data_dir().join("high-water")).ok()?;
        (text != before).then_some(text)
    })
    .await
}

#[tokio::test]
async fn c38_a_store_that_was_put_back_is_noticed_once_and_the_operator_is_told() {
    let backup = tempfile::tempdir().expect("a directory");
    let mut stage = Stage::per_user().await;
    let setup = stage.valetkey.setup.clone();
    stage.connect(&stage.user, "api").await;
    stage.connect(&stage.admin.for_user("u2"), "api").await;
    stage.valetkey.restart().await;
    assert_eq!(restored_at(&stage).await, Value::Null, "a restart is no restore");
    stage.valetkey.stop().await;
    copy(&setup.data_dir(), backup.path());
    let mark = setup.data_dir().join("high-water");
    assert_eq!(fs::metadata(&mark).expect("there").permissions().mode() & 0o777, 0o600);

    // At a stop the mark is what was written last.
    let first = fs::read_to_string(&mark).expect("a mark");
    stage.valetkey.start_again().await;
    stage.user.renew("api").await.expect(200);
    let second = mark_is_kept(&setup, &first).await;
    stage.valetkey.kill().await;
    for file in ["valetkey.db-wal", "valetkey.db-shm"] {
        drop(fs::remove_file(setup.data_dir().join(file)));
    }
    copy(backup.path(), &setup.data_dir());

    stage.valetkey.start_again().await;
    let at = restored_at(&stage).await;
    assert!(at.is_string(), "{at}");
    let output = stage.valetkey.output();
    assert!(
        output.contains("put back from a backup: 2 connections have a refresh token of then"),
        "{output}"
    );
    assert_ne!(mark_is_kept(&setup, &second).await, second);
    stage.valetkey.restart().await;
    assert_eq!(restored_at(&stage).await, at, "it is noticed once");
    assert_eq!(stage.valetkey.output().matches("put back from a backup").count(), 1);
    stage.valetkey.stop().await;
    let (code, said) = setup.command(&["keys", "status"]).await;
    assert!(code == 0 && said.contains("put back from a backup"), "{said}");
}

#[tokio::test]
async fn c38_the_operator_can_say_that_the_store_was_put_back() {
    let mut stage = Stage::per_user().await;
    let setup = stage.valetkey.setup.clone();
    stage.connect(&stage.user, "api").await;
    let (code, _) = setup.command(&["mark-restored"]).await;
    assert_eq!(code, 75, "a server runs on it");
    stage.valetkey.stop().await;
    // The disk is new: nothing remembers what was there.
    fs::remove_file(setup.data_dir().join("high-water")).expect("removed");
    let (code, said) = setup.command(&["mark-restored"]).await;
    assert!(
        code == 0 && said.contains("1 connections have a refresh token of then"),
        "{said}"
    );
    stage.valetkey.start_again().await;
    assert!(restored_at(&stage).await.is_string());
}

#[tokio::test]
async fn a_mark_that_makes_no_sense_does_not_keep_the_server_from_starting() {
    let mut stage = Stage::per_user().await;
    let setup = stage.valetkey.setup.clone();
    stage.valetkey.stop().await;
    fs::write(setup.data_dir().join("high-water"), "{\"deployment\":").expect("written");
    stage.valetkey.start_again().await;
    assert_eq!(restored_at(&stage).await, Value::Null);
    assert!(
        stage.valetkey.output().contains("makes no sense"),
        "{}",
        stage.valetkey.output()
    );
    mark_is_kept(&setup, "{\"deployment\":").await;
}
