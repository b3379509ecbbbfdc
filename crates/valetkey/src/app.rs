//! The composition root: builds the application from its settings, runs it, and stops it in order.

mod place;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::{Clock, Secret};
use valetkey_engine::{Engine, OpenVaultError, Parts, Settings, open_vault};
use valetkey_seal::{MasterKey, SealError};
use valetkey_spec::Catalogue;
use valetkey_store::Vault;

use crate::config::Config;
use crate::http::{AppState, Front, FrontMetrics};
use crate::journal::FileJournal;
use crate::system::{SystemClock, SystemRng};
use crate::wire::{HyperWire, WireSettings};
use crate::work::ClockMetrics;
use crate::workers::Workers;
pub(crate) use place::Place;

/// Why the program does not start, with the exit code that says so (sysexits: 75 try later, 78 configuration).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The data directory is in use, or the database cannot be used now.
    #[error("{0}")]
    NotNow(String),
    /// The master key is missing or another one, or a setting is wrong.
    #[error("{0}")]
    Configuration(String),
}

impl Refusal {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotNow(_) => 75,
            Self::Configuration(_) => 78,
        }
    }
}

/// The application, ready to serve.
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    /// The key made at the first start, to be shown once.
    pub(crate) first_key: Option<Secret<String>>,
    front: Arc<Front>,
    listener: TcpListener,
    place: Place,
    clock: Arc<SystemClock>,
    clock_metrics: ClockMetrics,
    connections: TaskTracker,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// The engine with what it stands on.
pub(crate) struct Core {
    pub(crate) engine: Arc<Engine>,
    pub(crate) place: Place,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) tasks: TaskTracker,
}

/// Opens the store and builds the engine.
pub(crate) async fn build_core(config: &Config) -> Result<Core> {
    build_core_on(Place::open(config).await?, config, SystemClock::new()).await
}

async fn build_core_on(place: Place, config: &Config, clock: SystemClock) -> Result<Core> {
    let store = place.store();
    let rng = Arc::new(SystemRng);
    let clock = Arc::new(clock);
    let asked_at = clock.monotonic();
    if let Some(time) = store.time().await? {
        clock.anchor(time, asked_at);
    }
    let master = master_key(config, &place, &*store, &rng).await?;
    let ring = open_vault(&*store, &master, &*clock, &*rng)
        .await
        .map_err(|error| match error {
            OpenVaultError::Seal(SealError::WrongMasterKey) => Refusal::Configuration(format!(
                "the master key does not open {place}: it is not the one that this was made with. \
                 Put the right one back ({}); nothing was changed",
                config.master_key_file.display()
            ))
            .into(),
            other => anyhow::Error::new(other),
        })?;
    let catalogue = Catalogue::load(config.connectors_dir.as_deref())?;
    let tasks = TaskTracker::new();
    let wire = HyperWire::new(&WireSettings {
        allowed_hosts: config.allowed_hosts.clone(),
        allow_networks: config.allow_networks.clone(),
        allow_insecure_http: config.allow_insecure_http.clone(),
        upstreams: config.upstreams.clone(),
        extra_ca_file: config.extra_ca_file.clone(),
        connect_timeout: Duration::from_secs(5),
    })
    .map_err(|e| Refusal::Configuration(e.to_string()))?;
    let rescue = config.data_dir.join("rescue");
    let journal = FileJournal::open(&rescue)
        .map_err(|e| Refusal::Configuration(format!("data_dir: cannot use {}: {e}", rescue.display())))?;
    let engine = Engine::new(Parts {
        settings: engine_settings(config),
        store,
        wire: Arc::new(wire),
        journal: Arc::new(journal),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        rng,
        ring,
        catalogue,
        tasks: tasks.clone(),
    });
    Ok(Core {
        engine,
        place,
        clock,
        tasks,
    })
}

fn engine_settings(config: &Config) -> Settings {
    Settings {
        public_base_url: config.public_base_url.clone(),
        allowed_return_origins: config.allowed_return_origins.clone(),
        flow_ttl: config.flow_ttl,
        max_pending_flows: config.max_pending_flows,
        authorize_limit: config.authorize_limit,
        callback_limit: config.callback_limit,
        refresh_margin: config.refresh_margin,
        token_timeout: config.token_timeout,
        // Three quarters of a lease are for one request.
        refresh_lease: (config.token_timeout * 4 / 3).max(config.token_timeout + Duration::from_secs(10)),
        refresh_patience: config.token_timeout + Duration::from_secs(5),
        token_concurrency: config.token_concurrency,
        background_refreshes: config.background_refreshes,
        background_refreshes_per_host: config.background_refreshes_per_host,
        unused_after: config.unused_after,
        response_timeout: config.response_timeout,
        max_response_content_length: config.max_response_content_length,
        calls: config.calls,
        // Another process may have changed what this one remembers of a shared store.
        cache_max_age: config.database.is_some().then_some(Duration::from_secs(1)),
        ..Settings::default()
    }
}

/// The master key: given, read from its file, or made for a new store. It is never made for one that exists.
async fn master_key(config: &Config, place: &Place, vault: &dyn Vault, rng: &SystemRng) -> Result<MasterKey> {
    let refuse = |what: &str, error: &dyn std::fmt::Display| Refusal::Configuration(format!("{what}: {error}"));
    if let Some(text) = &config.master_key {
        return Ok(MasterKey::parse(text.expose()).map_err(|e| refuse("master_key", &e))?);
    }
    let file = &config.master_key_file;
    let key = format!("master_key_file {}", file.display());
    if file.exists() {
        return Ok(MasterKey::read_file(file).map_err(|e| refuse(&key, &e))?);
    }
    if vault.vault().await?.is_some() {
        return Err(Refusal::Configuration(format!(
            "{key} does not exist, but {place} was made with one. Put the file back, or set master_key; nothing was changed"
        ))
        .into());
    }
    Ok(MasterKey::create_file(file, rng).map_err(|e| refuse(&key, &e))?)
}

/// Builds everything and binds the listener.
pub(crate) async fn build(config: &Config) -> Result<App> {
    let place = Place::open_patiently(config).await?;
    let Core {
        engine,
        place,
        clock,
        tasks,
    } = build_core_on(place, config, SystemClock::new()).await?;
    // Before anybody is served: what is in the journal is newer than what is in the store.
    engine
        .replay_journal()
        .await
        .map_err(|e| anyhow::anyhow!("the rescue journal: {}", e.cause.unwrap_or(e.message)))?;
    let first_key = engine
        .bootstrap_key(config.bootstrap_api_key.clone())
        .await
        .map_err(|e| Refusal::Configuration(e.message))?
        .filter(|_| config.bootstrap_api_key.is_none());
    let stopping = CancellationToken::new();
    let mut registry = Registry::default();
    engine.metrics().register(&mut registry);
    let metrics = FrontMetrics::default();
    metrics.register(&mut registry);
    let clock_metrics = ClockMetrics::default();
    clock_metrics.register(&mut registry);
    let public_base_url = config.public_base_url.as_ref().map(url::Url::as_str);
    let state = AppState::new(
        Arc::clone(&engine),
        registry,
        stopping.clone(),
        public_base_url,
        place.kind(),
    );
    let front = Front::new(
        Arc::clone(&engine),
        crate::http::router(state),
        metrics,
        config.trusted_proxies.clone(),
        &SystemRng,
    );
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|e| Refusal::Configuration(format!("listen: cannot use {}: {e}", config.listen)))?;
    Ok(App {
        engine,
        first_key,
        front: Arc::new(front),
        listener,
        place,
        clock,
        clock_metrics,
        connections: TaskTracker::new(),
        tasks,
        stopping,
    })
}

impl App {
    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Ends the application when cancelled.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Serves until the stop, then finishes what must not be cut off: requests, refreshes and their writes, the audit log.
    pub(crate) async fn run(self) -> Result<()> {
        crate::work::start(
            &self.engine,
            &self.clock,
            &self.clock_metrics,
            &self.tasks,
            &self.stopping,
        );
        let workers = Workers::start().context("the threads that serve cannot be started")?;
        crate::http::serve(
            self.listener,
            self.front,
            &workers,
            self.connections.clone(),
            self.stopping.clone(),
        )
        .await;
        self.engine.prepare_stop();
        self.connections.close();
        self.tasks.close();
        self.connections.wait().await;
        self.tasks.wait().await;
        drop(workers);
        self.engine.flush_audit().await.context("the last audit records")?;
        self.place.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
