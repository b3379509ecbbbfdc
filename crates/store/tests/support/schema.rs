//! A schema of a `PostgreSQL` server for one test.

use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, NoTls};
use valetkey_store::postgres::{Address, PostgresStore};

/// The address of the server that the tests share. Without one they do not run: a failure in CI, a notice elsewhere.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where the server is"
)]
fn shared_server() -> Option<String> {
    let url = std::env::var("VALETKEY_TEST_POSTGRES").ok();
    if url.is_none() {
        skip("VALETKEY_TEST_POSTGRES is not set; `cargo xtask test` starts a server and sets it");
    }
    url
}

#[expect(clippy::disallowed_methods, reason = "CI says of itself that it is CI")]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").is_err(), "PostgreSQL must be tested here: {why}");
    writeln!(std::io::stderr(), "skipped: {why}").expect("a notice");
}

/// A schema for one test, on a server.
pub(crate) struct Schema {
    url: String,
    name: String,
}

impl Schema {
    /// Makes an empty one on the shared server.
    pub(crate) async fn new() -> Option<Self> {
        Some(Self::on(&shared_server()?).await)
    }

    /// Makes an empty one on this server.
    pub(crate) async fn on(url: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let schema = Self {
            url: url.to_owned(),
            name,
        };
        let name = &schema.name;
        // One of an earlier process with the same number that failed may be there.
        let sql = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
        connect(url).await.batch_execute(&sql).await.expect("a schema");
        schema
    }

    /// An address that leads to the schema.
    pub(crate) fn url(&self) -> String {
        let sign = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{sign}options=-csearch_path%3D{}", self.url, self.name)
    }

    pub(crate) fn address(&self) -> Address {
        self.url().parse().expect("an address")
    }

    /// Opens the store in it.
    pub(crate) async fn open(&self) -> PostgresStore {
        PostgresStore::open(&self.address()).await.expect("a store")
    }

    /// Removes it. A test that fails leaves it for a look.
    pub(crate) async fn remove(self) {
        let sql = format!("DROP SCHEMA {} CASCADE", self.name);
        connect(&self.url).await.batch_execute(&sql).await.expect("removed");
    }
}

#[expect(clippy::disallowed_methods, reason = "the task ends with the client")]
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    drop(tokio::spawn(connection));
    client
}
