//! A look at everything, offline.

use anyhow::Result;
use clap::Args;

/// What the demo may be told.
#[derive(Debug, Args)]
pub(crate) struct Options {}

/// Runs the demo.
pub(crate) async fn run(_options: Options) -> Result<()> {
    anyhow::bail!("not yet")
}
