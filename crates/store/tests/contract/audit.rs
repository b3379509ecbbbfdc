use valetkey_core::{ConnectionName, Owner, Timestamp};
use valetkey_store::Store;
use valetkey_store::rows::{AuditEntry, AuditFilter, AuditRow};

use crate::Engine;
use crate::fixtures::{NOW, audit, connector, connector_id, everything, home, list, owner, race, records, space, user};

async fn append(store: &dyn Store, rows: Vec<AuditRow>) {
    store.append_audit(rows).await.expect("written");
}

fn chosen(choose: impl FnOnce(&mut AuditFilter)) -> AuditFilter {
    let mut filter = everything();
    choose(&mut filter);
    filter
}

fn record(kind: &'static str, change: impl FnOnce(&mut AuditRow)) -> AuditRow {
    let mut row = audit(kind);
    change(&mut row);
    row
}

fn kinds(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.kind.as_str()).collect()
}

pub(crate) async fn records_are_read_newest_first_as_they_were_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let bare = AuditRow {
        at: NOW,
        space: None,
        kind: "vault.init",
        outcome: "store_unavailable".to_owned(),
        key: None,
        user: None,
        connector: None,
        connection: None,
        request_id: None,
        address: None,
        details: serde_json::Map::new(),
        count: 12,
    };
    append(&*store, vec![]).await;
    append(&*store, vec![audit("flow.start"), bare]).await;
    let entries = list(&*store, everything()).await;
    let [newest, oldest] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    let expected = AuditEntry {
        seq: oldest.seq,
        at: NOW,
        space: Some("default".to_owned()),
        kind: "flow.start".to_owned(),
        outcome: "ok".to_owned(),
        key: Some("key-1".to_owned()),
        user: Some("ada".to_owned()),
        connector: Some("slack".to_owned()),
        owner: Some("user:ada".to_owned()),
        connection: Some("default".to_owned()),
        request_id: Some("request".to_owned()),
        address: Some("192.0.2.1".to_owned()),
        details: audit("flow.start").details,
        count: 1,
    };
    assert_eq!(*oldest, expected);
    assert!(newest.seq > oldest.seq);
    assert_eq!(
        (newest.kind.as_str(), newest.outcome.as_str(), newest.count),
        ("vault.init", "store_unavailable", 12)
    );
    assert_eq!((&newest.space, &newest.user, &newest.owner), (&None, &None, &None));
}

pub(crate) async fn every_filter_chooses(engine: &dyn Engine) {
    let store = engine.open().await;
    let rows = vec![
        record("a", |row| row.space = Some(space("other"))),
        record("b", |row| row.connector = Some(connector_id("notion"))),
        record("c", |row| row.user = Some(user("bob"))),
        record("d", |row| {
            (row.user, row.connector, row.connection) = (None, None, None);
        }),
        record("e", |row| row.at = Timestamp(NOW.0 + 1)),
        record("e", |row| row.at = Timestamp(NOW.0 + 2)),
        record("f", |row| row.space = None),
        record("g", |row| {
            row.connection = Some((Owner::Shared, ConnectionName::default_name()));
        }),
        record("h", |row| {
            row.connection = Some((owner("ada"), ConnectionName::new("second").expect("a name")));
        }),
    ];
    append(&*store, rows).await;
    let from = Some(Timestamp(NOW.0 + 1));
    let cases = [
        (chosen(|_| {}), vec!["h", "g", "f", "e", "e", "d", "c", "b", "a"]),
        (chosen(|filter| filter.space = Some(space("other"))), vec!["a"]),
        (chosen(|filter| filter.kind = Some("e".to_owned())), vec!["e", "e"]),
        (
            chosen(|filter| filter.connector = Some(connector_id("notion"))),
            vec!["b"],
        ),
        (chosen(|filter| filter.user = Some(user("bob"))), vec!["c"]),
        (chosen(|filter| filter.from = from), vec!["e", "e"]),
        (
            chosen(|filter| (filter.from, filter.to) = (from, Some(Timestamp(NOW.0 + 2)))),
            vec!["e"],
        ),
        (chosen(|filter| filter.to = Some(NOW)), vec![]),
        (
            chosen(|filter| (filter.space, filter.user) = (Some(home()), Some(user("ada")))),
            vec!["h", "g", "e", "e", "b"],
        ),
        (
            chosen(|filter| (filter.space, filter.owner) = (Some(home()), Some(Owner::Shared))),
            vec!["g"],
        ),
        (
            chosen(|filter| {
                (filter.space, filter.owner) = (Some(home()), Some(owner("ada")));
                (filter.connector, filter.limit) = (Some(connector_id("slack")), 2);
            }),
            vec!["h", "e"],
        ),
        (
            chosen(|filter| {
                (filter.owner, filter.connection) =
                    (Some(owner("ada")), Some(ConnectionName::new("second").expect("a name")));
            }),
            vec!["h"],
        ),
        (
            chosen(|filter| {
                (filter.space, filter.owner) = (Some(home()), Some(Owner::Shared));
                (filter.connector, filter.connection) =
                    (Some(connector_id("slack")), Some(ConnectionName::default_name()));
            }),
            vec!["g"],
        ),
        (chosen(|filter| filter.limit = 2), vec!["h", "g"]),
        (chosen(|filter| filter.limit = 0), vec![]),
    ];
    for (filter, expected) in cases {
        assert_eq!(kinds(&list(&*store, filter.clone()).await), expected, "{filter:?}");
    }
}

pub(crate) async fn pages_join_without_gaps(engine: &dyn Engine) {
    let store = engine.open().await;
    race(&store, 50, |store, _| async move {
        append(&*store, vec![audit("x"), audit("y")]).await;
    })
    .await;
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let filter = AuditFilter {
            before,
            limit: 7,
            kind: Some("x".to_owned()),
            ..AuditFilter::default()
        };
        let page = list(&*store, filter).await;
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        seen.extend(page.iter().map(|entry| entry.seq));
        // What is appended meanwhile does not move the next page.
        append(&*store, vec![audit("x")]).await;
    }
    assert_eq!(seen.len(), 50);
    assert!(seen.is_sorted_by(|newer, older| newer > older));
}

pub(crate) async fn a_change_and_its_record_come_together(engine: &dyn Engine) {
    let store = engine.open().await;
    let answers = race(&store, 30, |store, number| async move {
        let row = connector(&format!("connector-{}", number % 10));
        store
            .put_connector(row, audit("connector.create"))
            .await
            .expect("an answer")
    })
    .await;
    assert_eq!(answers.into_iter().filter(|added| *added).count(), 10);
    assert_eq!(records(&*store, "connector.create").await, 10);
}
