//! One process of the service: a replica from its start to its end.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Dead,
}

/// A process. Everything that it does outside itself passes [`Process::pass`], so it can be held up there, or for ever:
/// a process that is dead keeps its tasks, but they never get further, as nobody outside could tell from an abort.
pub struct Process {
    time: Time,
    /// Which replica.
    pub replica: usize,
    /// Which process of the replica, counted from 0.
    pub life: u32,
    state: watch::Sender<State>,
    is_cut_off: AtomicBool,
    /// When it could not work as it should, through no fault of its own.
    troubles: Mutex<Vec<(Duration, Duration)>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}", self.replica, self.life)
    }
}

impl Process {
    /// A running process.
    pub fn start(time: Time, replica: usize, life: u32) -> Self {
        Self {
            time,
            replica,
            life,
            state: watch::Sender::new(State::Running),
            is_cut_off: AtomicBool::new(false),
            troubles: Mutex::default(),
        }
    }

    /// Goes on while the process runs; waits while it is paused; never returns once it is dead.
    pub async fn pass(&self) {
        let state = *self.state.borrow();
        if state == State::Running {
            return;
        }
        let runs = self.state.subscribe().wait_for(|state| *state == State::Running).await.is_ok();
        if !runs {
            std::future::pending::<()>().await;
        }
    }

    /// Stops the process where it is (SIGSTOP).
    pub fn pause(&self) {
        if self.state.send_if_modified(|state| {
            let runs = *state == State::Running;
            if runs {
                *state = State::Paused;
            }
            runs
        }) {
            self.troubles().push((self.time.elapsed(), Duration::MAX));
        }
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        let was_paused = self.state.send_if_modified(|state| {
            let paused = *state == State::Paused;
            if paused {
                *state = State::Running;
            }
            paused
        });
        if was_paused {
            self.end_trouble();
        }
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&self) {
        self.state.send_replace(State::Dead);
        self.troubles().push((self.time.elapsed(), Duration::MAX));
    }

    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        *self.state.borrow() == State::Dead
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        *self.state.borrow() == State::Running
    }

    /// Cuts it off from the store.
    pub fn cut_off(&self) {
        if !self.is_cut_off.swap(true, Ordering::SeqCst) {
            self.troubles().push((self.time.elapsed(), Duration::MAX));
        }
    }

    /// Connects it with the store again.
    pub fn reconnect(&self) {
        if self.is_cut_off.swap(false, Ordering::SeqCst) {
            self.end_trouble();
        }
    }

    /// Whether it is cut off from the store.
    pub fn is_cut_off(&self) -> bool {
        self.is_cut_off.load(Ordering::SeqCst)
    }

    /// Notes that something failed around it just now.
    pub fn had_trouble(&self) {
        let now = self.time.elapsed();
        self.troubles().push((now, now));
    }

    /// Whether anything has kept it from its work since then.
    pub fn was_in_trouble_since(&self, then: Duration) -> bool {
        self.troubles().iter().any(|(_, to)| *to >= then)
    }

    fn end_trouble(&self) {
        let now = self.time.elapsed();
        let mut troubles = self.troubles();
        if let Some((_, to)) = troubles.iter_mut().rev().find(|(_, to)| *to == Duration::MAX) {
            *to = now;
        }
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, Vec<(Duration, Duration)>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
