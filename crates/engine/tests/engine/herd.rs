//! Many connections that are due together.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;
use valetkey_core::Clock as _;
use valetkey_engine::Settings;
use valetkey_oauth::Rotation;

use crate::faults::Fault;
use crate::provider::Incident;
use crate::stage::{DAY, HOUR, MINUTE, SECOND, Stage};
use crate::town::{Plan, Town};

/// Does rounds until something is so; what is held stays under way.
async fn until(stage: &Stage, what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        stage.engine().refresh_due().await.expect("a round");
        if is_so() {
            return;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    panic!("it never came to this: {what}");
}

fn count(stage: &Stage, host: &str) -> usize {
    let state = stage.provider.state();
    state.refreshes.iter().filter(|(at, _)| at == host).count()
}

#[tokio::test]
async fn g48_a_herd_is_renewed_before_it_expires_within_bounds_and_no_caller_waits() {
    let stage = Stage::new(Some(3_600)).await;
    for n in 0..4 {
        let (space, host) = (format!("s{n}"), format!("as{}.example", n % 2));
        stage.connector(&space, "crm", ".plain", &host).await;
        stage.connect_all(&space, "crm", 0..500).await;
        stage.clock.advance(15 * SECOND);
    }
    let made = stage.clock.now();
    let mut busiest = 0;
    let mut first = None;
    for step in 0..(58 * 4) {
        stage.clock.advance(15 * SECOND);
        let before = stage.provider.refresh_count();
        stage.work().await;
        let now = stage.provider.refresh_count();
        first = first.or((now > 0).then_some(step));
        busiest = busiest.max(now - before);
        if now >= 2_000 {
            break;
        }
    }
    let passed = stage.clock.now().since(made);
    assert_eq!(stage.provider.refresh_count(), 2_000);
    assert!(passed <= 56 * MINUTE, "all before the margin, in {passed:?}");
    assert!(
        first.is_some_and(|step| step >= 37 * 4),
        "none before its window: {first:?}"
    );
    assert!(
        busiest < 200,
        "spread over the window: {busiest} in one quarter of a minute"
    );
    {
        let state = stage.provider.state();
        assert!(state.reused.is_empty());
        assert_eq!(
            state.refreshes.iter().collect::<BTreeSet<_>>().len(),
            2_000,
            "each once"
        );
        assert!(state.most.values().all(|most| *most <= 32), "{:?}", state.most);
        assert!(state.most_in_total <= 64, "{}", state.most_in_total);
    }
    stage.clock.advance(2 * MINUTE);
    for n in 0..500 {
        let token = stage.token("s1", "crm", &format!("u{n}")).await.expect("a token");
        let left = token.expires_at.expect("an end").since(stage.clock.now());
        assert!(left > 5 * MINUTE, "{left:?}");
    }
    stage.replica.settle().await;
    assert_eq!(stage.provider.refresh_count(), 2_000, "no caller had to renew anything");
}

#[tokio::test]
async fn g49_after_a_long_stop_callers_come_first_and_the_rest_is_paced() {
    let mut stage = Stage::with(Some(3_600), |settings| settings.background_refreshes = 16).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connector("default", "other", ".plain", "other.example").await;
    stage.connect_all("default", "crm", 0..100).await;
    stage.connect_all("default", "other", 0..3).await;
    stage.clock.advance(2 * HOUR);
    stage.start_again().await;
    stage.replica.settle().await;
    assert_eq!(stage.provider.refresh_count(), 0, "a start renews nothing by itself");

    stage.provider.hold("as.example");
    let held = || stage.provider.under_way("as.example");
    until(&stage, "as much under way as may be", || held() == 14).await;
    let token = stage.token("default", "other", "u1").await;
    token.expect("a caller does not wait for the backlog");
    stage.provider.release("as.example");
    stage.work().await;
    assert_eq!(stage.provider.refresh_count(), 103);
    assert!(stage.provider.state().most_in_total <= 17, "and the one caller's");
}

#[tokio::test]
async fn a_space_with_a_backlog_does_not_hold_up_another() {
    let stage = Stage::with(Some(3_600), |settings| settings.background_refreshes = 8).await;
    for (space, users) in [("big", 300), ("small", 5)] {
        stage
            .connector(space, "crm", ".plain", &format!("{space}.example"))
            .await;
        stage.connect_all(space, "crm", 0..users).await;
        // The backlog of the big one is older.
        stage.clock.advance(30 * MINUTE);
    }
    stage.clock.advance(2 * HOUR);
    stage.provider.hold("big.example");
    until(&stage, "all of the small one, while the big one is stuck", || {
        count(&stage, "small.example") == 5
    })
    .await;
    let big = stage.provider.under_way("big.example");
    assert_eq!(big, 7, "one slot of eight is for others");
    stage.provider.release("big.example");
    stage.work().await;
    assert_eq!(stage.provider.refresh_count(), 305);
}

#[tokio::test]
async fn g50_a_slow_provider_has_its_own_slots_and_others_go_on() {
    let stage = Stage::with(Some(3_600), |settings| settings.background_refreshes_per_host = 4).await;
    for (name, users) in [("slow", 400), ("quick", 20)] {
        stage
            .connector("default", name, ".plain", &format!("{name}.example"))
            .await;
        stage.connect_all("default", name, 0..users).await;
        stage.clock.advance(10 * MINUTE);
    }
    stage.clock.advance(2 * HOUR);
    stage.provider.hold("slow.example");
    until(&stage, "all that is behind 400 which are due longer", || {
        count(&stage, "quick.example") == 20
    })
    .await;
    assert_eq!(stage.provider.under_way("slow.example"), 4);
    stage.provider.release("slow.example");
    stage.work().await;
    assert_eq!(stage.provider.refresh_count(), 420);
    assert_eq!(stage.provider.state().most["slow.example"], 4);
}

#[tokio::test]
async fn a_backlog_that_fills_the_whole_view_is_set_aside_for_what_is_behind_it() {
    let stage = Stage::with(Some(3_600), |settings| settings.background_refreshes_per_host = 1).await;
    stage.connector("default", "slow", ".plain", "slow.example").await;
    stage.connect_all("default", "slow", 0..4_200).await;
    stage.clock.advance(10 * MINUTE);
    stage.connector("default", "quick", ".plain", "quick.example").await;
    stage.connect_all("default", "quick", 0..3).await;
    stage.clock.advance(2 * HOUR);
    stage.provider.hold("slow.example");
    until(&stage, "what is behind more than one can see", || {
        count(&stage, "quick.example") == 3
    })
    .await;
    stage.provider.release("slow.example");
    stage.replica.settle().await;
}

#[tokio::test]
async fn g42_three_replicas_renew_each_connection_once() {
    let mut stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect_all("default", "crm", 0..150).await;
    let mut others = vec![stage.another().await, stage.another().await];
    for step in 0..60 {
        stage.clock.advance(MINUTE);
        if step == 45 {
            // One of them goes away in the middle.
            others.pop();
        }
        let first = &stage.replica;
        match &others[..] {
            [second, third] => {
                tokio::join!(first.work(), second.work(), third.work());
            }
            [second] => {
                tokio::join!(first.work(), second.work());
            }
            _ => {}
        }
    }
    let state = stage.provider.state();
    assert!(state.reused.is_empty(), "{:?}", state.reused);
    assert_eq!(state.refreshes.len(), 150);
}

#[tokio::test]
async fn background_work_can_be_turned_off() {
    let stage = Stage::with(Some(3_600), |settings| settings.background_refreshes = 0).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect("default", "crm", "ada", "ada").await;
    stage.live(DAY, HOUR).await;
    assert_eq!(stage.provider.refresh_count(), 0);
    stage.token("default", "crm", "ada").await.expect("a token on demand");
    assert_eq!(stage.provider.refresh_count(), 1);
}

/// Connects a hundred people, waits until all are due and renews them; what each kind of read was called meanwhile.
async fn reads_of_a_hundred(unreadable: bool) -> [usize; 2] {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    for n in 1..100 {
        node.connect(&format!("user-{n}")).await;
    }
    town.pass(55 * MINUTE).await;
    if unreadable {
        node.faults.set("get_connections", Fault::Before, 0, usize::MAX);
    }
    let calls = || ["get_connections", "get_connection"].map(|read| node.faults.calls(read));
    let before = calls();
    while node.engine.refresh_due().await.expect("a round").begun > 0 {
        node.settle().await;
    }
    assert_eq!(town.provider.sent().len(), 100);
    let after = calls();
    [after[0] - before[0], after[1] - before[1]]
}

#[tokio::test(start_paused = true)]
async fn what_is_due_together_is_read_together() {
    let [together, alone] = reads_of_a_hundred(false).await;
    assert!(together <= 4 && alone == 0, "{together} pages, {alone} connections");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_is_read_one_by_one() {
    let [_, alone] = reads_of_a_hundred(true).await;
    assert_eq!(alone, 100);
}

#[tokio::test(start_paused = true)]
async fn a_round_that_can_begin_nothing_lists_nothing() {
    let settings = |settings: &mut Settings| settings.background_refreshes = 8;
    let plan = Plan {
        settings,
        ..Plan::of(Rotation::SingleUse)
    };
    let (town, node) = Town::with_alice(plan).await;
    for n in 1..20 {
        node.connect(&format!("user-{n}")).await;
    }
    town.pass(55 * MINUTE).await;
    let hold = Arc::new(Semaphore::new(0));
    town.provider.always(Some(Incident::Held(Arc::clone(&hold))));
    let round = async || {
        let before = node.faults.calls("list_due");
        let round = node.engine.refresh_due().await.expect("a round");
        (round.begun, round.more, node.faults.calls("list_due") - before)
    };
    let (begun, more, _) = round().await;
    assert_eq!((begun, more), (7, true), "one slot of eight is for others");
    round().await;
    assert_eq!(round().await, (0, true, 1), "whether anything is due at all");

    town.provider.calm();
    hold.add_permits(7);
    node.settle().await;
    while round().await.0 > 0 {
        node.settle().await;
    }
    assert_eq!(town.provider.sent().len(), 20);
}
