//! Reading connections, used in place.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use rusqlite::Connection;

use super::error::closed;
use super::{Result, open};

/// A fixed set of connections. A thread begins its search for a free one at a place of its own, so that threads meet
/// rarely and each finds its statements prepared and its pages cached.
pub(super) struct Readers(Vec<Mutex<Option<Connection>>>);

impl Readers {
    /// One for each core, as many as there are workers.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let count = thread::available_parallelism().map_or(2, usize::from).clamp(2, 32);
        (0..count)
            .map(|_| Ok(Mutex::new(Some(open::reader(path)?))))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Runs a read on a free connection. Waits only if all are busy.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let place = self.place();
        work(place.as_ref().ok_or_else(closed)?)
    }

    /// Closes them; waits for the reads under way.
    pub(super) fn close(&self) {
        for place in &self.0 {
            drop(place.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Connection>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        let mine = MINE.with(|mine| mine % self.0.len());
        for place in self.0[mine..].iter().chain(&self.0[..mine]) {
            match place.try_lock() {
                Ok(free) => return free,
                // A read that panicked left nothing behind: statements end when they are dropped.
                Err(TryLockError::Poisoned(free)) => return free.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.0[mine].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
