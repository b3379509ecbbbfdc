use std::time::Duration;

use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_store::Store;
use valetkey_store::rows::{Committed, ConnectionRow, ConnectorRow, GrantRow, Sealed};

use crate::Engine;
use crate::fixtures::{NOW, audit, connection, connector, grant, key, key_of, later, owner, records, space};

async fn put(store: &dyn Store, row: ConnectionRow) {
    let answer = store.put_connection(row, audit("connection.connect")).await;
    assert!(matches!(answer.expect("an answer"), Committed::Done(_)));
}

async fn get(store: &dyn Store, key: &ConnectionKey) -> Option<ConnectionRow> {
    store.get_connection(key).await.expect("read")
}

/// Makes a connection of generation 1 and ends it.
async fn end(store: &dyn Store, uid: &str, until: Timestamp) -> ConnectionRow {
    put(store, connection(key_of(uid), 1)).await;
    let ended = store
        .disconnect(&key_of(uid), 1, until, None, audit("connection.disconnect"))
        .await;
    match ended.expect("an answer") {
        Committed::Done(tombstone) => *tombstone,
        lost @ Committed::Lost(_) => panic!("{lost:?}"),
    }
}

pub(crate) async fn connectors_of_all_spaces_are_scanned_in_pages(engine: &dyn Engine) {
    let store = engine.open().await;
    for (space_id, id) in [("b", "x"), ("a", "y"), ("c", "x"), ("a", "x"), ("b", "a")] {
        let row = ConnectorRow {
            space: space(space_id),
            ..connector(id)
        };
        assert!(
            store
                .put_connector(row, audit("connector.create"))
                .await
                .expect("written")
        );
    }
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let begin = after.as_ref().map(|(space, id)| (space, id));
        let page = store.scan_connectors(begin, 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some((last.space.clone(), last.id.clone()));
        pages.push(
            page.into_iter()
                .map(|row| format!("{} {}", row.space, row.id))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(pages, [vec!["a x", "a y"], vec!["b a", "b x"], vec!["c x"]]);
}

pub(crate) async fn connections_of_all_spaces_are_scanned_without_tombstones(engine: &dyn Engine) {
    let store = engine.open().await;
    let mut elsewhere = key("slack", owner("ada"), "a");
    elsewhere.space = space("another");
    let keys = [
        key("slack", owner("bob"), "a"),
        key("slack", owner("ada"), "b"),
        key("notion", owner("zoe"), "a"),
        key("slack", owner("ada"), "a"),
        elsewhere,
    ];
    for key in keys {
        put(&*store, connection(key, 1)).await;
    }
    end(&*store, "another", NOW).await;
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let page = store.scan_connections(after.as_ref(), 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        pages.push(
            page.into_iter()
                .map(|row| {
                    let key = row.key;
                    format!("{} {} {} {}", key.space, key.connector, key.owner, key.name)
                })
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(
        pages,
        [
            vec!["another slack user ada a", "default notion user zoe a"],
            vec!["default slack user ada a", "default slack user ada b"],
            vec!["default slack user bob a"]
        ]
    );
}

pub(crate) async fn resealing_a_connector_needs_its_version_and_changes_nothing_else(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = ConnectorRow {
        version: 7,
        ..connector("slack")
    };
    assert!(
        store
            .put_connector(row.clone(), audit("connector.create"))
            .await
            .expect("written")
    );
    let reseal = async |space_id: &str, version| {
        store
            .reseal_connector(&space(space_id), &row.id, version, Sealed(vec![8, 8]))
            .await
            .expect("an answer")
    };
    for (space_id, version) in [("default", 6), ("default", 8), ("other", 7)] {
        assert!(!reseal(space_id, version).await);
        let stored = store.get_connector(&row.space, &row.id).await.expect("read");
        assert_eq!(stored.as_ref(), Some(&row));
    }
    assert!(reseal("default", 7).await);
    let resealed = ConnectorRow {
        sealed_secrets: Some(Sealed(vec![8, 8])),
        ..row.clone()
    };
    assert_eq!(
        store.get_connector(&row.space, &row.id).await.expect("read"),
        Some(resealed)
    );
}

pub(crate) async fn resealing_a_connection_needs_its_generation_and_changes_nothing_else(engine: &dyn Engine) {
    let store = engine.open().await;
    let key = key_of("ada");
    let reseal = async |key: &ConnectionKey, generation| {
        store
            .reseal_connection(key, generation, Sealed(vec![8]), Some(Sealed(vec![9])))
            .await
            .expect("an answer")
    };
    assert!(!reseal(&key, 4).await, "there is none");
    let row = ConnectionRow {
        due_at: Some(NOW),
        notice: Some("expires".to_owned()),
        ..connection(key.clone(), 4)
    };
    put(&*store, row).await;
    // A refresh may be under way: it stays.
    store
        .claim_refresh(&key, 4, "one", NOW, Duration::from_secs(60))
        .await
        .expect("a claim");
    let before = get(&*store, &key).await.expect("there");
    for generation in [3, 5] {
        assert!(!reseal(&key, generation).await);
        assert_eq!(get(&*store, &key).await.as_ref(), Some(&before));
    }
    assert!(reseal(&key, 4).await);
    let resealed = GrantRow {
        sealed_access: Sealed(vec![8]),
        sealed_refresh: Some(Sealed(vec![9])),
        ..grant(1)
    };
    let after = ConnectionRow {
        grant: Some(resealed),
        ..before
    };
    assert_eq!(get(&*store, &key).await, Some(after));

    let tombstone = end(&*store, "bob", NOW).await;
    assert!(!reseal(&tombstone.key, tombstone.generation).await);
    assert_eq!(get(&*store, &tombstone.key).await.as_ref(), Some(&tombstone));
}

pub(crate) async fn a_use_is_noted_and_never_taken_back(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = connection(key_of("ada"), 1);
    put(&*store, row.clone()).await;
    put(&*store, connection(key_of("bob"), 1)).await;
    for (used_at, noted) in [
        (later(-1), NOW),
        (later(10), later(10)),
        (later(9), later(10)),
        (NOW, later(10)),
    ] {
        let used = vec![(row.key.clone(), used_at)];
        store.touch_connections(used).await.expect("noted");
        let expected = ConnectionRow {
            used_at: noted,
            ..row.clone()
        };
        assert_eq!(get(&*store, &row.key).await, Some(expected));
    }
    // Of several uses in one go the last counts, in whatever order they come.
    let used = [20, 30, 25].map(|ms| (row.key.clone(), later(ms)));
    store.touch_connections(used.to_vec()).await.expect("noted");
    assert_eq!(get(&*store, &row.key).await.expect("there").used_at, later(30));
    assert_eq!(get(&*store, &key_of("bob")).await.expect("there").used_at, NOW);
}

pub(crate) async fn uses_of_what_is_gone_are_passed_over(engine: &dyn Engine) {
    let store = engine.open().await;
    store.touch_connections(vec![]).await.expect("nothing to note");
    let tombstone = end(&*store, "ended", later(1)).await;
    put(&*store, connection(key_of("ada"), 1)).await;
    let used = ["nobody", "ended", "ada"].map(|uid| (key_of(uid), later(5)));
    store.touch_connections(used.to_vec()).await.expect("noted");
    assert_eq!(get(&*store, &key_of("nobody")).await, None);
    assert_eq!(get(&*store, &tombstone.key).await.as_ref(), Some(&tombstone));
    assert_eq!(get(&*store, &key_of("ada")).await.expect("there").used_at, later(5));
}

pub(crate) async fn tombstones_are_swept_when_their_time_is_over_and_no_more_than_asked(engine: &dyn Engine) {
    let store = engine.open().await;
    for (uid, until) in [("a", 3), ("b", 1), ("c", 2), ("d", 4), ("again", 1)] {
        end(&*store, uid, later(until)).await;
    }
    // Neither a connection that is due nor one that was made over a tombstone is one.
    let due = ConnectionRow {
        due_at: Some(NOW),
        ..connection(key_of("due"), 1)
    };
    put(&*store, due).await;
    put(&*store, connection(key_of("again"), 3)).await;
    let left = async || {
        let mut left = Vec::new();
        for uid in ["a", "b", "c", "d", "again", "due"] {
            left.extend(get(&*store, &key_of(uid)).await.map(|_| uid));
        }
        left
    };
    assert_eq!(store.sweep_tombstones(later(1), 10).await.expect("swept"), 0);
    assert_eq!(store.sweep_tombstones(later(4), 2).await.expect("swept"), 2);
    assert_eq!(left().await, ["a", "d", "again", "due"], "the oldest go first");
    assert_eq!(store.sweep_tombstones(later(4), 2).await.expect("swept"), 1);
    assert_eq!(store.sweep_tombstones(later(4), 2).await.expect("swept"), 0);
    assert_eq!(left().await, ["d", "again", "due"]);
    assert_eq!(records(&*store, "connection.disconnect").await, 5);
}
