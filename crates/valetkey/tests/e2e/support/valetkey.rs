//! The real binary as a process, on a data directory of its own.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::api::Api;
use super::secret;
use super::wait::{until, within};

/// What a process is started with. The data directory goes with the last copy.
#[derive(Clone)]
pub(crate) struct Setup {
    dir: Arc<TempDir>,
    port: u16,
    env: BTreeMap<String, String>,
    admin_key: String,
    /// What a shell does before it becomes the process.
    prelude: Option<&'static str>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let port = free_port();
        let admin_key = secret("vk_bootstrap");
        let data = dir.path().join("data");
        Self {
            dir,
            port,
            env: BTreeMap::new(),
            admin_key: admin_key.clone(),
            prelude: None,
        }
        .set("LISTEN", &format!("127.0.0.1:{port}"))
        .set("PUBLIC_BASE_URL", &format!("http://127.0.0.1:{port}"))
        .set("DATA_DIR", data.to_str().expect("a path"))
        .set("BOOTSTRAP_API_KEY", &admin_key)
        .set("ALLOW_NETWORKS", "127.0.0.0/8")
        .set("ALLOW_INSECURE_HTTP", "127.0.0.1,localhost")
    }

    /// Sets `VALETKEY_{name}`.
    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.set_plain(&format!("VALETKEY_{name}"), value)
    }

    /// Sets a variable that is no setting.
    pub(crate) fn set_plain(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a connector type of the test's own.
    pub(crate) fn connector_type(self, name: &str, spec: &str) -> Self {
        let types = self.dir.path().join("types");
        std::fs::create_dir_all(&types).expect("a directory");
        std::fs::write(types.join(format!("{name}.yaml")), spec).expect("a file");
        let types = types.to_str().expect("a path").to_owned();
        self.set("CONNECTORS_DIR", &types)
    }

    /// Has this admin key, as another process on the same store.
    pub(crate) fn with_admin_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.admin_key);
        self.set("BOOTSTRAP_API_KEY", key)
    }

    /// Lets the process have its files limited while it runs.
    pub(crate) fn on_a_small_disk(self) -> Self {
        // A limit on files is told by a signal, which ends a process that does not ignore it.
        self.after("trap '' XFSZ")
    }

    /// Lets the process have this many descriptors.
    pub(crate) fn with_256_descriptors(self) -> Self {
        self.after("ulimit -n 256")
    }

    fn after(mut self, prelude: &'static str) -> Self {
        self.prelude = Some(prelude);
        self
    }

    /// What is set, as environment variables.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.env.remove(&format!("VALETKEY_{name}"));
        self
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where the server listens.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The admin key, as an API client.
    pub(crate) fn admin(&self) -> Api {
        Api::new(&self.base(), &self.admin_key)
    }

    /// Starts and waits until it listens.
    pub(crate) async fn start(&self) -> Valetkey {
        let mut process = Process::spawn(self);
        let line = format!("listening on {}", self.base());
        until("listening", async || {
            if let Some(status) = process.ended() {
                panic!("ended with {status} before it listened:\n{}", process.output());
            }
            process.output().contains(&line).then_some(())
        })
        .await;
        Valetkey {
            setup: self.clone(),
            process,
            earlier_output: String::new(),
        }
    }

    /// Starts what must refuse to start, and returns what it said.
    pub(crate) async fn start_in_vain(&self) -> String {
        let mut process = Process::spawn(self);
        let status = until("the refusal to start", async || {
            let output = process.output();
            assert!(!output.contains("listening on "), "it started:\n{output}");
            process.ended()
        })
        .await;
        let output = process.drain().await;
        assert!(!status.success(), "it ended well:\n{output}");
        format!("{output}exit code {}\n", status.code().unwrap_or_default())
    }
}

impl Setup {
    /// Runs a command to its end: its exit code, and everything that it said.
    pub(crate) async fn command(&self, arguments: &[&str]) -> (i32, String) {
        let ended = Command::new(env!("CARGO_BIN_EXE_valetkey"))
            .args(arguments)
            .env_clear()
            .envs(&self.env)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output();
        let ended = within("the end of the command", ended).await.expect("the binary");
        let said = [ended.stdout, ended.stderr].concat();
        (
            ended.status.code().expect("an exit code"),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

/// A running valetkey.
pub(crate) struct Valetkey {
    pub(crate) setup: Setup,
    process: Process,
    earlier_output: String,
}

impl Valetkey {
    pub(crate) fn admin(&self) -> Api {
        self.setup.admin()
    }

    pub(crate) fn base(&self) -> String {
        self.setup.base()
    }

    /// Everything that was written to stdout and stderr, restarts included.
    pub(crate) fn output(&self) -> String {
        self.earlier_output.clone() + &self.process.output()
    }

    /// SIGTERM; waits for the end, which must be a good one.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM").await;
        let status = self.wait().await;
        assert!(status.success(), "ended with {status}:\n{}", self.output());
    }

    /// Stops, because lines may still be on their way, and returns all of the output.
    pub(crate) async fn whole_output(&mut self) -> String {
        self.stop().await;
        self.output()
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.signal("KILL").await;
        self.wait().await;
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.process.child.id().expect("a running process");
        let kill = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {pid}"))
            .status()
            .await;
        assert!(kill.expect("a shell").success());
    }

    /// SIGSTOP; returns when every thread stands still. SIGCONT lets them go on.
    pub(crate) async fn stand_still(&self) {
        self.signal("STOP").await;
        let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        let state = |task: DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // What follows the name, which may hold anything.
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
        };
        until("all threads to stand still", async || {
            let mut tasks = std::fs::read_dir(&tasks).expect("the threads");
            tasks
                .all(|task| state(task.expect("a thread")) == Some('T'))
                .then_some(())
        })
        .await;
    }

    /// Lets no file of the process grow beyond so many bytes from now on; `None` for as long as there is room.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(self.pid()), Resource::Fsize, limit).expect("a limit");
    }

    fn pid(&self) -> Pid {
        let pid = self.process.child.id().expect("a running process");
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.expect("the number of a process")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for the process to end.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let status = within("the end of the process", self.process.child.wait())
            .await
            .expect("an exit status");
        self.process.drain().await;
        status
    }

    /// Starts again on the same data directory.
    pub(crate) async fn start_again(&mut self) {
        let mut next = self.setup.start().await;
        next.earlier_output = self.output();
        *self = next;
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// How long the process has computed.
    pub(crate) fn computed(&self) -> Duration {
        let stat = format!("/proc/{}/stat", self.pid().as_raw_nonzero());
        let stat = std::fs::read_to_string(stat).expect("a process status");
        // What comes after the name, which may have spaces in it: its state first, user and system time as 12th and 13th.
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let pid = self.process.child.id().expect("a running process");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process status");
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .expect("a resident size");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }
}

struct Process {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: JoinSet<()>,
}

impl Process {
    fn spawn(setup: &Setup) -> Self {
        let binary = env!("CARGO_BIN_EXE_valetkey");
        let mut command = if let Some(prelude) = setup.prelude {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("{prelude}; exec \"$0\" serve"), binary]);
            shell
        } else {
            let mut direct = Command::new(binary);
            direct.arg("serve");
            direct
        };
        let mut child = command
            .env_clear()
            .envs(&setup.env)
            .current_dir(setup.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary");
        let output = Arc::default();
        let mut readers = JoinSet::new();
        readers.spawn(collect(child.stdout.take().expect("stdout"), Arc::clone(&output)));
        readers.spawn(collect(child.stderr.take().expect("stderr"), Arc::clone(&output)));
        Self { child, output, readers }
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("an output")).into_owned()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a process")
    }

    /// Reads what is left of the output of a process that ended.
    async fn drain(&mut self) -> String {
        while self.readers.join_next().await.is_some() {}
        self.output()
    }
}

async fn collect(mut from: impl AsyncRead + Unpin, into: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        into.lock().expect("an output").extend_from_slice(&chunk[..read]);
    }
}

/// A port that nobody listens on. Below the range from which systems take ports by themselves, so that the servers of
/// other tests do not land on it, and spread by process, so that tests in several processes do not meet.
fn free_port() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() * 7 % 16_000).expect("a small number");
    loop {
        let port = 12_000 + (start + COUNT.fetch_add(1, Ordering::Relaxed)) % 16_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
