//! A clock and a random source that a test owns (feature `fake`).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::rng::Rng;
use crate::time::{Clock, Timestamp};

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct FakeClock {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

impl FakeClock {
    /// Starts at the given wall time, with the monotonic clock at zero.
    pub fn at(start: Timestamp) -> Self {
        Self {
            wall: AtomicI64::new(start.0),
            monotonic: AtomicI64::new(0),
        }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, span: Duration) {
        let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.monotonic.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock without any time passing.
    pub fn jump_to(&self, wall: Timestamp) {
        self.wall.store(wall.0, Ordering::SeqCst);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::at(Timestamp(1_790_000_000_000))
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.monotonic.load(Ordering::SeqCst)).unwrap_or(0))
    }
}

/// A seeded source (splitmix64): the same seed gives the same bytes. Never for anything but tests.
#[derive(Debug)]
pub struct FakeRng(AtomicU64);

impl FakeRng {
    /// Starts from a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Rng for FakeRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut z = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}
