//! What lists and searches cost with few rows and with many, in one run on the real binary.
//!
//! `cargo bench -p valetkey --bench lists` runs on `SQLite`, and also on `PostgreSQL` if `BENCH_DATABASE_URL` names an empty
//! database. It makes connectors through the API, imports connections and API keys as `valetkey copy` would, asks for each
//! list one call after the other, and prints the median of each with few rows, with many, and their ratio.
//!
//! It judges nothing: the tests of the store and of the engine count what a page reads. `BENCH_CONNECTORS` (10000),
//! `BENCH_CONNECTIONS` (1000000), `BENCH_KEYS` (10000) set the large sizes, a hundredth of which are the small ones (of
//! connections a thousandth), and `BENCH_CALLS` (40) how often each call is made. `BENCH_KEEP` names a directory that is
//! filled and kept, for `tests/browser/specs/console-lists.spec.js`.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other benches need more of it")]
mod support;

mod fill;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use fill::Sizes;
use support::{KEY, Server, say, setting};

/// Each call, and what it is.
const CALLS: [(&str, &str); 19] = [
    ("connectors", "/api/actions/connectors/_search?limit=25"),
    (
        "connectors, far on",
        "/api/actions/connectors/_search?limit=25&after=c00090",
    ),
    (
        "connectors, many are found",
        "/api/actions/connectors/_search?limit=25&search=usual",
    ),
    (
        "connectors, the last is found",
        "/api/actions/connectors/_search?limit=25&search=zebra",
    ),
    (
        "connectors, none is found",
        "/api/actions/connectors/_search?limit=25&search=nothing",
    ),
    ("connectors in the older list", "/api/actions/connectors?limit=25"),
    (
        "the older list, none is found *",
        "/api/actions/connectors?limit=25&search=nothing",
    ),
    ("connections", "/api/actions/connections?limit=25"),
    (
        "connections of a connector",
        "/api/actions/connections?limit=25&connector=c00000",
    ),
    (
        "connections that need a person",
        "/api/actions/connections?limit=25&state=reauthorize",
    ),
    (
        "connections that work",
        "/api/actions/connections?limit=25&state=active",
    ),
    ("connections of a user", "/api/actions/connections?limit=25&owner=me"),
    ("connections by user", "/api/actions/connections?limit=25&search=user-7"),
    (
        "connections by account",
        "/api/actions/connections?limit=25&search=PERSON-7",
    ),
    (
        "connections, none is found",
        "/api/actions/connections?limit=25&search=nothing",
    ),
    ("one's own connections", "/api/actions/connections/_me?limit=25"),
    ("keys", "/api/security/api_keys/_search?limit=25"),
    (
        "keys, none is found",
        "/api/security/api_keys/_search?limit=25&search=nothing",
    ),
    ("audit log of a connector", "/api/audit?limit=25&connector=c00000"),
];

fn main() -> Result<()> {
    if let Some(played) = support::play_role() {
        return played;
    }
    let many = Sizes {
        connectors: setting("BENCH_CONNECTORS", 10_000)?,
        connections: setting("BENCH_CONNECTIONS", 1_000_000)?,
        keys: setting("BENCH_KEYS", 10_000)?,
    };
    let few = Sizes {
        connectors: (many.connectors / 100).max(1),
        connections: (many.connections / 1_000).max(1),
        keys: (many.keys / 100).max(1),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let place = tempfile::tempdir()?;
        let kept = told("BENCH_KEEP").map(PathBuf::from);
        measure("SQLite", kept.as_deref().unwrap_or(place.path()), None, few, many).await?;
        let place = tempfile::tempdir()?;
        match told("BENCH_DATABASE_URL") {
            Some(url) => measure("PostgreSQL", place.path(), Some(url), few, many).await,
            None => say("PostgreSQL is left out: BENCH_DATABASE_URL is not set"),
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "a bench is told its places by the environment")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn measure(store: &str, data: &Path, url: Option<String>, few: Sizes, many: Sizes) -> Result<()> {
    say(&format!("{store}:"))?;
    let settings: Vec<_> = url.iter().map(|url| format!("database_url={url}")).collect();
    let calls = setting("BENCH_CALLS", 40)?;
    let mut medians = Vec::new();
    let mut have = Sizes::default();
    for size in [few, many] {
        let server = Server::start(data, &settings)?;
        fill::connectors(server.port, have.connectors..size.connectors, many.connectors).await?;
        server.stop()?;
        fill::rows(data, url.as_deref(), have, size).await?;
        have = size;
        say(&format!(
            "  {} connectors, {} connections, {} keys stored",
            size.connectors, size.connections, size.keys
        ))?;
        let server = Server::start(data, &settings)?;
        let mut own = Vec::new();
        for (_, path) in CALLS {
            own.push(median(server.port, path, calls).await?);
        }
        medians.push(own);
        server.stop()?;
    }
    say("  median of each call in microseconds, with few rows and with many (* grows with what is stored):")?;
    for (at, (name, _)) in CALLS.iter().enumerate() {
        let (few, many) = (medians[0][at], medians[1][at]);
        say(&format!(
            "    {name:<32} {few:>8} {many:>8} {:>7.2} x",
            f64::from(many) / f64::from(few.max(1))
        ))?;
    }
    Ok(())
}

/// How long a call takes, once what it needs is in memory.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn median(port: u16, path: &str, calls: u64) -> Result<u32> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut micros = Vec::new();
    for turn in 0..calls + 3 {
        let request = client
            .get(format!("http://127.0.0.1:{port}{path}"))
            .header("authorization", format!("ApiKey {KEY}"))
            .header("x-valetkey-user", "me");
        let asked = Instant::now();
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        if status != 200 {
            bail!("{path}: {status} {body}");
        }
        if turn >= 3 {
            micros.push(u32::try_from(asked.elapsed().as_micros())?);
        }
    }
    micros.sort_unstable();
    Ok(micros[micros.len() / 2])
}
