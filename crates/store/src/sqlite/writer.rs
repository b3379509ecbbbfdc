//! The writer thread and its group commit.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::error::{closed, is_failed_sync};
use super::{Result, checkpoint};
use crate::StoreError;
use crate::error::again;

/// How many operations may wait; further callers wait before they are queued.
const ROOM: usize = 1_024;

/// How many operations share a commit at most, so that the first of them does not wait for ever.
const GROUP: usize = 256;

/// After how long without a write the log is emptied.
const QUIET: Duration = Duration::from_secs(1);

super::statements! {
    SAVE = "SAVEPOINT operation";
    UNDO = "ROLLBACK TO operation";
    KEEP = "RELEASE operation";
}

/// The caller's end of the writer thread.
pub(super) struct Writer {
    jobs: Mutex<Option<Sender<Job>>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(conn: Connection) -> Result<Self> {
        let (jobs, waiting) = channel();
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || serve(conn, &waiting))
            .map_err(|e| StoreError::Unavailable(format!("its thread cannot be started: {e}")))?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            room: Arc::new(Semaphore::new(ROOM)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues an operation; returns after the commit. Once queued it runs, even if the caller goes away.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        self.queue(Box::new(Waiting {
            work: Some(work),
            outcome: None,
            reply,
            _room: room,
        }))?;
        answer.await.map_err(|_| closed())?
    }

    fn queue(&self, job: Job) -> Result<()> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())
    }

    /// Refuses new operations, and waits for the queued ones and for the last checkpoint.
    pub(super) fn close(&self) {
        self.room.close();
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

type Job = Box<dyn Operation>;

/// An operation without its type.
trait Operation: Send {
    /// Runs it. If it fails, what it wrote must go.
    fn run(&mut self, conn: &Connection) -> Result<()>;

    /// Answers the caller; `failure` says that nothing of the group was committed.
    fn answer(self: Box<Self>, failure: Option<&StoreError>);
}

struct Waiting<F, T> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
    _room: OwnedSemaphorePermit,
}

impl<F, T> Operation for Waiting<F, T>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T> + Send,
{
    fn run(&mut self, conn: &Connection) -> Result<()> {
        let outcome = self.work.take().map_or_else(|| Err(closed()), |work| work(conn));
        let done = outcome.as_ref().map(drop).map_err(again);
        self.outcome = Some(outcome);
        done
    }

    fn answer(self: Box<Self>, failure: Option<&StoreError>) {
        let outcome = match (self.outcome, failure) {
            (Some(Err(own)), _) => Err(own),
            (_, Some(failure)) => Err(again(failure)),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(closed()),
        };
        // The caller may have gone away; the operation stands.
        drop(self.reply.send(outcome));
    }
}

/// Why a group was not committed.
struct Failure {
    error: StoreError,
    /// Whether nothing may be written after it.
    last: bool,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let last = is_failed_sync(&error);
        Self {
            error: error.into(),
            last,
        }
    }
}

/// The life of the thread. After a failure that is the last, the connection is closed and every operation gets the same
/// error: going on could acknowledge what is lost already.
fn serve(conn: Connection, jobs: &Receiver<Job>) {
    if let Some(error) = write_until_closed(conn, jobs) {
        tracing::error!(%error, "the store stops writing until the process is started again");
        for job in jobs {
            job.answer(Some(&error));
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the connection is closed at the end")]
fn write_until_closed(conn: Connection, jobs: &Receiver<Job>) -> Option<StoreError> {
    let mut log_is_empty = false;
    loop {
        let next = if log_is_empty {
            jobs.recv().map_err(Into::into)
        } else {
            jobs.recv_timeout(QUIET)
        };
        let done = match next {
            Ok(first) => {
                log_is_empty = false;
                let mut group = vec![first];
                group.extend(jobs.try_iter().take(GROUP - 1));
                commit_and_answer(&conn, group)
            }
            Err(RecvTimeoutError::Timeout) => checkpoint::truncate(&conn)
                .map(|done| log_is_empty = done)
                .map_err(Failure::from),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match done {
            Err(Failure { error, last: true }) => return Some(error),
            Err(Failure { error, last: false }) => tracing::warn!(%error, "a write or a checkpoint failed"),
            Ok(()) => {}
        }
    }
    if let Err(error) = checkpoint::truncate(&conn).map_err(StoreError::from) {
        tracing::warn!(%error, "the last checkpoint failed; the next start repeats it");
    }
    None
}

fn commit_and_answer(conn: &Connection, mut group: Vec<Job>) -> std::result::Result<(), Failure> {
    let committed = commit(conn, &mut group);
    let failure = committed.as_ref().err().map(|failure| &failure.error);
    for job in group {
        job.answer(failure);
    }
    committed?;
    checkpoint::after_commit(conn).map_err(Failure::from)
}

/// Runs a group in one transaction. Each operation has a savepoint, so that one that fails takes only its own writes
/// with it.
fn commit(conn: &Connection, group: &mut [Job]) -> std::result::Result<(), Failure> {
    check_place(conn)?;
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    for job in group {
        conn.prepare_cached(SAVE)?.execute([])?;
        if let Err(error) = job.run(conn) {
            // Some errors, a full disk among them, end the whole transaction at once.
            if conn.is_autocommit() {
                return Err(Failure { error, last: false });
            }
            conn.prepare_cached(UNDO)?.execute([])?;
        }
        conn.prepare_cached(KEEP)?.execute([])?;
    }
    Ok(transaction.commit()?)
}

/// Refuses to write to a file that nobody would find again.
#[cfg(unix)]
fn check_place(conn: &Connection) -> std::result::Result<(), Failure> {
    let mut moved = 0;
    conn.file_control(Some(rusqlite::MAIN_DB), rusqlite::FileControl::HasMoved(&mut moved))?;
    if moved == 0 {
        return Ok(());
    }
    let error = StoreError::Unavailable("the database file was moved, replaced or deleted".to_owned());
    Err(Failure { error, last: true })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the signature is the one of the other form")]
fn check_place(_conn: &Connection) -> std::result::Result<(), Failure> {
    Ok(())
}

#[cfg(test)]
mod tests;
