//! How many calls to services run at the same time: of one connection, of one space, to one host.
//!
//! A call takes its places in this order, so that what waits in a crowded space holds no place at a host that others need.
//! Places are given in the order in which they were asked for; a call that waits too long is refused, and nothing of it was
//! sent.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use url::Url;
use valetkey_core::{ConnectionKey, ErrorCode, SpaceId};

use crate::Engine;
use crate::error::{Error, Result};
use crate::settings::CallLimits;

/// Everybody who calls.
#[derive(Debug)]
pub(crate) struct Crowds {
    connections: Crowd<ConnectionKey>,
    spaces: Crowd<SpaceId>,
    hosts: Crowd<String>,
}

impl Crowds {
    pub(crate) fn new(limits: &CallLimits) -> Self {
        Self {
            connections: Crowd::new(limits.per_connection),
            spaces: Crowd::new(limits.per_space),
            hosts: Crowd::new(limits.per_host),
        }
    }
}

/// Permission for one call; ends when it is dropped.
pub(crate) struct Place<'a> {
    _connection: Seat<'a, ConnectionKey>,
    _space: Seat<'a, SpaceId>,
    _host: Seat<'a, String>,
}

impl Engine {
    /// Waits for its turn to call `url` with a connection's credential.
    pub(crate) async fn place(&self, key: &ConnectionKey, url: &Url) -> Result<Place<'_>> {
        let patience = self.settings.calls.patience;
        let until = Instant::now() + patience;
        let crowds = &self.crowds;
        let host = url.origin().ascii_serialization();
        let full = |what: &str| {
            let message = format!("too many calls {what} run at the same time; nothing was sent, try again later");
            Error::new(ErrorCode::TooManyCalls, message).retry_after(patience.max(Duration::from_secs(1)))
        };
        Ok(Place {
            _connection: crowds
                .connections
                .enter(key, until)
                .await
                .ok_or_else(|| full("of this connection"))?,
            _space: crowds
                .spaces
                .enter(&key.space, until)
                .await
                .ok_or_else(|| full("of this space"))?,
            _host: crowds
                .hosts
                .enter(&host, until)
                .await
                .ok_or_else(|| full("to this service"))?,
        })
    }
}

/// Those who share something. Only what is in use is kept.
#[derive(Debug)]
struct Crowd<K: Eq + Hash> {
    limit: usize,
    seats: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash + Clone> Crowd<K> {
    fn new(limit: u32) -> Self {
        Self {
            limit: limit as usize,
            seats: Mutex::default(),
        }
    }

    /// Takes a seat, at once or when its turn comes; `None` if that is not before `until`.
    async fn enter(&self, key: &K, until: Instant) -> Option<Seat<'_, K>> {
        let seats = Arc::clone(
            self.lock()
                .entry(key.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(self.limit))),
        );
        // From here on the entry goes with the last who leaves, also if this one gives up.
        let mut seat = Seat {
            crowd: self,
            key: key.clone(),
            permit: None,
        };
        seat.permit = match Arc::clone(&seats).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => timeout_at(until, seats.acquire_owned()).await.ok()?.ok(),
        };
        seat.permit.is_some().then_some(seat)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Seat<'a, K: Eq + Hash + Clone> {
    crowd: &'a Crowd<K>,
    key: K,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash + Clone> Drop for Seat<'_, K> {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut seats = self.crowd.lock();
        // Whoever sits or waits holds a reference, and references are made under this lock only.
        if seats.get(&self.key).is_some_and(|seats| Arc::strong_count(seats) == 1) {
            seats.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn e32_what_is_too_much_waits_for_its_turn_and_not_for_ever() {
        let crowd = Crowd::new(2);
        let first = crowd.enter(&"a", soon()).await.expect("a seat");
        let _second = crowd.enter(&"a", soon()).await.expect("a seat");
        assert!(crowd.enter(&"b", soon()).await.is_some(), "another crowd");
        let started = Instant::now();
        assert!(crowd.enter(&"a", soon()).await.is_none());
        assert_eq!(started.elapsed(), Duration::from_secs(5));

        let (third, ()) = tokio::join!(crowd.enter(&"a", soon()), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        });
        assert!(third.is_some());
        assert_eq!(started.elapsed(), Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn e32_crowds_that_are_over_leave_nothing_behind() {
        let crowd = Crowd::new(1);
        let sits = crowd.enter(&1, soon()).await.expect("a seat");
        assert!(crowd.enter(&1, soon()).await.is_none(), "gave up");
        assert!(
            tokio::time::timeout(Duration::from_secs(1), crowd.enter(&1, soon()))
                .await
                .is_err(),
            "went away"
        );
        assert_eq!(crowd.lock().len(), 1);
        drop(sits);
        for key in 0..100 {
            assert!(crowd.enter(&key, soon()).await.is_some());
        }
        assert!(crowd.lock().is_empty());
    }
}
