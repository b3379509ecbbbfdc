use std::time::Duration;

use valetkey_core::{ConnectionKey, Owner, Timestamp};
use valetkey_store::Store;
use valetkey_store::rows::{Claim, Committed, ConnectionRow, ConnectionState, Intent, JobRow};

use crate::Engine;
use crate::fixtures::{
    NOW, audit, connection, connector_id, grant, home, job, key, key_of, owner, race, records, space,
};

/// Until when tombstones stay.
const UNTIL: Timestamp = Timestamp(NOW.0 + 1_000);

async fn put(store: &dyn Store, row: ConnectionRow) -> Committed {
    store
        .put_connection(row, audit("connection.connect"))
        .await
        .expect("an answer")
}

async fn get(store: &dyn Store, key: &ConnectionKey) -> Option<ConnectionRow> {
    store.get_connection(key).await.expect("read")
}

async fn disconnect(store: &dyn Store, key: &ConnectionKey, generation: i64) -> Committed {
    store
        .disconnect(key, generation, UNTIL, None, audit("connection.disconnect"))
        .await
        .expect("an answer")
}

async fn disconnected(store: &dyn Store, key: &ConnectionKey, generation: i64) {
    assert!(matches!(disconnect(store, key, generation).await, Committed::Done(_)));
}

pub(crate) async fn a_connection_is_read_back_as_it_was_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let mut thin = grant(2);
    (
        thin.sealed_refresh,
        thin.expires_at,
        thin.lifetime_ms,
        thin.refresh_expires_at,
    ) = (None, None, None, None);
    (thin.scopes, thin.metadata) = (vec![], serde_json::Map::new());
    let bare = ConnectionRow {
        state: ConnectionState::Reauthorize("token_revoked".to_owned()),
        grant: Some(thin),
        account_id: None,
        account_label: None,
        ..connection(key("slack", Owner::Shared, "Zweitkonto für Köln"), i64::MAX)
    };
    let full = ConnectionRow {
        refreshed_at: Some(Timestamp(-1)),
        due_at: Some(Timestamp(-2)),
        used_at: Timestamp(-3),
        notice: Some("expires".to_owned()),
        ..connection(key_of("ada"), 1)
    };
    for row in [full, bare] {
        assert_eq!(put(&*store, row.clone()).await, Committed::Done(Box::new(row.clone())));
        assert_eq!(get(&*store, &row.key).await, Some(row));
    }
    let mut elsewhere = key_of("ada");
    elsewhere.space = space("other");
    for other in [
        key_of("bob"),
        key("notion", owner("ada"), "default"),
        key("slack", owner("ada"), "x"),
        elsewhere,
    ] {
        assert_eq!(get(&*store, &other).await, None);
    }
}

pub(crate) async fn a_connection_is_written_only_with_a_greater_generation(engine: &dyn Engine) {
    let store = engine.open().await;
    let first = connection(key_of("ada"), 5);
    put(&*store, first.clone()).await;
    for generation in [4, 5] {
        let row = ConnectionRow {
            grant: Some(grant(2)),
            ..connection(key_of("ada"), generation)
        };
        assert_eq!(put(&*store, row).await, Committed::Lost(Some(Box::new(first.clone()))));
    }
    let mut next = ConnectionRow {
        grant: Some(grant(3)),
        ..connection(key_of("ada"), 9)
    };
    (next.spec_version, next.account_id, next.connected_at) = (4, None, Timestamp(1));
    assert_eq!(
        put(&*store, next.clone()).await,
        Committed::Done(Box::new(next.clone()))
    );
    assert_eq!(get(&*store, &next.key).await, Some(next));
    assert_eq!(records(&*store, "connection.connect").await, 2);
}

pub(crate) async fn of_racing_connects_with_one_generation_one_is_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let answers = race(&store, 20, |store, _| async move {
        put(&*store, connection(key_of("ada"), 1)).await
    })
    .await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| matches!(answer, Committed::Done(_)))
            .count(),
        1
    );
}

pub(crate) async fn connecting_again_ends_the_intent(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = key_of("ada");
    put(&*store, connection(key.clone(), 1)).await;
    let lease = Duration::from_secs(60);
    let claim = store
        .claim_refresh(&key, 1, "one", NOW, lease)
        .await
        .expect("an answer");
    assert!(matches!(claim, Claim::Held { .. }));
    let intent = Intent {
        holder: "stray".to_owned(),
        lease_until: NOW,
        at: NOW,
        attempt: 0,
    };
    put(
        &*store,
        ConnectionRow {
            intent: Some(intent),
            ..connection(key.clone(), 2)
        },
    )
    .await;
    assert_eq!(get(&*store, &key).await, Some(connection(key.clone(), 2)));
    let claim = store
        .claim_refresh(&key, 2, "two", NOW, lease)
        .await
        .expect("an answer");
    assert!(matches!(claim, Claim::Held { previous: None, .. }));
}

pub(crate) async fn a_disconnect_leaves_a_tombstone(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = key_of("ada");
    let noticed = ConnectionRow {
        due_at: Some(NOW),
        notice: Some("unused".to_owned()),
        ..connection(key.clone(), 4)
    };
    put(&*store, noticed).await;
    store
        .claim_refresh(&key, 4, "one", NOW, Duration::from_secs(60))
        .await
        .expect("a claim");
    let tombstone = ConnectionRow {
        generation: 5,
        state: ConnectionState::Disconnected,
        grant: None,
        due_at: Some(UNTIL),
        ..connection(key.clone(), 4)
    };
    assert_eq!(
        disconnect(&*store, &key, 4).await,
        Committed::Done(Box::new(tombstone.clone()))
    );
    assert_eq!(get(&*store, &key).await, Some(tombstone));
}

pub(crate) async fn a_disconnect_needs_the_generation(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = connection(key_of("ada"), 4);
    put(&*store, row.clone()).await;
    for generation in [3, 5] {
        let lost = Committed::Lost(Some(Box::new(row.clone())));
        assert_eq!(disconnect(&*store, &row.key, generation).await, lost);
    }
    assert_eq!(get(&*store, &row.key).await, Some(row));
    assert_eq!(records(&*store, "connection.disconnect").await, 0);
}

pub(crate) async fn a_disconnect_and_its_job_come_together(engine: &dyn Engine) {
    let store = engine.open().await;
    let disconnect = async |uid: &str, generation, id: &str| {
        let job = JobRow {
            key: key_of(uid),
            ..job(id)
        };
        let record = audit("connection.disconnect");
        store
            .disconnect(&key_of(uid), generation, UNTIL, Some(job), record)
            .await
    };
    let jobs = async || {
        let due = store.claim_jobs(NOW, NOW, 10).await.expect("jobs");
        due.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    for uid in ["ada", "bob"] {
        put(&*store, connection(key_of(uid), 1)).await;
    }
    let lost = disconnect("ada", 2, "early").await.expect("an answer");
    assert!(matches!(lost, Committed::Lost(Some(_))));
    assert!(jobs().await.is_empty());
    let done = disconnect("ada", 1, "one").await.expect("an answer");
    assert!(matches!(done, Committed::Done(_)));
    assert_eq!(jobs().await, ["one"]);

    assert!(disconnect("bob", 1, "one").await.is_err(), "the id is taken");
    assert_eq!(get(&*store, &key_of("bob")).await, Some(connection(key_of("bob"), 1)));
    assert_eq!(records(&*store, "connection.disconnect").await, 1);
    assert_eq!(jobs().await, ["one"]);
}

pub(crate) async fn a_tombstone_is_not_disconnected_again(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, connection(key_of("ada"), 4)).await;
    let ended = race(&store, 10, |store, _| async move {
        disconnect(&*store, &key_of("ada"), 4).await
    })
    .await;
    let is_done = |ended: &&Committed| matches!(ended, Committed::Done(_));
    assert_eq!(ended.iter().filter(is_done).count(), 1);
    let tombstone = get(&*store, &key_of("ada")).await.expect("there");
    assert_eq!(tombstone.generation, 5);
    for generation in [4, 5] {
        let lost = Committed::Lost(Some(Box::new(tombstone.clone())));
        assert_eq!(disconnect(&*store, &key_of("ada"), generation).await, lost);
    }
    assert_eq!(disconnect(&*store, &key_of("nobody"), 1).await, Committed::Lost(None));
    assert_eq!(records(&*store, "connection.disconnect").await, 1);
}

pub(crate) async fn a_tombstone_is_replaced_only_by_a_greater_generation(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = key_of("ada");
    put(&*store, connection(key.clone(), 1)).await;
    disconnected(&*store, &key, 1).await;
    assert!(matches!(
        put(&*store, connection(key.clone(), 2)).await,
        Committed::Lost(Some(_))
    ));
    let row = connection(key.clone(), 3);
    assert_eq!(put(&*store, row.clone()).await, Committed::Done(Box::new(row.clone())));
    assert_eq!(get(&*store, &key).await, Some(row));
}

pub(crate) async fn connections_are_listed_by_owner_and_name_in_pages(engine: &dyn Engine) {
    let store = engine.open().await;
    let keys = [
        key("slack", Owner::Shared, "b"),
        key("slack", owner("ada"), "b"),
        key("slack", owner("ada"), "a"),
        key("slack", owner("Zoe"), "default"),
        key("slack", Owner::Shared, "a"),
        key("slack", owner("gone"), "default"),
        key("notion", owner("ada"), "a"),
    ];
    for key in keys {
        put(&*store, connection(key, 1)).await;
    }
    disconnected(&*store, &key_of("gone"), 1).await;
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let slack = connector_id("slack");
        let page = store
            .list_connections(&home(), &slack, after.as_ref(), 3)
            .await
            .expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        pages.push(
            page.into_iter()
                .map(|row| format!("{} {}", row.key.owner, row.key.name))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(
        pages,
        [
            vec!["shared a", "shared b", "user Zoe default"],
            vec!["user ada a", "user ada b"]
        ]
    );
}

pub(crate) async fn connections_are_read_together_by_their_keys(engine: &dyn Engine) {
    let store = engine.open().await;
    let mut elsewhere = key_of("ada");
    elsewhere.space = space("other");
    let stored = [
        key_of("ada"),
        key_of("bob"),
        key("notion", owner("ada"), "default"),
        key("slack", Owner::Shared, "a"),
        elsewhere.clone(),
    ];
    for key in &stored {
        put(&*store, connection(key.clone(), 1)).await;
    }
    disconnected(&*store, &key_of("bob"), 1).await;
    let wanted = [
        elsewhere,
        key_of("bob"),
        key("slack", Owner::Shared, "b"),
        key("slack", Owner::Shared, "a"),
        key_of("ada"),
    ];
    let mut rows = store.get_connections(&wanted).await.expect("read");
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let mut expected = Vec::new();
    for key in wanted {
        expected.extend(store.get_connection(&key).await.expect("read"));
    }
    expected.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(
        expected.len(),
        4,
        "one tombstone among them, and none of what there is not"
    );
    assert_eq!(rows, expected);
    assert!(store.get_connections(&[]).await.expect("read").is_empty());
}

pub(crate) async fn a_shared_account_is_noticed(engine: &dyn Engine) {
    let store = engine.open().await;
    let shares = async |key: ConnectionKey| store.shares_account(&key, "U123").await.expect("an answer");
    put(&*store, connection(key_of("ada"), 1)).await;
    put(&*store, connection(key("notion", owner("ada"), "default"), 1)).await;
    assert!(!shares(key_of("ada")).await, "itself and other connectors do not count");
    assert!(shares(key_of("bob")).await);
    assert!(shares(key("slack", owner("ada"), "second")).await);

    put(
        &*store,
        ConnectionRow {
            account_id: None,
            ..connection(key_of("bob"), 1)
        },
    )
    .await;
    assert!(!shares(key_of("ada")).await, "an unknown account is nobody's");

    put(&*store, connection(key_of("bob"), 2)).await;
    assert!(shares(key_of("ada")).await);
    disconnected(&*store, &key_of("bob"), 2).await;
    assert!(!shares(key_of("ada")).await, "a tombstone does not count");
}

pub(crate) async fn everything_survives_a_restart(engine: &dyn Engine) {
    let store = engine.open().await;
    let keys: Vec<_> = (0..300).map(|number| key_of(&format!("user-{number}"))).collect();
    let written = race(&store, 300, |store, number| async move {
        put(&*store, connection(key_of(&format!("user-{number}")), 1)).await
    })
    .await;
    assert!(written.iter().all(|answer| matches!(answer, Committed::Done(_))));
    drop(store);
    let store = engine.open().await;
    for key in keys {
        assert_eq!(get(&*store, &key).await, Some(connection(key, 1)));
    }
    assert_eq!(records(&*store, "connection.connect").await, 300);
}
