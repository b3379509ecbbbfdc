//! The engines that the contract is tested on.

use std::sync::Arc;

use async_trait::async_trait;
use valetkey_store::Store;

use crate::Engine;

#[cfg(feature = "postgres")]
#[path = "../support/database.rs"]
mod database;
#[cfg(feature = "postgres")]
#[path = "../support/place.rs"]
mod place;

#[cfg(feature = "postgres")]
pub(crate) use postgres::{Pooled, Postgres};
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::Sqlite;

#[cfg(feature = "sqlite")]
mod sqlite {
    use valetkey_store::sqlite::SqliteStore;

    use super::{Arc, Engine, Store, async_trait};

    pub(crate) struct Sqlite(tempfile::TempDir);

    impl Sqlite {
        pub(crate) fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }
    }

    #[async_trait]
    impl Engine for Sqlite {
        async fn open(&self) -> Arc<dyn Store> {
            Arc::new(SqliteStore::open(&self.0.path().join("valetkey.db")).expect("a store"))
        }

        async fn another(&self) -> Box<dyn Engine> {
            Box::new(Self::new())
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::database::Database;
    use super::place::{Schema, open};
    use super::{Arc, Engine, Store, async_trait};

    /// A schema of the server.
    pub(crate) struct Postgres(Schema);

    impl Postgres {
        pub(crate) async fn new() -> Option<Self> {
            Schema::new().await.map(Self)
        }
    }

    #[async_trait]
    impl Engine for Postgres {
        async fn open(&self) -> Arc<dyn Store> {
            Arc::new(open(&self.0.url()).await)
        }

        async fn another(&self) -> Box<dyn Engine> {
            Box::new(Self::new().await.expect("a schema"))
        }
    }

    /// A database behind a pooler: a schema would have to be named in the session.
    pub(crate) struct Pooled(Database);

    impl Pooled {
        pub(crate) async fn new() -> Option<Self> {
            Database::new().await.map(Self)
        }
    }

    #[async_trait]
    impl Engine for Pooled {
        async fn open(&self) -> Arc<dyn Store> {
            Arc::new(open(&self.0.url()).await)
        }

        async fn another(&self) -> Box<dyn Engine> {
            Box::new(Self::new().await.expect("a database"))
        }
    }
}
