//! How long to wait when a provider says that there were too many requests.

use std::time::Duration;

use valetkey_core::{Response, Rng};

const MAX_JITTER_MS: u64 = 250;

/// The randomness of one run, so that not everybody comes back at the same moment.
#[derive(Debug)]
pub(crate) struct Pace(u64);

impl Pace {
    /// Starts from the injected source; without one it is always the same.
    pub(crate) fn new(rng: Option<&dyn Rng>) -> Self {
        Self(rng.map_or(0, |rng| u64::from_le_bytes(rng.bytes())))
    }

    /// Where it stands.
    pub(crate) fn seed(&self) -> u64 {
        self.0
    }

    /// As long as the provider says, or twice as long as the last time; never longer than `most`.
    pub(crate) fn delay(&mut self, response: &Response, retries: u32, most: Duration) -> Duration {
        let asked = response
            .header("retry-after")
            .and_then(|value| value.trim().parse::<u64>().ok());
        let seconds = asked.unwrap_or_else(|| 1 << retries.min(6));
        let jitter = Duration::from_millis(self.next() % (MAX_JITTER_MS + 1));
        Duration::from_secs(seconds).saturating_add(jitter).min(most)
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
