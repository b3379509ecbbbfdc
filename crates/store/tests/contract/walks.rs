use std::sync::Arc;

use valetkey_core::{ConnectionKey, ConnectorId, Owner};
use valetkey_store::Store;
use valetkey_store::rows::{Committed, ConnectionRow, ConnectionState, Place, Walk};

use crate::Engine;
use crate::fixtures::{audit, connection, connector_id, home, key, later, owner, space};

async fn put(store: &dyn Store, key: ConnectionKey, label: Option<&str>, state: ConnectionState) {
    let row = ConnectionRow {
        account_label: label.map(str::to_owned),
        state,
        ..connection(key, 1)
    };
    let put = store.put_connection(row, audit("flow.complete")).await;
    assert!(matches!(put, Ok(Committed::Done(_))), "{put:?}");
}

fn broken() -> ConnectionState {
    ConnectionState::Reauthorize("token_revoked".to_owned())
}

/// Seven connections of three connectors in the default space, and one elsewhere that must never come.
async fn furnished(engine: &dyn Engine) -> Arc<dyn Store> {
    let store = engine.open().await;
    let rows = [
        (
            key("notion", owner("ada"), "default"),
            Some("ada@example.com"),
            broken(),
        ),
        (key("notion", owner("bob"), "default"), None, ConnectionState::Active),
        (
            key("slack", Owner::Shared, "default"),
            Some("ADA's team"),
            ConnectionState::Active,
        ),
        (key("slack", owner("ada"), "a"), Some("Ada"), ConnectionState::Active),
        (key("slack", owner("ada"), "b"), Some("Äda"), broken()),
        (
            key("slack", owner("adam"), "default"),
            Some("bob"),
            ConnectionState::Active,
        ),
        (key("teams", owner("zoe"), "default"), Some("adz"), broken()),
    ];
    for (key, label, state) in rows {
        put(&*store, key, label, state).await;
    }
    let mut elsewhere = key("slack", owner("ada"), "a");
    elsewhere.space = space("other");
    put(&*store, elsewhere, Some("Ada"), broken()).await;
    store
}

/// Everything that a walk leads past, in pages of this size: connector, owner and name of each.
async fn walked(store: &dyn Store, walk: &Walk, limit: u32) -> Vec<String> {
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.walk_connections(&home(), walk, after.as_ref(), limit).await;
        let page = page.expect("a page");
        assert!(page.len() <= limit as usize);
        let Some(last) = page.last() else { return seen };
        after = Some(Place::behind(last));
        let short =
            |row: &ConnectionRow| format!("{} {} {}", row.key.connector, row.key.owner.as_stored(), row.key.name);
        seen.extend(page.iter().map(short));
    }
}

fn slack() -> ConnectorId {
    connector_id("slack")
}

pub(crate) async fn every_walk_leads_past_its_rows_in_order_and_pages_join(engine: &dyn Engine) {
    let store = furnished(engine).await;
    let notion_ada = "notion user:ada default";
    let notion_bob = "notion user:bob default";
    let shared = "slack shared default";
    let (a, b) = ("slack user:ada a", "slack user:ada b");
    let (adam, zoe) = ("slack user:adam default", "teams user:zoe default");
    let cases = [
        (Walk::All, vec![notion_ada, notion_bob, shared, a, b, adam, zoe]),
        (Walk::Connector(slack()), vec![shared, a, b, adam]),
        (Walk::Owner(owner("ada")), vec![notion_ada, a, b]),
        (Walk::Owner(Owner::Shared), vec![shared]),
        (Walk::OwnerOf(slack(), owner("ada")), vec![a, b]),
        (Walk::Broken, vec![notion_ada, b, zoe]),
        (Walk::BrokenOf(slack()), vec![b]),
        (Walk::Users("ad".to_owned()), vec![notion_ada, a, b, adam]),
        (
            Walk::Users(String::new()),
            vec![notion_ada, a, b, adam, notion_bob, zoe],
        ),
        (Walk::Users("adA".to_owned()), vec![]),
        (Walk::UsersOf(slack(), "ada".to_owned()), vec![a, b, adam]),
        (Walk::Labels("aDa".to_owned()), vec![a, shared, notion_ada]),
        (Walk::Labels("ad".to_owned()), vec![a, shared, notion_ada, zoe]),
        (Walk::Labels("Äd".to_owned()), vec![b]),
        (Walk::Labels("a_a".to_owned()), vec![]),
        (Walk::Labels("%".to_owned()), vec![]),
    ];
    for (walk, expected) in cases {
        for limit in [1, 2, 100] {
            assert_eq!(walked(&*store, &walk, limit).await, expected, "{walk:?} by {limit}");
        }
    }
}

pub(crate) async fn a_walk_leads_past_tombstones_and_a_state_that_changed(engine: &dyn Engine) {
    let store = furnished(engine).await;
    let zoe = key("teams", owner("zoe"), "default");
    let ended = store
        .disconnect(&zoe, 1, later(1), None, audit("connection.state"))
        .await;
    assert!(matches!(ended, Ok(Committed::Done(_))), "{ended:?}");
    assert_eq!(walked(&*store, &Walk::Owner(owner("zoe")), 9).await.len(), 1);
    assert_eq!(walked(&*store, &Walk::Broken, 9).await.len(), 2);
}
