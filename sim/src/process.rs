//! One process of the service: a replica from its start to its end.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Time;

/// What can befall a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// It is killed.
    Kill,
    /// It stands still.
    Pause,
    /// It does not reach the store any more.
    CutOff,
}

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
    /// What befalls it, and at which of the next places that it passes.
    next_blow: Mutex<Option<(Blow, u32)>>,
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
            next_blow: Mutex::default(),
            troubles: Mutex::default(),
        }
    }

    /// Goes on while the process runs; waits while it is paused; never returns once it is dead.
    pub async fn pass(&self) {
        self.take_blow();
        let state = *self.state.borrow();
        if state == State::Running {
            return;
        }
        let runs = self
            .state
            .subscribe()
            .wait_for(|state| *state == State::Running)
            .await
            .is_ok();
        if !runs {
            std::future::pending::<()>().await;
        }
    }

    /// Lets something befall it exactly at the place that it passes after so many others.
    pub fn will_suffer(&self, blow: Blow, after: u32) {
        *self.next_blow.lock().unwrap_or_else(PoisonError::into_inner) = Some((blow, after));
    }

    /// Nothing befalls it any more.
    pub fn spare(&self) {
        *self.next_blow.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn take_blow(&self) {
        let mut next = self.next_blow.lock().unwrap_or_else(PoisonError::into_inner);
        match next.as_mut() {
            None => {}
            Some((_, after)) if *after > 0 => *after -= 1,
            Some((blow, _)) => {
                let blow = *blow;
                *next = None;
                match blow {
                    Blow::Kill => self.kill(),
                    Blow::Pause => self.pause(),
                    Blow::CutOff => self.cut_off(),
                }
            }
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

    /// Whether it stands still.
    pub fn is_paused(&self) -> bool {
        *self.state.borrow() == State::Paused
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
