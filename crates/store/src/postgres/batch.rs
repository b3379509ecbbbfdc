//! Changes that arrive together are sent together: one statement and one commit for all of them.
//!
//! The first change goes at once. Those that arrive while it is under way wait for each other and go next, so that a
//! server that has little to do answers as soon as ever, and one that has much to do makes few commits of many changes.
//!
//! A batch passes over what it cannot decide without waiting: a row that somebody else has locked, or that is not as its
//! caller expects. Batches therefore never wait for a lock and cannot be part of a deadlock, and each caller who gets
//! nothing from one runs the statement for a single change, which decides.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_postgres::Row;

use super::Result;
use super::error::closed;
use super::pool::Pool;
use super::values::Value;
use crate::StoreError;
use crate::error::again;

/// How many changes share a commit at most, so that the first of them does not wait for ever.
const GROUP: usize = 128;

/// How many batches of a kind are under way at most: one is carried out while another one's commit reaches the disk. More of
/// them are smaller ones, and each costs the server as much again.
const LANES: usize = 2;

/// How many changes must wait before another batch is sent beside those under way. It costs a commit of its own, but where
/// the disk is slow, commits wait for it together.
const CROWD: usize = 8;

/// The parameters of one change, in the order of the statement.
pub(super) type Change = Vec<Value<'static>>;

/// Collects the changes of one kind. Its statement has one array for each parameter of a change, and answers with a row
/// for each change that it made; the last column is the change's place in the batch, from 1.
pub(super) struct Batches {
    queue: Arc<Queue>,
    /// They end with the store.
    lanes: Mutex<JoinSet<()>>,
}

struct Queue {
    statement: &'static str,
    pool: Arc<Pool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    lanes: usize,
}

struct Waiting {
    change: Change,
    reply: oneshot::Sender<Result<Option<Row>>>,
}

impl Batches {
    pub(super) fn new(pool: &Arc<Pool>, statement: &'static str) -> Self {
        Self {
            queue: Arc::new(Queue {
                statement,
                pool: Arc::clone(pool),
                state: Mutex::default(),
            }),
            lanes: Mutex::default(),
        }
    }

    /// Makes a change, with others; returns when it is committed. `None` if the batch passed it over: nothing was done.
    pub(super) async fn make(&self, change: Change) -> Result<Option<Row>> {
        let (reply, answer) = oneshot::channel();
        let lane = {
            let mut state = self.queue.state();
            state.waiting.push_back(Waiting { change, reply });
            let wanted = state.lanes == 0 || state.waiting.len() >= CROWD && state.lanes < LANES;
            wanted.then(|| Lane::open(&self.queue, &mut state))
        };
        if let Some(lane) = lane {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            while lanes.try_join_next().is_some() {}
            lanes.spawn(lane.run());
        }
        answer.await.map_err(|_| closed())?
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends one batch after the other until nobody waits.
struct Lane {
    queue: Arc<Queue>,
    has_ended: bool,
}

impl Lane {
    fn open(queue: &Arc<Queue>, state: &mut State) -> Self {
        state.lanes += 1;
        Self {
            queue: Arc::clone(queue),
            has_ended: false,
        }
    }

    async fn run(mut self) {
        while let Some(group) = self.next() {
            self.send(group).await;
        }
    }

    /// The changes that go next. The lane ends under the same lock under which nobody waits, so that whoever comes after
    /// that opens another one.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut state = self.queue.state();
        let count = state.waiting.len().min(GROUP);
        if count == 0 {
            state.lanes -= 1;
            self.has_ended = true;
            return None;
        }
        Some(state.waiting.drain(..count).collect())
    }

    async fn send(&self, group: Vec<Waiting>) {
        let (changes, replies): (Vec<_>, Vec<_>) = group.into_iter().map(|one| (one.change, one.reply)).unzip();
        let params = Value::columns(changes);
        let done = self.queue.pool.query(self.queue.statement, &params).await;
        let outcomes: Vec<_> = match done.and_then(|rows| placed(rows, replies.len())) {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            // The server undid all of it because of one that it cannot take; alone, each learns what is said of its own.
            Err(StoreError::Corrupt(_)) => replies.iter().map(|_| Ok(None)).collect(),
            Err(error) => replies.iter().map(|_| Err(again(&error))).collect(),
        };
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // The caller may have gone away; the change stands.
            drop(reply.send(outcome));
        }
    }
}

impl Drop for Lane {
    /// A lane that ends early, with its runtime, leaves nobody waiting for it.
    fn drop(&mut self) {
        if !self.has_ended {
            let mut state = self.queue.state();
            state.lanes -= 1;
            if state.lanes == 0 {
                state.waiting.clear();
            }
        }
    }
}

/// The rows by their places in the batch.
fn placed(rows: Vec<Row>, count: usize) -> Result<Vec<Option<Row>>> {
    let mut all: Vec<Option<Row>> = (0..count).map(|_| None).collect();
    for row in rows {
        let place: Option<i64> = row.try_get(row.len().saturating_sub(1)).ok();
        let index = place.and_then(|place| usize::try_from(place.checked_sub(1)?).ok());
        let free = index.and_then(|index| all.get_mut(index));
        let corrupt = || StoreError::Corrupt("a change has no place in its batch".to_owned());
        *free.ok_or_else(corrupt)? = Some(row);
    }
    Ok(all)
}
