//! A place of its own for each test on a `PostgreSQL` server.

use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, NoTls};
use valetkey_store::postgres::PostgresStore;

/// Where the server that the tests share is told.
pub(crate) const SERVER: &str = "VALETKEY_TEST_POSTGRES";

/// A URL that the environment has. Without one the test does not run: a failure in CI, a notice elsewhere.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where the server is"
)]
pub(crate) fn told(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        let why = format!("{variable} is not set; `cargo xtask test` starts a server and sets it");
        assert!(std::env::var("CI").is_err(), "PostgreSQL must be tested here: {why}");
        writeln!(std::io::stderr(), "skipped: {why}").expect("a notice");
    }
    url
}

/// A name that no other test has.
pub(crate) fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An empty schema. It is removed at the end, unless the test failed: then somebody may want to look.
pub(crate) struct Schema {
    server: String,
    name: String,
}

impl Schema {
    pub(crate) async fn new() -> Option<Self> {
        let (server, name) = (told(SERVER)?, new_name());
        run(&server, &format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await;
        run(&server, &format!("CREATE SCHEMA {name}")).await;
        Some(Self { server, name })
    }

    /// An address that leads to it. Parameters can be added.
    pub(crate) fn url(&self) -> String {
        format!("{}&options=-csearch_path%3D{}", self.server, self.name)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        clean_up(&self.server, format!("DROP SCHEMA {} CASCADE", self.name));
    }
}

/// Opens a store there.
pub(crate) async fn open(url: &str) -> PostgresStore {
    let address = url.parse().expect("an address");
    PostgresStore::open(&address).await.expect("a store")
}

/// A connection that does what it likes.
#[expect(clippy::disallowed_methods, reason = "the task ends with the client")]
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    drop(tokio::spawn(connection));
    client
}

pub(crate) async fn run(url: &str, sql: &str) {
    connect(url).await.batch_execute(sql).await.expect(sql);
}

/// Runs this at the end of a test, unless it failed.
pub(crate) fn clean_up(server: &str, sql: String) {
    if std::thread::panicking() {
        return;
    }
    let server = server.to_owned();
    // The thread's own runtime, because a drop cannot wait in the one of the test.
    let done = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(run(&server, &sql));
    });
    done.join().expect("removed");
}
