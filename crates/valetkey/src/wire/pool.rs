//! Connections that wait for their next request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::target::Target;
use crate::workers;

/// How many connections wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Idle connections to one target.
    pub(super) per_target: usize,
    /// Idle connections altogether. Each holds two file descriptors.
    pub(super) total: usize,
    /// A connection that waited this long is not used again: the closer to the peer's own limit, the likelier a request
    /// meets a close that is on its way.
    pub(super) idle: Duration,
}

/// Idle connections by target. The last one put is the first one taken, so that spares grow old and go.
///
/// Each worker has a shard of its own and looks there first: a connection that was opened by another worker also wakes
/// that one. Sockets past their time are closed when something is put, at most once in `idle`; without traffic a few stay open,
/// but none is ever used.
pub(super) struct Pool {
    /// Of one shard.
    limits: Limits,
    shards: Box<[Mutex<State>]>,
}

#[derive(Default)]
struct State {
    idle: HashMap<Target, Vec<Idle>>,
    total: usize,
    next_sweep: Option<Instant>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// A pool that shares its room among so many workers.
    pub(super) fn new(limits: Limits, workers: usize) -> Self {
        let workers = workers.max(1);
        Self {
            limits: Limits {
                per_target: limits.per_target.div_ceil(workers),
                total: limits.total.div_ceil(workers),
                idle: limits.idle,
            },
            shards: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// Takes a connection that is alive.
    pub(super) fn take(&self, target: &Target) -> Option<Connection> {
        while let Some(mut idle) = self.pop(target) {
            if idle.since.elapsed() < self.limits.idle && idle.connection.is_alive() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over; drops it if it cannot be used again or there are enough.
    pub(super) fn put(&self, target: Target, mut connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        let since = Instant::now();
        let mut state = lock(self.own());
        state.sweep(since, self.limits.idle);
        let full = state.total >= self.limits.total;
        let waiting = state.idle.entry(target).or_default();
        if !full && waiting.len() < self.limits.per_target {
            waiting.push(Idle { connection, since });
            state.total += 1;
        }
    }

    fn pop(&self, target: &Target) -> Option<Idle> {
        let own = self.own();
        let others = self.shards.iter().filter(|shard| !std::ptr::eq(*shard, own));
        std::iter::once(own)
            .chain(others)
            .find_map(|shard| lock(shard).pop(target))
    }

    fn own(&self) -> &Mutex<State> {
        &self.shards[workers::place() % self.shards.len()]
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).total).sum()
    }
}

fn lock(shard: &Mutex<State>) -> MutexGuard<'_, State> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn pop(&mut self, target: &Target) -> Option<Idle> {
        let idle = self.idle.get_mut(target)?.pop()?;
        self.total -= 1;
        Some(idle)
    }

    fn sweep(&mut self, now: Instant, idle: Duration) {
        if self.next_sweep.is_some_and(|at| now < at) {
            return;
        }
        self.next_sweep = Some(now + idle);
        self.idle.retain(|_, waiting| {
            waiting.retain(|entry| now - entry.since < idle);
            !waiting.is_empty()
        });
        self.total = self.idle.values().map(Vec::len).sum();
    }
}
