//! The product: connectors, flows, connections, refresh, use, revocation, actions, audit.
//!
//! The engine knows traits only: a [`Store`], a [`Wire`], a [`Journal`], a clock and a random
//! source come in from outside, so that tests own them. It has no sockets and no clock of its own, and every task it
//! starts is tracked, so that a stop can wait for what must not be cut off.
//!
//! Where to look: [`flow`] starts the authorization code grant and `callback` ends it; `grant` decides whether a
//! stored token is used; `refresh` renews it; `revoke` ends it; `action` spends it; `background` does what is `due`.

mod action;
mod audit;
mod background;
mod callback;
mod caller;
mod connector;
mod crowd;
mod discovery;
mod due;
mod error;
pub mod flow;
mod grant;
mod health;
pub mod journal;
mod key;
mod list;
mod metrics;
mod outage;
mod refresh;
mod reseal;
mod restored;
mod revoke;
mod rotation;
mod sealing;
mod session;
mod settings;
mod status;
mod sweep;
mod vault;
pub mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use quick_cache::sync::Cache;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::{Clock, ConnectionKey, ConnectorId, Rng, SpaceId, Timestamp};
use valetkey_spec::Catalogue;
use valetkey_store::Store;
use valetkey_store::rows::Digest;

pub use action::{Execute, ExecuteResult, TestResult};
pub use background::Round;
pub use callback::{CallbackPage, CallbackRequest, CancelRequest};
pub use caller::Caller;
pub use connector::{ChangeConnector, ConnectorPage, ConnectorView, FoundConnectors, NewConnector, Offer, OfferPage};
pub use error::{Authorization, Error, Reason, Result};
pub use grant::{AccessToken, AccessTokenRequest, Account};
pub use health::{Health, HealthSeries};
pub use key::{FoundKeys, KeyQuery, KeyView, NewKey};
pub use list::{ConnectionPage, ConnectionQuery, ConnectionView, ListedState};
pub use metrics::Metrics;
pub use reseal::{Pass, ResealState, Resealing, Tally};
pub use restored::{HighWater, Restored};
pub use rotation::Exchange;
pub use sealing::{DataKeyView, MasterKeyView, REREAD_KEYS_EVERY, SealingView};
pub use session::{Arrival, Departure, NewSession, SessionView, Visitor};
pub use settings::{CallLimits, OidcSettings, RateLimit, Settings};
pub use status::{AuditPage, AuditQuery, AuditView, AuthStatus, EndNotice, EndReason, UserAuthStatus};
pub use vault::{OpenVault, OpenVaultError, open_vault};

use journal::Journal;
use wire::Wire;

/// Everything that the engine is made of. The binary's `app` builds it once.
#[derive(Debug)]
pub struct Parts {
    /// What an operator set.
    pub settings: Settings,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The network.
    pub wire: Arc<dyn Wire>,
    /// Where token pairs wait that the store does not take.
    pub journal: Arc<dyn Journal>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// What opens sealed records.
    pub vault: OpenVault,
    /// The connector types.
    pub catalogue: Catalogue,
    /// Who owns the tasks that the engine starts.
    pub tasks: TaskTracker,
}

/// The engine. Cheap to share: it lives behind one [`Arc`].
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    store: Arc<dyn Store>,
    wire: Arc<dyn Wire>,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    sealing: sealing::Sealing,
    catalogue: Catalogue,
    tasks: TaskTracker,
    metrics: Metrics,
    /// Names this process in leases.
    holder: String,
    key_hashing: hmac::Key,
    session_hashing: hmac::Key,
    providers: session::Providers,
    keys: Cache<Digest, Arc<key::KnownKey>>,
    key_failures: Cache<String, (u64, u32)>,
    strangers: callback::Strangers,
    crowds: crowd::Crowds,
    connectors: Cache<(SpaceId, ConnectorId), Arc<connector::Connector>>,
    connections: Cache<ConnectionKey, Arc<grant::CachedConnection>>,
    flights: refresh::Flights,
    setbacks: Cache<ConnectionKey, refresh::Setback>,
    hosts: refresh::Hosts,
    unwritten: refresh::Unwritten,
    rejections: Cache<ConnectionKey, grant::Rejection>,
    canaries: restored::Canaries,
    outage: outage::Outage,
    stopping: CancellationToken,
    uses: Mutex<audit::Uses>,
    uses_crowd: Notify,
    tallies: health::Tallies,
    /// When the use of a connection was last noted in its row.
    noted_uses: Cache<ConnectionKey, Duration>,
    slots: Arc<background::Slots>,
    /// How often in a row background work on a connection failed.
    stumbles: Cache<ConnectionKey, u32>,
    revocations: Semaphore,
}

impl Engine {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Arc<Self> {
        let holder = parts.rng.uuid();
        let key_hashing = hmac::Key::new(hmac::HMAC_SHA256, &*parts.vault.ring.derive("api key hash"));
        let session_hashing = hmac::Key::new(hmac::HMAC_SHA256, &*parts.vault.ring.derive("session hash"));
        let cached = parts.settings.cached_connections;
        let crowds = crowd::Crowds::new(&parts.settings.calls);
        let slots = background::Slots::new(
            parts.settings.background_refreshes,
            parts.settings.background_refreshes_per_host,
        );
        let hosts = refresh::Hosts::new(parts.settings.token_concurrency);
        Arc::new(Self {
            settings: parts.settings,
            store: parts.store,
            wire: parts.wire,
            journal: parts.journal,
            clock: parts.clock,
            rng: parts.rng,
            sealing: sealing::Sealing::new(parts.vault),
            catalogue: parts.catalogue,
            tasks: parts.tasks,
            metrics: Metrics::default(),
            holder,
            key_hashing,
            session_hashing,
            providers: session::Providers::default(),
            keys: Cache::new(1_000),
            key_failures: Cache::new(10_000),
            strangers: callback::Strangers::default(),
            crowds,
            connectors: Cache::new(1_000),
            connections: Cache::new(cached),
            flights: refresh::Flights::default(),
            setbacks: Cache::new(10_000),
            hosts,
            unwritten: refresh::Unwritten::default(),
            rejections: Cache::new(10_000),
            canaries: restored::Canaries::default(),
            outage: outage::Outage::default(),
            stopping: CancellationToken::new(),
            uses: Mutex::default(),
            uses_crowd: Notify::new(),
            tallies: health::Tallies::default(),
            noted_uses: Cache::new(cached),
            slots,
            stumbles: Cache::new(10_000),
            revocations: Semaphore::new(revoke::CONCURRENCY),
        })
    }

    /// The engine's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The connector types.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Whether the store answers and can be written.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.store.probe().await?)
    }

    /// What the store's own clock says; `None` if it has none but the process's.
    pub async fn store_time(&self) -> Result<Option<Timestamp>> {
        Ok(self.store.time().await?)
    }

    /// Says that a stop is near: a token pair that is safe in the rescue journal is left there for the next start.
    pub fn prepare_stop(&self) {
        self.stopping.cancel();
    }

    /// Whether something read at `read_at` (monotonic) may still be used without asking the store.
    fn is_recent(&self, read_at: Duration) -> bool {
        self.settings
            .cache_max_age
            .is_none_or(|max| self.clock.monotonic().saturating_sub(read_at) <= max)
    }
}
