//! The engine for several processes: one `PostgreSQL` server that all of them share.
//!
//! **Writing.** Every operation is one statement, with its audit records in it, or a short transaction that locks the one
//! row it depends on. It runs on a connection of a pool. What the server rolled back for certain (a deadlock, a
//! serialisation failure) is run again; a connection that breaks before the answer is [`StoreError::Unavailable`], and
//! whoever asked reads again to learn what became of it.
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
mod reader;
mod refresh;
mod session;
mod sessions;
mod tallies;
#[cfg(test)]
mod tests;
mod transfer;
mod values;
mod vault;
mod walk;

use std::fmt;

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
    readers: reader::Readers,
    pool: pool::Pool,
}

impl PostgresStore {
    /// Connects, checks that the server keeps what it confirms, and brings the schema up to date. Everything lies in the
    /// connection's current schema.
    ///
    /// It is [`StoreError::Unavailable`] when the server cannot be reached or refuses, and [`StoreError::Corrupt`] when
    /// the schema is a newer one or not the one that this program made.
    pub async fn open(address: &Address) -> Result<Self> {
        let connector = open::Connector::new(address)?;
        open::prepare(&connector).await?;
        Ok(Self {
            readers: reader::Readers::new(connector.clone()),
            pool: pool::Pool::new(connector)?,
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
    }

    /// Runs a point read on a connection that is shared.
    async fn read(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        self.readers.query(statement, params).await
    }

    /// Runs a read of many rows on a connection of its own.
    async fn list(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        self.pool.query(statement, params).await
    }

    /// Runs a statement that changes something on a connection of its own; returns when it is committed.
    async fn write(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        self.pool.query(statement, params).await
    }

    /// Runs statements in one transaction; returns when it is committed.
    async fn transact<W: pool::Work>(&self, work: &W) -> Result<W::Output> {
        self.pool.transact(work).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
