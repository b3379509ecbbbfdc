//! The engine for several processes: one `PostgreSQL` server that all of them share.
//!
//! **Writing.** Every operation is one statement, with its audit records in it, or a short transaction that locks the one
//! row it depends on. It runs on a connection of a pool. What the server rolled back for certain (a deadlock, a
//! serialisation failure) is run again; a connection that breaks before the answer is [`StoreError::Unavailable`], and
//! whoever asked reads again to learn what became of it.
//!
//! Refreshes are what there is most of: those that arrive together are written by one statement (`batch.rs`).
//!
//! **Reading.** Point reads are sent down a few connections that everybody shares, without waiting for the answers of
//! those before. Lists go through the pool, where a long one delays nobody else.
//!
//! **Several processes.** Nothing is kept in a session but prepared statements, and those can be left out
//! (`pooler=transaction`), so that a pooler may give every transaction another connection. A lease means what it says
//! until it ends, because its holder may live in another process.
//!
//! To add an operation: its statements go to the `statements!` list of its subject's file, so that a test prepares them;
//! the trait's method runs them through `read`, `list`, `write` or `transact`. To change the schema: add a numbered file to
//! `migrations/postgres` and a line to `migrate.rs`; never edit one that was released.

mod address;
mod audit;
mod batch;
mod connection;
mod connections;
mod connectors;
mod error;
mod fields;
mod flows;
mod jobs;
mod keys;
mod limits;
mod migrate;
mod open;
mod pool;
mod pulse;
mod reader;
mod refresh;
mod session;
mod sessions;
mod tallies;
#[cfg(test)]
mod tests;
mod together;
mod transfer;
mod values;
mod vault;
mod walk;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use address::{Address, InvalidAddress};
use tokio_postgres::Row;

use crate::StoreError;
use values::Value;

type Result<T> = std::result::Result<T, StoreError>;

/// Names the SQL statements of a subject, so that each is written once and a test can prepare all of them.
macro_rules! statements {
    ($($name:ident = $sql:expr;)+) => {
        $(const $name: &str = $sql;)+

        #[cfg(test)]
        pub(super) const ALL: &[&str] = &[$($name),+];
    };
}
use statements;

/// A store in a `PostgreSQL` database. See [`crate::postgres`].
pub struct PostgresStore {
    pulse: Arc<pulse::Pulse>,
    /// How often the server had fallen silent when the connections were looked at last.
    silences: AtomicU64,
    readers: reader::Readers,
    pool: Arc<pool::Pool>,
    claims: batch::Batches,
    finishes: batch::Batches,
}

impl PostgresStore {
    /// Connects, checks that the server keeps what it confirms, and brings the schema up to date. Everything lies in the
    /// connection's current schema.
    ///
    /// It is [`StoreError::Unavailable`] when the server cannot be reached or refuses, and [`StoreError::Corrupt`] when
    /// the schema is a newer one or not the one that this program made.
    pub async fn open(address: &Address) -> Result<Self> {
        let connector = open::Connector::new(address)?;
        let client = open::prepare(&connector).await?;
        let pulse = pulse::Pulse::new(connector.clone(), client);
        let readers = reader::Readers::new(connector.clone());
        let pool = Arc::new(pool::Pool::new(connector, Arc::clone(&pulse))?);
        Ok(Self {
            pulse,
            silences: AtomicU64::new(0),
            readers,
            claims: batch::Batches::new(&pool, together::CLAIMS),
            finishes: batch::Batches::new(&pool, together::FINISHES),
            pool,
        })
    }

    /// Takes away what only the version before needs. Every process must run this version: older ones refuse from now on.
    pub async fn finish_migrations(address: &Address) -> Result<()> {
        open::finish(&open::Connector::new(address)?).await
    }

    /// Closes the connections. Every later operation is [`StoreError::Unavailable`].
    pub fn close(&self) {
        self.readers.close();
        self.pool.close();
        self.pulse.close();
    }

    /// Refuses an operation at once while the server does not answer. Connections from before a silence are let go of: the
    /// server may be another one since, and the old connections nowhere.
    fn begin(&self) -> Result<()> {
        let silences = self.pulse.admit()?;
        if self.silences.swap(silences, Ordering::Relaxed) != silences {
            self.readers.forget();
            self.pool.forget();
        }
        Ok(())
    }

    /// Runs a point read on a connection that is shared.
    async fn read(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        self.begin()?;
        self.pulse.attend(self.readers.query(statement, params)).await
    }

    /// Runs a read of many rows on a connection of its own.
    async fn list(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        self.begin()?;
        self.pool.query(statement, params).await
    }

    /// Runs a statement that changes something on a connection of its own; returns when it is committed.
    async fn write(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        self.begin()?;
        self.pool.query(statement, params).await
    }

    /// Runs statements in one transaction; returns when it is committed.
    async fn transact<W: pool::Work>(&self, work: &W) -> Result<W::Output> {
        self.begin()?;
        self.pool.transact(work).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
