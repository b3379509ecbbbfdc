//! The schema, and what is in it that should not be.

use std::time::Duration;

use tokio::task::JoinSet;
use valetkey_store::postgres::PostgresStore;
use valetkey_store::rows::{Claim, Committed};
use valetkey_store::{Connections as _, Flows as _, Keys as _, Refreshes as _, StoreError, Vault as _};

use crate::fixtures::{address, audit, connection, finish, flow, key_of, put, refusal};
use crate::place::{Schema, connect, open};

async fn meddle(schema: &Schema, sql: &str) {
    connect(&schema.url()).await.batch_execute(sql).await.expect("meddling");
}

#[tokio::test(flavor = "multi_thread")]
async fn g62_processes_that_start_together_migrate_once() {
    let Some(schema) = Schema::new().await else { return };
    let mut starts: JoinSet<_> = (0..8)
        .map(|_| {
            let address = address(schema.url());
            async move { PostgresStore::open(&address).await }
        })
        .collect();
    while let Some(start) = starts.join_next().await {
        let store = start.expect("no panic").expect("a store");
        store.probe().await.expect("usable");
    }
    let applied = connect(&schema.url())
        .await
        .query("SELECT count(*) = count(DISTINCT number) FROM schema_migration", &[])
        .await
        .expect("a list");
    assert!(applied[0].get::<_, bool>(0));
}

#[tokio::test]
async fn g64_a_newer_schema_is_refused() {
    let Some(schema) = Schema::new().await else { return };
    drop(open(&schema.url()).await);
    meddle(
        &schema,
        "INSERT INTO schema_migration VALUES (1000, 'future', '', 0, 1000)",
    )
    .await;
    let error = refusal(schema.url()).await;
    assert!(
        matches!(&error, StoreError::Corrupt(text) if text.contains("newer version")),
        "{error}"
    );
}

#[tokio::test]
async fn g63_this_version_works_on_a_schema_that_the_next_one_has_expanded() {
    let Some(schema) = Schema::new().await else { return };
    drop(open(&schema.url()).await);
    meddle(
        &schema,
        "ALTER TABLE connection ADD COLUMN future TEXT; ALTER TABLE flow ADD COLUMN future BIGINT NOT NULL DEFAULT 7;
         CREATE TABLE future (space TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (space, id));
         CREATE INDEX future_account ON connection (space, account_label);
         INSERT INTO schema_migration VALUES (1000, 'future', 'x', 0, 1)",
    )
    .await;
    let store = open(&schema.url()).await;
    put(&store, "ada").await;
    meddle(&schema, "UPDATE connection SET future = 'kept'").await;
    let (now, lease) = (connection("ada").connected_at, Duration::from_secs(60));
    let claim = store.claim_refresh(&key_of("ada"), 1, "one", now, lease).await;
    assert!(matches!(claim.expect("a claim"), Claim::Held { .. }));
    let done = finish(&store, "ada", 1).await;
    assert!(matches!(done.expect("written"), Committed::Done(row) if row.generation == 2));
    assert!(
        store
            .put_flow(flow(1, "ada"), 9, audit("flow.start"))
            .await
            .expect("written")
    );
    // What this version knows nothing of stays as it is.
    let rows = connect(&schema.url())
        .await
        .query("SELECT future FROM connection", &[])
        .await;
    assert_eq!(rows.expect("read")[0].get::<_, &str>(0), "kept");
}

#[tokio::test]
async fn an_altered_migration_is_refused() {
    for change in ["checksum = 'x'", "name = 'other'", "number = number + 100"] {
        let Some(schema) = Schema::new().await else { return };
        drop(open(&schema.url()).await);
        meddle(
            &schema,
            &format!("UPDATE schema_migration SET {change} WHERE number > 0"),
        )
        .await;
        assert!(
            matches!(refusal(schema.url()).await, StoreError::Corrupt(_)),
            "{change}"
        );
    }
}

#[tokio::test]
async fn a_schema_of_something_else_is_refused_and_left_as_it_is() {
    let Some(schema) = Schema::new().await else { return };
    meddle(&schema, "CREATE TABLE theirs (x BIGINT)").await;
    let text = refusal(schema.url()).await.to_string();
    assert!(text.contains("belongs to another program"), "{text}");
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()";
    let tables = connect(&schema.url()).await.query(tables, &[]).await.expect("a list");
    assert_eq!(tables.len(), 1);
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_told() {
    let Some(schema) = Schema::new().await else { return };
    let text = refusal(schema.url().replace("search_path%3D", "search_path%3Dno_"))
        .await
        .to_string();
    assert!(text.contains("search_path"), "{text}");
}

#[tokio::test]
async fn c30_a_corrupt_row_is_told_without_its_values() {
    let changes = [
        ("scopes", "UPDATE connection SET scopes = 'SECRET'"),
        ("metadata", "UPDATE connection SET metadata = NULL"),
        ("cause", "UPDATE connection SET cause = 'SECRET'"),
        ("intent_attempt", "UPDATE connection SET intent_holder = 'SECRET'"),
        ("binding", "UPDATE connection SET binding = 'SECRET'"),
        ("owner", "UPDATE connection SET owner = 'SECRET'"),
    ];
    let Some(schema) = Schema::new().await else { return };
    let store = open(&schema.url()).await;
    for (column, change) in changes {
        meddle(&schema, "DELETE FROM connection").await;
        put(&store, "ada").await;
        meddle(&schema, change).await;
        let (space, id) = (&key_of("ada").space, &key_of("ada").connector);
        let error = store
            .list_connections(space, id, None, 1)
            .await
            .expect_err("a corrupt row");
        let text = error.to_string();
        assert!(matches!(error, StoreError::Corrupt(_)), "{text}");
        assert!(text.contains(column) && !text.contains("SECRET"), "{text}");
    }
}

#[tokio::test]
async fn c30_an_error_of_the_server_names_no_parameter() {
    let Some(schema) = Schema::new().await else { return };
    let store = open(&schema.url()).await;
    let row = flow(1, "SECRET");
    assert!(
        store
            .put_flow(row.clone(), 9, audit("flow.start"))
            .await
            .expect("written")
    );
    let twice = store.put_flow(row, 9, audit("flow.start")).await.expect_err("twice");
    let mut odd = connection("ada");
    odd.account_label = Some("SECRET\0".to_owned());
    let odd = store
        .put_connection(odd, audit("connection.connect"))
        .await
        .expect_err("no text");
    for (error, code) in [(twice, "23505"), (odd, "22021")] {
        let text = format!("{error} {error:?}");
        assert!(matches!(error, StoreError::Corrupt(_)), "{text}");
        assert!(text.contains(code) && !text.contains("SECRET"), "{text}");
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let Some(schema) = Schema::new().await else { return };
    let store = open(&schema.url()).await;
    put(&store, "ada").await;
    store.close();
    store.close();
    for text in [
        store
            .get_connection(&key_of("ada"))
            .await
            .expect_err("closed")
            .to_string(),
        store.probe().await.expect_err("closed").to_string(),
        store.list_keys().await.expect_err("closed").to_string(),
    ] {
        assert_eq!(text, "the store is unavailable: it is closed");
    }
}
