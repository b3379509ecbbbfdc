//! A database behind a pooler for each test. A schema would have to be named in the session, which a pooler shares.

use super::place::{SERVER, clean_up, new_name, run, told};

/// Where the pooler in front of the server is told.
const POOLER: &str = "VALETKEY_TEST_PGBOUNCER";

/// An empty database, reached through the pooler.
pub(crate) struct Database {
    server: String,
    pooler: String,
    name: String,
}

impl Database {
    pub(crate) async fn new() -> Option<Self> {
        let (server, pooler, name) = (told(SERVER)?, told(POOLER)?, new_name());
        run(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        run(&server, &format!("CREATE DATABASE {name}")).await;
        Some(Self { server, pooler, name })
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}?pooler=transaction", self.pooler, self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        clean_up(&self.server, format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}
