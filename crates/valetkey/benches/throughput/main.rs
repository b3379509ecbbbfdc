//! How much of a bare axum handler's throughput is left when the answer comes from valetkey, in one run on one machine.
//!
//! `cargo bench -p valetkey` starts the real binary on an empty data directory with a scripted token endpoint, fills it
//! with connections, and measures in interleaved rounds with 32 keep-alive clients over loopback:
//!
//! - `bare`: an axum handler with a fixed answer of the same size, in a process of its own;
//! - `hot`: `_oauth_access_token`, always the same connection;
//! - `cold`: `_oauth_access_token`, every request for another of all connections;
//! - `execute`: `.http` `_execute` against a fixed answer of 1 KiB, in a process of its own.
//!
//! Every case is run with an ordinary client and with the cheapest possible one (`load.rs`).
//!
//! It prints medians and ratios and judges nothing: machines are noisy. `BENCH_CONNECTIONS` (100000) and
//! `BENCH_SECONDS` (3) make it smaller; `BENCH_ROUNDS` (3) makes it longer.

mod load;
mod servers;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use load::{Client, Load, Target};
use serde_json::json;

const KEY: &str = "vk_bench-key-that-only-this-run-knows";

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    if let Some(role) = arguments.iter().position(|a| a == "--role") {
        return servers::run(arguments.get(role + 1).map(String::as_str).unwrap_or_default());
    }
    let connections = setting("BENCH_CONNECTIONS", 100_000)?;
    let seconds = setting("BENCH_SECONDS", 3)?;
    let rounds = setting("BENCH_ROUNDS", 3)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(connections, Duration::from_secs(seconds), rounds))
}

#[expect(clippy::disallowed_methods, reason = "a bench is told its size by the environment")]
fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is not a number")),
        Err(_) => Ok(default),
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn measure(connections: u64, span: Duration, rounds: u64) -> Result<()> {
    let data = tempfile::tempdir()?;
    let (bare, bare_port) = start_role("bare")?;
    let (_api, api_port) = start_role("api")?;
    let (_tokens, token_port) = start_role("tokens")?;
    let (server, port, _) = start_valetkey(data.path())?;
    set_up(port, api_port, token_port).await?;

    let target = |path: &str, users: u64, body: String| Target {
        port,
        path: path.to_owned(),
        key: KEY.to_owned(),
        users,
        body,
    };
    let token_path = "/api/actions/connector/tokens/_oauth_access_token";
    say(&format!("filling {connections} connections"))?;
    let filled = Instant::now();
    let fill = Load::count(&target(token_path, connections, "{}".to_owned()), connections).await?;
    say(&format!(
        "minted and stored {} connections, {:.0} a second",
        fill,
        per_second(fill, filled.elapsed())
    ))?;

    // A restart shows how long it takes to be ready, and how much memory an idle server has.
    stop(server)?;
    let (server, port, ready) = start_valetkey(data.path())?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = resident(server.0.id())?;
    let target = |path: &str, users: u64, body: String| Target {
        port,
        path: path.to_owned(),
        key: KEY.to_owned(),
        users,
        body,
    };

    let execute = json!({"params": {"subAction": "request", "subActionParams": {"method": "GET", "path": "/fixed"}}});
    let cases: [Case; 4] = [
        (
            "bare",
            bare.0.id(),
            Target {
                port: bare_port,
                path: "/".to_owned(),
                key: KEY.to_owned(),
                users: 1,
                body: "{}".to_owned(),
            },
        ),
        ("hot", server.0.id(), target(token_path, 1, "{}".to_owned())),
        ("cold", server.0.id(), target(token_path, connections, "{}".to_owned())),
        (
            "execute",
            server.0.id(),
            target("/api/actions/connector/api/_execute", 1, execute.to_string()),
        ),
    ];
    for client in [Client::Reqwest, Client::Raw] {
        print_rates(&cases, client, &interleaved(&cases, client, span, rounds).await?)?;
    }
    say(&format!(
        "ready after {} ms with {connections} connections stored",
        ready.as_millis()
    ))?;
    say(&format!(
        "idle memory {:.1} MiB, after the load {:.1} MiB",
        mib(idle),
        mib(resident(server.0.id())?)
    ))?;
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_valetkey"))?.len();
    say(&format!("binary {:.1} MiB", mib(binary)))?;
    stop(server)
}

type Case = (&'static str, u32, Target);

fn print_rates(cases: &[Case], client: Client, medians: &[(f64, f64)]) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    say(&format!("32 {client:?} clients:"))?;
    for ((name, ..), (rate, cpu)) in cases.iter().zip(medians) {
        let extra = micros(cores, *rate) - micros(cores, medians[0].0);
        let ratio = rate / medians[0].0;
        say(&format!(
            "{name:8} {rate:9.0} requests/s   {ratio:.2} x bare   {extra:6.1} µs more per request   \
             {cpu:6.1} µs of the server's own"
        ))?;
    }
    Ok(())
}

/// What a request costs when all cores do nothing else, the load itself included. A ratio to `bare` depends on how cheap the
/// load is; the difference to it does not.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn micros(cores: usize, rate: f64) -> f64 {
    cores as f64 * 1e6 / rate
}

/// The median rate of each case, and the processor time that its server took for a request, in microseconds; measured in
/// turns, and the first turn warms up and does not count.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn interleaved(cases: &[Case], client: Client, span: Duration, rounds: u64) -> Result<Vec<(f64, f64)>> {
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut costs = rates.clone();
    for round in 0..=rounds {
        for (place, (_, server, case)) in cases.iter().enumerate() {
            let (before, start) = (processor_time(*server)?, Instant::now());
            let rate = Load::rate(case, client, span, round).await?;
            let cost = processor_time(*server)?.saturating_sub(before).as_secs_f64() * 1e6;
            if round > 0 {
                rates[place].push(rate);
                costs[place].push(cost / (rate * start.elapsed().as_secs_f64()));
            }
        }
    }
    Ok(rates
        .into_iter()
        .map(median)
        .zip(costs.into_iter().map(median))
        .collect())
}

/// What a process has used of the processors so far.
fn processor_time(pid: u32) -> Result<Duration> {
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

/// Two connectors: one whose tokens are read, and one whose actions are run.
async fn set_up(port: u16, api_port: u16, token_port: u16) -> Result<()> {
    let client = reqwest::Client::new();
    let tokens = json!({
        "name": "tokens", "connector_type_id": ".http", "auth_mode": "per-user",
        "config": {"baseUrl": format!("http://127.0.0.1:{api_port}")},
        "secrets": {"authType": "oauth_client_credentials", "tokenUrl": format!("http://127.0.0.1:{token_port}/token"),
            "clientId": "bench", "clientSecret": "bench-secret"},
    });
    let api = json!({
        "name": "api", "connector_type_id": ".http",
        "config": {"baseUrl": format!("http://127.0.0.1:{api_port}")},
        "secrets": {"authType": "bearer", "token": "bench-token"},
    });
    for (id, body) in [("tokens", tokens), ("api", api)] {
        let response = client
            .post(format!("http://127.0.0.1:{port}/api/actions/connector/{id}"))
            .header("authorization", format!("ApiKey {KEY}"))
            .json(&body)
            .send()
            .await?;
        if !response.status().is_success() {
            bail!("the connector {id} was refused: {}", response.text().await?);
        }
    }
    Ok(())
}

fn start_role(role: &str) -> Result<(Process, u16)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--role", role])
        .stdout(Stdio::piped())
        .spawn()?;
    let line = load::first_line(child.stdout.take().context("no output")?, "listening on ")?;
    Ok((Process(child), line.trim().parse()?))
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn start_valetkey(data: &Path) -> Result<(Process, u16, Duration)> {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_valetkey"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .args(["--set", &format!("bootstrap_api_key={KEY}")])
        .args([
            "--set",
            "allow_networks=127.0.0.0/8",
            "--set",
            "allow_insecure_http=127.0.0.1",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let line = load::first_line(
        child.stdout.take().context("no output")?,
        "listening on http://127.0.0.1:",
    )?;
    let ready = started.elapsed();
    Ok((Process(child), line.trim().parse()?, ready))
}

/// Asks a server to stop, and waits until it has.
fn stop(mut server: Process) -> Result<()> {
    if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(server.0.id())?) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    server.0.wait()?;
    Ok(())
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
