use std::time::Duration;

use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_store::Store;
use valetkey_store::rows::{Claim, Committed, ConnectionRow, ConnectionState, Intent, Released, Renewed};

use crate::Engine;
use crate::fixtures::{NOW, audit, connection, grant, key_of, later, race, records};

const LEASE: Duration = Duration::from_secs(60);

async fn connected(store: &dyn Store, generation: i64) -> ConnectionKey {
    let row = connection(key_of("ada"), generation);
    store
        .put_connection(row.clone(), audit("connection.connect"))
        .await
        .expect("written");
    row.key
}

async fn claim(store: &dyn Store, generation: i64, holder: &str, now: Timestamp) -> Claim {
    store
        .claim_refresh(&key_of("ada"), generation, holder, now, LEASE)
        .await
        .expect("an answer")
}

async fn finish(store: &dyn Store, generation: i64, mark: u8) -> Committed {
    let renewed = Renewed {
        grant: grant(mark),
        at: later(5),
        due_at: Some(later(500)),
    };
    store
        .finish_refresh(&key_of("ada"), generation, renewed, audit("token.refresh"))
        .await
        .expect("an answer")
}

async fn release(store: &dyn Store, generation: i64, holder: &str, state: Option<ConnectionState>) -> Committed {
    let record = state.is_some().then(|| audit("connection.state"));
    let released = Released { state, due_at: None };
    store
        .release_refresh(&key_of("ada"), generation, holder, released, record)
        .await
        .expect("an answer")
}

async fn stored(store: &dyn Store) -> ConnectionRow {
    store
        .get_connection(&key_of("ada"))
        .await
        .expect("read")
        .expect("there")
}

async fn disconnect(store: &dyn Store) {
    let generation = stored(store).await.generation;
    let ended = store
        .disconnect(
            &key_of("ada"),
            generation,
            later(9),
            None,
            audit("connection.disconnect"),
        )
        .await
        .expect("an answer");
    assert!(matches!(ended, Committed::Done(_)));
}

fn intent(holder: &str, at: Timestamp, attempt: i64) -> Intent {
    Intent {
        holder: holder.to_owned(),
        lease_until: at.plus(LEASE),
        at,
        attempt,
    }
}

pub(crate) async fn the_lease_is_held_by_one(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = connected(&*store, 3).await;
    let held = ConnectionRow {
        intent: Some(intent("one", NOW, 0)),
        ..connection(key, 3)
    };
    let first = claim(&*store, 3, "one", NOW).await;
    assert_eq!(
        first,
        Claim::Held {
            row: Box::new(held.clone()),
            previous: None
        }
    );
    assert_eq!(stored(&*store).await, held);
    for holder in ["two", "one"] {
        assert_eq!(
            claim(&*store, 3, holder, later(59_999)).await,
            Claim::Busy(later(60_000))
        );
    }
}

pub(crate) async fn of_racing_claims_one_is_held(engine: &dyn Engine) {
    let store = engine.open().await;
    connected(&*store, 3).await;
    let claims = race(&store, 50, |store, number| async move {
        claim(&*store, 3, &format!("holder-{number}"), NOW).await
    })
    .await;
    let (held, busy): (Vec<_>, Vec<_>) = claims
        .into_iter()
        .partition(|claim| matches!(claim, Claim::Held { .. }));
    assert_eq!(held.len(), 1);
    assert!(busy.iter().all(|claim| *claim == Claim::Busy(NOW.plus(LEASE))));
}

pub(crate) async fn a_lease_that_ended_is_taken_over_with_its_intent(engine: &dyn Engine) {
    let store = engine.open().await;
    connected(&*store, 3).await;
    claim(&*store, 3, "one", NOW).await;
    for (attempt, holder, before) in [(1, "two", "one"), (2, "three", "two")] {
        let now = later(60_000 * attempt);
        let Claim::Held { row, previous } = claim(&*store, 3, holder, now).await else {
            panic!("not held")
        };
        assert_eq!(row.intent, Some(intent(holder, now, attempt)));
        assert_eq!(
            previous,
            Some(intent(before, later(60_000 * (attempt - 1)), attempt - 1))
        );
        assert_eq!(stored(&*store).await, *row);
    }
}

pub(crate) async fn a_claim_needs_the_generation_and_an_active_connection(engine: &dyn Engine) {
    let store = engine.open().await;
    assert_eq!(claim(&*store, 1, "one", NOW).await, Claim::Gone);
    connected(&*store, 3).await;
    for generation in [2, 4] {
        let moved = Claim::Moved(Box::new(stored(&*store).await));
        assert_eq!(claim(&*store, generation, "one", NOW).await, moved);
    }
    claim(&*store, 3, "one", NOW).await;
    release(
        &*store,
        3,
        "one",
        Some(ConnectionState::Reauthorize("token_revoked".to_owned())),
    )
    .await;
    let moved = Claim::Moved(Box::new(stored(&*store).await));
    assert_eq!(claim(&*store, 3, "one", NOW).await, moved);
    disconnect(&*store).await;
    let moved = Claim::Moved(Box::new(stored(&*store).await));
    assert_eq!(claim(&*store, 4, "one", NOW).await, moved);
}

pub(crate) async fn a_new_pair_raises_the_generation_and_ends_the_intent(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = connected(&*store, 3).await;
    claim(&*store, 3, "one", NOW).await;
    let row = ConnectionRow {
        grant: Some(grant(7)),
        refreshed_at: Some(later(5)),
        due_at: Some(later(500)),
        ..connection(key, 4)
    };
    assert_eq!(finish(&*store, 3, 7).await, Committed::Done(Box::new(row.clone())));
    assert_eq!(stored(&*store).await, row);
    assert_eq!(records(&*store, "token.refresh").await, 1);
    assert!(matches!(
        claim(&*store, 4, "two", NOW).await,
        Claim::Held { previous: None, .. }
    ));
}

pub(crate) async fn a_second_finish_of_one_generation_is_lost(engine: &dyn Engine) {
    let store = engine.open().await;
    assert_eq!(finish(&*store, 3, 7).await, Committed::Lost(None));
    connected(&*store, 3).await;
    finish(&*store, 3, 7).await;
    let winner = stored(&*store).await;
    for generation in [2, 3, 5] {
        assert_eq!(
            finish(&*store, generation, 8).await,
            Committed::Lost(Some(Box::new(winner.clone())))
        );
    }
    assert_eq!(stored(&*store).await, winner);
    assert_eq!(records(&*store, "token.refresh").await, 1);
}

pub(crate) async fn of_racing_finishes_one_is_done(engine: &dyn Engine) {
    let store = engine.open().await;
    connected(&*store, 3).await;
    let answers = race(&store, 20, |store, _| async move { finish(&*store, 3, 7).await }).await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| matches!(answer, Committed::Done(_)))
            .count(),
        1
    );
    assert_eq!(stored(&*store).await.generation, 4);
}

pub(crate) async fn of_refreshes_at_the_same_time_each_gets_its_own_outcome(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = |number: u64| key_of(&format!("user-{number}"));
    for number in (0..80).filter(|number| number % 4 != 2) {
        let put = store.put_connection(connection(key(number), 3), audit("connection.connect"));
        assert!(matches!(put.await.expect("written"), Committed::Done(_)));
    }
    race(&store, 80, |store, number| async move {
        let key = key_of(&format!("user-{number}"));
        let renewed = Renewed {
            grant: grant(u8::try_from(number).expect("small")),
            at: later(5),
            due_at: None,
        };
        if number % 4 == 3 {
            let holder = format!("holder-{number}");
            let claim = store
                .claim_refresh(&key, 3, &holder, NOW, LEASE)
                .await
                .expect("an answer");
            assert!(matches!(claim, Claim::Held { row, previous: None }
                if row.key == key && row.intent == Some(intent(&holder, NOW, 0))));
            return;
        }
        let expected = if number % 4 == 1 { 2 } else { 3 };
        let finished = store.finish_refresh(&key, expected, renewed.clone(), audit("token.refresh"));
        match (number % 4, finished.await.expect("an answer")) {
            (0, Committed::Done(row)) => assert_eq!((row.key, row.grant), (key, Some(renewed.grant))),
            (1, Committed::Lost(Some(row))) => assert_eq!((row.key, row.generation), (key, 3)),
            (2, Committed::Lost(None)) => {}
            other => panic!("{other:?}"),
        }
    })
    .await;
    for number in (0..80).filter(|number| number % 4 == 0) {
        let row = store.get_connection(&key(number)).await.expect("read").expect("there");
        let own = grant(u8::try_from(number).expect("small"));
        assert_eq!((row.generation, row.grant), (4, Some(own)));
    }
    assert_eq!(records(&*store, "token.refresh").await, 20);
}

pub(crate) async fn a_refresh_under_way_cannot_bring_a_connection_back(engine: &dyn Engine) {
    let store = engine.open().await;
    connected(&*store, 3).await;
    claim(&*store, 3, "one", NOW).await;
    disconnect(&*store).await;
    let tombstone = stored(&*store).await;
    for generation in [3, 4] {
        assert_eq!(
            finish(&*store, generation, 7).await,
            Committed::Lost(Some(Box::new(tombstone.clone())))
        );
        let released = release(&*store, generation, "one", Some(ConnectionState::Active)).await;
        assert_eq!(released, Committed::Lost(Some(Box::new(tombstone.clone()))));
    }
    assert_eq!(stored(&*store).await, tombstone);
    assert_eq!(
        records(&*store, "token.refresh").await + records(&*store, "connection.state").await,
        0
    );
}

pub(crate) async fn a_release_frees_the_lease_and_keeps_the_generation(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = connected(&*store, 3).await;
    claim(&*store, 3, "one", NOW).await;
    let free = connection(key, 3);
    assert_eq!(
        release(&*store, 3, "one", None).await,
        Committed::Done(Box::new(free.clone()))
    );
    assert_eq!(stored(&*store).await, free);
    let next = claim(&*store, 3, "two", later(1)).await;
    let held = ConnectionRow {
        intent: Some(intent("two", later(1), 0)),
        ..free
    };
    assert_eq!(
        next,
        Claim::Held {
            row: Box::new(held),
            previous: None
        }
    );
}

pub(crate) async fn a_release_can_ask_for_a_person(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = connected(&*store, 3).await;
    claim(&*store, 3, "one", NOW).await;
    let state = ConnectionState::Reauthorize("refresh_token_expired".to_owned());
    let row = ConnectionRow {
        state: state.clone(),
        ..connection(key, 3)
    };
    assert_eq!(
        release(&*store, 3, "one", Some(state)).await,
        Committed::Done(Box::new(row.clone()))
    );
    assert_eq!(stored(&*store).await, row);
    assert_eq!(records(&*store, "connection.state").await, 1);
}

pub(crate) async fn only_the_holder_releases(engine: &dyn Engine) {
    let store = engine.open().await;
    assert_eq!(release(&*store, 3, "one", None).await, Committed::Lost(None));
    connected(&*store, 3).await;
    let state = ConnectionState::Reauthorize("token_revoked".to_owned());
    assert!(
        matches!(
            release(&*store, 3, "one", Some(state.clone())).await,
            Committed::Lost(Some(_))
        ),
        "no intent"
    );
    claim(&*store, 3, "one", NOW).await;
    let held = stored(&*store).await;
    for (generation, holder) in [(3, "two"), (2, "one"), (4, "one")] {
        let answer = release(&*store, generation, holder, Some(state.clone())).await;
        assert_eq!(answer, Committed::Lost(Some(Box::new(held.clone()))));
    }
    assert_eq!(stored(&*store).await, held);
    assert_eq!(records(&*store, "connection.state").await, 0);
}

pub(crate) async fn a_new_pair_makes_the_connection_active(engine: &dyn Engine) {
    let store = engine.open().await;
    connected(&*store, 3).await;
    claim(&*store, 3, "one", NOW).await;
    release(
        &*store,
        3,
        "one",
        Some(ConnectionState::Reauthorize("token_revoked".to_owned())),
    )
    .await;
    assert!(
        matches!(finish(&*store, 3, 7).await, Committed::Done(_)),
        "a pair that came late is still a pair"
    );
    let row = stored(&*store).await;
    assert_eq!((row.state, row.generation), (ConnectionState::Active, 4));
}

pub(crate) async fn an_intent_survives_a_restart(engine: &dyn Engine) {
    let store = engine.open().await;
    connected(&*store, 3).await;
    claim(&*store, 3, "one", NOW).await;
    drop(store);
    let store = engine.open().await;
    // An engine that knows that the holder is gone may give its lease away earlier; none may later.
    let taken_over = claim(&*store, 3, "two", NOW.plus(LEASE)).await;
    assert!(matches!(taken_over, Claim::Held { previous: Some(previous), .. } if previous.holder == "one"));
}
