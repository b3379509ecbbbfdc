//! Logs: one JSON object a line on standard error, written by a thread of its own.

use anyhow::{Context as _, Result};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Crates that handle bytes of the wire say nothing below this level, whatever the filter asks for.
const CAPPED: [&str; 6] = [
    "hyper=info",
    "hyper_util=info",
    "rustls=info",
    "tokio_rustls=info",
    "h2=info",
    "tokio_postgres=info",
];

/// Starts logging. What was logged is written when the guard is dropped.
pub(crate) fn start(filter: &str) -> Result<WorkerGuard> {
    let filter = std::iter::once(filter).chain(CAPPED).collect::<Vec<_>>().join(",");
    let filter = EnvFilter::builder()
        .parse(&filter)
        .context("log is not a filter such as \"info\"")?;
    let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(std::io::stderr());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(writer)
        .try_init()
        .map_err(|e| anyhow::anyhow!("logging is set up already: {e}"))?;
    Ok(guard)
}
