//! A look at everything, offline: `valetkey demo`.
//!
//! One process runs three servers on loopback: the real one, built as `serve` builds it; a [`sandbox`] that plays the
//! provider; and a small application ([`page`]) that uses the real one over its HTTP API only, as an application team
//! would. Nothing else in the product imports anything from here.

mod client;
mod guide;
mod home;
mod page;
mod sandbox;
mod setup;
mod web;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app;
use crate::cli::say;
use crate::system::SystemClock;
use guide::Guide;
use home::Home;
use page::Application;
use sandbox::Sandbox;
use web::Web;

/// How long the pages may take to finish requests under way once a stop began.
const DRAIN: Duration = Duration::from_secs(2);

/// What the demo may be told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Port of the server; the application's page and the sandbox take the next two. One that is taken, or 0, is
    /// replaced by a free one.
    #[arg(long, default_value_t = 7420)]
    port: u16,
    /// Keep what is stored in this directory; without it, a temporary one is removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What is logged: a level, or a filter such as `info,valetkey_engine=debug`.
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
    /// How long the sandbox's access tokens live.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = seconds, hide = true)]
    token_lifetime: Duration,
}

/// Runs the demo until it is told to stop.
pub(crate) async fn run(options: Options) -> Result<()> {
    // Before anything is made, so that whatever is made is also cleaned up.
    let mut stop = Stop::listen()?;
    let _logs = crate::telemetry::start(&options.log)?;
    let home = Home::open(options.data_dir.clone())?;
    let clock = Arc::new(SystemClock::new());
    let server = web::free_address(options.port).await?;
    let page = Web::bind(next(options.port, 1)).await?;
    let provider = Web::bind(next(options.port, 2)).await?;

    let app = app::build(&home.config(server, page.origin())?).await?;
    let stopping = app.stopping();
    let tasks = TaskTracker::new();
    let mut serving = tasks.spawn(app.run());

    let closing = CancellationToken::new();
    let sandbox = Sandbox::new(provider.origin(), options.token_lifetime, clock.clone());
    let server = format!("http://{server}");
    let guide = Guide {
        server: server.clone(),
        page: page.origin().to_owned(),
        sandbox: provider.origin().to_owned(),
        data: home.describe(),
        key: home.admin_key().clone(),
    };
    provider.serve(sandbox.router(), &tasks, &closing);

    let introduced = async {
        let key = setup::connect_everything(&server, home.admin_key(), &sandbox).await?;
        let application = Application::new(&server, key, page.origin(), sandbox.origin(), clock);
        page.serve(application.router(), &tasks, &closing);
        guide.print()?;
        std::future::pending::<Result<()>>().await
    };
    let outcome = tokio::select! {
        ended = &mut serving => return ended?.context("the server ended by itself"),
        failed = introduced => failed,
        () = stop.wait() => {
            // A terminal that is gone must not keep anything from being stopped in order.
            drop(say("\nstopping"));
            Ok(())
        }
    };
    // The server goes first: what it still has to tell the provider must be heard.
    stopping.cancel();
    serving.await??;
    closing.cancel();
    tasks.close();
    // A browser may hold a page's connection open; nothing is lost with it.
    drop(tokio::time::timeout(DRAIN, tasks.wait()).await);
    outcome
}

/// The port `by` further on; free choice stays free choice.
fn next(port: u16, by: u16) -> u16 {
    if port == 0 {
        0
    } else {
        port.checked_add(by).unwrap_or(0)
    }
}

/// Reads `60s`: whole seconds, up to a day.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let number = text.strip_suffix('s').and_then(|n| n.parse().ok());
    match number {
        Some(n @ 1..=86_400) => Ok(Duration::from_secs(n)),
        _ => Err("must be 1s to 86400s"),
    }
}

/// What ends the demo: Ctrl-C, or a polite kill.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_whole_seconds() {
        assert_eq!(seconds("2s"), Ok(Duration::from_secs(2)));
        for bad in ["", "s", "0s", "2", "2m", "-1s", "86401s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_follow_each_other_and_do_not_wrap() {
        assert_eq!(
            [next(7420, 1), next(7420, 2), next(0, 2), next(u16::MAX, 1)],
            [7421, 7422, 0, 0]
        );
    }
}
