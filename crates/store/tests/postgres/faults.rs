//! A server that goes away, is slow, or gets in its own way.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;
use valetkey_store::rows::{Committed, Deletion};
use valetkey_store::{Connections as _, Connectors as _, Limits as _, Vault as _};

use crate::fixtures::{NOW, audit, connection, finish, generation, key_of, own_server, put, records, unavailable};
use crate::link::Link;
use crate::place::{Schema, connect, open};

/// How often a row of ours is waited for.
const BLOCKED: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND application_name = $1";

/// Locks the connections in a transaction that stays open.
async fn lock_connections(client: &Client) {
    client
        .batch_execute("BEGIN; SELECT 1 FROM connection FOR UPDATE")
        .await
        .expect("locked");
}

/// Waits until this many statements of a store with this name wait for a lock.
async fn until_blocked(client: &Client, name: &str, expected: i64) {
    let look = async {
        loop {
            let blocked: i64 = client.query_one(BLOCKED, &[&name]).await.expect("a count").get(0);
            if blocked == expected {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), look).await.expect("blocked");
}

#[tokio::test(flavor = "multi_thread")]
async fn g27_a_restart_of_the_server_is_survived_without_one_of_the_process() {
    let Some((server, _dir)) = own_server(&[]) else { return };
    let store = open(&server.url()).await;
    put(&store, "ada").await;
    for round in 1..3 {
        server.down().expect("stopped");
        let start = Instant::now();
        unavailable(store.get_connection(&key_of("ada")).await);
        unavailable(finish(&store, "ada", round).await);
        unavailable(store.probe().await);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        server.up().expect("started");
        assert_eq!(generation(&store, "ada").await, round);
        assert!(matches!(finish(&store, "ada", round).await, Ok(Committed::Done(_))));
        store.probe().await.expect("written");
    }
    assert_eq!(records(&store, "token.refresh").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_when_their_connections_are_ended() {
    let Some(schema) = Schema::new().await else { return };
    let store = open(&format!("{}&application_name=ended", schema.url())).await;
    put(&store, "ada").await;
    let meddler = connect(&schema.url()).await;
    for _ in 0..5 {
        for _ in 0..8 {
            assert_eq!(generation(&store, "ada").await, 1);
        }
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'ended'";
        assert!(!meddler.query(sql, &[]).await.expect("ended").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g28_a_statement_that_takes_too_long_is_cut_off_and_others_do_not_pile_up() {
    let Some(schema) = Schema::new().await else { return };
    // The last option counts.
    let url = schema
        .url()
        .replace("options=", "options=-cstatement_timeout%3D2500%20");
    let store = Arc::new(open(&format!("{url}&application_name=cut_off")).await);
    put(&store, "ada").await;
    let meddler = connect(&schema.url()).await;
    lock_connections(&meddler).await;
    let mut waiting: JoinSet<_> = (0..16)
        .map(|_| {
            let store = Arc::clone(&store);
            async move { finish(&store, "ada", 1).await }
        })
        .collect();
    until_blocked(&connect(&schema.url()).await, "cut_off", 16).await;
    let start = Instant::now();
    let text = unavailable(store.probe().await);
    assert_eq!(text, "no connection was free in time");
    assert!(start.elapsed() < Duration::from_millis(1_900), "{:?}", start.elapsed());
    assert_eq!(
        generation(&store, "ada").await,
        1,
        "reads have connections of their own"
    );
    while let Some(answer) = waiting.join_next().await {
        let text = unavailable(answer.expect("no panic"));
        assert!(text.contains("took too long"), "{text}");
    }
    meddler.batch_execute("ROLLBACK").await.expect("unlocked");
    store.probe().await.expect("the connections are of use again");
    assert!(matches!(finish(&store, "ada", 1).await, Ok(Committed::Done(_))));
}

/// A pooler takes no time-out for statements, so the store keeps the time itself.
#[tokio::test(flavor = "multi_thread")]
async fn g28_a_statement_that_nobody_ends_is_cancelled() {
    let Some(schema) = Schema::new().await else { return };
    let store = open(&format!(
        "{}&pooler=transaction&application_name=cancelled",
        schema.url()
    ))
    .await;
    put(&store, "ada").await;
    let meddler = connect(&schema.url()).await;
    lock_connections(&meddler).await;
    let text = unavailable(finish(&store, "ada", 1).await);
    assert_eq!(text, "the server does not answer");
    until_blocked(&connect(&schema.url()).await, "cancelled", 0).await;
    meddler.batch_execute("ROLLBACK").await.expect("unlocked");
    assert_eq!(generation(&store, "ada").await, 1, "nothing was written late");
    assert!(matches!(finish(&store, "ada", 1).await, Ok(Committed::Done(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn g14_a_commit_whose_answer_is_lost_is_unavailable_and_can_be_read_back() {
    let Some(schema) = Schema::new().await else { return };
    let url = schema.url();
    let after_host = url.split("127.0.0.1:").nth(1).expect("a port");
    let port = after_host.split('/').next().expect("a port");
    let link = Link::to(port.parse().expect("a number")).await;
    let store = open(&url.replace(&format!(":{port}/"), &format!(":{}/", link.port()))).await;
    put(&store, "ada").await;
    // From then on the statement is known to the connection, so that it is what gets no answer.
    assert!(matches!(finish(&store, "ada", 1).await, Ok(Committed::Done(_))));
    link.lose_answers(true);
    unavailable(finish(&store, "ada", 2).await);
    unavailable(store.probe().await);
    link.lose_answers(false);
    assert_eq!(generation(&store, "ada").await, 3);
    assert!(matches!(finish(&store, "ada", 2).await, Ok(Committed::Lost(Some(_)))));
    assert_eq!(records(&store, "token.refresh").await, 2);
}

/// The meddler locks the connection, the store the connector; then each wants what the other has.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_undid_is_done_again() {
    let Some(schema) = Schema::new().await else { return };
    let store = Arc::new(open(&format!("{}&application_name=undone", schema.url())).await);
    put(&store, "ada").await;
    let key = key_of("ada");
    let tombstone = store.disconnect(&key, 1, NOW, None, audit("connection.disconnect"));
    assert!(matches!(tombstone.await, Ok(Committed::Done(_))));
    let meddler = connect(&schema.url()).await;
    let sql = "INSERT INTO connector VALUES ('default', 'slack', '.slack2', '', '{}', '', 'shared', '{}', NULL, '', 1,
        false, 0, 0)";
    meddler.batch_execute(sql).await.expect("a connector");
    // The server looks for circles when somebody has waited for this long; the meddler does not look.
    meddler
        .batch_execute("SET deadlock_timeout = '1min'")
        .await
        .expect("patience");
    lock_connections(&meddler).await;
    let deleting = tokio::task::JoinSet::from_iter([{
        let store = Arc::clone(&store);
        async move {
            let key = key_of("ada");
            store
                .delete_connector(&key.space, &key.connector, audit("connector.delete"))
                .await
        }
    }]);
    until_blocked(&connect(&schema.url()).await, "undone", 1).await;
    meddler
        .batch_execute("UPDATE connector SET version = version + 1; COMMIT")
        .await
        .expect("the store gave way");
    let deleted = deleting.join_all().await.remove(0).expect("done in the end");
    assert_eq!(deleted, Deletion::Done);
    assert_eq!(store.get_connection(&key_of("ada")).await.expect("read"), None);
    assert_eq!(records(&store, "connector.delete").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_another_isolation_changes_no_answer() {
    let Some(schema) = Schema::new().await else { return };
    let url = schema
        .url()
        .replace("options=", "options=-cdefault_transaction_isolation%3Dserializable%20");
    let store = Arc::new(open(&url).await);
    let tasks: JoinSet<_> = (0..6)
        .map(|number| {
            let store = Arc::clone(&store);
            async move {
                let taken = store.take_limit("authorize", "ada", 3, Duration::from_secs(60), NOW);
                let taken = taken.await.expect("an answer").is_ok();
                let put = store.put_connection(connection(&format!("user-{number}")), audit("connection.connect"));
                assert!(matches!(put.await.expect("an answer"), Committed::Done(_)));
                taken
            }
        })
        .collect();
    let taken = tasks.join_all().await;
    assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 3);
}
