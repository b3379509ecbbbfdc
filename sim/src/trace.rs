//! What happened, line by line, and a digest of it: two runs of a seed have the same.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

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
        let line = self.with_time(text);
        let mut pages = self.lock();
        pages.digest.write(line.as_bytes());
        pages.digest.write_u8(b'\n');
        pages.count += 1;
        if self.keep == Keep::Tail && pages.lines.len() >= 2 * TAIL {
            pages.lines.drain(..TAIL);
        }
        pages.lines.push(line);
    }

    fn with_time(&self, text: fmt::Arguments<'_>) -> String {
        let mut line = String::with_capacity(80);
        let at = self.time.elapsed();
        let written = write!(line, "{:>6}.{:03} {text}", at.as_secs(), at.subsec_millis());
        debug_assert!(written.is_ok(), "a text takes everything");
        line
    }

    /// Shows what the engine logs as lines of the trace, until the guard is dropped. They do not count for the digest.
    pub fn show_log(self: &Arc<Self>) -> tracing::subscriber::DefaultGuard {
        let trace = Arc::clone(self);
        tracing_subscriber::fmt()
            .without_time()
            .with_ansi(false)
            .with_env_filter(EnvFilter::new("valetkey_engine=debug"))
            .with_writer(move || Log(Arc::clone(&trace)))
            .finish()
            .set_default()
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

/// Takes what the engine logs, one line a write.
struct Log(Arc<Trace>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = self.0.with_time(format_args!("    {}", text.trim()));
        self.0.lock().lines.push(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
