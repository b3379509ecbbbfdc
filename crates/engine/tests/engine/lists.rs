//! Lists of connections where there are many rows, and counts while the store is away.

use valetkey_core::{ConnectionKey, ConnectionName, Owner, ProfileUid, SpaceId, Timestamp};
use valetkey_engine::ConnectionQuery;
use valetkey_oauth::Rotation;
use valetkey_store::Transfer;
use valetkey_store::rows::{ConnectionRow, ConnectionState, Digest, Record};

use crate::faults::Fault;
use crate::support::{House, caller, id, tokens};
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
