//! The one clock that the engine sees. It does not jump.
//!
//! The wall clock is asked once, at the start; from then on time goes on as the boot clock does, which no administrator and
//! no time server sets, and which counts the time that the machine sleeps. Where the store has a clock of its own, that one
//! is the time that all replicas share: ours is anchored to it at the start and corrected every few seconds. A correction
//! of more than minutes is not believed: whatever happened to the store's clock, that much time has not passed.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use valetkey_core::{Clock, Timestamp};

/// The largest correction that is believed.
const MAX_CORRECTION: Duration = Duration::from_secs(5 * 60);

/// An answer of the store that took longer says nothing exact.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Where time comes from.
pub(crate) trait Sources: Send + Sync + fmt::Debug {
    /// The wall clock.
    fn wall(&self) -> Timestamp;

    /// Time since some fixed point; never set, never goes back, goes on while the machine sleeps.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug)]
struct SystemSources;

/// The clock that goes on while the machine sleeps. Elsewhere than on Linux it is the monotonic one that does.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOOT_CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOOT_CLOCK: ClockId = ClockId::Monotonic;

impl Sources for SystemSources {
    fn wall(&self) -> Timestamp {
        Timestamp(milliseconds(since_zero(ClockId::Realtime)))
    }

    fn elapsed(&self) -> Duration {
        since_zero(BOOT_CLOCK)
    }
}

fn since_zero(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // Both are never negative on a clock that is set to anything after 1970.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// What became of a correction by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correction {
    /// It was made; the clock moved by so many milliseconds.
    Made(i64),
    /// The store's clock is so many milliseconds off: too many to be believed.
    Refused(i64),
    /// The answer took too long to be exact.
    TooSlow,
}

/// The engine's clock.
#[derive(Debug)]
pub(crate) struct SystemClock {
    sources: Box<dyn Sources>,
    start: Duration,
    /// What is added to the time that has passed, in milliseconds since the Unix epoch.
    offset: AtomicI64,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self::on(Box::new(SystemSources))
    }

    pub(crate) fn on(sources: Box<dyn Sources>) -> Self {
        let start = sources.elapsed();
        let offset = sources.wall().0.saturating_sub(milliseconds(start));
        Self {
            sources,
            start,
            offset: AtomicI64::new(offset),
        }
    }

    /// Takes over the store's time, however far away it is: at the start nothing else is known to be right. `asked_at` is
    /// what [`Clock::monotonic`] said before the store was asked. How far the clock moved, in milliseconds.
    pub(crate) fn anchor(&self, told: Timestamp, asked_at: Duration) -> i64 {
        let off = self.off(told, asked_at);
        self.offset.fetch_add(off, Ordering::SeqCst);
        off
    }

    /// Corrects the clock by the store's time, if that can be.
    pub(crate) fn correct(&self, told: Timestamp, asked_at: Duration) -> Correction {
        if self.monotonic().saturating_sub(asked_at) > MAX_DELAY {
            return Correction::TooSlow;
        }
        let off = self.off(told, asked_at);
        if Duration::from_millis(off.unsigned_abs()) > MAX_CORRECTION {
            return Correction::Refused(off);
        }
        self.offset.fetch_add(off, Ordering::SeqCst);
        Correction::Made(off)
    }

    /// How far the wall clock is ahead of this one, in milliseconds.
    pub(crate) fn wall_ahead(&self) -> i64 {
        self.sources.wall().0.saturating_sub(self.now().0)
    }

    /// How far the store is ahead. It told its time about half way between question and answer.
    fn off(&self, told: Timestamp, asked_at: Duration) -> i64 {
        let delay = self.monotonic().saturating_sub(asked_at);
        told.plus(delay / 2).0.saturating_sub(self.now().0)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = milliseconds(self.sources.elapsed());
        Timestamp(elapsed.saturating_add(self.offset.load(Ordering::SeqCst)))
    }

    fn monotonic(&self) -> Duration {
        self.sources.elapsed().saturating_sub(self.start)
    }
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod fake {
    //! Clocks of an operating system that a test owns.

    use std::sync::{Arc, Mutex};

    use super::{Duration, Sources, SystemClock, Timestamp};

    /// A wall clock and the time that has really passed.
    #[derive(Clone, Debug)]
    pub(crate) struct FakeSources(Arc<Mutex<(Timestamp, Duration)>>);

    impl FakeSources {
        pub(crate) fn at(wall: Timestamp) -> Self {
            Self(Arc::new(Mutex::new((wall, Duration::from_secs(1_000)))))
        }

        /// Time passes, for both clocks.
        pub(crate) fn pass(&self, span: Duration) {
            let mut both = self.0.lock().expect("not poisoned");
            both.0 = both.0.plus(span);
            both.1 += span;
        }

        /// Somebody sets the wall clock.
        pub(crate) fn set_wall(&self, wall: Timestamp) {
            self.0.lock().expect("not poisoned").0 = wall;
        }

        pub(crate) fn clock(&self) -> SystemClock {
            SystemClock::on(Box::new(self.clone()))
        }
    }

    impl Sources for FakeSources {
        fn wall(&self) -> Timestamp {
            self.0.lock().expect("not poisoned").0
        }

        fn elapsed(&self) -> Duration {
            self.0.lock().expect("not poisoned").1
        }
    }
}

#[cfg(test)]
mod tests;
