use std::time::Duration;

use valetkey_core::{ConnectionKey, SpaceId, Timestamp};
use valetkey_store::Store;
use valetkey_store::rows::{Claim, Committed, ConnectionRow, ConnectionState, Due, Intent, Record, Released, Renewed};

use crate::Engine;
use crate::fixtures::{NOW, audit, connection, grant, key_of, later, records, space};

const LEASE: Duration = Duration::from_secs(60);

/// A connection of generation 1 that is due then.
fn due(uid: &str, due_at: Option<Timestamp>) -> ConnectionRow {
    ConnectionRow {
        due_at,
        ..connection(key_of(uid), 1)
    }
}

async fn put(store: &dyn Store, row: ConnectionRow) {
    let answer = store.put_connection(row, audit("connection.connect")).await;
    assert!(matches!(answer.expect("an answer"), Committed::Done(_)));
}

async fn stored(store: &dyn Store, uid: &str) -> ConnectionRow {
    store.get_connection(&key_of(uid)).await.expect("read").expect("there")
}

async fn claim(store: &dyn Store, uid: &str, holder: &str, now: Timestamp) -> ConnectionRow {
    let claim = store.claim_refresh(&key_of(uid), 1, holder, now, LEASE).await;
    match claim.expect("an answer") {
        Claim::Held { row, .. } => *row,
        other => panic!("{other:?}"),
    }
}

async fn list(store: &dyn Store, now: Timestamp, skip: &[SpaceId], limit: u32) -> Vec<Due> {
    store.list_due(now, skip, limit).await.expect("a list")
}

/// The users whose connections are due.
async fn users(store: &dyn Store, now: Timestamp) -> Vec<String> {
    let list = list(store, now, &[], 100).await;
    list.into_iter()
        .map(|due| due.key.owner.user().expect("a user").to_string())
        .collect()
}

pub(crate) async fn a_claimed_connection_is_due_when_its_lease_ends(engine: &dyn Engine) {
    let store = engine.open().await;
    let cases = [
        ("early", Some(later(-5)), Some(later(-5))),
        ("within", Some(later(30_000)), Some(later(30_000))),
        ("late", Some(later(3_600_000)), Some(later(60_000))),
        ("never", None, None),
    ];
    for (uid, before, after) in cases {
        put(&*store, due(uid, before)).await;
        let held = claim(&*store, uid, "one", NOW).await;
        assert_eq!(held.due_at, after, "{uid}");
        assert_eq!(stored(&*store, uid).await, held);
    }
    assert!(users(&*store, later(59_999)).await.is_empty());
    assert_eq!(users(&*store, later(60_000)).await, ["early", "within", "late"]);
}

pub(crate) async fn a_lease_is_extended_only_by_its_holder(engine: &dyn Engine) {
    let store = engine.open().await;
    let extend = async |generation, holder: &str, now| {
        let extended = store.extend_lease(&key_of("ada"), generation, holder, now, LEASE).await;
        extended.expect("an answer")
    };
    assert!(!extend(1, "one", NOW).await, "there is none");
    put(&*store, due("ada", Some(NOW))).await;
    assert!(!extend(1, "one", NOW).await, "nobody has it");
    let held = claim(&*store, "ada", "one", NOW).await;
    assert!(!extend(1, "two", later(10)).await);
    assert!(!extend(2, "one", later(10)).await);
    assert_eq!(stored(&*store, "ada").await, held);

    assert!(extend(1, "one", later(10)).await);
    let intent = Intent {
        holder: "one".to_owned(),
        lease_until: later(60_010),
        at: NOW,
        attempt: 0,
    };
    let longer = ConnectionRow {
        intent: Some(intent),
        ..held
    };
    assert_eq!(stored(&*store, "ada").await, longer);
    assert!(users(&*store, later(60_009)).await.is_empty());
    assert_eq!(users(&*store, later(60_010)).await, ["ada"]);
    let key = key_of("ada");
    let other = store.claim_refresh(&key, 1, "two", later(60_009), LEASE);
    assert_eq!(other.await.expect("an answer"), Claim::Busy(later(60_010)));

    claim(&*store, "ada", "two", later(60_010)).await;
    assert!(!extend(1, "one", later(60_010)).await, "somebody took it over");
}

pub(crate) async fn a_lease_that_is_cut_short_brings_forward_when_the_connection_is_due(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, due("ada", Some(later(3_600_000)))).await;
    claim(&*store, "ada", "one", NOW).await;
    let key = key_of("ada");
    let cut = store.extend_lease(&key, 1, "one", later(10), Duration::from_secs(1));
    assert!(cut.await.expect("an answer"));
    assert_eq!(stored(&*store, "ada").await.due_at, Some(later(1_010)));
    assert!(users(&*store, later(1_009)).await.is_empty());
    assert_eq!(users(&*store, later(1_010)).await, ["ada"]);
}

pub(crate) async fn what_is_due_comes_longest_due_first_and_only_if_active(engine: &dyn Engine) {
    let store = engine.open().await;
    for (uid, due_at) in [("c", 0), ("a", -1), ("b", -3), ("soon", 1), ("ended", -2)] {
        put(&*store, due(uid, Some(later(due_at)))).await;
    }
    put(&*store, due("never", None)).await;
    let person = ConnectionRow {
        state: ConnectionState::Reauthorize("token_revoked".to_owned()),
        ..due("person", Some(later(-4)))
    };
    put(&*store, person).await;
    store
        .disconnect(&key_of("ended"), 1, later(-9), None, audit("connection.disconnect"))
        .await
        .expect("a tombstone");
    assert_eq!(users(&*store, NOW).await, ["b", "a", "c"]);
    let first = Due {
        key: key_of("b"),
        generation: 1,
        due_at: later(-3),
    };
    assert_eq!(list(&*store, NOW, &[], 1).await, [first]);
    assert!(list(&*store, NOW, &[], 0).await.is_empty());
    assert!(list(&*store, later(-4), &[], 9).await.is_empty());
}

pub(crate) async fn a_space_with_much_that_is_due_does_not_hide_the_others(engine: &dyn Engine) {
    let store = engine.open().await;
    let in_space = |id: &str, uid: &str, due_at| {
        let mut row = due(uid, Some(due_at));
        row.key.space = space(id);
        row
    };
    let busy = (0..2_000).map(|number| in_space("busy", &format!("user-{number}"), later(-number)));
    let records = busy.map(|row| Record::Connection(Box::new(row))).collect();
    store.import(records).await.expect("written");
    for (id, due_at) in [("x", 0), ("y", -1), ("z", -2)] {
        put(&*store, in_space(id, "ada", later(due_at))).await;
    }
    let spaces = async |skip: &[&str]| {
        let skip: Vec<_> = skip.iter().map(|id| space(id)).collect();
        let list = list(&*store, NOW, &skip, 3).await;
        list.into_iter()
            .map(|due| due.key.space.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(spaces(&[]).await, ["busy"; 3]);
    assert_eq!(spaces(&["busy"]).await, ["z", "y", "x"]);
    assert_eq!(spaces(&["y", "busy", "nothing-here"]).await, ["z", "x"]);
    assert_eq!(spaces(&["x", "y", "z", "busy"]).await, Vec::<String>::new());
    assert_eq!(spaces(&["x", "y", "z"]).await, ["busy"; 3]);
}

pub(crate) async fn a_refresh_says_when_the_connection_is_due_next(engine: &dyn Engine) {
    let store = engine.open().await;
    for uid in ["finished", "for-ever", "released"] {
        let noticed = ConnectionRow {
            notice: Some("expires".to_owned()),
            ..due(uid, Some(NOW))
        };
        put(&*store, noticed).await;
        claim(&*store, uid, "one", NOW).await;
    }
    for (uid, due_at) in [("finished", Some(later(7))), ("for-ever", None)] {
        let renewed = Renewed {
            grant: grant(2),
            at: later(1),
            due_at,
        };
        let key = key_of(uid);
        let finished = store.finish_refresh(&key, 1, renewed, audit("token.refresh"));
        assert!(matches!(finished.await.expect("an answer"), Committed::Done(_)));
        let row = stored(&*store, uid).await;
        let notice = row.notice.as_deref();
        assert_eq!(
            (row.due_at, notice, row.used_at),
            (due_at, Some("expires"), NOW),
            "{uid}"
        );
    }
    let released = Released {
        state: None,
        due_at: Some(later(5)),
    };
    let key = key_of("released");
    let released = store.release_refresh(&key, 1, "one", released, None);
    assert!(matches!(released.await.expect("an answer"), Committed::Done(_)));
    let row = stored(&*store, "released").await;
    assert_eq!((row.due_at, row.notice), (Some(later(5)), Some("expires".to_owned())));
    assert_eq!(users(&*store, later(10)).await, ["released", "finished"]);
}

pub(crate) async fn a_connection_is_postponed_at_its_generation_and_while_active(engine: &dyn Engine) {
    let store = engine.open().await;
    let postpone = async |key: &ConnectionKey, generation, due_at, notice: Option<&str>| {
        let record = notice.map(|_| audit("connection.notice"));
        let set = store.postpone(key, generation, due_at, notice.map(str::to_owned), record);
        set.await.expect("an answer")
    };
    let key = key_of("ada");
    assert!(!postpone(&key, 1, None, None).await, "there is none");
    let row = due("ada", Some(NOW));
    put(&*store, row.clone()).await;
    for generation in [0, 2] {
        assert!(!postpone(&key, generation, Some(later(5)), Some("expires")).await);
    }
    assert_eq!(stored(&*store, "ada").await, row);
    assert_eq!(records(&*store, "connection.notice").await, 0);
    for (due_at, notice) in [
        (Some(later(5)), Some("expires")),
        (Some(later(6)), None),
        (None, Some("unused")),
    ] {
        assert!(postpone(&key, 1, due_at, notice).await);
        let postponed = ConnectionRow {
            due_at,
            notice: notice.map(str::to_owned),
            ..row.clone()
        };
        assert_eq!(stored(&*store, "ada").await, postponed);
    }
    assert_eq!(records(&*store, "connection.notice").await, 2);
    assert!(users(&*store, later(10)).await.is_empty());

    let state = ConnectionState::Reauthorize("token_revoked".to_owned());
    let person = ConnectionRow {
        state,
        ..due("bob", None)
    };
    put(&*store, person.clone()).await;
    assert!(
        !postpone(&person.key, 1, Some(NOW), None).await,
        "it waits for a person"
    );
    assert_eq!(stored(&*store, "bob").await, person);
}
