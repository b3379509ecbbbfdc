//! How valetkey behaves with a million connections, how many grants it renews, and what happens when very many tokens end
//! at once, in one run on one machine.
//!
//! `cargo bench -p valetkey --bench scale` runs on `SQLite`, and also on `PostgreSQL` if `BENCH_DATABASE_URL` names an empty
//! database. It starts the real binary and a scripted provider as processes of their own, and prints
//!
//! - *reads*: the 99th percentile of `_oauth_access_token`, each request for another connection, with few connections and
//!   with many, and their ratio; the throughput with many beside a bare axum handler's; memory, and the time to be ready;
//! - *backlog*: grants whose tokens have all ended while nobody looked after them: how many a second are renewed when the
//!   server is there again, over plain HTTP and over TLS, counted at the provider;
//! - *refreshes*: the same on demand, one for each request of a caller;
//! - *flood*: what four callers of one space, each some forty times a second, notice of another space whose 256 callers ask
//!   for tokens without a pause, and then for a refresh with each request: their percentiles beside those without it;
//! - *stampede*: connections whose tokens all end in the same moment: how many were renewed before it, the most token
//!   requests at once, and the slowest of the callers that went on asking for tokens meanwhile, some hundred times a second.
//!
//! It judges nothing. `BENCH_FEW` (10000), `BENCH_CONNECTIONS` (1000000), `BENCH_BACKLOG` (20000), `BENCH_GRANTS` (5000),
//! `BENCH_FLOOD` (2000), `BENCH_STAMPEDE` (100000), `BENCH_SECONDS` (5) set the sizes; a part whose size is 0 is left out, and
//! so is `SQLite` with `BENCH_SQLITE=0`. `BENCH_AT_ONCE` (256) token requests may be under way at once.

#[path = "../support/mod.rs"]
mod support;

mod grants;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use support::load::{Client, Figures, Load, Target};
use support::{KEY, Server, mib, per_second, processor_time, resident, say, setting, start_role};

/// How long the tokens of a backlog live: the shortest that are renewed ahead of time.
const LIFE: Duration = Duration::from_secs(60);

/// Asks for more validity than any token has, so that each request is a refresh.
const RENEW: &str = r#"{"minimumValiditySeconds": 86400}"#;

/// The sizes of a run.
struct Sizes {
    few: u64,
    connections: u64,
    backlog: u64,
    grants: u64,
    flood: u64,
    stampede: u64,
    at_once: u64,
    span: Duration,
}

fn main() -> Result<()> {
    if let Some(played) = support::play_role() {
        return played;
    }
    let sizes = Sizes {
        few: setting("BENCH_FEW", 10_000)?,
        connections: setting("BENCH_CONNECTIONS", 1_000_000)?,
        backlog: setting("BENCH_BACKLOG", 20_000)?,
        grants: setting("BENCH_GRANTS", 5_000)?,
        flood: setting("BENCH_FLOOD", 2_000)?,
        stampede: setting("BENCH_STAMPEDE", 100_000)?,
        at_once: setting("BENCH_AT_ONCE", 256)?,
        span: Duration::from_secs(setting("BENCH_SECONDS", 5)?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if setting("BENCH_SQLITE", 1)? > 0 {
            measure("SQLite", &sizes, None).await?;
        }
        match database_url() {
            Some(url) => measure("PostgreSQL", &sizes, Some(url)).await,
            None => say("PostgreSQL is left out: BENCH_DATABASE_URL is not set"),
        }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bench is told its database by the environment"
)]
fn database_url() -> Option<String> {
    std::env::var("BENCH_DATABASE_URL").ok()
}

async fn measure(store: &str, sizes: &Sizes, database_url: Option<String>) -> Result<()> {
    say(&format!("{store}:"))?;
    let data = tempfile::tempdir()?;
    let mut settings: Vec<String> = database_url
        .map(|url| format!("database_url={url}"))
        .into_iter()
        .collect();
    if sizes.connections > 0 {
        reads(data.path(), &settings, sizes).await?;
    }
    for tls in [false, true] {
        if sizes.backlog > 0 {
            backlog(data.path(), &settings, sizes, tls).await?;
        }
        if sizes.grants > 0 {
            refreshes(data.path(), &settings, sizes, tls).await?;
        }
    }
    if sizes.flood > 0 {
        flood(data.path(), &settings, sizes).await?;
    }
    if sizes.stampede > 0 {
        settings.push("oauth.rate_limits.authorize.limit=1000".to_owned());
        stampede(data.path(), &settings, sizes.stampede).await?;
    }
    Ok(())
}

/// Reads with few connections stored and with many.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn reads(data: &std::path::Path, settings: &[String], sizes: &Sizes) -> Result<()> {
    let (_bare, bare_port) = start_role(&["bare"])?;
    let (_tokens, token_port) = start_role(&["tokens"])?;
    let server = Server::start(data, settings)?;
    server.create("tokens", &client_credentials(token_port)).await?;
    let path = "/api/actions/connector/tokens/_oauth_access_token";
    let mut tails = Vec::new();
    let mut server = Some(server);
    for count in [sizes.few, sizes.connections] {
        let running = match server.take() {
            Some(running) => running,
            None => Server::start(data, settings)?,
        };
        let filled = Instant::now();
        Load::count(&running.target(path, count, "{}"), count).await?;
        say(&format!(
            "  {count} connections stored, {:.0} a second",
            per_second(count, filled.elapsed())
        ))?;
        running.stop()?;
        let running = Server::start(data, settings)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let idle = mib(resident(running.pid())?);
        let quiet = Target {
            clients: 4,
            ..running.target(path, count, "{}")
        };
        // The first turn warms up the system's cache of the file, as a server that runs for a while has it.
        Load::rate(&quiet, Client::Raw, sizes.span, 0).await?;
        let figures = Load::rate(&quiet, Client::Raw, sizes.span, 1).await?;
        say(&format!(
            "  ready after {} ms, idle memory {idle:.1} MiB, after reads {:.1} MiB; read p50 {} µs, p99 {} µs",
            running.ready.as_millis(),
            mib(resident(running.pid())?),
            figures.percentile(50),
            figures.percentile(99),
        ))?;
        tails.push(f64::from(figures.percentile(99)));
        if count == sizes.connections {
            compare(&bare(bare_port), &running.target(path, count, "{}"), sizes.span).await?;
        }
        running.stop()?;
    }
    say(&format!("  p99 with many {:.2} x with few", tails[1] / tails[0]))
}

/// How the provider is spoken to.
fn over(tls: bool) -> &'static str {
    if tls { "TLS" } else { "plain HTTP" }
}

/// A bare axum handler.
fn bare(port: u16) -> Target {
    Target {
        port,
        path: "/".to_owned(),
        key: KEY.to_owned(),
        users: 1,
        body: "{}".to_owned(),
        clients: 32,
        pause: Duration::ZERO,
    }
}

async fn compare(bare: &Target, cold: &Target, span: Duration) -> Result<()> {
    for client in [Client::Reqwest, Client::Raw] {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..3 {
            for (place, target) in [bare, cold].into_iter().enumerate() {
                rates[place].push(Load::rate(target, client, span, round).await?.rate);
            }
        }
        let [bare, cold] = rates.map(support::median);
        say(&format!(
            "  32 {client:?} clients: {cold:.0} reads/s, {:.2} x bare ({bare:.0})",
            cold / bare
        ))?;
    }
    Ok(())
}

/// Lets tokens end while nothing is renewed, then starts the server that renews them.
async fn backlog(data: &std::path::Path, settings: &[String], sizes: &Sizes, tls: bool) -> Result<()> {
    let provider = grants::Provider::start(data, tls)?;
    let (_bare, bare_port) = start_role(&["bare"])?;
    let mut settings = settings.to_vec();
    settings.extend(provider.settings.clone());
    settings.push(format!("oauth.token_concurrency={}", sizes.at_once));
    settings.push(format!("oauth.background_refreshes_per_host={}", sizes.at_once));
    let idle = [settings.clone(), vec!["oauth.background_refreshes=0".to_owned()]].concat();
    let server = Server::start(data, &idle)?;
    let id = if tls { "backlog-tls" } else { "backlog" };
    server.create(id, &provider.connector()).await?;
    provider.tell(&format!("life={}", LIFE.as_millis())).await?;
    grants::connect(&server, id, 0..sizes.backlog).await?;
    server.stop()?;
    tokio::time::sleep(LIFE).await;
    let yardstick = Load::rate(&bare(bare_port), Client::Raw, sizes.span, 0).await?.rate;
    provider.tell("").await?;
    settings.push(format!("oauth.background_refreshes={}", sizes.at_once));
    let server = Server::start(data, &settings)?;
    let before = processor_time(server.pid())?;
    let seen = loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let seen = provider.seen().await?;
        if seen["refreshes"].as_u64() >= Some(sizes.backlog) {
            break seen;
        }
    };
    let at = |which: &str| seen[which].as_u64().unwrap_or_default();
    let took = at("last_refresh_at").saturating_sub(at("first_refresh_at"));
    let cost = processor_time(server.pid())?.saturating_sub(before).as_secs_f64() * 1e6;
    let rate = per_second(sizes.backlog, Duration::from_millis(took));
    say(&format!(
        "  a backlog of {} over {}: {rate:.0} durable refreshes/s, {:.3} x bare ({yardstick:.0}), {} at once, \
         {:.0} µs of the server's own",
        sizes.backlog,
        over(tls),
        rate / yardstick,
        seen["most_at_once"],
        cost / f64::from(u32::try_from(sizes.backlog)?),
    ))?;
    server.stop()
}

/// Renews grants as fast as it goes.
async fn refreshes(data: &std::path::Path, settings: &[String], sizes: &Sizes, tls: bool) -> Result<()> {
    let provider = grants::Provider::start(data, tls)?;
    let (_bare, bare_port) = start_role(&["bare"])?;
    let mut settings = settings.to_vec();
    settings.extend(provider.settings.clone());
    settings.push(format!("oauth.token_concurrency={}", sizes.at_once));
    let server = Server::start(data, &settings)?;
    let id = if tls { "grants-tls" } else { "grants" };
    server.create(id, &provider.connector()).await?;
    grants::connect(&server, id, 0..sizes.grants).await?;
    provider.tell("").await?;
    let path = format!("/api/actions/connector/{id}/_oauth_access_token");
    let target = Target {
        clients: 256,
        ..server.target(&path, sizes.grants, RENEW)
    };
    let yardstick = Load::rate(&bare(bare_port), Client::Raw, sizes.span, 0).await?.rate;
    let before = processor_time(server.pid())?;
    let figures: Figures = Load::rate(&target, Client::Raw, sizes.span, 0).await?;
    let cost = processor_time(server.pid())?.saturating_sub(before).as_secs_f64() * 1e6;
    let seen = provider.seen().await?;
    say(&format!(
        "  {:.0} durable refreshes/s over {}, {:.3} x bare ({yardstick:.0}) ({} answered, {} seen by the provider, {} at once), p99 {} ms, \
         {:.0} µs of the server's own",
        figures.rate,
        over(tls),
        figures.rate / yardstick,
        figures.micros.len(),
        seen["refreshes"],
        seen["most_at_once"],
        figures.percentile(99) / 1000,
        cost / f64::from(u32::try_from(figures.micros.len())?),
    ))?;
    server.stop()
}

/// What callers of one space notice while another space asks for as much as it can.
async fn flood(data: &std::path::Path, settings: &[String], sizes: &Sizes) -> Result<()> {
    let provider = grants::Provider::start(data, false)?;
    let (_tokens, token_port) = start_role(&["tokens"])?;
    let settings = [settings, &provider.settings].concat();
    let server = Server::start(data, &settings)?;
    server.create("flood", &provider.connector()).await?;
    grants::connect(&server, "flood", 0..sizes.flood).await?;
    provider.tell("").await?;
    let id = "quiet";
    server.create_in(id, id, &client_credentials(token_port)).await?;
    let path = format!("/s/{id}/api/actions/connector/{id}/_oauth_access_token");
    let all = server.target(&path, sizes.flood, "{}");
    Load::count(&all, sizes.flood).await?;
    let quiet = Target {
        clients: 4,
        pause: Duration::from_millis(25),
        ..all
    };
    let alone = Load::rate(&quiet, Client::Raw, sizes.span, 0).await?;
    for (what, body) in [("tokens", "{}"), ("refreshes", RENEW)] {
        let path = "/api/actions/connector/flood/_oauth_access_token";
        let flood = Target {
            clients: 256,
            ..server.target(path, sizes.flood, body)
        };
        let (beside, flood) = tokio::try_join!(
            Load::rate(&quiet, Client::Raw, sizes.span, 1),
            Load::rate(&flood, Client::Raw, sizes.span, 0),
        )?;
        let times = |percent| f64::from(beside.percentile(percent)) / f64::from(alone.percentile(percent));
        say(&format!(
            "  beside a space that is answered {:.0} {what} a second: p50 {} µs, {:.1} x alone, p99 {} µs, {:.1} x alone",
            flood.rate,
            beside.percentile(50),
            times(50),
            beside.percentile(99),
            times(99),
        ))?;
    }
    server.stop()
}

/// Very many tokens end at once, and callers go on asking.
async fn stampede(data: &std::path::Path, settings: &[String], count: u64) -> Result<()> {
    let provider = grants::Provider::start(data, false)?;
    let mut settings = settings.to_vec();
    settings.extend(provider.settings.clone());
    let server = Server::start(data, &settings)?;
    server.create("stampede", &provider.connector()).await?;
    // A few in advance tell how long it takes to connect them all. Those that are connected first are renewed while the last
    // ones are still being connected, so that it takes longer in the end.
    let began = support::provider::now();
    grants::connect(&server, "stampede", count..count + count.div_ceil(50)).await?;
    let ready = support::provider::now();
    let end_at = ready + 60_000 + (ready - began) * 50 * 5 / 2;
    provider.tell(&format!("end_at={end_at}")).await?;
    grants::connect(&server, "stampede", 0..count).await?;
    let early = provider.seen().await?["refreshes"].clone();
    let left = end_at.saturating_sub(support::provider::now());
    say(&format!(
        "  {count} tokens end in {} s; {early} were renewed while connecting",
        left / 1000
    ))?;
    // A token endpoint that takes its time, so that requests at once can be seen.
    let renewed_early = early.as_u64().unwrap_or_default();
    let target = Target {
        clients: 4,
        // About five hundred questions a second: who asks without a pause takes the cores from everything else.
        pause: Duration::from_millis(8),
        ..server.target("/api/actions/connector/stampede/_oauth_access_token", count, "{}")
    };
    let figures = Load::rate(&target, Client::Raw, Duration::from_millis(left), 0).await?;
    let seen = provider.seen().await?;
    let renewed = seen["refreshes"].as_u64().unwrap_or_default();
    say(&format!(
        "  {renewed} of {count} renewed before the end ({} of them in the last {} s), {} token requests at once at most; \
         {} answers to callers meanwhile, p99 {} µs, slowest {} µs",
        renewed - renewed_early,
        left / 1000,
        seen["most_at_once"],
        figures.micros.len(),
        figures.percentile(99),
        figures.percentile(100),
    ))?;
    server.stop()
}

fn client_credentials(token_port: u16) -> Value {
    json!({
        "name": "tokens", "connector_type_id": ".http", "auth_mode": "per-user",
        "config": {"baseUrl": "http://127.0.0.1:1"},
        "secrets": {"authType": "oauth_client_credentials", "tokenUrl": format!("http://127.0.0.1:{token_port}/token"),
            "clientId": "bench", "clientSecret": "bench-secret"},
    })
}
