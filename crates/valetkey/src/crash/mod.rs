//! Crash points: places at which the process ends itself, stands still, or is told that something failed, so that tests can
//! show what is left.
//!
//! They are decorators of the store, the wire and the rescue journal, so that the engine knows nothing of them, and they are only in builds
//! with debug assertions: a released program has neither this code nor the variable, which it refuses as an unknown setting.
//!
//! `VALETKEY_CRASH_AT` holds one or several of `point[:pass][=action]`, separated by commas. The action happens at the
//! `pass`th time, which is the first one if nothing is said. `kill` (what happens if nothing is said) ends the process at
//! once, as a power cut would; `stop` makes it stand still until it is sent SIGCONT; `fail` answers with an error: before
//! the operation it does not happen, after the operation it happened and nobody is told.

mod journal;
mod point;
mod store;
mod wire;

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use valetkey_engine::Parts;
use valetkey_engine::journal::JournalError;
use valetkey_store::StoreError;

use point::Edge;

/// Puts the crash points of a plan around what an engine stands on.
pub(crate) fn around(plan: Plan, parts: Parts) -> Parts {
    let plan = Arc::new(plan);
    Parts {
        store: Arc::new(store::Crashing::new(parts.store, Arc::clone(&plan))),
        wire: Arc::new(wire::Crashing::new(parts.wire, Arc::clone(&plan))),
        journal: Arc::new(journal::Crashing::new(parts.journal, plan)),
        ..parts
    }
}

/// What happens at which points.
#[derive(Debug)]
pub(crate) struct Plan(Vec<Trap>);

/// One point at which something happens.
#[derive(Debug)]
struct Trap {
    edge: Edge,
    pass: u32,
    action: Action,
    passes: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
    Fail,
}

/// An operation was to fail at a crash point.
#[derive(Debug)]
struct Failed;

impl From<Failed> for StoreError {
    fn from(_: Failed) -> Self {
        Self::Unavailable("a crash point".to_owned())
    }
}

impl From<Failed> for JournalError {
    fn from(_: Failed) -> Self {
        Self::Unusable("a crash point".to_owned())
    }
}

impl Plan {
    /// Comes to an edge. It may be the end.
    async fn pass(&self, edge: Edge) -> Result<(), Failed> {
        let sprung = |trap: &&Trap| trap.edge == edge && trap.passes.fetch_add(1, Ordering::SeqCst) + 1 == trap.pass;
        // Every trap at this edge counts the pass, also those after the one that springs.
        let actions: Vec<Action> = self.0.iter().filter(sprung).map(|trap| trap.action).collect();
        for action in actions {
            match action {
                Action::Kill => die(),
                Action::Stop => stand_still().await,
                Action::Fail => return Err(Failed),
            }
        }
        Ok(())
    }
}

/// Ends the process as a power cut would: nothing is finished, flushed or dropped.
fn die() -> ! {
    // The signal is delivered before the call returns; should it ever not be, ending otherwise is as good.
    if let Err(error) = kill_process(getpid(), Signal::KILL) {
        tracing::error!(%error, "the process cannot be killed");
    }
    std::process::abort()
}

/// Stands still, with all threads, until SIGCONT. Another thread may be the one that is told to stop, so that this one
/// must not go on before it has seen the end of it.
async fn stand_still() {
    let continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()));
    let stopped = kill_process(getpid(), Signal::STOP);
    match (continued, stopped) {
        (Ok(mut continued), Ok(())) => drop(continued.recv().await),
        (Err(error), _) => tracing::error!(%error, "SIGCONT cannot be waited for"),
        (_, Err(error)) => tracing::error!(%error, "the process cannot be stopped"),
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|trap| trap.trim().parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Trap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, action) = text.split_once('=').unwrap_or((text, "kill"));
        let (name, pass) = place.split_once(':').unwrap_or((place, "1"));
        let action = match action {
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            "fail" => Action::Fail,
            _ => return Err(format!("{action} is none of kill, stop and fail")),
        };
        Ok(Self {
            edge: point::edge(name).ok_or_else(|| format!("there is no crash point {name}"))?,
            pass: pass
                .parse()
                .map_err(|_| format!("{pass} is not the number of a pass"))?,
            action,
            passes: AtomicU32::new(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// Which of so many passes of a point went well.
    async fn passes(plan: &Plan, point: &str, count: usize) -> Vec<bool> {
        let edge = point::edge(point).expect("a point");
        let mut passes = Vec::new();
        for _ in 0..count {
            passes.push(plan.pass(edge).await.is_ok());
        }
        passes
    }

    #[tokio::test]
    async fn a_trap_springs_once_at_its_pass() {
        let plan = plan("refresh.after_response:2=fail");
        let expected = [true, false, true, true];
        assert_eq!(passes(&plan, "refresh.after_response", 4).await, expected);
        assert_eq!(passes(&plan, "refresh.sent", 2).await, [true, true], "another point");
    }

    #[tokio::test]
    async fn every_trap_of_a_point_counts_every_pass() {
        let plan = plan("refresh.sent=fail, refresh.sent:2=fail");
        assert_eq!(passes(&plan, "refresh.sent", 3).await, [false, false, true]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(plan("revoke.after_local").0[0].action, Action::Kill);
        for (text, named) in [
            ("refresh.snet", "refresh.snet"),
            ("refresh.sent:x", "x"),
            ("refresh.sent=explode", "explode"),
            ("", "no crash point"),
        ] {
            let error = text.parse::<Plan>().expect_err(text);
            assert!(error.contains(named), "{error}");
        }
    }
}
