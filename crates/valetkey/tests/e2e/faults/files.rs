//! Files that are not what or where they were.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};

use serde_json::json;
use tokio::process::Command;

use crate::support::api::{Answer, client};
use crate::support::notice;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::within;

async fn connected() -> Stage {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    stage
}

async fn is_ready(stage: &Stage) -> bool {
    let answer = Answer::to(client().get(format!("{}/readyz", stage.valetkey.base()))).await;
    answer.status == 200
}

/// Makes sure that nothing is written where nobody would find it again, and that what needs no write goes on.
async fn refuses_to_write(stage: &Stage, token: &str) {
    let refused = stage.user.on("api", "_start_oauth_flow", json!({})).await;
    refused.refused(503, "store_unavailable");
    stage.user.renew("api").await.refused(503, "store_unavailable");
    assert_eq!(stage.fake.refreshes(), 0);
    assert!(!is_ready(stage).await);
    assert_eq!(stage.user.token_text("api").await, token);
}

#[tokio::test]
async fn g25_a_file_that_was_moved_away_is_not_written_to() {
    let mut stage = connected().await;
    let token = stage.user.token_text("api").await;
    let (file, aside) = (
        stage.valetkey.setup.data_dir().join("valetkey.db"),
        stage.valetkey.setup.data_dir().join("aside.db"),
    );
    fs::rename(&file, &aside).expect("moved");
    refuses_to_write(&stage, &token).await;
    // What happened to it meanwhile is not known, so it is not written to before it was looked at as a whole.
    fs::rename(&aside, &file).expect("moved back");
    refuses_to_write(&stage, &token).await;
    stage.valetkey.signal("TERM").await;
    assert!(
        !stage.valetkey.wait().await.success(),
        "its last audit records went nowhere"
    );
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.token_text("api").await, token);
    stage.user.renew("api").await.expect(200);
}

#[tokio::test]
async fn g25_a_file_that_was_deleted_is_not_written_to() {
    let mut stage = connected().await;
    let token = stage.user.token_text("api").await;
    fs::remove_file(stage.valetkey.setup.data_dir().join("valetkey.db")).expect("a file");
    refuses_to_write(&stage, &token).await;
    stage.valetkey.signal("TERM").await;
    stage.valetkey.wait().await;
}

#[tokio::test]
async fn g25_a_file_in_the_place_of_ours_is_left_alone() {
    let mut stage = connected().await;
    let token = stage.user.token_text("api").await;
    let file = stage.valetkey.setup.data_dir().join("valetkey.db");
    let other = stage.valetkey.setup.data_dir().join("other.db");
    fs::write(&other, b"somebody else's").expect("a file");
    fs::rename(&other, &file).expect("moved");
    refuses_to_write(&stage, &token).await;
    stage.valetkey.signal("TERM").await;
    stage.valetkey.wait().await;
    assert_eq!(fs::read(&file).expect("a file"), b"somebody else's");
}

/// Runs `serve` to its end with these settings, behind whatever comes before it.
async fn serve(before: &[&str], setup: &Setup) -> Output {
    let mut words = before.iter().copied().chain([env!("CARGO_BIN_EXE_valetkey"), "serve"]);
    let command = Command::new(words.next().expect("a program"))
        .args(words)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(setup.variables())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    within("the end of a process", command).await.expect("an output")
}

#[tokio::test]
async fn g25_a_second_process_on_the_same_files_is_told_to_come_later() {
    let stage = connected().await;
    let second = Setup::new().set("DATA_DIR", stage.valetkey.setup.data_dir().to_str().expect("a path"));
    let output = serve(&[], &second).await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{text}");
    assert!(text.contains("another process has it open"), "{text}");
    stage.user.renew("api").await.expect(200);
}

/// Root may write everywhere but on a file system that is mounted read-only; everybody else is stopped by modes.
#[tokio::test]
async fn g26_files_that_cannot_be_written_are_refused_at_the_start() {
    let mut stage = connected().await;
    stage.valetkey.stop().await;
    let (setup, dir) = (&stage.valetkey.setup, stage.valetkey.setup.data_dir());
    let is_root = fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let output = if is_root {
        let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" || exit 99; exec \"$@\"";
        let dir = dir.to_str().expect("a path");
        serve(&["unshare", "--mount", "sh", "-c", mount, dir], setup).await
    } else {
        for file in fs::read_dir(&dir).expect("a directory") {
            let path = file.expect("a file").path();
            fs::set_permissions(path, fs::Permissions::from_mode(0o400)).expect("permissions");
        }
        serve(&[], setup).await
    };
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(99) || text.contains("unshare failed") {
        return notice("skipped: root may not mount here, so that nothing is read-only for it");
    }
    assert_eq!(output.status.code(), Some(75), "{text}");
    assert!(text.contains("data_dir") && text.contains("cannot be opened"), "{text}");
}
