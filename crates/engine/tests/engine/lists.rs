//! Lists where there are many rows, and counts while the store is away.

use valetkey_core::{ConnectionKey, ConnectionName, KeyId, Owner, ProfileUid, SpaceId, Timestamp};
use valetkey_engine::{ConnectionQuery, ConnectorPage, KeyQuery, UserAuthStatus};
use valetkey_oauth::Rotation;
use valetkey_store::rows::{ConnectionRow, ConnectionState, ConnectorRow, Digest, KeyRow, Record};
use valetkey_store::{Connectors as _, Keys as _, Transfer as _};

use crate::faults::Fault;
use crate::support::{House, caller, connector_secrets, id, make_connector, tokens};
use crate::town::{Plan, Town};

fn tombstone(number: usize) -> Record {
    Record::Connection(Box::new(ConnectionRow {
        key: ConnectionKey {
            space: SpaceId::default_space(),
            connector: id("api"),
            owner: Owner::User(ProfileUid::new(format!("gone-{number:05}")).expect("a user")),
            name: ConnectionName::default_name(),
        },
        generation: 2,
        state: ConnectionState::Disconnected,
        grant: None,
        binding: Digest([0; 32]),
        spec_version: 1,
        account_id: None,
        account_label: None,
        connected_at: Timestamp(1),
        refreshed_at: None,
        intent: None,
        due_at: None,
        used_at: Timestamp(1),
        notice: None,
    }))
}

#[tokio::test]
async fn a_page_looks_at_so_many_rows_and_says_where_to_go_on() {
    let house = House::build().await;
    house.connector("api", "per-user", serde_json::json!({})).await;
    house.wire.will(tokens("t1", Some("r1"), 3_600));
    house.connect(&caller(Some("zoe")), "api").await.expect("connected");
    house
        .store
        .import((0..5_000).map(tombstone).collect())
        .await
        .expect("imported");
    let (mut pages, mut found, mut after) = (0, Vec::new(), None);
    loop {
        let query = ConnectionQuery {
            after,
            ..ConnectionQuery::default()
        };
        let page = house.engine.connections(&caller(None), query).await.expect("a page");
        pages += 1;
        found.extend(page.connections.into_iter().map(|connection| connection.owner));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["zoe"]);
    assert_eq!(pages, 3, "two thousand rows and a few for each");
}

/// So many connectors that are called like `model`, with ids in front of all others.
async fn many_connectors(house: &House, model: &str, count: usize) {
    let model = house.store.get_connector(&SpaceId::default_space(), &id(model)).await;
    let model = model.expect("read").expect("a connector");
    let another = |number| ConnectorRow {
        id: id(&format!("0-{number:05}")),
        ..model.clone()
    };
    let rows = (0..count).map(|number| Record::Connector(another(number)));
    house.store.import(rows.collect()).await.expect("imported");
}

#[tokio::test]
async fn a_search_of_connectors_looks_at_so_many_names_and_says_where_to_go_on() {
    let house = House::build().await;
    for name in ["api", "wanted-1", "wanted-2"] {
        house.connector(name, "per-user", serde_json::json!({})).await;
    }
    many_connectors(&house, "api", 5_000).await;
    let (mut pages, mut found, mut after) = (0, Vec::new(), None);
    loop {
        let page = ConnectorPage {
            after,
            search: Some("WANTED".to_owned()),
            limit: Some(50),
        };
        let page = house.engine.find_connectors(&caller(None), page).await.expect("a page");
        pages += 1;
        found.extend(page.connectors.into_iter().map(|connector| connector.id));
        after = page.next.as_deref().map(id);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["wanted-1", "wanted-2"]);
    assert_eq!(pages, 3, "two thousand names for each");
    let whole = ConnectorPage {
        search: Some("wanted".to_owned()),
        limit: Some(2),
        ..ConnectorPage::default()
    };
    let list = house
        .engine
        .page_connectors(&caller(None), whole)
        .await
        .expect("a list");
    assert_eq!(list.len(), 2, "the list without pages finds what there is");
}

#[tokio::test]
async fn a_search_of_keys_looks_at_so_many_and_says_where_to_go_on() {
    let house = House::build().await;
    let key = house.store.get_key(&KeyId::new("test").expect("an id")).await;
    let key = key.expect("read").expect("the key of the tests");
    let another = |number: i64| KeyRow {
        id: KeyId::new(format!("k{number:05}")).expect("an id"),
        name: "of another space".to_owned(),
        spaces: vec!["other".to_owned()],
        created_at: Timestamp(key.created_at.0 - number - 1),
        ..key.clone()
    };
    let rows = (0..5_000).map(|number| Record::Key(another(number)));
    house.store.import(rows.collect()).await.expect("imported");
    let (mut pages, mut found, mut after) = (0, Vec::new(), None);
    loop {
        let query = KeyQuery {
            after,
            ..KeyQuery::default()
        };
        let page = house.engine.find_keys(&caller(None), query).await.expect("a page");
        pages += 1;
        found.extend(page.keys.into_iter().map(|key| key.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (vec!["test".to_owned()], 3));
}

#[tokio::test]
async fn the_standing_with_a_connector_is_known_however_many_others_an_owner_has() {
    let house = House::build().await;
    house.connector("zz", "shared", serde_json::json!({})).await;
    house.wire.will(tokens("t1", Some("r1"), 3_600));
    house.connect(&caller(None), "zz").await.expect("connected");
    let another = |number: usize| {
        let Record::Connection(mut row) = tombstone(number) else {
            panic!("a connection")
        };
        row.key.connector = id(&format!("a-{number:05}"));
        row.key.owner = Owner::Shared;
        row.state = ConnectionState::Reauthorize("token_revoked".to_owned());
        Record::Connection(row)
    };
    house
        .store
        .import((0..10_001).map(another).collect())
        .await
        .expect("imported");
    let shown = house.engine.get_connector(&caller(None), &id("zz")).await;
    assert_eq!(shown.expect("a connector").user_auth_status, UserAuthStatus::Connected);
}

/// What a page of connectors may read.
const READS: [&str; 6] = [
    "walk_connectors",
    "get_connectors",
    "get_connections",
    "list_connectors",
    "get_connector",
    "get_connection",
];

#[tokio::test(start_paused = true)]
async fn a_page_of_connectors_costs_a_read_for_each_kind_of_row() {
    let (_town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    for number in 0..40 {
        let mode = if number % 2 == 0 { "shared" } else { "per-user" };
        let name = format!("more-{number:02}");
        make_connector(
            &node.engine,
            "default",
            ".fake",
            &name,
            mode,
            connector_secrets(serde_json::json!({})),
        )
        .await;
    }
    let costs = || READS.map(|operation| node.faults.calls(operation));
    let cost_since = |before: [usize; 6]| {
        let mut now = costs();
        now.iter_mut().zip(before).for_each(|(now, before)| *now -= before);
        now
    };
    let page = || ConnectorPage {
        search: Some("FAKE".to_owned()),
        limit: Some(30),
        ..ConnectorPage::default()
    };
    let alice = caller(Some("alice"));
    let before = costs();
    let found = node.engine.find_connectors(&alice, page()).await.expect("a page");
    assert_eq!(found.connectors.len(), 30);
    assert_eq!(cost_since(before), [1, 1, 1, 0, 0, 0]);
    let before = costs();
    let plain = ConnectorPage { search: None, ..page() };
    let list = node.engine.page_connectors(&alice, plain).await.expect("a list");
    assert_eq!(list.len(), 30);
    assert_eq!(cost_since(before), [0, 0, 1, 1, 0, 0]);
    let before = costs();
    let ids = (0..40).map(|number| id(&format!("more-{number:02}"))).collect();
    let told = node.engine.auth_status_of(&alice, &ids).await.expect("an answer");
    assert_eq!(told.len(), 40);
    assert_eq!(cost_since(before), [0, 1, 1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn counts_that_cannot_be_written_are_counted_on() {
    let (_town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    let engine = &node.engine;
    node.token_text("alice").await;
    engine.flush_audit().await.expect("written");
    node.faults.set("add_tallies", Fault::Before, 0, 2);
    for _ in 0..2 {
        engine.flush_tallies().await.expect_err("the store is away");
    }
    node.token_text("alice").await;
    engine.flush_audit().await.expect("written");
    engine.flush_tallies().await.expect("written");
    let health = engine.health(&caller(None), Some(1)).await.expect("an answer");
    let uses = health
        .series
        .iter()
        .find(|series| series.subject == "use")
        .expect("uses");
    assert_eq!((uses.outcome, uses.counts.iter().sum::<i64>()), ("ok", 2));
}
