use valetkey_core::Timestamp;
use valetkey_store::Store;
use valetkey_store::rows::{BoundBrowser, FlowRow, FlowState, Sealed, TakenFlow};

use crate::Engine;
use crate::fixtures::{NOW, audit, digest, flow, race, records, space};

async fn put(store: &dyn Store, row: &FlowRow) -> bool {
    store
        .put_flow(row.clone(), 3, audit("flow.start"))
        .await
        .expect("an answer")
}

async fn take(store: &dyn Store, row: &FlowRow) -> TakenFlow {
    store.take_flow(&row.state_hash, NOW).await.expect("an answer")
}

pub(crate) async fn a_flow_is_read_back_as_it_was_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let mut bare = flow(2, "ada");
    bare.ticket_hash = None;
    let mut bare_too = flow(3, "ada");
    bare_too.ticket_hash = None;
    bare_too.browser_hash = Some(digest(5));
    for row in [flow(1, "ada"), bare, bare_too] {
        assert!(put(&*store, &row).await);
        assert_eq!(store.get_flow(&row.state_hash).await.expect("read"), Some(row));
    }
    assert_eq!(store.get_flow(&digest(9)).await.expect("read"), None);
    let by_ticket = store.get_flow_by_ticket(&digest(1_000_001)).await.expect("read");
    assert_eq!(by_ticket, Some(flow(1, "ada")));
}

pub(crate) async fn an_owner_has_only_so_many_waiting_flows(engine: &dyn Engine) {
    let store = engine.open().await;
    let mut expired = flow(1, "ada");
    expired.expires_at = expired.created_at;
    for row in [expired, flow(2, "ada"), flow(3, "ada"), flow(4, "ada")] {
        assert!(put(&*store, &row).await);
    }
    assert!(!put(&*store, &flow(5, "ada")).await);
    assert_eq!(store.get_flow(&digest(5)).await.expect("read"), None);
    assert_eq!(records(&*store, "flow.start").await, 4);

    let mut elsewhere = flow(6, "ada");
    elsewhere.key.space = space("other");
    assert!(put(&*store, &elsewhere).await);
    assert!(put(&*store, &flow(7, "bob")).await);

    take(&*store, &flow(2, "ada")).await;
    assert!(put(&*store, &flow(5, "ada")).await);
}

pub(crate) async fn racing_starts_do_not_pass_the_limit(engine: &dyn Engine) {
    let store = engine.open().await;
    let added = race(&store, 40, |store, number| async move {
        put(&*store, &flow(number, "ada")).await
    })
    .await;
    assert_eq!(added.into_iter().filter(|added| *added).count(), 3);
}

pub(crate) async fn of_fifty_callbacks_one_takes_the_flow(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = flow(1, "ada");
    assert!(put(&*store, &row).await);
    let taken = race(
        &store,
        50,
        |store, _| async move { take(&*store, &flow(1, "ada")).await },
    )
    .await;
    let (winners, losers): (Vec<_>, Vec<_>) = taken
        .into_iter()
        .partition(|taken| matches!(taken, TakenFlow::Taken(_)));
    assert_eq!(winners, [TakenFlow::Taken(Box::new(row))]);
    assert!(losers.iter().all(|loser| *loser == TakenFlow::AlreadyUsed));
}

pub(crate) async fn a_taken_flow_is_erased_and_remembered(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = flow(1, "ada");
    assert!(put(&*store, &row).await);
    assert_eq!(take(&*store, &row).await, TakenFlow::Taken(Box::new(row.clone())));
    drop(store);
    let store = engine.open().await;
    let left = FlowRow {
        state: FlowState::Used,
        sealed: Sealed(vec![]),
        ..row.clone()
    };
    assert_eq!(store.get_flow(&row.state_hash).await.expect("read"), Some(left));
    assert_eq!(take(&*store, &row).await, TakenFlow::AlreadyUsed);
    assert_eq!(take(&*store, &flow(2, "ada")).await, TakenFlow::Unknown);
}

pub(crate) async fn an_expired_flow_is_removed_instead_of_taken(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = flow(1, "ada");
    assert!(put(&*store, &row).await);
    let taken = store
        .take_flow(&row.state_hash, row.expires_at)
        .await
        .expect("an answer");
    assert_eq!(taken, TakenFlow::Expired);
    assert_eq!(store.get_flow(&row.state_hash).await.expect("read"), None);
    assert_eq!(take(&*store, &row).await, TakenFlow::Unknown);
}

pub(crate) async fn a_taken_flow_is_kept_until_its_end_is_noted_once(engine: &dyn Engine) {
    let store = engine.open().await;
    let later = |ms| Timestamp(NOW.0 + ms);
    for number in [1, 2, 3] {
        assert!(put(&*store, &flow(number, "ada")).await);
    }
    for number in [2, 1] {
        let at = later(10 - i64::try_from(number).expect("small"));
        let taken = store.take_flow(&digest(number), at).await.expect("an answer");
        assert!(matches!(taken, TakenFlow::Taken(_)));
    }
    let taken = async |before, limit| {
        let rows = store.list_taken_flows(before, limit).await.expect("read");
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let [one, two] = [1, 2].map(|number| flow(number, "ada").id);
    assert_eq!(taken(later(8), 10).await, Vec::<String>::new());
    assert_eq!(taken(later(9), 10).await, std::slice::from_ref(&two));
    assert_eq!(taken(later(10), 10).await, [two.clone(), one]);
    assert_eq!(taken(later(10), 1).await, [two]);

    // It expires, but its end is still to be noted.
    let expired = Timestamp(flow(1, "ada").expires_at.0 + 1);
    let again = store.take_flow(&digest(1), expired).await.expect("an answer");
    assert_eq!(again, TakenFlow::Expired);
    assert_eq!(store.sweep_flows(expired, 10).await.expect("swept"), 1);
    assert!(store.get_flow(&digest(1)).await.expect("read").is_some());

    let ended = race(&store, 10, |store, _| async move {
        let record = Some(audit("flow.interrupted"));
        store.end_flow(&digest(1), record).await.expect("an answer")
    })
    .await;
    assert_eq!(ended.into_iter().filter(|ended| *ended).count(), 1);
    assert_eq!(records(&*store, "flow.interrupted").await, 1);
    assert!(store.end_flow(&digest(2), None).await.expect("an answer"));
    assert!(
        !store.end_flow(&digest(3), None).await.expect("an answer"),
        "nobody took it"
    );
    assert_eq!(taken(expired, 10).await, Vec::<String>::new());
    assert_eq!(store.sweep_flows(expired, 10).await.expect("swept"), 2);
}

pub(crate) async fn the_first_browser_is_bound(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = flow(1, "ada");
    let ticket = digest(1_000_001);
    assert!(put(&*store, &row).await);
    let bound = Box::new(FlowRow {
        browser_hash: Some(digest(77)),
        ..row
    });
    let first = store.bind_browser(&ticket, digest(77)).await.expect("an answer");
    assert_eq!(first, BoundBrowser::Bound(bound.clone()));
    let second = store.bind_browser(&ticket, digest(78)).await.expect("an answer");
    assert_eq!(second, BoundBrowser::Already(bound.clone()));
    assert_eq!(store.get_flow_by_ticket(&ticket).await.expect("read"), Some(*bound));
    assert_eq!(
        store.bind_browser(&digest(5), digest(78)).await.expect("an answer"),
        BoundBrowser::Unknown
    );
}

pub(crate) async fn of_racing_browsers_one_is_bound(engine: &dyn Engine) {
    let store = engine.open().await;
    assert!(put(&*store, &flow(1, "ada")).await);
    let answers = race(&store, 20, |store, number| async move {
        store
            .bind_browser(&digest(1_000_001), digest(number))
            .await
            .expect("an answer")
    })
    .await;
    let bound: Vec<_> = answers
        .iter()
        .filter(|answer| matches!(answer, BoundBrowser::Bound(_)))
        .collect();
    assert_eq!(bound.len(), 1);
}

pub(crate) async fn a_used_ticket_opens_nothing(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = flow(1, "ada");
    let ticket = digest(1_000_001);
    assert!(put(&*store, &row).await);
    take(&*store, &row).await;
    let used = store.get_flow_by_ticket(&ticket).await.expect("read").expect("a flow");
    assert_eq!(used.state, FlowState::Used);
    assert_eq!(
        store.bind_browser(&ticket, digest(7)).await.expect("an answer"),
        BoundBrowser::Unknown
    );
}

pub(crate) async fn sweeping_removes_what_ended_and_no_more_than_asked(engine: &dyn Engine) {
    let store = engine.open().await;
    for (number, uid) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        let mut row = flow(number, uid);
        row.expires_at = Timestamp(NOW.0 + i64::try_from(number).expect("small"));
        assert!(put(&*store, &row).await);
    }
    take(&*store, &flow(2, "b")).await;
    assert!(store.end_flow(&digest(2), None).await.expect("an answer"));
    let until = Timestamp(NOW.0 + 4);
    assert_eq!(store.sweep_flows(until, 2).await.expect("swept"), 2);
    assert_eq!(store.get_flow(&digest(1)).await.expect("read"), None);
    assert!(store.get_flow(&digest(3)).await.expect("read").is_some());
    assert_eq!(store.sweep_flows(until, 2).await.expect("swept"), 1);
    assert_eq!(store.sweep_flows(until, 2).await.expect("swept"), 0);
    assert!(store.get_flow(&digest(4)).await.expect("read").is_some());
}
