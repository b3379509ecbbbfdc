//! Where everything is kept: a file in the data directory, or a database that several processes share.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;
use valetkey_store::postgres::{Address, PostgresStore};
use valetkey_store::sqlite::SqliteStore;
use valetkey_store::{Store, StoreError};

use super::Refusal;
use crate::config::Config;

/// A server that starts together with its database waits for it: so many seconds between two looks, two minutes in all.
const WAITS: [u64; 10] = [1, 1, 2, 4, 8, 15, 15, 15, 30, 30];

/// An open store. Its text says where it is, for people.
pub(crate) struct Place {
    name: String,
    engine: Engine,
}

enum Engine {
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PostgresStore>),
}

impl Place {
    /// Makes the data directory, opens the store that the settings name, and brings its schema up to date.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data_dir)
            .with_context(|| format!("data_dir: cannot make {}", config.data_dir.display()))?;
        match &config.database {
            Some(address) => Self::at_address(address).await,
            None => Self::at_file(
                &config.data_dir.join("valetkey.db"),
                format!("data_dir {}", config.data_dir.display()),
            ),
        }
    }

    /// Opens a file, which is made if it is not there.
    pub(crate) fn at_file(file: &Path, name: String) -> Result<Self> {
        let engine = SqliteStore::open(file).map(Arc::new).map(Engine::Sqlite);
        Self::or_refusal(name, engine)
    }

    /// Opens a database.
    pub(crate) async fn at_address(address: &Address) -> Result<Self> {
        let engine = PostgresStore::open(address).await.map(Arc::new).map(Engine::Postgres);
        Self::or_refusal("the database".to_owned(), engine)
    }

    fn or_refusal(name: String, engine: std::result::Result<Engine, StoreError>) -> Result<Self> {
        match engine {
            Ok(engine) => Ok(Self { name, engine }),
            Err(error @ StoreError::Unavailable(_)) => Err(Refusal::NotNow(format!("{name}: {error}")).into()),
            Err(error @ StoreError::Corrupt(_)) => Err(Refusal::Configuration(format!("{name}: {error}")).into()),
        }
    }

    /// The same, and waits for a database that cannot be used yet.
    pub(crate) async fn open_patiently(config: &Config) -> Result<Self> {
        for wait in WAITS.into_iter().filter(|_| config.database.is_some()) {
            match Self::open(config).await {
                Err(error) if matches!(error.downcast_ref(), Some(Refusal::NotNow(_))) => {
                    tracing::warn!(%error, "not ready; trying again in {wait} s");
                    sleep(Duration::from_secs(wait)).await;
                }
                done => return done,
            }
        }
        Self::open(config).await
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match &self.engine {
            Engine::Sqlite(store) => Arc::clone(store) as _,
            Engine::Postgres(store) => Arc::clone(store) as _,
        }
    }

    /// Which engine it is.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.engine {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Finishes what waits and closes it.
    pub(crate) fn close(&self) {
        match &self.engine {
            Engine::Sqlite(store) => store.close(),
            Engine::Postgres(store) => store.close(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
