//! A `PgBouncer` of our own before a server: every transaction gets whichever of its few sessions is free.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::server::{self, Server};

/// The pooler. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Bouncer {
    process: Child,
    port: u16,
}

impl Bouncer {
    /// Starts it with its files in this directory.
    pub(crate) fn start(dir: &Path, server: &Server) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let file = dir.join("pgbouncer.ini");
        let (user, password, server) = (server::USER, server::PASSWORD, server.port());
        let settings = [
            "[databases]".to_owned(),
            format!("* = host=127.0.0.1 port={server} user={user} password='{password}'"),
            "[pgbouncer]".to_owned(),
            "listen_addr = 127.0.0.1".to_owned(),
            format!("listen_port = {port}"),
            "unix_socket_dir =".to_owned(),
            "auth_type = any".to_owned(),
            "pool_mode = transaction".to_owned(),
            // Fewer sessions than the store has connections, and none that is cleaned between two transactions.
            "default_pool_size = 5".to_owned(),
            "server_reset_query =".to_owned(),
            "max_client_conn = 1000".to_owned(),
            format!("logfile = {}", dir.join("pgbouncer.log").display()),
        ];
        fs::write(&file, settings.join("\n"))?;
        server::give_away(dir)?;
        let mut command = server::as_its_user("pgbouncer".as_ref());
        let process = command
            .arg("--quiet")
            .arg(&file)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut bouncer = Self { process, port };
        bouncer.wait()?;
        Ok(bouncer)
    }

    /// Its address, to which the name of a database can be added.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{}@127.0.0.1:{}", server::USER, self.port)
    }

    /// Waits until it listens.
    fn wait(&mut self) -> Result<()> {
        for _ in 0..500 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(Error::other(format!("pgbouncer ended: {status}")));
            }
            sleep(Duration::from_millis(20));
        }
        Err(Error::new(ErrorKind::TimedOut, "pgbouncer does not listen"))
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // SIGTERM, which `runuser` passes on; SIGKILL would end only that.
        drop(Command::new("kill").arg(self.process.id().to_string()).status());
        drop(self.process.wait());
    }
}

/// Whether it is installed.
pub(crate) fn is_installed() -> bool {
    let version = Command::new("pgbouncer").arg("--version").output();
    version.is_ok_and(|version| version.status.success())
}
