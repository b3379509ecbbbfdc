//! Who waits, how many and how long; and connections that something is wrong with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use valetkey_core::ErrorCode;
use valetkey_oauth::Rotation;

use crate::provider::Incident;
use crate::town::{Node, Plan, Town, until};

const S: Duration = Duration::from_secs(1);

async fn held() -> (Town, Node, Arc<Semaphore>) {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.expire().await;
    let gate = Arc::new(Semaphore::new(0));
    town.provider.will([Incident::Held(Arc::clone(&gate))]);
    (town, node, gate)
}

#[tokio::test(start_paused = true)]
async fn b57_a_thousand_callers_wait_and_more_are_told_to_come_back() {
    let (town, node, gate) = held().await;
    let calls: Vec<_> = (0..1_000).map(|_| node.call("alice")).collect();
    until(|| town.provider.sent().len() == 1).await;
    town.pass(S).await;
    for _ in 0..10 {
        let refused = node.token("alice").await.expect_err("too many wait");
        assert_eq!(refused.code, ErrorCode::RefreshBusy);
        assert!(refused.retry_after.is_some());
    }
    assert!(calls.iter().all(|call| !call.is_finished()));
    gate.add_permits(1);
    for call in calls {
        let token = call.await.expect("no panic").expect("a token");
        assert_eq!(token.access_token.expose(), "access-2");
    }
    assert_eq!(town.provider.sent().len(), 1);
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn b56_b57_a_caller_waits_as_long_as_it_can_and_the_refresh_goes_on() {
    let plan = Plan {
        settings: |settings| settings.refresh_patience = S,
        ..Plan::of(Rotation::SingleUse)
    };
    let (town, node) = Town::with_alice(plan).await;
    town.expire().await;
    town.provider.will([Incident::Slow(20 * S)]);
    let gone = node.call("alice");
    let before = tokio::time::Instant::now();
    let refused = node.token("alice").await.expect_err("its time is up");
    assert_eq!((before.elapsed(), refused.code), (S, ErrorCode::RefreshBusy));
    gone.abort();
    town.pass(20 * S).await;
    assert_eq!(node.token_text("alice").await, "access-2");
    assert_eq!(town.provider.sent().len(), 1);
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g51_a_connection_whose_refresh_panics_disturbs_nobody_else() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::Overlap)).await;
    node.connect("bob").await;
    town.expire().await;
    town.provider.always(Some(Incident::Panic));
    let poisoned = node.token("alice").await.expect_err("it panicked");
    assert_eq!(poisoned.code, ErrorCode::Internal);
    let sent = town.provider.sent().len();
    for _ in 0..100 {
        let refused = node.token("alice").await.expect_err("not again at once");
        assert!(refused.retry_after.is_some());
    }
    assert_eq!(town.provider.sent().len(), sent);
    town.provider.always(None);
    node.token("bob").await.expect("a token");
    for _ in 0..120 {
        if node.token("alice").await.is_ok() {
            break;
        }
        town.pass(S).await;
    }
    town.check_in_force(&node, "alice").await;
    assert_eq!(node.counted("valetkey_refresh_total{outcome=\"panicked\"}"), 1);
}

#[tokio::test(start_paused = true)]
async fn g51_a_connection_that_always_fails_is_tried_less_and_less() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::Overlap)).await;
    town.expire().await;
    town.provider
        .always(Some(Incident::Refuse(400, "something_strange", None)));
    for _ in 0..3_600 {
        node.token("alice").await.expect_err("refused");
        town.pass(S).await;
    }
    let times = town.provider.times();
    assert!((60..=180).contains(&times.len()), "{} requests in an hour", times.len());
    let early = times.iter().filter(|t| t.as_secs() < times[0].as_secs() + 60).count();
    assert!(early >= 4, "and soon at first: {early}");
    assert_eq!(town.row("alice").await.state.word(), "active");
}
