//! Several processes over one store: one refresh for all of them, whoever is slow, cut off or late.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use valetkey_core::ErrorCode;
use valetkey_engine::Reason;
use valetkey_oauth::Rotation;

use crate::faults::Fault;
use crate::provider::Incident;
use crate::support::reason;
use crate::town::{Node, Plan, Town, key_of, until};

const S: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(40);
const STALE: Duration = Duration::from_secs(3_400);

/// A refresh under way on the first process: the provider has acted, and its answer waits.
async fn under_way(rotation: Rotation) -> (Town, Node, Arc<Semaphore>) {
    let plan = Plan {
        settings: |settings| settings.refresh_patience = Duration::from_secs(600),
        ..Plan::of(rotation)
    };
    let (town, node) = Town::with_alice(plan).await;
    town.expire().await;
    let gate = Arc::new(Semaphore::new(0));
    town.provider.will([Incident::Held(Arc::clone(&gate))]);
    (town, node, gate)
}

/// Cuts a process off from its store.
fn cut_off(node: &Node) {
    node.faults.go_down();
}

#[tokio::test(start_paused = true)]
async fn g36_three_processes_with_a_thousand_callers_each_make_one_request() {
    let (town, first, gate) = under_way(Rotation::SingleUseRevokesFamily).await;
    let nodes = [first, town.start().await, town.start().await];
    let calls: Vec<_> = (0..3_000).map(|n| nodes[n % 3].call("alice")).collect();
    town.pass(3 * S).await;
    gate.add_permits(1);
    for call in calls {
        let token = call.await.expect("no panic").expect("a token");
        assert_eq!(token.access_token.expose(), "access-2");
    }
    assert_eq!(town.provider.sent(), ["refresh-1"]);
    for node in &nodes {
        town.check_in_force(node, "alice").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_another_process_adopts_the_winners_pair_soon() {
    let (town, one, gate) = under_way(Rotation::SingleUse).await;
    let two = town.start().await;
    let first = one.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    let second = two.call("alice");
    town.pass(20 * S).await;
    assert!(!second.is_finished());
    let before = tokio::time::Instant::now();
    gate.add_permits(1);
    first.await.expect("no panic").expect("a token");
    second.await.expect("no panic").expect("a token");
    assert!(before.elapsed() <= S, "{:?}", before.elapsed());
    assert_eq!(two.counted("valetkey_refresh_total{outcome=\"adopted\"}"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_another_process_is_told_the_winners_failure_by_trying_itself() {
    let (town, one, _gate) = under_way(Rotation::SingleUse).await;
    let two = town.start().await;
    town.provider.always(Some(Incident::NotSent));
    one.faults.once("claim_refresh", Fault::After);
    let first = one.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    let second = two.call("alice");
    town.pass(S).await;
    one.kill();
    town.pass(LEASE).await;
    let refused = second.await.expect("no panic").expect_err("not sent");
    assert_eq!(refused.code, ErrorCode::ProviderUnavailable);
    assert_eq!(town.provider.sent().len(), 2);
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn a_still_valid_token_is_served_while_another_process_renews_it() {
    let (town, one) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    town.pass(STALE).await;
    let gate = Arc::new(Semaphore::new(0));
    town.provider.will([Incident::Held(Arc::clone(&gate))]);
    one.token("alice").await.expect("the old token");
    until(|| town.provider.sent().len() == 1).await;
    let two = town.start().await;
    for _ in 0..10 {
        let before = tokio::time::Instant::now();
        assert_eq!(two.token_text("alice").await, "access-1");
        assert!(before.elapsed() < S);
        town.pass(S).await;
    }
    gate.add_permits(1);
    town.pass(S).await;
    assert_eq!(two.token_text("alice").await, "access-2");
    assert_eq!(town.provider.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn g37_a_holder_that_stood_still_is_believed_if_nobody_has_a_newer_pair() {
    let (town, paused, gate) = under_way(Rotation::SingleUse).await;
    let waiting = paused.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    paused.faults.set("extend_lease", Fault::Before, 0, usize::MAX);
    let other = town.start().await;
    town.pass(120 * S).await;
    let refused = other.token("alice").await.expect_err("the token was spent");
    assert_eq!(reason(&refused), Some(Reason::RefreshOutcomeUnknown));
    gate.add_permits(1);
    waiting.await.expect("no panic").expect("the paused one has the pair");
    town.pass(S).await;
    town.check_in_force(&paused, "alice").await;
    town.check_in_force(&other, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g37_a_holder_that_stood_still_is_dropped_if_somebody_has_a_newer_pair() {
    let (town, paused, gate) = under_way(Rotation::Leeway(600)).await;
    let waiting = paused.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    paused.faults.set("extend_lease", Fault::Before, 0, usize::MAX);
    let other = town.start().await;
    town.pass(120 * S).await;
    assert_eq!(other.token_text("alice").await, "access-3");
    gate.add_permits(1);
    let adopted = waiting.await.expect("no panic").expect("the winner's");
    assert_eq!(adopted.access_token.expose(), "access-3");
    assert_eq!(paused.counted("valetkey_refresh_total{outcome=\"lost_race\"}"), 1);
    town.check_in_force(&paused, "alice").await;
    assert!(town.provider.revoked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn g37_a_process_that_stood_still_before_it_sent_does_not_send_late() {
    let plan = Plan {
        settings: |settings| settings.refresh_patience = Duration::from_secs(600),
        ..Plan::of(Rotation::SingleUseRevokesFamily)
    };
    let (town, paused) = Town::with_alice(plan).await;
    town.expire().await;
    // The intent is written; the process hears of it only two minutes later.
    paused.faults.stall("claim_refresh", 120 * S);
    let waiting = paused.call("alice");
    until(|| paused.faults.calls("claim_refresh") == 1).await;
    let other = town.start().await;
    town.pass(60 * S).await;
    assert_eq!(other.token_text("alice").await, "access-2");
    let late = waiting.await.expect("no panic").expect("the winner's");
    assert_eq!(late.access_token.expose(), "access-2");
    assert_eq!(
        town.provider.sent(),
        ["refresh-1"],
        "a second use would have ended the family"
    );
    town.check_in_force(&paused, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g37_a_process_that_stood_still_alone_knows_that_it_sent_nothing() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUseRevokesFamily)).await;
    town.pass(STALE).await;
    node.faults.stall("claim_refresh", 60 * S);
    assert_eq!(node.token_text("alice").await, "access-1");
    node.settle().await;
    assert_eq!(
        node.token_text("alice").await,
        "access-2",
        "renewed, although its outcome would be a risk"
    );
    assert_eq!(node.faults.calls("claim_refresh"), 2);
    assert_eq!(town.provider.sent(), ["refresh-1"]);
    town.check_in_force(&node, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g38_who_lost_the_lease_cannot_release_anothers() {
    let (town, slow, gate) = under_way(Rotation::Overlap).await;
    town.provider.will([Incident::Held(Arc::clone(&gate))]);
    let waiting = slow.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    slow.faults.set("extend_lease", Fault::Before, 0, usize::MAX);
    let other = town.start().await;
    town.pass(LEASE).await;
    let second = other.call("alice");
    until(|| town.provider.sent().len() == 2).await;
    let held = town.row("alice").await.intent.expect("the other's intent");
    let released = valetkey_store::Refreshes::release_refresh(
        &*slow.faults,
        &key_of("alice"),
        town.row("alice").await.generation,
        "somebody else",
        valetkey_store::rows::Released::default(),
        None,
    )
    .await
    .expect("an answer");
    assert!(matches!(released, valetkey_store::rows::Committed::Lost(Some(_))));
    assert_eq!(town.row("alice").await.intent, Some(held));
    gate.add_permits(2);
    let one = waiting.await.expect("no panic").expect("a token");
    let two = second.await.expect("no panic").expect("a token");
    assert_eq!(
        one.access_token.expose(),
        two.access_token.expose(),
        "one of the two is in force"
    );
    assert!(town.provider.accepts(one.access_token.expose()));
    assert_eq!(town.row("alice").await.intent, None);
}

#[tokio::test(start_paused = true)]
async fn g39_a_lease_lasts_as_long_as_the_request_and_a_request_not_as_long_as_a_lease() {
    let plan = Plan {
        settings: |settings| {
            settings.token_timeout = Duration::from_secs(300);
            settings.refresh_patience = Duration::from_secs(600);
        },
        ..Plan::of(Rotation::SingleUseRevokesFamily)
    };
    let (town, node) = Town::with_alice(plan).await;
    town.expire().await;
    town.provider.will([Incident::Slow(29 * S)]);
    let before = tokio::time::Instant::now();
    node.token("alice").await.expect("slow, and in time");
    assert_eq!(before.elapsed().as_secs(), 29);
    assert_eq!(node.faults.calls("extend_lease"), 2, "after each third of the lease");
    town.check_in_force(&node, "alice").await;
    assert_eq!(town.provider.sent().len(), 1);

    town.pass(STALE).await;
    town.provider.will([Incident::Slow(100 * S)]);
    node.token("alice").await.expect("the old token");
    town.pass(29 * S).await;
    assert!(town.row("alice").await.intent.expect("under way").lease_until > valetkey_core::Clock::now(&*town.clock));
    town.pass(2 * S).await;
    assert_eq!(
        node.counted("valetkey_refresh_total{outcome=\"uncertain\"}"),
        1,
        "three quarters of a lease"
    );
}

#[tokio::test(start_paused = true)]
async fn g39_another_process_does_not_take_over_what_is_being_waited_for() {
    let (town, slow, gate) = under_way(Rotation::SingleUseRevokesFamily).await;
    let first = slow.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    let other = town.start().await;
    let second = other.call("alice");
    town.pass(5 * LEASE).await;
    assert_eq!(town.provider.sent().len(), 1, "the lease is renewed all the time");
    gate.add_permits(1);
    first.await.expect("no panic").expect("a token");
    second.await.expect("no panic").expect("a token");
    town.check_in_force(&other, "alice").await;
}

#[tokio::test(start_paused = true)]
async fn g40_cut_off_from_the_store_while_the_provider_answers() {
    for rotation in [Rotation::Overlap, Rotation::Leeway(600), Rotation::SingleUse] {
        let (town, cut, gate) = under_way(rotation).await;
        let waiting = cut.call("alice");
        until(|| town.provider.sent().len() == 1).await;
        cut_off(&cut);
        gate.add_permits(1);
        let served = waiting.await.expect("no panic").expect("from memory");
        assert_eq!(served.access_token.expose(), "access-2");
        let other = town.start().await;
        let busy = other.call("alice");
        town.pass(20 * S).await;
        assert!(!busy.is_finished(), "not before the lease is over");
        assert_eq!(town.provider.sent().len(), 1);
        let there = busy.await.expect("no panic");
        assert_eq!(town.provider.sent().len(), 2, "{rotation:?}");
        match rotation {
            Rotation::SingleUse => {
                assert_eq!(reason(&there.expect_err("spent")), Some(Reason::RefreshOutcomeUnknown));
            }
            _ => assert_eq!(there.expect("a token").access_token.expose(), "access-3"),
        }
        cut.faults.lift();
        town.pass(6 * S).await;
        cut.settle().await;
        town.check_in_force(&cut, "alice").await;
        town.check_in_force(&other, "alice").await;
        assert_eq!(cut.disk.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn g43_a_connection_that_is_ended_during_a_refresh_stays_ended() {
    let (town, node, gate) = under_way(Rotation::SingleUse).await;
    let waiting = node.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    let other = town.start().await;
    other.disconnect("alice").await;
    gate.add_permits(1);
    let refused = waiting.await.expect("no panic").expect_err("ended");
    assert!(refused.retry_after.is_some());
    node.settle().await;
    assert_eq!(town.row("alice").await.state.word(), "disconnected");
    assert!(
        town.provider.revoked().contains(&"refresh-2".to_owned()),
        "the late pair is revoked"
    );
    let refused = node.token("alice").await.expect_err("ended");
    assert_eq!(reason(&refused), Some(Reason::NoToken));
}

#[tokio::test(start_paused = true)]
async fn g43_a_connector_that_is_deleted_during_a_refresh_takes_its_connections_along() {
    let (town, node, gate) = under_way(Rotation::SingleUse).await;
    let waiting = node.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    let other = town.start().await;
    other.delete_connector().await;
    gate.add_permits(1);
    waiting.await.expect("no panic").expect_err("ended");
    node.settle().await;
    node.token("alice").await.expect_err("nothing there");
}

#[tokio::test(start_paused = true)]
async fn g43_a_connection_that_is_made_at_the_end_of_a_deletion_is_revoked_too() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    let other = town.start().await;
    // Nobody is connected any more when it looks, and then somebody is.
    other.faults.set("delete_connector", Fault::Hang, 0, 1);
    let deletion = other.delete_connector();
    let meanwhile = async {
        until(|| other.faults.calls("delete_connector") == 1).await;
        node.connect("bob").await;
        assert!(town.provider.newest("bob").is_some());
        other.faults.lift();
    };
    tokio::join!(deletion, meanwhile);
    other.settle().await;
    assert_eq!(other.faults.calls("delete_connector"), 2);
    assert!(
        town.provider.revoked().contains(&"refresh-2".to_owned()),
        "the provider knows"
    );
    // As long as a process believes what it read.
    town.pass(S).await;
    node.token("bob").await.expect_err("nothing there");
}

#[tokio::test(start_paused = true)]
async fn g44_connecting_again_during_a_refresh_wins() {
    let (town, node, gate) = under_way(Rotation::SingleUse).await;
    let waiting = node.call("alice");
    until(|| town.provider.sent().len() == 1).await;
    node.connect("alice").await;
    let newest = town.provider.newest("alice").expect("a new family");
    gate.add_permits(1);
    let served = waiting.await.expect("no panic").expect("the new family's");
    assert_eq!(*served.access_token.expose(), newest);
    town.check_in_force(&node, "alice").await;
    assert!(
        !town.provider.revoked().contains(&newest),
        "the late pair's end must not be the new family's"
    );
}
