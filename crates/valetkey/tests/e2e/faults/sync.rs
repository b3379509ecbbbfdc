//! G22: a disk that fails while the log is synced. Nothing written since the last good sync can be trusted then, so the
//! process writes nothing more, and the next one begins with what is really there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::api::{Answer, client};
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::until;

/// A disk that fails when it is told to.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    /// The functions that sync, in a library that is loaded before the system's.
    fn library(&self) -> PathBuf {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/faults/sync.c");
        let library = self.dir.path().join("sync.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .status();
        assert!(compiled.expect("a C compiler").success());
        library
    }

    fn flag(&self) -> PathBuf {
        self.dir.path().join("faulty")
    }

    fn fail(&self, fails: bool) {
        if fails {
            fs::write(self.flag(), "").expect("a flag");
        } else {
            fs::remove_file(self.flag()).expect("a flag");
        }
    }

    async fn connected(&self) -> Stage {
        let setup = Setup::new()
            .set_plain("LD_PRELOAD", self.library().to_str().expect("a path"))
            .set_plain("FAULTY_DISK", self.flag().to_str().expect("a path"));
        let stage = Stage::per_user_with(setup).await;
        stage.connect(&stage.user, "api").await;
        stage
    }
}

/// Makes sure that nothing is written any more, although the disk is well again, and that this is told.
async fn has_stopped_writing(stage: &Stage) {
    let ready = Answer::to(client().get(format!("{}/readyz", stage.valetkey.base()))).await;
    assert_eq!(ready.status, 503);
    let requests = stage.fake.refreshes();
    stage.user.renew("api").await.refused(503, "store_unavailable");
    assert_eq!(stage.fake.refreshes(), requests);
    let output = stage.valetkey.output();
    assert!(
        output.contains("stops writing until the process is started again"),
        "{output}"
    );
}

#[tokio::test]
async fn g22_a_sync_that_fails_before_a_renewal_costs_no_token() {
    let disk = Disk::new();
    let mut stage = disk.connected().await;
    let old = stage.user.token_text("api").await;
    disk.fail(true);
    stage.user.renew("api").await.refused(503, "store_unavailable");
    assert_eq!(stage.fake.refreshes(), 0);
    disk.fail(false);
    has_stopped_writing(&stage).await;
    assert_eq!(stage.user.token_text("api").await, old);

    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.token_text("api").await, old);
    stage.user.renew("api").await.expect(200);
}

#[tokio::test]
async fn g22_a_pair_whose_sync_fails_is_served_and_kept_in_the_journal() {
    let disk = Disk::new();
    let mut stage = disk.connected().await;
    let gate = stage.fake.hold_tokens();
    let user = stage.user.clone();
    let mut asking = JoinSet::from_iter([async move { user.renew("api").await }]);
    until("the request", async || (stage.fake.refreshes() == 1).then_some(())).await;
    disk.fail(true);
    gate.open();
    let renewed = asking.join_next().await.expect("a call").expect("no panic").expect(200);
    let new = renewed["access_token"].as_str().expect("a token").to_owned();
    disk.fail(false);
    has_stopped_writing(&stage).await;
    assert_eq!(stage.user.token_text("api").await, new);

    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.token_text("api").await, new);
    assert_eq!(stage.fake.refreshes(), 1);
    until("a renewal", async || {
        (stage.user.renew("api").await.status == 200).then_some(())
    })
    .await;
}
