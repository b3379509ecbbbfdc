//! Whether a process lives. One that ended never touches store, network or disk again: whatever its tasks still do stays
//! with them, which is what a crash looks like from outside.

use std::sync::atomic::{AtomicBool, Ordering};

/// The life of one process.
#[derive(Debug, Default)]
pub(crate) struct Life(AtomicBool);

impl Life {
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Returns while the process lives, and never after.
    pub(crate) async fn check(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }
}
