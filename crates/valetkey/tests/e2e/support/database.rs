//! Databases and servers of a test's own, for what is done to all of one.

use tempfile::TempDir;

use super::place::{SERVER, clean_up, new_name, run, told};

#[path = "../../../../store/tests/support/server.rs"]
mod server;

use server::Server;

/// A server for one test. Without its programs the test does not run, as without the shared server.
pub(crate) fn own_server() -> Option<(Server, TempDir)> {
    told(SERVER)?;
    let programs = server::programs().expect("the programs of the server");
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(&programs, dir.path(), &[]).expect("a server");
    Some((server, dir))
}

/// A server for one test, its standby, which has everything that was confirmed, and the address of both.
pub(crate) fn own_pair() -> Option<([(Server, TempDir); 2], String)> {
    let (primary, place) = own_server()?;
    let dir = tempfile::tempdir().expect("a directory");
    let standby = primary.standby(dir.path()).expect("a standby");
    primary.wait_for_standby().expect("a synchronous standby");
    let one = format!(":{}/", primary.port());
    let both = format!(":{},127.0.0.1:{}/", primary.port(), standby.port());
    let url = primary.url().replace(&one, &both);
    Some(([(primary, place), (standby, dir)], url))
}

/// An empty database on the shared server.
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    pub(crate) async fn new() -> Option<Self> {
        let (server, name) = (told(SERVER)?, new_name());
        run(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        run(&server, &format!("CREATE DATABASE {name}")).await;
        Some(Self { server, name })
    }

    pub(crate) fn url(&self) -> String {
        self.server.replace("/postgres?", &format!("/{}?", self.name))
    }

    /// Makes it refuse every write, or take them again, as a standby and its promotion would.
    pub(crate) async fn set_read_only(&self, read_only: bool) {
        let name = &self.name;
        let state = if read_only { "on" } else { "off" };
        run(
            &self.server,
            &format!("ALTER DATABASE {name} SET default_transaction_read_only = {state}"),
        )
        .await;
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname";
        run(&self.server, &format!("{end} = '{name}'")).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        clean_up(&self.server, format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}
