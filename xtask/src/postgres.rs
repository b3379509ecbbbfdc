//! The database server of the tests: one for all of them, in a temporary directory, with a pooler in front of it.

use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::shell::{Workspace, say};

// What starts servers belongs to the tests, some of which start another one.
#[path = "../../crates/store/tests/support/bouncer.rs"]
mod bouncer;
#[expect(dead_code, reason = "tests do more with their servers")]
#[path = "../../crates/store/tests/support/server.rs"]
mod server;

use bouncer::Bouncer;
use server::Server;

/// Whether everything is installed.
pub(crate) fn is_installed() -> bool {
    server::programs().is_some() && bouncer::is_installed()
}

/// A server and a pooler; they stop when this is dropped.
pub(crate) struct Postgres {
    // Fields are dropped in this order.
    bouncer: Bouncer,
    server: Server,
    _dir: Directory,
}

impl Postgres {
    pub(crate) fn start() -> Result<Self> {
        let Some(programs) = server::programs() else {
            bail!("PostgreSQL is not installed");
        };
        let dir = Directory::new()?;
        let server = Server::start(&programs, &dir.0.join("server"), &[]).context("the PostgreSQL server")?;
        let bouncer = Bouncer::start(&dir.0.join("pooler"), &server).context("pgbouncer before the server")?;
        say(&format!("PostgreSQL runs in {}", dir.0.display()));
        Ok(Self {
            bouncer,
            server,
            _dir: dir,
        })
    }

    /// The variables that tell the tests about it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("VALETKEY_TEST_POSTGRES", self.server.url()),
            ("VALETKEY_TEST_PGBOUNCER", self.bouncer.url()),
        ]
    }
}

/// `cargo xtask postgres <command>`: runs a command with a server beside it.
pub(crate) fn run(workspace: &Workspace, command: &[&str]) -> Result<()> {
    let Some((program, args)) = command.split_first() else {
        bail!("name the command to run, such as `cargo xtask postgres cargo nextest run`");
    };
    let postgres = Postgres::start()?;
    let environment = postgres.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    workspace.run_in(workspace.root(), program, args, &environment)
}

/// In the system's directory for such things: the user that the server runs as may not be let into this repository.
struct Directory(std::path::PathBuf);

impl Directory {
    #[expect(clippy::disallowed_methods, reason = "only for a name that is new")]
    fn new() -> Result<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let name = format!("valetkey-test-{}-{}", std::process::id(), since.as_nanos());
        let dir = std::env::temp_dir().join(name);
        for part in ["server", "pooler"] {
            std::fs::create_dir_all(dir.join(part)).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(Self(dir))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            say(&format!("{} could not be removed: {error}", self.0.display()));
        }
    }
}
