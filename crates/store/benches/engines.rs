//! What the engines do in a second: point reads, and refreshes (the claim and the new pair, each written durably), by 32
//! callers at once (`BENCH_CALLERS`); and how long a point read takes by itself with few rows and with many (`BENCH_ROWS`, 1,000,000; 0 leaves that out).
//!
//! `cargo xtask postgres cargo bench -p valetkey-store --all-features`. The server's numbers are those of this machine:
//! server and callers share its cores.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, Owner, ProfileUid, SpaceId, Timestamp};
use valetkey_store::Store;
use valetkey_store::postgres::PostgresStore;
use valetkey_store::rows::{
    AuditRow, Claim, Committed, ConnectionRow, ConnectionState, Digest, GrantRow, Record, Renewed, Sealed,
};
use valetkey_store::sqlite::SqliteStore;

#[path = "../tests/support/place.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod place;

const ROWS: u64 = 50_000;
const FEW: u64 = 10_000;
const SPAN: Duration = Duration::from_secs(4);

fn key(number: u64) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: ConnectorId::new("slack").expect("an id"),
        owner: Owner::User(ProfileUid::new(format!("user-{number}")).expect("a user")),
        name: ConnectionName::default_name(),
    }
}

/// As large as sealed tokens usually are.
fn grant() -> GrantRow {
    GrantRow {
        sealed_access: Sealed(vec![1; 700]),
        sealed_refresh: Some(Sealed(vec![2; 500])),
        expires_at: Some(Timestamp(0)),
        lifetime_ms: Some(3_600_000),
        refresh_expires_at: None,
        scopes: vec!["chat:write".to_owned()],
        metadata: serde_json::Map::new(),
    }
}

fn connection(number: u64) -> Record {
    Record::Connection(Box::new(ConnectionRow {
        key: key(number),
        generation: 1,
        state: ConnectionState::Active,
        grant: Some(grant()),
        binding: Digest([0; 32]),
        spec_version: 1,
        account_id: Some(format!("U{number}")),
        account_label: None,
        connected_at: Timestamp(0),
        refreshed_at: None,
        intent: None,
        due_at: Some(Timestamp(0)),
        used_at: Timestamp(0),
        notice: None,
    }))
}

fn audit() -> AuditRow {
    AuditRow {
        at: Timestamp(0),
        space: Some(SpaceId::default_space()),
        kind: "token.refresh",
        outcome: "ok".to_owned(),
        key: None,
        user: None,
        connector: Some(ConnectorId::new("slack").expect("an id")),
        connection: Some((Owner::Shared, ConnectionName::default_name())),
        request_id: Some("17f649a47ef0c0db-7".to_owned()),
        address: None,
        details: serde_json::Map::new(),
        count: 1,
    }
}

/// Every caller repeats its own work for a while; how often they did it in a second, all together.
async fn per_second<F>(store: &Arc<dyn Store>, work: impl Fn(Arc<dyn Store>, u64, Instant) -> F) -> f64
where
    F: Future<Output = u64> + Send + 'static,
{
    let end = Instant::now() + SPAN;
    let callers: JoinSet<u64> = (0..callers())
        .map(|caller| work(Arc::clone(store), caller, end))
        .collect();
    let times: u64 = callers.join_all().await.into_iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "it is printed without a fraction")]
    let times = times as f64;
    times / SPAN.as_secs_f64()
}

async fn read(store: Arc<dyn Store>, caller: u64, end: Instant) -> u64 {
    let (mut times, mut number) = (0, caller * 7_919);
    while Instant::now() < end {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let row = store.get_connection(&key((number >> 33) % ROWS)).await;
        assert!(row.expect("read").is_some());
        times += 1;
    }
    times
}

/// How long one read takes, at the median and at the 99th of a hundred, in microseconds.
async fn latencies(store: &Arc<dyn Store>, rows: u64) -> (f64, f64) {
    let (mut spans, mut number) = (Vec::new(), 1_u64);
    // The first half warms the caches, as a store that has run for a while has them.
    for turn in 0..400_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = key((number >> 33) % rows);
        let start = Instant::now();
        let row = store.get_connection(&key).await;
        let span = start.elapsed();
        assert!(row.expect("read").is_some());
        if turn >= 200_000 {
            spans.push(span);
        }
    }
    spans.sort_unstable();
    let at = |percent: usize| spans[spans.len() * percent / 100].as_secs_f64() * 1e6;
    (at(50), at(99))
}

async fn fill(store: &Arc<dyn Store>, rows: std::ops::Range<u64>) {
    for start in rows.clone().step_by(1_000) {
        let records = (start..rows.end.min(start + 1_000)).map(connection).collect();
        store.import(records).await.expect("written");
    }
}

/// Point reads with few rows and with many.
async fn grow(name: &str, store: &Arc<dyn Store>, many: u64) {
    fill(store, 0..FEW).await;
    let few = latencies(store, FEW).await;
    fill(store, FEW..many).await;
    let many_took = latencies(store, many).await;
    writeln!(
        std::io::stdout(),
        "{name:<28} a read of {FEW} rows p50 {:.0} µs, p99 {:.0} µs; of {many} rows p50 {:.0} µs, p99 {:.0} µs: {:.2} x",
        few.0,
        few.1,
        many_took.0,
        many_took.1,
        many_took.1 / few.1
    )
    .expect("printed");
}

async fn refresh(store: Arc<dyn Store>, caller: u64, end: Instant) -> u64 {
    let (mut times, own) = (0, ROWS / callers());
    while Instant::now() < end {
        let number = caller * own + times % own;
        let generation = i64::try_from(1 + times / own).expect("small");
        let renewed = Renewed {
            grant: grant(),
            at: Timestamp(0),
            due_at: Some(Timestamp(i64::try_from(times).expect("small"))),
        };
        let (key, holder, lease) = (key(number), format!("holder-{times}"), Duration::from_secs(60));
        let held = store
            .claim_refresh(&key, generation, &holder, Timestamp(0), lease)
            .await;
        assert!(matches!(held, Ok(Claim::Held { .. })), "{held:?}");
        let done = store.finish_refresh(&key, generation, renewed, audit()).await;
        assert!(matches!(done, Ok(Committed::Done(_))), "{done:?}");
        times += 1;
    }
    times
}

async fn measure(name: &str, store: Arc<dyn Store>) {
    fill(&store, 0..ROWS).await;
    // Once for what is prepared and cached at the first use.
    per_second(&store, read).await;
    let reads = per_second(&store, read).await;
    let writes = per_second(&store, refresh).await;
    writeln!(
        std::io::stdout(),
        "{name:<28} {reads:>8.0} reads/s {writes:>8.0} durable refreshes/s"
    )
    .expect("printed");
}

fn many() -> u64 {
    setting("BENCH_ROWS", 1_000_000)
}

fn callers() -> u64 {
    setting("BENCH_CALLERS", 32)
}

#[expect(clippy::disallowed_methods, reason = "a bench is told its sizes by the environment")]
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().expect("a number"))
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let sqlite = SqliteStore::open(&dir.path().join("valetkey.db")).expect("a store");
    measure("SQLite", Arc::new(sqlite)).await;
    let many = many();
    if many > FEW {
        let dir = tempfile::tempdir().expect("a directory");
        let sqlite = SqliteStore::open(&dir.path().join("valetkey.db")).expect("a store");
        grow("SQLite", &(Arc::new(sqlite) as Arc<dyn Store>), many).await;
        if let Some(schema) = place::Schema::new().await {
            let store = PostgresStore::open(&schema.url().parse().expect("an address")).await;
            grow(
                "PostgreSQL",
                &(Arc::new(store.expect("a store")) as Arc<dyn Store>),
                many,
            )
            .await;
        }
    }
    for (name, parameter) in [
        ("PostgreSQL", ""),
        ("PostgreSQL, pooler=transaction", "&pooler=transaction"),
    ] {
        let Some(schema) = place::Schema::new().await else {
            return;
        };
        let address = format!("{}{parameter}", schema.url()).parse().expect("an address");
        let store = PostgresStore::open(&address).await.expect("a store");
        measure(name, Arc::new(store)).await;
    }
}
