//! Time: the virtual one of the runtime, as everybody sees it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use valetkey_core::{Clock, Timestamp};

/// When every run takes place.
const BEGIN: Timestamp = Timestamp(1_790_000_000_000);

/// What time it really is in a run.
#[derive(Clone, Copy, Debug)]
pub struct Time(Instant);

impl Time {
    /// Begins now. The runtime's time must be paused.
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Since the run began.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// What a right clock shows.
    pub fn now(self) -> Timestamp {
        BEGIN.plus(self.elapsed())
    }
}

/// A clock on the wall of one replica, or of the store. It runs as fast as the true time, but may be set wrong.
#[derive(Debug)]
pub struct WallClock {
    time: Time,
    /// How far it is ahead, in milliseconds.
    ahead: AtomicI64,
}

impl WallClock {
    /// A clock that is right.
    pub fn right(time: Time) -> Self {
        Self {
            time,
            ahead: AtomicI64::new(0),
        }
    }

    /// Sets it wrong by so many milliseconds.
    pub fn set_ahead(&self, ms: i64) {
        self.ahead.store(ms, Ordering::SeqCst);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.time.now().0 + self.ahead.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.time.elapsed()
    }
}
