//! A process that ends in the middle of a refresh, at every point, and what the next one makes of it: the same process
//! started again, or another one beside it.

use std::time::Duration;

use valetkey_engine::Reason;
use valetkey_oauth::Rotation;

use crate::faults::Fault;
use crate::provider::Incident;
use crate::support::reason;
use crate::town::{DiesAt, Node, Plan, Town, until};

const S: Duration = Duration::from_secs(1);

/// The lease of the default settings.
const LEASE: Duration = Duration::from_secs(40);

/// Where the first process ends.
#[derive(Clone, Copy, Debug)]
enum Point {
    BeforeIntent,
    AfterIntent,
    BeforeSending,
    AfterSending,
    BeforeCommit,
    AfterCommit,
}

impl Point {
    fn prepare(self, node: &Node) {
        match self {
            Self::BeforeIntent => node.faults.once("claim_refresh", Fault::DieBefore),
            Self::AfterIntent => node.faults.once("claim_refresh", Fault::DieAfter),
            Self::BeforeSending => node.line.die_at(DiesAt::Sending),
            Self::AfterSending => node.line.die_at(DiesAt::Waiting),
            Self::BeforeCommit => node.faults.once("finish_refresh", Fault::DieBefore),
            Self::AfterCommit => node.faults.once("finish_refresh", Fault::DieAfter),
        }
    }
}

/// A town whose only process ended at this point, while somebody waited for alice's token.
async fn crashed(rotation: Rotation, point: Point) -> (Town, Node) {
    let (town, node) = Town::with_alice(Plan::of(rotation)).await;
    town.expire().await;
    point.prepare(&node);
    let waiting = node.call("alice");
    until(|| node.is_dead()).await;
    waiting.abort();
    (town, node)
}

/// The next process: the same one started again, or another one that must wait for the lease.
async fn next(town: &mut Town, node: Node, restarts: bool) -> Node {
    if restarts {
        return town.restart(node).await;
    }
    node.kill();
    town.pass(LEASE).await;
    town.start().await
}

#[tokio::test(start_paused = true)]
async fn g09_before_the_intent_nothing_has_happened() {
    for restarts in [true, false] {
        let (mut town, node) = crashed(Rotation::SingleUseRevokesFamily, Point::BeforeIntent).await;
        let node = next(&mut town, node, restarts).await;
        node.token("alice").await.expect("a token");
        town.check_in_force(&node, "alice").await;
        assert_eq!(town.provider.sent().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn g09_g10_an_intent_whose_request_never_left_is_repeated_and_succeeds() {
    for rotation in [
        Rotation::None,
        Rotation::Leeway(10),
        Rotation::SingleUse,
        Rotation::SingleUseRevokesFamily,
    ] {
        for point in [Point::AfterIntent, Point::BeforeSending] {
            for restarts in [true, false] {
                let (mut town, node) = crashed(rotation, point).await;
                let intent = town.row("alice").await.intent.expect("an intent");
                assert_eq!(intent.attempt, 0);
                let node = next(&mut town, node, restarts).await;
                node.token("alice").await.expect("a token");
                town.check_in_force(&node, "alice").await;
                assert_eq!(town.provider.sent().len(), 1, "{rotation:?} {point:?}");
                assert_eq!(
                    node.counted("valetkey_refresh_unknown_total{outcome=\"taken_over\"}"),
                    1
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g11_g12_an_answer_that_reached_nobody_is_had_again_within_the_grace() {
    for rotation in [
        Rotation::None,
        Rotation::Overlap,
        Rotation::Idempotent,
        Rotation::Leeway(10),
    ] {
        for point in [Point::AfterSending, Point::BeforeCommit] {
            let (mut town, node) = crashed(rotation, point).await;
            let node = next(&mut town, node, true).await;
            node.token("alice").await.expect("a token");
            town.check_in_force(&node, "alice").await;
            assert_eq!(
                town.provider.sent(),
                ["refresh-1", "refresh-1"],
                "{rotation:?} {point:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g11_g12_past_the_grace_the_loss_is_told() {
    for rotation in [
        Rotation::Leeway(10),
        Rotation::SingleUse,
        Rotation::SingleUseRevokesFamily,
    ] {
        for point in [Point::AfterSending, Point::BeforeCommit] {
            let (mut town, node) = crashed(rotation, point).await;
            town.pass(11 * S).await;
            let node = next(&mut town, node, true).await;
            let refused = node.token("alice").await.expect_err("lost");
            assert_eq!(reason(&refused), Some(Reason::RefreshOutcomeUnknown));
            assert_eq!(town.provider.sent().len(), 2, "once more, and not again");
            node.token("alice").await.expect_err("lost");
            assert_eq!(town.provider.sent().len(), 2);
            let told = town.audit("token.refresh").await;
            assert_eq!(told.last().expect("a record").outcome, "refresh_outcome_unknown");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g11_a_family_is_not_risked_by_the_next_process_either() {
    let (mut town, node) = Town::with_alice(Plan::of(Rotation::SingleUseRevokesFamily)).await;
    town.pass(Duration::from_secs(3_400)).await;
    node.line.die_at(DiesAt::Waiting);
    node.token("alice").await.expect("the old token");
    until(|| node.is_dead()).await;
    let node = town.restart(node).await;
    for _ in 0..100 {
        let served = node.token_text("alice").await;
        assert!(served == "access-1" && town.provider.accepts(&served));
        town.pass(S).await;
    }
    assert_eq!(town.provider.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn g13_a_committed_pair_is_in_use_after_the_crash() {
    for restarts in [true, false] {
        let (mut town, node) = crashed(Rotation::SingleUseRevokesFamily, Point::AfterCommit).await;
        assert_eq!(
            town.row("alice").await.intent,
            None,
            "the intent ended in the same write"
        );
        let node = next(&mut town, node, restarts).await;
        town.check_in_force(&node, "alice").await;
        assert_eq!(town.provider.sent().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn g14_a_write_whose_acknowledgement_was_lost_is_recognised() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUseRevokesFamily)).await;
    town.expire().await;
    node.faults.once("finish_refresh", Fault::After);
    assert_eq!(node.token_text("alice").await, "access-2");
    town.pass(10 * S).await;
    town.check_in_force(&node, "alice").await;
    assert_eq!(node.counted("valetkey_pair_write_total{outcome=\"recognised\"}"), 1);
    assert_eq!(town.provider.sent().len(), 1);
    assert!(town.provider.revoked().is_empty(), "our own pair is no stranger's");
    assert_eq!(node.disk.len(), 0);
    assert_eq!(town.audit("token.refresh").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn g14_an_intent_whose_acknowledgement_was_lost_is_recognised() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUseRevokesFamily)).await;
    town.expire().await;
    node.faults.once("claim_refresh", Fault::After);
    let before = tokio::time::Instant::now();
    node.token("alice").await.expect("a token");
    assert!(before.elapsed() < S, "nobody waits for one's own lease");
    town.check_in_force(&node, "alice").await;
    assert_eq!(town.provider.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn g14_a_verdict_whose_acknowledgement_was_lost_is_recognised() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.expire().await;
    town.provider.revoke_account("alice");
    node.faults.once("release_refresh", Fault::After);
    let refused = node.token("alice").await.expect_err("revoked");
    assert_eq!(reason(&refused), Some(Reason::TokenRevoked));
    assert_eq!(town.provider.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_crashes_again_and_again_counts_its_attempts() {
    let (mut town, mut node) = crashed(Rotation::SingleUse, Point::BeforeSending).await;
    for attempt in 1..5 {
        node = town.restart(node).await;
        Point::BeforeSending.prepare(&node);
        let waiting = node.call("alice");
        until(|| node.is_dead()).await;
        waiting.abort();
        assert_eq!(town.row("alice").await.intent.expect("an intent").attempt, attempt);
    }
    let node = town.restart(node).await;
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g41_while_a_dead_process_has_the_lease_valid_tokens_are_served_and_others_told_to_wait() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.pass(Duration::from_secs(3_400)).await;
    node.line.die_at(DiesAt::Sending);
    node.token("alice").await.expect("the old token");
    until(|| node.is_dead()).await;
    let other = town.start().await;
    assert_eq!(other.token_text("alice").await, "access-1", "valid, so it is served");
    town.pass(LEASE).await;
    other.token("alice").await.expect("a token");
    other.settle().await;
    town.check_in_force(&other, "alice").await;
    assert_eq!(town.provider.sent().len(), 1, "taken over within the lease");

    town.expire().await;
    other.line.die_at(DiesAt::Sending);
    let waiting = other.call("alice");
    until(|| other.is_dead()).await;
    waiting.abort();
    let third = town.start().await;
    let before = tokio::time::Instant::now();
    let refused = third.token("alice").await.expect_err("busy");
    assert_eq!(before.elapsed().as_secs(), 35, "as long as a caller waits");
    assert_eq!(refused.code, valetkey_core::ErrorCode::RefreshBusy);
    assert!(refused.retry_after.is_some());
    third.token("alice").await.expect("the lease is over by now");
    assert!(before.elapsed() <= LEASE + S);
    town.check_in_force(&third, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_was_garbled_is_as_unknown_as_one_that_was_lost() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.expire().await;
    town.provider.will([Incident::Garbled]);
    node.token("alice").await.expect_err("half an answer");
    assert!(town.row("alice").await.intent.is_some());
    town.pass(2 * S).await;
    let refused = node.token("alice").await.expect_err("spent");
    assert_eq!(reason(&refused), Some(Reason::RefreshOutcomeUnknown));
}
