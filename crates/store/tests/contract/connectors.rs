use valetkey_core::{AuthMode, ConnectorId, Owner, SpaceId};
use valetkey_store::Store;
use valetkey_store::rows::{ConnectorRow, Deletion, FlowState, TakenFlow};

use crate::Engine;
use crate::fixtures::{
    NOW, audit, connection, connector, connector_id, flow, home, key, key_of, owner, race, records, space,
};

async fn put(store: &dyn Store, row: ConnectorRow) {
    assert!(
        store
            .put_connector(row, audit("connector.create"))
            .await
            .expect("written")
    );
}

pub(crate) async fn a_connector_is_read_back_as_it_was_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let bare = ConnectorRow {
        sealed_secrets: None,
        auth_mode: AuthMode::Shared,
        legacy_redirect_uri: false,
        ..connector("bare")
    };
    for row in [connector("full"), bare] {
        put(&*store, row.clone()).await;
        assert_eq!(store.get_connector(&row.space, &row.id).await.expect("read"), Some(row));
    }
    assert_eq!(
        store
            .get_connector(&home(), &connector_id("other"))
            .await
            .expect("read"),
        None
    );
}

pub(crate) async fn an_id_is_used_once_in_a_space(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, connector("slack")).await;
    let again = ConnectorRow {
        name: "another".to_owned(),
        ..connector("slack")
    };
    assert!(
        !store
            .put_connector(again.clone(), audit("connector.create"))
            .await
            .expect("refused")
    );
    put(
        &*store,
        ConnectorRow {
            space: space("other"),
            ..again.clone()
        },
    )
    .await;
    let stored = store
        .get_connector(&home(), &again.id)
        .await
        .expect("read")
        .expect("there");
    assert_eq!(stored.name, "Our Slack");
    assert_eq!(records(&*store, "connector.create").await, 2);
}

pub(crate) async fn a_connector_is_replaced_only_from_the_version_before(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, connector("slack")).await;
    let other = ConnectorRow {
        space: space("other"),
        ..connector("slack")
    };
    put(&*store, other.clone()).await;
    let mut expected = connector("slack");
    for (version, written) in [(1, false), (3, false), (2, true), (2, false), (3, true)] {
        let row = ConnectorRow {
            version,
            name: format!("version {version}"),
            ..connector("slack")
        };
        let answer = store
            .replace_connector(row.clone(), audit("connector.update"))
            .await
            .expect("an answer");
        assert_eq!(answer, written, "{version}");
        let stored = store
            .get_connector(&home(), &row.id)
            .await
            .expect("read")
            .expect("there");
        if written {
            expected = row;
        }
        assert_eq!(stored, expected, "{version}");
    }
    assert_eq!(records(&*store, "connector.update").await, 2);
    assert_eq!(
        store.get_connector(&other.space, &other.id).await.expect("read"),
        Some(other)
    );
}

pub(crate) async fn of_racing_replacements_one_is_written(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, connector("slack")).await;
    let written = race(&store, 20, |store, number| async move {
        let row = ConnectorRow {
            version: 2,
            name: number.to_string(),
            ..connector("slack")
        };
        store
            .replace_connector(row, audit("connector.update"))
            .await
            .expect("an answer")
    })
    .await;
    assert_eq!(written.into_iter().filter(|written| *written).count(), 1);
}

pub(crate) async fn connectors_are_listed_by_id_in_pages(engine: &dyn Engine) {
    let store = engine.open().await;
    for id in ["b", "a", "C", "d"] {
        put(&*store, connector(id)).await;
    }
    put(
        &*store,
        ConnectorRow {
            space: space("other"),
            ..connector("a")
        },
    )
    .await;
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let page = store.list_connectors(&home(), after.as_ref(), 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        pages.push(page.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>());
    }
    assert_eq!(pages, [["C", "a"], ["b", "d"]]);
}

pub(crate) async fn what_connectors_are_called_is_read_in_the_same_order(engine: &dyn Engine) {
    let store = engine.open().await;
    for (id, name) in [("b", "Straße"), ("a", "Team"), ("C", "team"), ("d", "Other")] {
        let name = name.to_owned();
        put(&*store, ConnectorRow { name, ..connector(id) }).await;
    }
    let elsewhere = ConnectorRow {
        space: space("other"),
        ..connector("e")
    };
    put(&*store, elsewhere).await;
    let after = connector_id("C");
    let names = store.walk_connectors(&home(), Some(&after), 2).await.expect("names");
    let told: Vec<_> = names
        .iter()
        .map(|row| format!("{} {} {}", row.id, row.type_id, row.name))
        .collect();
    assert_eq!(told, ["a .slack2 Team", "b .slack2 Straße"]);
    let whole = store.walk_connectors(&home(), None, 10).await.expect("names");
    assert_eq!(whole.len(), 4);
}

pub(crate) async fn connectors_are_read_together_by_their_ids(engine: &dyn Engine) {
    let store = engine.open().await;
    for id in ["a", "b", "c"] {
        put(&*store, connector(id)).await;
    }
    let elsewhere = ConnectorRow {
        space: space("other"),
        ..connector("d")
    };
    put(&*store, elsewhere).await;
    let ids = ["c", "d", "gone", "a"].map(connector_id);
    let mut rows = store.get_connectors(&home(), &ids).await.expect("read");
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(rows, [connector("a"), connector("c")]);
    assert!(store.get_connectors(&home(), &[]).await.expect("read").is_empty());
}

pub(crate) async fn removing_a_connector_takes_everything_of_it_and_nothing_else(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, connector("slack")).await;
    put(&*store, connector("notion")).await;
    let kept = key("notion", owner("ada"), "default");
    for row in [
        connection(key_of("ada"), 1),
        connection(key("slack", Owner::Shared, "x"), 1),
        connection(kept.clone(), 1),
    ] {
        store
            .put_connection(row, audit("connection.connect"))
            .await
            .expect("written");
    }
    for ended in [key_of("ada"), key("slack", Owner::Shared, "x")] {
        store
            .disconnect(&ended, 1, NOW, None, audit("connection.disconnect"))
            .await
            .expect("a tombstone");
    }
    let mut other = flow(3, "ada");
    other.key = kept.clone();
    for row in [flow(1, "ada"), flow(2, "ada"), other] {
        assert!(store.put_flow(row, 10, audit("flow.start")).await.expect("written"));
    }
    store.take_flow(&flow(2, "ada").state_hash, NOW).await.expect("used");

    let id = connector_id("slack");
    assert_eq!(delete(&*store, &home(), &id).await, Deletion::Done);

    assert_eq!(store.get_connector(&home(), &id).await.expect("read"), None);
    for gone in [key_of("ada"), key("slack", Owner::Shared, "x")] {
        assert_eq!(store.get_connection(&gone).await.expect("read"), None);
    }
    for number in [1, 2] {
        let taken = store
            .take_flow(&flow(number, "ada").state_hash, NOW)
            .await
            .expect("an answer");
        assert_eq!(taken, TakenFlow::Unknown);
    }
    assert!(
        store
            .get_connector(&home(), &connector_id("notion"))
            .await
            .expect("read")
            .is_some()
    );
    assert!(store.get_connection(&kept).await.expect("read").is_some());
    let left = store
        .get_flow(&flow(3, "ada").state_hash)
        .await
        .expect("read")
        .expect("there");
    assert_eq!(left.state, FlowState::Pending);
    assert_eq!(records(&*store, "connector.delete").await, 1);
}

async fn delete(store: &dyn Store, space: &SpaceId, id: &ConnectorId) -> Deletion {
    let deleted = store.delete_connector(space, id, audit("connector.delete"));
    deleted.await.expect("an answer")
}

pub(crate) async fn a_connector_with_a_connection_stays(engine: &dyn Engine) {
    let store = engine.open().await;
    let id = connector_id("slack");
    put(&*store, connector("slack")).await;
    store
        .put_connection(connection(key_of("ada"), 1), audit("connection.connect"))
        .await
        .expect("written");
    assert_eq!(delete(&*store, &home(), &id).await, Deletion::InUse);
    assert!(store.get_connector(&home(), &id).await.expect("read").is_some());
    assert!(store.get_connection(&key_of("ada")).await.expect("read").is_some());
    assert_eq!(records(&*store, "connector.delete").await, 0);
    store
        .disconnect(&key_of("ada"), 1, NOW, None, audit("connection.disconnect"))
        .await
        .expect("a tombstone");
    assert_eq!(delete(&*store, &home(), &id).await, Deletion::Done);
}

/// Whoever deletes sees the connection, or whoever connects sees that there is no connector: somebody revokes.
pub(crate) async fn of_a_connection_that_is_made_during_a_deletion_somebody_knows(engine: &dyn Engine) {
    let store = engine.open().await;
    for round in 0..20 {
        let name = format!("slack-{round}");
        let id = connector_id(&name);
        put(&*store, connector(&name)).await;
        let known = race(&store, 2, |store, number| {
            let (id, name) = (id.clone(), name.clone());
            async move {
                if number == 0 {
                    return delete(&*store, &home(), &id).await == Deletion::InUse;
                }
                let row = connection(key(&name, Owner::Shared, "x"), 1);
                let made = store.put_connection(row, audit("connection.connect"));
                made.await.expect("written");
                store.get_connector(&home(), &id).await.expect("read").is_none()
            }
        })
        .await;
        assert_eq!(known.into_iter().filter(|known| *known).count(), 1, "round {round}");
    }
}

pub(crate) async fn removing_nothing_leaves_no_record(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, connector("slack")).await;
    let id = connector_id("slack");
    assert_eq!(delete(&*store, &space("other"), &id).await, Deletion::Missing);
    assert_eq!(records(&*store, "connector.delete").await, 0);
    assert!(store.get_connector(&home(), &id).await.expect("read").is_some());
}
