//! What happened, line by line, and a digest of it: two runs of a seed have the same.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Time;

/// How much of a run is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last lines only, for the report of a failure.
    Tail,
    /// Everything.
    All,
}

/// How many lines a tail has.
const TAIL: usize = 60;

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    time: Time,
    keep: Keep,
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    lines: Vec<String>,
    /// A fixed function with fixed keys, unlike a hash map's.
    digest: DefaultHasher,
    count: u64,
}

impl Trace {
    /// An empty trace.
    pub fn new(time: Time, keep: Keep) -> Self {
        let pages = Pages {
            lines: Vec::new(),
            digest: DefaultHasher::new(),
            count: 0,
        };
        Self {
            time,
            keep,
            pages: Mutex::new(pages),
        }
    }

    /// Adds a line with its time.
    pub fn line(&self, text: fmt::Arguments<'_>) {
        let mut line = String::with_capacity(80);
        let at = self.time.elapsed();
        let written = write!(line, "{:>6}.{:03} {text}", at.as_secs(), at.subsec_millis());
        debug_assert!(written.is_ok(), "a text takes everything");
        let mut pages = self.lock();
        pages.digest.write(line.as_bytes());
        pages.digest.write_u8(b'\n');
        pages.count += 1;
        if self.keep == Keep::Tail && pages.lines.len() >= 2 * TAIL {
            pages.lines.drain(..TAIL);
        }
        pages.lines.push(line);
    }

    /// The lines that were kept.
    pub fn text(&self) -> String {
        let pages = self.lock();
        let from = match self.keep {
            Keep::All => 0,
            Keep::Tail => pages.lines.len().saturating_sub(TAIL),
        };
        pages.lines[from..].join("\n")
    }

    /// The digest of every line so far, with their number.
    pub fn digest(&self) -> String {
        let pages = self.lock();
        format!("{:016x} of {} lines", pages.digest.finish(), pages.count)
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
