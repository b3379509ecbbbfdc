//! The lease: taken before a refresh token is spent, kept while the provider is asked, and waited for where another
//! process has it. It keeps two processes from spending one token; what makes a late write harmless is the generation.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_store::rows::{Claim, Committed, ConnectionRow, Intent, Released};

use super::Landing;
use super::failure::{Failure, busy, gone};
use super::flight::Flight;
use super::recovery::Past;
use crate::Engine;
use crate::caller::Audit;
use crate::error::Error;
use crate::outage::millis;

/// The first and the longest pause between two looks at what another process has done.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// How often the end of an intent is written again when the store does not take it, and the pause before.
const RELEASES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(400)];

/// A lease that this process took.
#[derive(Debug)]
pub(super) struct Held {
    /// The row as it was claimed, intent included.
    pub(super) row: ConnectionRow,
    /// What the intent that was there before says.
    pub(super) past: Past,
    /// Until when it lasts, in milliseconds of the monotonic clock and of the other one. A machine that sleeps may stop
    /// the first, and whoever sets the second may move it: whichever comes first counts.
    until: (AtomicU64, AtomicI64),
}

impl Held {
    /// How many intents in a row were taken over before this one.
    pub(super) fn attempt(&self) -> i64 {
        self.row.intent.as_ref().map_or(0, |intent| intent.attempt)
    }
}

/// What came of asking for the lease.
pub(super) enum Claimed {
    Held(Box<Held>),
    /// There is nothing to do; this is how it ended.
    Settled(Landing),
    /// Another process has it until then.
    Busy(Timestamp),
}

impl Engine {
    /// Takes the lease and writes the intent, in one durable write: without it no token is spent. `unused` is a lease of
    /// this flight that ran out before anything was sent under it: its intent says nothing that was not known before. Or
    /// something was sent and lost, and somebody else has the lease now: then that is what is known.
    pub(super) async fn claim(
        &self,
        key: &ConnectionKey,
        generation: i64,
        unused: Option<Box<Held>>,
    ) -> Result<Claimed, Failure> {
        let (now, started) = (self.clock.now(), self.clock.monotonic());
        let lease = self.settings.refresh_lease;
        let claim = self
            .store
            .claim_refresh(key, generation, &self.holder, now, lease)
            .await;
        let (row, previous) = match claim {
            Ok(Claim::Held { row, previous }) => (*row, previous),
            Ok(Claim::Moved(row)) => return Ok(Claimed::Settled(Ok(self.remember(*row)))),
            Ok(Claim::Gone) => return Err(gone()),
            Ok(Claim::Busy(until)) => return Ok(Claimed::Busy(until)),
            Err(error) => self.recognise_claim(key, generation, now, error.into()).await?,
        };
        // From now on the old access token may die: callers that look must see that.
        self.remember(row.clone());
        let past = match unused {
            Some(unused) if unused.row.intent == previous || unused.past.lost > 0 => unused.past,
            _ => Past::of(previous.as_ref()),
        };
        Ok(Claimed::Held(Box::new(Held {
            row,
            past,
            until: (
                AtomicU64::new(millis(started + lease)),
                AtomicI64::new(now.plus(lease).0),
            ),
        })))
    }

    /// A store that failed may have written the intent all the same; one that is ours is as good as acknowledged.
    async fn recognise_claim(
        &self,
        key: &ConnectionKey,
        generation: i64,
        at: Timestamp,
        error: Error,
    ) -> Result<(ConnectionRow, Option<Intent>), Failure> {
        let Ok(Some(row)) = self.store.get_connection(key).await else {
            return Err(error.into());
        };
        let is_ours = |intent: &&Intent| intent.holder == self.holder && intent.at == at;
        match row.intent.as_ref().filter(is_ours) {
            Some(ours) if row.generation == generation => {
                // The one before is overwritten; its number says that there was one.
                let before = (ours.attempt > 0).then(|| ours.clone());
                Ok((row, before))
            }
            _ => Err(error.into()),
        }
    }

    /// Makes the lease last while the provider is asked. Never returns; a lease that is lost on the way changes nothing,
    /// because the write is fenced by the generation.
    pub(super) async fn keep_lease(&self, held: &Held) -> std::convert::Infallible {
        let lease = self.settings.refresh_lease;
        loop {
            tokio::time::sleep(lease / 3).await;
            let (now, started) = (self.clock.now(), self.clock.monotonic());
            let extended = self
                .store
                .extend_lease(&held.row.key, held.row.generation, &self.holder, now, lease)
                .await;
            match extended {
                Ok(true) => {
                    held.until.0.store(millis(started + lease), Ordering::Relaxed);
                    held.until.1.store(now.plus(lease).0, Ordering::Relaxed);
                }
                Ok(false) => {
                    held.until.0.store(0, Ordering::Relaxed);
                    self.metrics.refresh("lease_lost");
                    tracing::warn!(connector.id = %held.row.key.connector, "the lease of a refresh under way was lost");
                    std::future::pending::<()>().await;
                }
                Err(error) => {
                    tracing::warn!(connector.id = %held.row.key.connector, %error, "a lease cannot be made longer now");
                }
            }
        }
    }

    /// Whether the lease is still ours, asked of the store: before a token is sent again, somebody else may have written a
    /// pair that came late, which needs no lease. `None` if the store does not answer.
    pub(super) async fn is_ours(&self, held: &Held) -> Option<bool> {
        let (now, started) = (self.clock.now(), self.clock.monotonic());
        let lease = self.settings.refresh_lease;
        let extended = self
            .store
            .extend_lease(&held.row.key, held.row.generation, &self.holder, now, lease)
            .await;
        if let Ok(true) = extended {
            held.until.0.store(millis(started + lease), Ordering::Relaxed);
            held.until.1.store(now.plus(lease).0, Ordering::Relaxed);
        }
        extended.ok()
    }

    /// Whether the lease may have run out, because this process stood still or the store did not answer.
    pub(super) fn has_run_out(&self, held: &Held) -> bool {
        millis(self.clock.monotonic()) >= held.until.0.load(Ordering::Relaxed)
            || self.clock.now().0 >= held.until.1.load(Ordering::Relaxed)
    }

    /// Leaves the intent in place, because the outcome is not known, but ends the lease after `pause`: whoever comes then
    /// takes the intent over and knows what it means.
    pub(super) async fn leave_intent(&self, held: &Held, pause: Duration) {
        let left = self
            .store
            .extend_lease(
                &held.row.key,
                held.row.generation,
                &self.holder,
                self.clock.now(),
                pause,
            )
            .await;
        if let Err(error) = left {
            tracing::warn!(connector.id = %held.row.key.connector, %error, "a lease runs to its end");
        }
    }

    /// Ends the intent without a new pair. An acknowledgement that was lost makes this a [`Committed::Lost`] with the row
    /// as it was wanted.
    pub(super) async fn release(
        &self,
        row: &ConnectionRow,
        released: Released,
        audit: Option<Audit>,
    ) -> Result<Committed, Failure> {
        let audit = audit.map(Audit::row);
        let mut last = None;
        for pause in RELEASES {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let ended = self
                .store
                .release_refresh(&row.key, row.generation, &self.holder, released.clone(), audit.clone())
                .await;
            match ended {
                Ok(committed) => return Ok(committed),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(gone, |error| Error::from(error).into()))
    }

    /// Ends an intent whose token was not sent, or was answered without a change: the connection is as it was.
    pub(super) async fn give_back(&self, held: &Held, audit: Option<Audit>) {
        let released = Released {
            state: None,
            due_at: self.due_after_release(None),
        };
        match self.release(&held.row, released, audit).await {
            Ok(Committed::Done(row) | Committed::Lost(Some(row))) => drop(self.remember(*row)),
            Ok(Committed::Lost(None)) => drop(self.connections.remove(&held.row.key)),
            Err(failure) => tracing::warn!(
                connector.id = %held.row.key.connector, cause = failure.cause,
                "an intent could not be ended; it counts as an unknown outcome when its lease is over"
            ),
        }
    }

    /// Waits while another process has the lease, as long as somebody waits here. How it ended there; `None` when the
    /// lease can be asked for again.
    pub(super) async fn await_other(&self, flight: &Flight, until: Timestamp) -> Option<Landing> {
        let left = until.since(self.clock.now()).min(self.settings.refresh_lease);
        let end = self.clock.monotonic() + left;
        let mut pause = LOOKS.0;
        loop {
            if flight.seats.are_empty() {
                return Some(Err(busy("another process renews the connection")));
            }
            let left = end.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return None;
            }
            tokio::time::sleep(pause.mul_f64(0.5 + self.jitter() / 2.0).min(left)).await;
            pause = (pause * 2).min(LOOKS.1);
            let began = self.clock.monotonic();
            match self.store.get_connection(&flight.key).await {
                Ok(None) => return Some(Err(gone())),
                Ok(Some(row)) if row.generation != flight.generation || row.state.word() != "active" => {
                    self.metrics.refresh("adopted");
                    return Some(Ok(self.remember_read(row, began)));
                }
                // It ended there without a pair.
                Ok(Some(row)) if row.intent.is_none() => return None,
                Ok(Some(_)) => {}
                Err(error) => return Some(Err(Error::from(error).into())),
            }
        }
    }
}
