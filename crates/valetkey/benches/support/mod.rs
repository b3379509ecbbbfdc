//! What the benches share: the real binary and scripted servers as processes of their own, load, and figures for people.

pub(crate) mod load;
pub(crate) mod provider;
pub(crate) mod servers;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use load::Target;
use serde_json::Value;

/// The admin key of every server that a bench starts.
pub(crate) const KEY: &str = "vk_bench-key-that-only-this-run-knows";

/// A process that ends with its owner.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs as one of the scripted servers, if this process was started as one.
pub(crate) fn play_role() -> Option<Result<()>> {
    let arguments: Vec<_> = std::env::args().collect();
    let role = arguments.iter().position(|a| a == "--role")?;
    Some(servers::run(&arguments[role + 1..]))
}

/// A number that a bench is told.
#[expect(clippy::disallowed_methods, reason = "a bench is told its size by the environment")]
pub(crate) fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is not a number")),
        Err(_) => Ok(default),
    }
}

/// A running valetkey.
pub(crate) struct Server {
    process: Process,
    pub(crate) port: u16,
    /// How long it took until it was ready.
    pub(crate) ready: Duration,
}

impl Server {
    /// Starts the binary on a data directory, with more settings.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    pub(crate) fn start(data: &Path, settings: &[String]) -> Result<Self> {
        let started = Instant::now();
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let own = [
            format!("bootstrap_api_key={KEY}"),
            format!("public_base_url=http://127.0.0.1:{port}"),
            "allow_networks=127.0.0.0/8".to_owned(),
            "allow_insecure_http=127.0.0.1".to_owned(),
        ];
        let mut child = Command::new(env!("CARGO_BIN_EXE_valetkey"))
            // Settings come from here only.
            .env_clear()
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
            .arg(data)
            .args(own.iter().chain(settings).flat_map(|setting| ["--set", setting]))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        load::first_line(
            child.stdout.take().context("no output")?,
            "listening on http://127.0.0.1:",
        )?;
        Ok(Self {
            process: Process(child),
            port,
            ready: started.elapsed(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.pid())?) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.process.0.wait()?;
        Ok(())
    }

    /// Makes a connector in the default space.
    pub(crate) async fn create(&self, id: &str, body: &Value) -> Result<()> {
        self.create_in("default", id, body).await
    }

    /// Makes a connector.
    pub(crate) async fn create_in(&self, space: &str, id: &str, body: &Value) -> Result<()> {
        let path = format!("/s/{space}/api/actions/connector/{id}");
        let response = reqwest::Client::new()
            .post(format!("http://127.0.0.1:{}{path}", self.port))
            .header("authorization", format!("ApiKey {KEY}"))
            .json(body)
            .send()
            .await?;
        if !response.status().is_success() {
            bail!("the connector {id} was refused: {}", response.text().await?);
        }
        Ok(())
    }

    /// A load on one of its routes.
    pub(crate) fn target(&self, path: &str, users: u64, body: &str) -> Target {
        Target {
            port: self.port,
            path: path.to_owned(),
            key: KEY.to_owned(),
            users,
            body: body.to_owned(),
            clients: 32,
            pause: Duration::ZERO,
        }
    }
}

/// Starts this program again as one of the scripted servers.
pub(crate) fn start_role(arguments: &[&str]) -> Result<(Process, u16)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--role")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    let line = load::first_line(child.stdout.take().context("no output")?, "listening on ")?;
    Ok((Process(child), line.trim().parse()?))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// What a process has used of the processors so far.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything but ends with the last parenthesis; user and system time are the 14th and 15th field.
    let rest = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks: Vec<u64> = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let hertz = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 1000 / hertz))
}

pub(crate) fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn per_second(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

pub(crate) fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
