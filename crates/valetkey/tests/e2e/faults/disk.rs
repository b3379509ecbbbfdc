//! A disk without room. The process is told so by the limit on the size of its files (`RLIMIT_FSIZE`), which needs no
//! privileges and can be lifted while it runs: a write that does not fit fails half-way, as on a disk that is full.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::api::{Answer, client};
use crate::support::browser::Browser;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::{until, within};

/// Less than a page of the database with its frame, and more than an entry of the rescue journal.
const NO_PAGE: u64 = 4096;

/// A connected account, on a disk that can be filled.
async fn connected() -> Stage {
    let stage = Stage::per_user_with(Setup::new().on_a_small_disk()).await;
    stage.connect(&stage.user, "api").await;
    stage
}

async fn health(stage: &Stage, path: &str) -> u16 {
    let answer = Answer::to(client().get(format!("{}{path}", stage.valetkey.base()))).await;
    answer.status
}

async fn until_ready(stage: &Stage) {
    until("the service to be ready", async || {
        (health(stage, "/readyz").await == 200).then_some(())
    })
    .await;
}

/// The pairs in the rescue journal.
fn rescued(stage: &Stage) -> Vec<PathBuf> {
    let dir = fs::read_dir(stage.valetkey.setup.data_dir().join("rescue")).expect("a journal");
    let paths = dir.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == "pair"))
        .collect()
}

/// Has the token renewed; the disk is full when the provider's answer comes.
async fn renew_without_room(stage: &Stage, room: u64) -> Answer {
    let gate = stage.fake.hold_tokens();
    let user = stage.user.clone();
    let mut asking = JoinSet::from_iter([async move { user.renew("api").await }]);
    until("the request", async || (stage.fake.refreshes() == 1).then_some(())).await;
    stage.valetkey.limit_files(Some(room));
    gate.open();
    asking.join_next().await.expect("a call").expect("no panic")
}

#[tokio::test]
async fn g18_a_disk_that_is_full_before_a_renewal_costs_no_token() {
    let stage = connected().await;
    let old = stage.user.token_text("api").await;
    stage.valetkey.limit_files(Some(0));
    let refused = stage.user.renew("api").await;
    refused.refused(503, "store_unavailable");
    assert!(refused.retry_after() >= 1);
    assert_eq!(stage.fake.refreshes(), 0, "nothing is provoked that cannot be stored");
    assert_eq!(stage.user.token_text("api").await, old);
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
    assert_eq!(
        (health(&stage, "/healthz").await, health(&stage, "/readyz").await),
        (200, 503)
    );
    assert_eq!(stage.admin.get("/api/status").await.expect(200)["status"], "degraded");
    let refused = stage.user.on("api", "_start_oauth_flow", json!({})).await;
    refused.refused(503, "store_unavailable");
    assert!(refused.retry_after() >= 1);

    stage.valetkey.limit_files(None);
    until_ready(&stage).await;
    until("a renewal", async || {
        (stage.user.renew("api").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(stage.fake.refreshes(), 1);
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
}

#[tokio::test]
async fn g19_a_disk_that_is_full_at_the_commit_costs_nothing_either() {
    let mut stage = connected().await;
    let old = stage.user.token_text("api").await;
    let renewed = renew_without_room(&stage, NO_PAGE).await.expect(200);
    let new = renewed["access_token"].as_str().expect("a token").to_owned();
    assert_ne!(new, old);
    assert_eq!(stage.user.token_text("api").await, new);
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
    assert_eq!(rescued(&stage).len(), 1);
    assert!(stage.valetkey.output().contains("token at risk"), "an alarm");

    stage.valetkey.limit_files(None);
    until("the write", async || rescued(&stage).is_empty().then_some(())).await;
    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    assert_eq!(stage.user.token_text("api").await, new);
    assert_eq!(stage.fake.refreshes(), 1);
    stage.user.renew("api").await.expect(200);
}

#[tokio::test]
async fn g19_a_pair_that_found_no_room_survives_a_kill_in_the_journal() {
    let mut stage = connected().await;
    let renewed = renew_without_room(&stage, NO_PAGE).await.expect(200);
    stage.valetkey.kill().await;
    // The next process has room.
    stage.valetkey.start_again().await;
    assert_eq!(
        stage.user.token("api").await.expect(200)["access_token"],
        renewed["access_token"]
    );
    until("the write", async || rescued(&stage).is_empty().then_some(())).await;
    assert_eq!(stage.fake.refreshes(), 1);
    stage.user.renew("api").await.expect(200);
}

#[tokio::test]
async fn g19_a_stop_waits_for_a_pair_that_is_nowhere_else() {
    let mut stage = connected().await;
    let renewed = renew_without_room(&stage, 0).await.expect(200);
    assert!(rescued(&stage).is_empty(), "not even the journal has room");
    stage.valetkey.signal("TERM").await;
    let failures = |stage: &Stage| {
        stage
            .valetkey
            .output()
            .matches("cannot be kept in the rescue journal")
            .count()
    };
    let before = failures(&stage);
    until("two more attempts", async || {
        (failures(&stage) >= before + 2).then_some(())
    })
    .await;
    assert!(stage.valetkey.is_running(), "it gave up:\n{}", stage.valetkey.output());
    stage.valetkey.limit_files(None);
    let status = stage.valetkey.wait().await;
    assert!(status.success(), "{status}:\n{}", stage.valetkey.output());
    stage.valetkey.start_again().await;
    assert_eq!(
        stage.user.token("api").await.expect(200)["access_token"],
        renewed["access_token"]
    );
    assert_eq!(stage.fake.refreshes(), 1);
}

#[tokio::test]
async fn g19_a_grant_that_finds_no_room_is_stored_when_there_is_some() {
    let stage = Stage::per_user_with(Setup::new().on_a_small_disk()).await;
    let started = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&started.url).await.to_string();
    let gate = stage.fake.hold_tokens();
    let opening = JoinSet::from_iter([async move { browser.open(&callback).await }]);
    until("the exchange", async || (stage.fake.exchanges() == 1).then_some(())).await;
    stage.valetkey.limit_files(Some(NO_PAGE));
    gate.open();
    until("a write that fails", async || {
        let output = stage.valetkey.output();
        output.contains("a new grant cannot be stored yet").then_some(())
    })
    .await;
    stage.valetkey.limit_files(None);
    for page in within("the page", opening.join_all()).await {
        page.connected();
    }
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
    assert_eq!(stage.user.audit("flow.complete").await.len(), 1);
}
