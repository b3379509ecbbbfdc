//! One flight: from the decision that a connection must be renewed to the landing that every waiter is told.

use std::sync::Arc;

use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_oauth::Recovery;
use valetkey_store::rows::ConnectionRow;

use super::board::Seats;
use super::failure::{Failure, busy, waits_for_expiry};
use super::gate::{Pass, Rank};
use super::host::Admission;
use super::lease::{Claimed, Held};
use super::recovery::Rules;
use super::spend::Spent;
use super::{Landing, Why};
use crate::Engine;
use crate::connector::Connector;
use crate::error::Error;
use crate::grant::is_client_credentials;

/// How often one flight asks for a lease that others take before it.
const MAX_CLAIMS: usize = 8;

/// A flight under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) connector: Arc<Connector>,
    pub(super) key: ConnectionKey,
    /// The generation that was seen when it started.
    pub(super) generation: i64,
    pub(super) why: Why,
    pub(super) seats: Arc<Seats>,
    pub(super) admission: Admission,
}

impl Engine {
    /// Flies, and takes the pause that follows a failure.
    pub(super) async fn fly(self: &Arc<Self>, flight: &mut Flight) -> Landing {
        let landing = if flight.why == Why::Mint || is_client_credentials(&flight.connector) {
            self.mint(flight).await
        } else {
            self.refresh(flight).await
        };
        match landing {
            Ok(connection) => {
                self.setbacks.remove(&flight.key);
                Ok(connection)
            }
            Err(failure) => Err(self.set_back(&flight.connector, &flight.key, failure)),
        }
    }

    /// Renews a grant with its refresh token.
    async fn refresh(self: &Arc<Self>, flight: &mut Flight) -> Landing {
        let mut unused: Option<Box<Held>> = None;
        for _ in 0..MAX_CLAIMS {
            if unused.is_none() {
                self.check_wait(flight).await?;
            }
            let pass = self.pass(flight).await;
            self.admit_again(&mut flight.admission)?;
            match self.claim(&flight.key, flight.generation, unused.take()).await? {
                Claimed::Settled(landing) => return landing,
                Claimed::Held(held) => match self.spend(flight, held, pass).await {
                    Spent::Landed(landing) => return landing,
                    Spent::Not(held) => unused = Some(held),
                },
                Claimed::Busy(until) => {
                    drop(pass);
                    flight.admission.stand_back();
                    if let Some(landing) = self.await_other(flight, until).await {
                        return landing;
                    }
                }
            }
        }
        Err(busy("others take the lease again and again"))
    }

    /// Waits for the turn of this flight at its token host. It moves forward when somebody begins to wait for it.
    pub(super) async fn pass(&self, flight: &Flight) -> Pass {
        let gate = self.hosts.gate(&flight.admission);
        tokio::select! {
            biased;
            () = flight.seats.wanted() => gate.enter(Rank::Caller).await,
            pass = gate.enter(Rank::Background) => pass,
        }
    }

    /// Where a second use of a refresh token ends the access token as well, an intent that is there already is looked at
    /// before it is taken over: while the access token works, nothing is sent.
    async fn check_wait(&self, flight: &Flight) -> Result<(), Failure> {
        if flight.why == Why::Rejected || recovery(&flight.connector) != Recovery::RetryOnceAfterExpiry {
            return Ok(());
        }
        let began = self.clock.monotonic();
        let row = self.store.get_connection(&flight.key).await.map_err(Error::from)?;
        let Some(row) = row.filter(|row| row.generation == flight.generation && row.intent.is_some()) else {
            return Ok(());
        };
        if !self.rules(flight, &row).must_wait() {
            return Ok(());
        }
        let end = row.grant.as_ref().and_then(|grant| grant.expires_at);
        self.remember_read(row, began);
        tracing::info!(connector.id = %flight.key.connector, "a refresh of unknown outcome is not repeated yet");
        Err(waits_for_expiry(self.longest_wait(end)))
    }

    /// Until when a refresh of unknown outcome is not repeated, because a second use of its token would end the access token
    /// as well.
    pub(crate) fn waits_until(&self, connector: &Connector, row: &ConnectionRow) -> Option<Timestamp> {
        let setup = connector.oauth.as_ref()?;
        let waits = recovery(connector) == Recovery::RetryOnceAfterExpiry && !setup.profile.old_access_token_dies;
        let end = row.grant.as_ref()?.expires_at?;
        (waits && row.intent.is_some() && end > self.clock.now()).then_some(end)
    }

    /// What may be done with the refresh token of a row.
    pub(super) fn rules(&self, flight: &Flight, row: &ConnectionRow) -> Rules {
        let dies = flight
            .connector
            .oauth
            .as_ref()
            .is_some_and(|setup| setup.profile.old_access_token_dies);
        let end = row.grant.as_ref().and_then(|grant| grant.expires_at);
        let is_over = end.is_some_and(|end| end <= self.clock.now());
        Rules {
            recovery: recovery(&flight.connector),
            access_alive: !dies && !is_over && flight.why != Why::Rejected,
        }
    }
}

fn recovery(connector: &Connector) -> Recovery {
    let setup = connector.oauth.as_ref();
    setup.map_or(Recovery::RetryOnce, |setup| setup.profile.rotation.recovery())
}
