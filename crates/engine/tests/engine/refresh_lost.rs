//! Answers that get lost, by rotation: what is sent again, when, and what becomes of the grant.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use valetkey_core::ErrorCode;
use valetkey_engine::Reason;
use valetkey_oauth::Rotation;

use crate::provider::Incident;
use crate::support::reason;
use crate::town::{Plan, Town, until};

const S: Duration = Duration::from_secs(1);

/// Old enough to be renewed in the background, young enough to work: a token that lives an hour.
const STALE: Duration = Duration::from_secs(3_400);

#[tokio::test(start_paused = true)]
async fn b52_a_request_that_never_left_leaves_nothing_behind() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUseRevokesFamily)).await;
    town.expire().await;
    town.provider.will([Incident::NotSent]);
    let refused = node.token("alice").await.expect_err("not sent");
    assert_eq!(refused.code, ErrorCode::ProviderUnavailable);
    assert!(refused.retry_after.is_some(), "{refused:?}");
    assert_eq!(town.row("alice").await.intent, None, "nothing is unknown");
    town.pass(2 * S).await;
    town.check_in_force(&node, "alice").await;
    assert_eq!(town.provider.sent(), ["refresh-1", "refresh-1"]);
}

#[tokio::test(start_paused = true)]
async fn b53_where_a_token_may_be_sent_again_callers_see_one_slow_success() {
    for rotation in [
        Rotation::None,
        Rotation::Overlap,
        Rotation::Idempotent,
        Rotation::Leeway(20),
    ] {
        for lost in [Incident::LostBefore, Incident::LostAfter] {
            let (town, node) = Town::with_alice(Plan::of(rotation)).await;
            town.expire().await;
            town.provider.will([lost.clone(), lost.clone(), lost]);
            let before = tokio::time::Instant::now();
            node.token("alice").await.expect("a slow success");
            assert_eq!(before.elapsed().as_secs(), 10, "at once, after 2 s, after 8 s");
            assert_eq!(town.provider.sent(), ["refresh-1"; 4], "{rotation:?}");
            town.check_in_force(&node, "alice").await;
            assert_eq!(node.counted("valetkey_refresh_unknown_total{outcome=\"recovered\"}"), 1);
            assert_eq!(town.audit("token.refresh").await[0].details["recovered"], true);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b53_a_gateways_error_within_the_leeway_is_asked_again_before_it_ends() {
    for incident in [Incident::Gateway, Incident::Garbled] {
        let (town, node) = Town::with_alice(Plan::of(Rotation::Leeway(10))).await;
        town.expire().await;
        town.provider.will([incident]);
        node.token("alice").await.expect("a token");
        town.check_in_force(&node, "alice").await;
        assert_eq!(town.provider.sent().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn b53_a_single_use_token_that_the_provider_never_saw_is_saved_by_one_repetition() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.expire().await;
    town.provider.will([Incident::LostBefore]);
    node.token("alice").await.expect("a token");
    town.check_in_force(&node, "alice").await;
    assert_eq!(town.provider.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn b54_a_single_use_token_that_was_used_is_repeated_once_and_told_as_a_lost_answer() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.expire().await;
    town.provider.will([Incident::LostAfter]);
    for _ in 0..100 {
        let refused = node.token("alice").await.expect_err("the pair is lost");
        assert_eq!(reason(&refused), Some(Reason::RefreshOutcomeUnknown));
        town.pass(S).await;
    }
    assert_eq!(town.provider.sent().len(), 2);
    let row = town.row("alice").await;
    assert_eq!(row.state.cause(), Some("refresh_outcome_unknown"));
    assert!(row.grant.is_some(), "kept, sealed, until somebody connects again");
    let told = town.audit("token.refresh").await;
    assert_eq!(told.last().expect("a record").outcome, "refresh_outcome_unknown");
    assert_eq!(told.last().expect("a record").details["to"], "reauthorize");
    assert_eq!(
        node.counted("valetkey_connection_state_total{state=\"refresh_outcome_unknown\"}"),
        1
    );
    node.connect("alice").await;
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn b54_a_family_that_reuse_would_end_is_not_risked_while_its_access_token_works() {
    for (lost, saved) in [(Incident::LostBefore, true), (Incident::LostAfter, false)] {
        let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUseRevokesFamily)).await;
        town.pass(STALE).await;
        town.provider.will([lost]);
        for _ in 0..190 {
            let served = node.token_text("alice").await;
            assert_eq!(served, "access-1");
            assert!(town.provider.accepts(&served), "the old token goes on working");
            town.pass(S).await;
        }
        assert_eq!(town.provider.sent().len(), 1);
        town.pass(15 * S).await;
        let last = node.token("alice").await;
        assert_eq!(town.provider.sent().len(), 2, "one last attempt");
        if saved {
            last.expect("the provider had never seen the first");
            town.check_in_force(&node, "alice").await;
        } else {
            assert_eq!(reason(&last.expect_err("lost")), Some(Reason::RefreshOutcomeUnknown));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b54_a_rejected_access_token_ends_the_wait_for_its_end() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUseRevokesFamily)).await;
    town.pass(STALE).await;
    town.provider.will([Incident::LostBefore]);
    node.token("alice").await.expect("the old token");
    node.settle().await;
    assert_eq!(node.token_text("alice").await, "access-1");
    let other = node.token_instead("alice", "access-1").await.expect("another token");
    assert_ne!(other.access_token.expose(), "access-1");
    town.check_in_force(&node, "alice").await;
    assert_eq!(town.provider.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_no_verdict_however_long_it_lasts() {
    for rotation in [
        Rotation::SingleUse,
        Rotation::SingleUseRevokesFamily,
        Rotation::Leeway(10),
    ] {
        let (town, node) = Town::with_alice(Plan::of(rotation)).await;
        town.expire().await;
        town.provider.always(Some(Incident::LostBefore));
        for _ in 0..200 {
            let refused = node.token("alice").await.expect_err("no answer");
            assert_eq!(refused.code, ErrorCode::ProviderUnavailable);
            town.pass(30 * S).await;
        }
        let sent = town.provider.sent().len();
        assert!((10..=60).contains(&sent), "{sent} requests in 100 minutes");
        town.provider.always(None);
        town.pass(301 * S).await;
        node.token("alice").await.expect("the grant was alive all the time");
        town.check_in_force(&node, "alice").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_unknown_stays_unknown_when_the_provider_fails_next() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.expire().await;
    town.provider.will([
        Incident::LostAfter,
        Incident::Refuse(503, "temporarily_unavailable", None),
    ]);
    node.token("alice").await.expect_err("unavailable");
    assert!(town.row("alice").await.intent.is_some());
    town.pass(S).await;
    let refused = node.token("alice").await.expect_err("spent");
    assert_eq!(reason(&refused), Some(Reason::RefreshOutcomeUnknown));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_change_was_not_spent_by_a_lost_answer() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::None)).await;
    town.expire().await;
    town.provider.will([Incident::LostAfter]);
    town.provider.revoke_account("alice");
    let refused = node.token("alice").await.expect_err("revoked");
    assert_eq!(reason(&refused), Some(Reason::TokenRevoked));
}

#[tokio::test(start_paused = true)]
async fn an_access_token_that_dies_with_the_refresh_is_not_served_once_that_was_sent() {
    let plan = Plan {
        access_dies: true,
        ..Plan::of(Rotation::SingleUse)
    };
    let (town, node) = Town::with_alice(plan).await;
    town.pass(STALE).await;
    let gate = Arc::new(Semaphore::new(0));
    town.provider.will([Incident::Held(Arc::clone(&gate))]);
    assert_eq!(node.token_text("alice").await, "access-1", "nothing was sent yet");
    until(|| town.provider.sent().len() == 1).await;
    let waiting = node.call("alice");
    town.pass(5 * S).await;
    assert!(!waiting.is_finished(), "the old token is dead by now");
    gate.add_permits(1);
    let served = waiting.await.expect("no panic").expect("the new token");
    assert!(town.provider.accepts(served.access_token.expose()));
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn an_access_token_lives_on_when_the_refresh_that_would_end_it_never_left() {
    let plan = Plan {
        access_dies: true,
        ..Plan::of(Rotation::SingleUse)
    };
    let (town, node) = Town::with_alice(plan).await;
    town.pass(STALE).await;
    town.provider.will([Incident::NotSent]);
    node.token("alice").await.expect("the old token");
    node.settle().await;
    assert_eq!(node.token_text("alice").await, "access-1");
}
