//! What memory answers while the store does not: an old answer is better than none, where it is only read and nobody can
//! be asked. Whatever must be written waits for the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use valetkey_store::StoreError;

use crate::Engine;
use crate::error::Result;

/// How long a store that failed is not asked again for what memory knows: a store that hangs would cost every caller its
/// time-out.
const REST: Duration = Duration::from_secs(1);

/// How long what is in memory outlives the last time the store said so: as long as most access tokens live.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// Whether the store failed a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// Until when the store rests, in milliseconds of the monotonic clock.
    rests_until: AtomicU64,
}

/// What memory has.
pub(crate) enum Recalled<T> {
    /// To be used.
    Recent(Arc<T>),
    /// To be used only if the store fails, if there is anything.
    Old(Option<Arc<T>>),
}

impl Engine {
    /// Sorts what memory has by whether the store must be asked.
    pub(crate) fn recall<T>(&self, known: Option<Arc<T>>, read_at: impl Fn(&T) -> Duration) -> Recalled<T> {
        match known {
            Some(known) if self.is_recent(read_at(&known)) => Recalled::Recent(known),
            Some(known) if self.store_rests() && self.outlives_outage(read_at(&known)) => Recalled::Recent(known),
            old => Recalled::Old(old),
        }
    }

    /// What memory has in the place of what the store would say, or the store's failure.
    pub(crate) fn instead_of_store<T>(
        &self,
        old: Option<Arc<T>>,
        read_at: impl Fn(&T) -> Duration,
        error: StoreError,
    ) -> Result<Arc<T>> {
        let StoreError::Unavailable(_) = &error else {
            return Err(error.into());
        };
        self.note_outage();
        match old.filter(|old| self.outlives_outage(read_at(old))) {
            Some(old) => {
                tracing::debug!(%error, "an old answer is used while the store does not answer");
                Ok(old)
            }
            None => Err(error.into()),
        }
    }

    pub(crate) fn note_outage(&self) {
        let until = millis(self.clock.monotonic() + REST);
        self.outage.rests_until.store(until, Ordering::Relaxed);
    }

    pub(crate) fn store_rests(&self) -> bool {
        self.outage.rests_until.load(Ordering::Relaxed) > millis(self.clock.monotonic())
    }

    pub(crate) fn outlives_outage(&self, read_at: Duration) -> bool {
        self.clock.monotonic().saturating_sub(read_at) <= GRACE
    }
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
