//! A store that cannot be written, or not be asked: what is not spent, what is not lost, and what is served meanwhile.

use std::time::Duration;

use valetkey_core::ErrorCode;
use valetkey_engine::Reason;
use valetkey_oauth::Rotation;

use crate::faults::Fault;
use crate::provider::Incident;
use crate::support::reason;
use crate::town::{Plan, Town};

const S: Duration = Duration::from_secs(1);
const STALE: Duration = Duration::from_secs(3_400);

fn strict() -> Plan {
    Plan::of(Rotation::SingleUseRevokesFamily)
}

#[tokio::test(start_paused = true)]
async fn g18_a_store_that_cannot_be_written_spends_no_token() {
    let (town, node) = Town::with_alice(strict()).await;
    town.pass(STALE).await;
    node.faults.refuse_writes();
    for _ in 0..20 {
        assert_eq!(node.token_text("alice").await, "access-1", "served while it is valid");
        town.pass(5 * S).await;
    }
    town.pass(200 * S).await;
    for _ in 0..20 {
        let refused = node.token("alice").await.expect_err("expired");
        assert_eq!(refused.code, ErrorCode::StoreUnavailable);
        assert!(refused.retry_after.is_some());
        town.pass(S).await;
    }
    assert!(
        town.provider.sent().is_empty(),
        "nothing was provoked that could not be stored"
    );
    node.faults.lift();
    town.pass(2 * S).await;
    town.check_in_force(&node, "alice").await;
    assert_eq!(town.provider.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn g19_a_pair_that_cannot_be_written_is_served_kept_and_written_later() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    for _ in 0..100 {
        assert_eq!(node.token_text("alice").await, "access-2");
        town.pass(S).await;
    }
    assert_eq!(node.disk.len(), 1);
    assert_eq!(node.counted("valetkey_pair_unwritten"), 1);
    assert_eq!(node.counted("valetkey_pair_rescue_total{outcome=\"kept\"}"), 1);
    assert_eq!(town.row("alice").await.refreshed_at, None);
    assert_eq!(town.provider.sent().len(), 1);
    node.faults.lift();
    town.pass(6 * S).await;
    node.settle().await;
    town.check_in_force(&node, "alice").await;
    let row = town.row("alice").await;
    assert!(row.refreshed_at.is_some());
    assert_eq!((node.disk.len(), node.counted("valetkey_pair_unwritten")), (0, 0));
    assert_eq!(node.counted("valetkey_pair_write_total{outcome=\"retried\"}"), 1);
    assert_eq!(
        town.audit("token.refresh").await.len(),
        1,
        "one new version, one record"
    );
}

#[tokio::test(start_paused = true)]
async fn g19_nothing_else_is_spent_before_a_pair_is_written() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    assert_eq!(node.token_text("alice").await, "access-2");
    let refused = node.token_instead("alice", "access-2").await.expect_err("not now");
    assert_eq!(refused.code, ErrorCode::StoreUnavailable);
    town.expire().await;
    let refused = node.token("alice").await.expect_err("not now");
    assert_eq!(refused.code, ErrorCode::StoreUnavailable);
    assert_eq!(town.provider.sent().len(), 1);
    node.faults.lift();
    town.pass(6 * S).await;
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g19_a_full_disk_for_the_journal_is_told_and_not_fatal() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.disk.fill(true);
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    assert_eq!(node.token_text("alice").await, "access-2");
    assert!(node.counted("valetkey_pair_rescue_total{outcome=\"failed\"}") >= 1);
    node.disk.fill(false);
    town.pass(6 * S).await;
    assert_eq!(node.disk.len(), 1, "it is tried again with every write");
    node.faults.lift();
    town.pass(6 * S).await;
    node.settle().await;
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g19_a_stop_leaves_the_pair_in_the_journal_and_the_next_start_writes_it() {
    let (mut town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    assert_eq!(node.token_text("alice").await, "access-2");
    town.pass(60 * S).await;
    let before = tokio::time::Instant::now();
    node.engine.prepare_stop();
    node.settle().await;
    assert!(
        before.elapsed() <= 10 * S,
        "a stop does not wait for a store that is down"
    );
    let node = town.restart(node).await;
    assert_eq!(node.engine.replay_journal().await.expect("replayed"), 1);
    assert_eq!(node.token_text("alice").await, "access-2", "served at once");
    town.pass(S).await;
    node.settle().await;
    town.check_in_force(&node, "alice").await;
    assert_eq!((node.disk.len(), town.provider.sent().len()), (0, 1));
    assert_eq!(town.audit("token.refresh").await[0].details["rescued"], true);
}

#[tokio::test(start_paused = true)]
async fn g19_a_stop_goes_on_writing_what_no_journal_keeps() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.disk.fill(true);
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    node.token("alice").await.expect("a token");
    node.engine.prepare_stop();
    node.tasks.close();
    tokio::time::timeout(60 * S, node.tasks.wait())
        .await
        .expect_err("it would be lost");
    node.faults.lift();
    node.tasks.wait().await;
    assert!(town.row("alice").await.refreshed_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn g20_a_process_that_dies_with_an_unwritten_pair_loses_nothing() {
    let (mut town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    assert_eq!(node.token_text("alice").await, "access-2");
    let node = town.restart(node).await;
    node.faults.set("finish_refresh", Fault::Before, 0, 3);
    assert_eq!(node.engine.replay_journal().await.expect("replayed"), 1);
    for _ in 0..10 {
        assert_eq!(
            node.token_text("alice").await,
            "access-2",
            "also while the store is still down"
        );
        town.pass(S).await;
    }
    node.settle().await;
    town.check_in_force(&node, "alice").await;
    assert_eq!((node.disk.len(), town.provider.sent().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn g20_a_store_that_hangs_at_the_commit_is_as_good_as_down() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Hang, 0, usize::MAX);
    let before = tokio::time::Instant::now();
    assert_eq!(node.token_text("alice").await, "access-2");
    assert!(before.elapsed() <= 6 * S, "a caller does not hang with it");
    assert_eq!(node.disk.len(), 1, "kept while the first write is still waited for");
    node.faults.lift();
    town.pass(6 * S).await;
    node.settle().await;
    town.check_in_force(&node, "alice").await;
    assert_eq!(town.audit("token.refresh").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_acknowledged_in_time_touches_no_journal() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.token("alice").await.expect("a token");
    assert_eq!(node.counted("valetkey_pair_rescue_total{outcome=\"kept\"}"), 0);
    assert_eq!(node.counted("valetkey_pair_write_total{outcome=\"written\"}"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replay_drops_a_pair_when_a_newer_one_is_stored() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::Overlap)).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    assert_eq!(node.token_text("alice").await, "access-2");
    node.kill();
    town.pass(40 * S).await;
    let other = town.start().await;
    let newer = other.token_text("alice").await;
    assert_ne!(newer, "access-2");
    let node = town.start_on(node.disk).await;
    node.engine.replay_journal().await.expect("replayed");
    node.settle().await;
    assert_eq!(node.token_text("alice").await, newer);
    assert_eq!(node.disk.len(), 0);
    assert!(town.provider.revoked().is_empty(), "a sibling is dropped, not revoked");
    town.expire().await;
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_a_pair_that_is_newer_than_a_restored_store() {
    let (mut town, node) = Town::with_alice(Plan::of(Rotation::Overlap)).await;
    let copy = |path: &std::path::Path| {
        std::fs::copy(path, path.with_extension("old")).expect("copied");
    };
    let put_back = |path: &std::path::Path| {
        std::fs::copy(path.with_extension("old"), path).expect("copied");
    };
    let node = town.restart_after(node, copy).await;
    town.expire().await;
    node.token("alice").await.expect("a token");
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    assert_eq!(node.token_text("alice").await, "access-3");
    let node = town.restart_after(node, put_back).await;
    assert_eq!(node.engine.replay_journal().await.expect("replayed"), 1);
    town.pass(S).await;
    node.settle().await;
    assert_eq!(node.disk.len(), 1, "what to do is for a person");
    node.token("alice")
        .await
        .expect("the old refresh token still works here");
}

#[tokio::test(start_paused = true)]
async fn a_replay_revokes_a_pair_whose_connection_was_ended() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    node.token("alice").await.expect("a token");
    node.kill();
    let other = town.start().await;
    other.disconnect("alice").await;
    let node = town.start_on(node.disk).await;
    node.engine.replay_journal().await.expect("replayed");
    node.settle().await;
    let refused = node.token("alice").await.expect_err("ended");
    assert_eq!(reason(&refused), Some(Reason::NoToken));
    assert!(town.provider.revoked().contains(&"refresh-2".to_owned()));
    assert_eq!(node.disk.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_does_not_open_stays_and_disturbs_nobody() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    node.token("alice").await.expect("a token");
    node.kill();
    node.disk.spoil();
    town.pass(40 * S).await;
    let node = town.start_on(node.disk).await;
    assert_eq!(node.engine.replay_journal().await.expect("replayed"), 0);
    assert_eq!(node.disk.len(), 1);
    assert_eq!(node.counted("valetkey_pair_rescue_total{outcome=\"unreadable\"}"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_while_a_pair_is_unwritten_ends_the_connection_at_once() {
    let (town, node) = Town::with_alice(strict()).await;
    town.expire().await;
    node.faults.set("finish_refresh", Fault::Before, 0, usize::MAX);
    node.token("alice").await.expect("a token");
    node.disconnect("alice").await;
    let refused = node.token("alice").await.expect_err("ended");
    assert_eq!(reason(&refused), Some(Reason::NoToken));
    node.faults.lift();
    town.pass(6 * S).await;
    node.settle().await;
    assert_eq!(town.row("alice").await.state.word(), "disconnected");
    assert!(
        town.provider.revoked().contains(&"refresh-2".to_owned()),
        "what came late is revoked"
    );
    assert_eq!(node.disk.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn g27_fresh_tokens_are_served_while_the_store_is_down() {
    let (town, node) = Town::with_alice(strict()).await;
    node.token("alice").await.expect("a token");
    node.faults.go_down();
    let reads = node.faults.calls("get_connection");
    for _ in 0..3_500 {
        assert_eq!(node.token_text("alice").await, "access-1");
        town.pass(S).await;
    }
    let reads = node.faults.calls("get_connection") - reads;
    assert!(
        reads <= 3_600,
        "a store that fails is not asked for every call: {reads}"
    );
    town.pass(101 * S).await;
    let refused = node.token("alice").await.expect_err("expired");
    assert_eq!(refused.code, ErrorCode::StoreUnavailable);
    assert!(refused.retry_after.is_some());
    assert!(town.provider.sent().is_empty());
    let refused = node.token("bob").await.expect_err("not known");
    assert_eq!(refused.code, ErrorCode::StoreUnavailable);
    node.faults.lift();
    town.pass(2 * S).await;
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g27_a_store_that_failed_is_left_alone_for_a_second() {
    let (town, node) = Town::with_alice(strict()).await;
    node.token("alice").await.expect("a token");
    town.pass(S).await;
    node.faults.set("get_connection", Fault::Before, 0, usize::MAX);
    node.faults.set("get_connector", Fault::Before, 0, usize::MAX);
    let reads = node.faults.calls("get_connection");
    for _ in 0..1_000 {
        assert_eq!(node.token_text("alice").await, "access-1");
    }
    assert!(node.faults.calls("get_connection") - reads <= 1);
    assert_eq!(
        node.counted("valetkey_connection_cache_total{outcome=\"outage\"}"),
        1_000
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_that_cannot_be_written_is_not_forgotten() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.expire().await;
    town.provider.revoke_account("alice");
    node.faults.set("release_refresh", Fault::Before, 0, 2);
    let refused = node.token("alice").await.expect_err("revoked");
    assert_eq!(reason(&refused), Some(Reason::TokenRevoked), "written at the third try");
    assert_eq!(town.provider.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_cannot_be_written_leaves_an_intent_that_is_recovered() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.expire().await;
    town.provider
        .will([Incident::Refuse(503, "temporarily_unavailable", None)]);
    node.faults.set("release_refresh", Fault::Before, 0, usize::MAX);
    node.token("alice").await.expect_err("unavailable");
    node.faults.lift();
    let mut tries = 0;
    while node.token("alice").await.is_err() {
        tries += 1;
        assert!(tries < 60, "the lease is over some time");
        town.pass(S).await;
    }
    town.check_in_force(&node, "alice").await;
}
