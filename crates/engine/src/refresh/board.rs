//! The board: at most one flight per connection, and everybody who waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use valetkey_core::{ConnectionKey, ErrorCode};

use super::failure::{Failure, busy, unwritten};
use super::flight::Flight;
use super::gate::Rank;
use super::{Landing, Why};
use crate::Engine;
use crate::connector::Connector;
use crate::error::{self, Error};
use crate::grant::CachedConnection;

/// How many callers may wait for one flight. More would not get their answer sooner; they are told to come back.
const MAX_WAITING: usize = 1_000;

/// The flights under way: at most one per connection.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<BTreeMap<ConnectionKey, Boarding>>);

/// The landing to wait for, and the seat of one who does.
type Ticket = (watch::Receiver<Option<Landing>>, Option<Seat>);

#[derive(Debug)]
struct Boarding {
    landing: watch::Receiver<Option<Landing>>,
    seats: Arc<Seats>,
}

impl Flights {
    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionKey, Boarding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for a flight.
#[derive(Debug)]
pub(super) struct Seats(watch::Sender<usize>);

impl Default for Seats {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Seats {
    /// Whether nobody waits.
    pub(super) fn are_empty(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Returns as soon as somebody waits.
    pub(super) async fn wanted(&self) {
        let mut taken = self.0.subscribe();
        // The sender is `self`, so that it cannot be gone.
        let _ = taken.wait_for(|taken| *taken > 0).await;
    }
}

/// One who waits. The seat is free again when it is dropped.
#[derive(Debug)]
struct Seat(Arc<Seats>);

impl Seat {
    fn take(seats: &Arc<Seats>) -> Result<Self, Failure> {
        let mut is_free = false;
        seats.0.send_if_modified(|taken| {
            is_free = *taken < MAX_WAITING;
            *taken += usize::from(is_free);
            is_free
        });
        if is_free {
            Ok(Self(Arc::clone(seats)))
        } else {
            Err(busy("too many callers wait for this connection"))
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.send_modify(|taken| *taken -= 1);
    }
}

impl Engine {
    /// Renews a connection whose generation the caller has seen; waits for the flight that does it, but not for ever.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        generation: i64,
        why: Why,
    ) -> error::Result<Arc<CachedConnection>> {
        let (mut landing, _seat) = self.board(connector, key, generation, why, Rank::Caller)?;
        let landed = tokio::time::timeout(self.settings.refresh_patience, landed(&mut landing)).await;
        landed.unwrap_or_else(|_| {
            self.metrics.refresh("wait_over");
            Err(busy("the caller waited as long as it can").into())
        })
    }

    /// Renews a connection that still works; nobody waits.
    pub(crate) fn renew_in_background(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        generation: i64,
    ) {
        if let Err(failure) = self.board(connector, key, generation, Why::Expired, Rank::Background) {
            tracing::debug!(code = %failure.code, cause = failure.cause, "a refresh ahead of time was put off");
        }
    }

    /// Renews a connection ahead of time and waits for the flight, behind everybody who needs a token now.
    pub(crate) async fn renew_ahead(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        generation: i64,
    ) -> error::Result<Arc<CachedConnection>> {
        let (mut landing, _) = self.board(connector, key, generation, Why::Expired, Rank::Background)?;
        landed(&mut landing).await
    }

    /// Joins the flight of a connection, or starts it.
    fn board(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        generation: i64,
        why: Why,
        rank: Rank,
    ) -> Result<Ticket, Failure> {
        let seat = |boarding: &Boarding| match rank {
            Rank::Caller => Seat::take(&boarding.seats).map(Some),
            Rank::Background => Ok(None),
        };
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(key) {
            return Ok((flight.landing.clone(), seat(flight)?));
        }
        if self.unwritten.has(key) {
            return Err(unwritten());
        }
        self.check_setback(connector, key, why)?;
        let admission = self.admit(connector)?;
        let (land, landing) = watch::channel(None);
        let boarding = Boarding {
            landing,
            seats: Arc::default(),
        };
        let ticket = (boarding.landing.clone(), seat(&boarding)?);
        let seats = Arc::clone(&boarding.seats);
        flights.insert(key.clone(), boarding);
        let mut flight = Flight {
            connector: Arc::clone(connector),
            key: key.clone(),
            generation,
            why,
            seats,
            admission,
        };
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let ended = EndOfFlight {
                engine: Arc::clone(&engine),
                connector: Arc::clone(&flight.connector),
                key: flight.key.clone(),
            };
            let landing = engine.fly(&mut flight).await;
            drop(flight);
            drop(ended);
            land.send_replace(Some(landing));
        });
        Ok(ticket)
    }
}

/// How a flight ended.
async fn landed(landing: &mut watch::Receiver<Option<Landing>>) -> error::Result<Arc<CachedConnection>> {
    match landing.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(Ok(connection))) => Ok(Arc::clone(connection)),
        Ok(Some(Err(failure))) => Err(failure.clone().into()),
        Ok(None) | Err(_) => Err(Error::internal("a refresh ended without a word")),
    }
}

/// Takes a flight off the board, also when its task is dropped or panics: nobody waits for it twice.
struct EndOfFlight {
    engine: Arc<Engine>,
    connector: Arc<Connector>,
    key: ConnectionKey,
}

impl Drop for EndOfFlight {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = Failure::new(
                ErrorCode::Internal,
                "something went wrong here; the log has the cause",
                "a refresh panicked",
            );
            self.engine.set_back(&self.connector, &self.key, failure);
            self.engine.metrics.refresh("panicked");
        }
        self.engine.flights.lock().remove(&self.key);
    }
}
