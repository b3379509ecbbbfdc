//! Several processes on one server: two stores that know nothing of each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use valetkey_core::{KeyId, Timestamp};
use valetkey_store::postgres::PostgresStore;
use valetkey_store::rows::{Claim, Committed, Digest, JobRow, KeyRow, Sealed};
use valetkey_store::{Connections as _, Flows as _, Jobs as _, Keys as _, Limits as _, Refreshes as _, Vault as _};

use crate::fixtures::{NOW, audit, finish, flow, key_of, put, records};
use crate::place::{Schema, open};

const HOUR: Duration = Duration::from_hours(1);
const LEASE: Duration = Duration::from_secs(60);

async fn two(schema: &Schema) -> [Arc<PostgresStore>; 2] {
    [Arc::new(open(&schema.url()).await), Arc::new(open(&schema.url()).await)]
}

/// Runs the same thing many times at once, on both stores alternately, and collects what came of each.
async fn race<T, F>(stores: &[Arc<PostgresStore>; 2], runners: u8, run: impl Fn(Arc<PostgresStore>, u8) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: JoinSet<T> = (0..runners)
        .map(|number| run(Arc::clone(&stores[usize::from(number % 2)]), number))
        .collect();
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_exact_across_processes() {
    let Some(schema) = Schema::new().await else { return };
    let stores = two(&schema).await;
    let taken = race(&stores, 60, |store, _| async move {
        store
            .take_limit("authorize", "ada", 10, HOUR, NOW)
            .await
            .expect("an answer")
    })
    .await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn g62_of_the_first_keys_of_two_processes_one_is_written() {
    let Some(schema) = Schema::new().await else { return };
    let stores = two(&schema).await;
    let added = race(&stores, 8, |store, number| async move {
        let row = KeyRow {
            id: KeyId::new(format!("key-{number}")).expect("an id"),
            name: "bootstrap".to_owned(),
            hash: Digest([number; 32]),
            privileges: vec!["admin".to_owned()],
            spaces: vec!["*".to_owned()],
            profile_uid: None,
            connectors: None,
            actions: None,
            created_at: NOW,
            expires_at: None,
            created_by: None,
        };
        store
            .put_first_key(row, audit("apikey.create"))
            .await
            .expect("an answer")
    })
    .await;
    assert_eq!(added.into_iter().filter(|added| *added).count(), 1);
    assert_eq!(stores[0].list_keys().await.expect("a list").len(), 1);
    assert_eq!(records(&stores[0], "apikey.create").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_waiting_flows_is_exact_across_processes() {
    let Some(schema) = Schema::new().await else { return };
    let stores = two(&schema).await;
    let added = race(&stores, 40, |store, number| async move {
        store
            .put_flow(flow(number, "ada"), 3, audit("flow.start"))
            .await
            .expect("an answer")
    })
    .await;
    assert_eq!(added.into_iter().filter(|added| *added).count(), 3);
    assert_eq!(records(&stores[0], "flow.start").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn g36_of_claims_of_two_processes_one_is_held() {
    let Some(schema) = Schema::new().await else { return };
    let stores = two(&schema).await;
    put(&stores[0], "ada").await;
    let claims = race(&stores, 30, |store, number| async move {
        let (key, holder) = (key_of("ada"), format!("holder-{number}"));
        store
            .claim_refresh(&key, 1, &holder, NOW, LEASE)
            .await
            .expect("an answer")
    })
    .await;
    let held = claims
        .iter()
        .filter(|claim| matches!(claim, Claim::Held { .. }))
        .count();
    assert_eq!(held, 1);
    let finished = race(&stores, 10, |store, _| async move {
        finish(&store, "ada", 1).await.expect("an answer")
    })
    .await;
    let done = finished
        .iter()
        .filter(|answer| matches!(answer, Committed::Done(_)))
        .count();
    assert_eq!(done, 1);
    assert_eq!(records(&stores[1], "token.refresh").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_the_store_that_took_it() {
    let Some(schema) = Schema::new().await else { return };
    let [one, two] = two(&schema).await;
    put(&one, "ada").await;
    let key = key_of("ada");
    let claim = async |store: &PostgresStore, holder, now| {
        let claim = store.claim_refresh(&key, 1, holder, now, LEASE).await;
        claim.expect("an answer")
    };
    assert!(matches!(claim(&one, "one", NOW).await, Claim::Held { .. }));
    one.close();
    let until = NOW.plus(LEASE);
    assert_eq!(claim(&two, "two", NOW).await, Claim::Busy(until));
    assert!(matches!(
        claim(&two, "two", until).await,
        Claim::Held { previous: Some(_), .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn g42_a_job_is_given_to_one_of_two_processes() {
    let Some(schema) = Schema::new().await else { return };
    let stores = two(&schema).await;
    for number in 0..60 {
        let row = JobRow {
            id: format!("job-{number}"),
            key: key_of("ada"),
            kind: "revoke".to_owned(),
            sealed: Sealed(vec![]),
            due_at: NOW,
            attempts: 0,
            created_at: NOW,
        };
        assert!(stores[0].put_job(row).await.expect("written"));
    }
    let until = Timestamp(NOW.0 + 60_000);
    let claimed = race(&stores, 20, |store, _| async move {
        store.claim_jobs(NOW, until, 5).await.expect("jobs")
    })
    .await;
    let ids: Vec<_> = claimed.into_iter().flatten().map(|job| job.id).collect();
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "none is given twice"
    );
    let mut left = stores[1].claim_jobs(NOW, until, 100).await.expect("jobs");
    left.retain(|job| ids.contains(&job.id));
    assert!(left.is_empty());
}

/// Each locks the same rows; without an order they would wait for each other in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn uses_noted_by_two_processes_do_not_block_each_other() {
    let Some(schema) = Schema::new().await else { return };
    let stores = two(&schema).await;
    let users: Vec<_> = (0..20).map(|number| format!("user-{number}")).collect();
    for uid in &users {
        put(&stores[0], uid).await;
    }
    race(&stores, 20, |store, number| {
        let at = Timestamp(NOW.0 + i64::from(number));
        let mut used: Vec<_> = users.iter().map(|uid| (key_of(uid), at)).collect();
        if number % 2 == 1 {
            used.reverse();
        }
        async move { store.touch_connections(used).await.expect("noted") }
    })
    .await;
    for uid in &users {
        let row = stores[0]
            .get_connection(&key_of(uid))
            .await
            .expect("read")
            .expect("there");
        assert_eq!(row.used_at, Timestamp(NOW.0 + 19));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g34_time_is_told_by_the_server() {
    let Some(schema) = Schema::new().await else { return };
    let [one, two] = two(&schema).await;
    let mut before = Timestamp(0);
    for store in [&one, &two, &one, &two] {
        let now = store.time().await.expect("an answer").expect("a clock");
        assert!(before <= now && now > Timestamp(1_700_000_000_000));
        before = now;
    }
}
