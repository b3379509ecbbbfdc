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

#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use support::load::{Client, Load, Target};
use support::{KEY, Server, median, mib, per_second, processor_time, resident, say, setting, start_role};

fn main() -> Result<()> {
    if let Some(played) = support::play_role() {
        return played;
    }
    let connections = setting("BENCH_CONNECTIONS", 100_000)?;
    let seconds = setting("BENCH_SECONDS", 3)?;
    let rounds = setting("BENCH_ROUNDS", 3)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(connections, Duration::from_secs(seconds), rounds))
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn measure(connections: u64, span: Duration, rounds: u64) -> Result<()> {
    let data = tempfile::tempdir()?;
    let (bare, bare_port) = start_role(&["bare"])?;
    let (_api, api_port) = start_role(&["api"])?;
    let (_tokens, token_port) = start_role(&["tokens"])?;
    let server = Server::start(data.path(), &[])?;
    set_up(&server, api_port, token_port).await?;

    let token_path = "/api/actions/connector/tokens/_oauth_access_token";
    say(&format!("filling {connections} connections"))?;
    let filled = Instant::now();
    let fill = Load::count(&server.target(token_path, connections, "{}"), connections).await?;
    say(&format!(
        "minted and stored {} connections, {:.0} a second",
        fill,
        per_second(fill, filled.elapsed())
    ))?;

    // A restart shows how long it takes to be ready, and how much memory an idle server has.
    server.stop()?;
    let server = Server::start(data.path(), &[])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = resident(server.pid())?;

    let execute = json!({"params": {"subAction": "request", "subActionParams": {"method": "GET", "path": "/fixed"}}});
    let bare_target = Target {
        port: bare_port,
        path: "/".to_owned(),
        key: KEY.to_owned(),
        users: 1,
        body: "{}".to_owned(),
        clients: 32,
        pause: Duration::ZERO,
    };
    let execute_path = "/api/actions/connector/api/_execute";
    let cases: [Case; 4] = [
        ("bare", bare.0.id(), bare_target),
        ("hot", server.pid(), server.target(token_path, 1, "{}")),
        ("cold", server.pid(), server.target(token_path, connections, "{}")),
        (
            "execute",
            server.pid(),
            server.target(execute_path, 1, &execute.to_string()),
        ),
    ];
    for client in [Client::Reqwest, Client::Raw] {
        print_rates(&cases, client, &interleaved(&cases, client, span, rounds).await?)?;
    }
    say(&format!(
        "ready after {} ms with {connections} connections stored",
        server.ready.as_millis()
    ))?;
    say(&format!(
        "idle memory {:.1} MiB, after the load {:.1} MiB",
        mib(idle),
        mib(resident(server.pid())?)
    ))?;
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_valetkey"))?.len();
    say(&format!("binary {:.1} MiB", mib(binary)))?;
    server.stop()
}

type Case = (&'static str, u32, Target);

fn print_rates(cases: &[Case], client: Client, medians: &[[f64; 3]]) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    say(&format!("32 {client:?} clients:"))?;
    for ((name, ..), [rate, cpu, tail]) in cases.iter().zip(medians) {
        let extra = micros(cores, *rate) - micros(cores, medians[0][0]);
        let ratio = rate / medians[0][0];
        say(&format!(
            "{name:8} {rate:9.0} requests/s   {ratio:.2} x bare   {extra:6.1} µs more per request   \
             {cpu:6.1} µs of the server's own   p99 {tail:5.0} µs"
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

/// The medians of each case: the rate, the processor time that its server took for a request, and the 99th percentile of
/// the answers' times, both in microseconds. Measured in turns; the first turn warms up and does not count.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn interleaved(cases: &[Case], client: Client, span: Duration, rounds: u64) -> Result<Vec<[f64; 3]>> {
    let mut seen: Vec<[Vec<f64>; 3]> = vec![Default::default(); cases.len()];
    for round in 0..=rounds {
        for ((_, server, case), [rates, costs, tails]) in cases.iter().zip(&mut seen) {
            let (before, start) = (processor_time(*server)?, Instant::now());
            let figures = Load::rate(case, client, span, round).await?;
            let cost = processor_time(*server)?.saturating_sub(before).as_secs_f64() * 1e6;
            if round > 0 {
                rates.push(figures.rate);
                costs.push(cost / (figures.rate * start.elapsed().as_secs_f64()));
                tails.push(figures.percentile(99).into());
            }
        }
    }
    Ok(seen.into_iter().map(|case| case.map(median)).collect())
}

/// Two connectors: one whose tokens are read, and one whose actions are run.
async fn set_up(server: &Server, api_port: u16, token_port: u16) -> Result<()> {
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
    server.create("tokens", &tokens).await?;
    server.create("api", &api).await
}
