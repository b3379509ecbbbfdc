//! A `PostgreSQL` server of our own: in a directory, on a free port of the loopback, gone at the end. `cargo xtask test`
//! starts one for all tests; a test that must stop or spoil its server starts another.

use std::fs;
use std::io::{Error, Result};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user of the server, and their password.
pub(crate) const USER: &str = "valetkey";
/// It is sent to this machine only, and to a server that ends with the tests.
pub(crate) const PASSWORD: &str = "only for tests";

/// Where Debian's packages put the programs, one directory for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The server. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
}

/// The directory with the server's programs: the newest of Debian's, or the one that `initdb` is found in.
#[must_use]
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path())))
        .max();
    let debian = newest
        .map(|(_, dir)| dir.join("bin"))
        .filter(|dir| dir.join("initdb").exists());
    debian.or_else(|| {
        let which = Command::new("sh").args(["-c", "command -v initdb"]).output().ok()?;
        let path = PathBuf::from(String::from_utf8(which.stdout).ok()?.trim());
        path.parent().map(Path::to_owned).filter(|dir| dir.is_absolute())
    })
}

impl Server {
    /// Makes a database cluster in an empty directory and starts its server, with these lines in its configuration.
    pub(crate) fn start(programs: &Path, dir: &Path, settings: &[&str]) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let server = Self {
            programs: programs.to_owned(),
            dir: dir.to_owned(),
            port,
        };
        fs::write(dir.join("password"), PASSWORD)?;
        give_away(dir)?;
        let password = format!("--pwfile={}", dir.join("password").display());
        server.run(
            "initdb",
            &[
                "--username",
                USER,
                &password,
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            ],
        )?;
        let own = [
            format!("port = {port}"),
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("unix_socket_directories = '{}'", dir.display()),
            "max_connections = 300".to_owned(),
        ];
        server.configure(own.iter().map(String::as_str).chain(settings.iter().copied()))?;
        server.up()?;
        Ok(server)
    }

    /// A standby of this server, in an empty directory: it has what this one has, and follows it.
    pub(crate) fn standby(&self, dir: &Path) -> Result<Self> {
        let standby = Self {
            programs: self.programs.clone(),
            dir: dir.to_owned(),
            port: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
        };
        give_away(dir)?;
        let port = self.port.to_string();
        let copy = [
            "--host=127.0.0.1",
            "--port",
            &port,
            "--username",
            USER,
            "--checkpoint=fast",
        ];
        standby.run("pg_basebackup", &[&copy[..], &["--write-recovery-conf"]].concat())?;
        let own = [
            format!("port = {}", standby.port),
            format!("unix_socket_directories = '{}'", dir.display()),
        ];
        standby.configure(own.iter().map(String::as_str))?;
        standby.up()?;
        Ok(standby)
    }

    /// Confirms nothing from now on that a standby does not have on its disk.
    pub(crate) fn wait_for_standby(&self) -> Result<()> {
        self.configure(["synchronous_standby_names = '*'"].into_iter())?;
        self.control(&["reload"])
    }

    /// Ends it in the middle of everything.
    pub(crate) fn crash(&self) -> Result<()> {
        self.control(&["--mode=immediate", "stop"])
    }

    /// Its address, as a URL that parameters can be added to.
    pub(crate) fn url(&self) -> String {
        let password = PASSWORD.replace(' ', "%20");
        format!(
            "postgres://{USER}:{password}@127.0.0.1:{}/postgres?connect_timeout=2",
            self.port
        )
    }

    /// The port on the loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the cluster, where its configuration is.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Adds lines to the configuration; they count from the next start.
    pub(crate) fn configure<'a>(&self, lines: impl Iterator<Item = &'a str>) -> Result<()> {
        let file = self.data().join("postgresql.conf");
        let mut text = fs::read_to_string(&file)?;
        for line in lines {
            text = format!("{text}\n{line}\n");
        }
        fs::write(file, text)
    }

    /// Starts it; returns when it answers.
    pub(crate) fn up(&self) -> Result<()> {
        let log = self.dir.join("log");
        self.control(&["--log", &log.display().to_string(), "start"])
    }

    /// Stops it, as a restart does: connections are ended.
    pub(crate) fn down(&self) -> Result<()> {
        self.control(&["--mode=fast", "stop"])
    }

    /// Ends the recovery of a standby.
    pub(crate) fn promote(&self) -> Result<()> {
        self.control(&["promote"])
    }

    fn control(&self, args: &[&str]) -> Result<()> {
        self.run("pg_ctl", &[&["--wait", "--timeout=60", "--silent"], args].concat())
    }

    /// Runs one of the programs.
    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        let program = self.programs.join(program);
        // No pipes: the server would inherit them and keep whoever reads them waiting.
        let status = as_its_user(&program)
            .arg("--pgdata")
            .arg(self.data())
            .args(args)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        Err(Error::other(format!(
            "{} {}: {status}\n{log}",
            program.display(),
            args.join(" ")
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be down already.
        drop(self.control(&["--mode=immediate", "stop"]));
    }
}

/// A command as the user of the server: it refuses to work as root, so root becomes somebody else.
pub(crate) fn as_its_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout == b"0\n")
}

/// Gives the directory, and what is in it, to that user.
pub(crate) fn give_away(dir: &Path) -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let status = Command::new("chown").args(["-R", "postgres:"]).arg(dir).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::other("the directory cannot be given to the user postgres"))
    }
}
