//! What this process knows of the token hosts that it talks to.
//!
//! A host has a *gate*, which bounds the token requests under way to it. An OAuth client at a host, as one connector
//! configures it, has a *standing*: whether the host serves it, and whether its refusals are believed. The connector is
//! part of that because client ids are no secrets: a connector with somebody else's id, or with the right id and a wrong
//! secret, spoils nobody's standing but its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use url::Url;
use valetkey_core::{ConnectorId, ErrorCode, SpaceId};

use super::circuit::{Admit, Change, Circuit};
use super::doubt::Refusals;
use super::failure::{After, Failure};
use super::gate::Gate;
use crate::Engine;
use crate::connector::Connector;
use crate::wire::WireError;

/// How many hosts, and how many clients, are remembered.
const REMEMBERED: usize = 10_000;

/// The token hosts.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// Requests under way to one host at most.
    places: usize,
    gates: Cache<String, Arc<Gate>>,
    clients: Cache<ClientKey, Arc<Standing>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientKey {
    host: String,
    space: SpaceId,
    connector: ConnectorId,
    client: String,
}

/// How an OAuth client stands with its token host.
#[derive(Debug, Default)]
pub(super) struct Standing {
    circuit: Mutex<Circuit>,
    refusals: Mutex<Refusals>,
    /// The last failure: what callers are told while the circuit is open.
    last: Mutex<Option<Failure>>,
}

impl Standing {
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Option<Failure>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make the requests of one flight.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) standing: Arc<Standing>,
    host: String,
    /// Whether others wait for what comes of it.
    probe: bool,
    /// How often the circuit had opened when it was admitted.
    openings: u64,
}

impl Admission {
    /// Others need not wait for what comes of this flight.
    pub(super) fn stand_back(&mut self) {
        if std::mem::take(&mut self.probe) {
            self.standing.circuit().abandon();
        }
    }

    /// Whether the host is left alone meanwhile.
    pub(super) fn is_closed_to_others(&self) -> bool {
        self.standing.circuit().is_open()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.stand_back();
    }
}

impl Hosts {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: places.max(1),
            gates: Cache::new(REMEMBERED),
            clients: Cache::new(REMEMBERED),
        }
    }

    /// The gate of the host that the flight goes to.
    pub(super) fn gate(&self, admission: &Admission) -> Arc<Gate> {
        remembered(&self.gates, &admission.host, || Gate::new(self.places))
    }
}

/// What is cached under a key; made if there is nothing.
fn remembered<K: Clone + Eq + std::hash::Hash, V>(
    cache: &Cache<K, Arc<V>>,
    key: &K,
    make: impl FnOnce() -> Arc<V>,
) -> Arc<V> {
    let made: Result<_, std::convert::Infallible> = cache.get_or_insert_with(key, || Ok(make()));
    match made {
        Ok(value) => value,
    }
}

impl Engine {
    /// Asks whether the connector's token host may be asked now.
    pub(super) fn admit(&self, connector: &Connector) -> Result<Admission, Failure> {
        let setup = connector.oauth()?;
        let host = setup.token_url.as_deref().and_then(|url| Url::parse(url).ok());
        let host = host.map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        let key = ClientKey {
            host: host.clone(),
            space: connector.row.space.clone(),
            connector: connector.row.id.clone(),
            client: setup.client_id.clone(),
        };
        let standing = remembered(&self.hosts.clients, &key, Arc::default);
        let openings = standing.circuit().openings();
        let mut admission = Admission {
            openings,
            standing,
            host,
            probe: false,
        };
        self.ask_circuit(&mut admission)?;
        Ok(admission)
    }

    /// Asks again, for a flight that waited for its turn while its host was found to be in trouble.
    pub(super) fn admit_again(&self, admission: &mut Admission) -> Result<(), Failure> {
        let openings = admission.standing.circuit().openings();
        if admission.probe || openings == admission.openings {
            return Ok(());
        }
        admission.openings = openings;
        self.ask_circuit(admission)
    }

    fn ask_circuit(&self, admission: &mut Admission) -> Result<(), Failure> {
        let (now, jitter) = (self.clock.monotonic(), self.jitter());
        let admitted = admission.standing.circuit().admit(now, jitter);
        match admitted {
            Admit::Pass => Ok(()),
            Admit::Probe => {
                self.metrics.circuit("probe");
                admission.probe = true;
                Ok(())
            }
            Admit::Wait(wait) => {
                self.metrics.refresh("circuit_open");
                let failure = admission.standing.last().clone().unwrap_or_else(unserved);
                Err(failure.retry_after(wait).then(After::Nothing))
            }
        }
    }

    /// The provider answered: it is there.
    pub(super) fn note_answer(&self, admission: &mut Admission) {
        let probe = std::mem::take(&mut admission.probe);
        let change = admission.standing.circuit().good(self.clock.monotonic(), probe);
        if change == Some(Change::Recovering) {
            self.metrics.circuit("recovering");
            tracing::info!(
                host = admission.host,
                "a token host answers again; requests follow at a growing rate"
            );
        }
    }

    /// The provider could not be asked, or cannot serve; `hold` is how long it wants to be left alone.
    pub(super) fn note_trouble(&self, admission: &mut Admission, failure: &Failure, hold: Option<Duration>) {
        let probe = std::mem::take(&mut admission.probe);
        *admission.standing.last() = Some(failure.clone());
        let (now, jitter) = (self.clock.monotonic(), self.jitter());
        let change = admission.standing.circuit().bad(now, probe, hold, jitter);
        if change == Some(Change::Opened) {
            self.metrics.circuit("opened");
            tracing::error!(
                host = admission.host, code = %failure.code, cause = %failure.cause,
                "a token host is left alone; tokens that still work are served"
            );
        }
    }
}

/// Whether a request failed for the host's sake, and not because it may not be made.
pub(super) fn is_trouble(error: WireError) -> bool {
    match error {
        WireError::Resolve | WireError::Connect | WireError::Tls | WireError::Broken | WireError::Timeout => true,
        WireError::HostNotAllowed
        | WireError::Insecure
        | WireError::AddressDenied
        | WireError::Malformed
        | WireError::TooLarge => false,
    }
}

fn unserved() -> Failure {
    Failure::new(
        ErrorCode::ProviderUnavailable,
        "the provider's token endpoint does not serve now; the grant is kept and tried again",
        "the circuit is open",
    )
}
