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
use valetkey_engine::{Engine, OpenVaultError, Parts, Restored, Settings, open_vault};
use valetkey_spec::Catalogue;

use crate::config::Config;
use crate::http::{AppState, Front, FrontMetrics, Pages};
use crate::journal::FileJournal;
use crate::master::{NewMaster, master_key};
use crate::system::{SystemClock, SystemRng};
use crate::water::{self, Water};
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
    /// The link that signs the operator in once, made with it.
    pub(crate) first_link: Option<Secret<String>>,
    front: Arc<Front>,
    listener: TcpListener,
    place: Place,
    clock: Arc<SystemClock>,
    clock_metrics: ClockMetrics,
    water: Water,
    reseal_rate: u32,
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
    /// What was last seen of the store.
    pub(crate) water: Water,
    /// That it was put back from a backup since, if it was.
    pub(crate) restored: Option<Restored>,
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
    let master = Arc::new(master_key(config, &place, &*rng).await?);
    let vault = open_vault(&*store, master, &*clock, &*rng)
        .await
        .map_err(|error| match error {
            OpenVaultError::WrongMasterKey { given, wanted } => Refusal::Configuration(format!(
                "the master key {given} does not open {place}: its data keys are wrapped for {}. \
                 Put that one back ({}); nothing was changed",
                wanted.join(" and "),
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
        token_connections: config.token_concurrency,
    })
    .map_err(|e| Refusal::Configuration(e.to_string()))?;
    let rescue = config.data_dir.join("rescue");
    let journal = FileJournal::open(&rescue)
        .map_err(|e| Refusal::Configuration(format!("data_dir: cannot use {}: {e}", rescue.display())))?;
    let parts = Parts {
        settings: engine_settings(config),
        store,
        wire: Arc::new(wire),
        journal: Arc::new(journal),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        rng,
        vault,
        catalogue,
        tasks: tasks.clone(),
    };
    #[cfg(debug_assertions)]
    let parts = with_crash_points(config, parts)?;
    let engine = Engine::new(parts);
    let mut water = Water::open(&config.data_dir);
    let restored = water.check(&engine).await?;
    Ok(Core {
        engine,
        place,
        clock,
        tasks,
        water,
        restored,
    })
}

/// Lets tests end the process at chosen moments, and see the end of a lease.
#[cfg(debug_assertions)]
fn with_crash_points(config: &Config, mut parts: Parts) -> Result<Parts> {
    if let Some(lease) = config.refresh_lease {
        parts.settings.refresh_lease = lease;
    }
    let Some(text) = &config.crash_at else {
        return Ok(parts);
    };
    let plan = text
        .parse()
        .map_err(|error| Refusal::Configuration(format!("crash_at: {error}")))?;
    tracing::warn!(at = text, "this process is going to be disturbed for a test");
    Ok(crate::crash::around(plan, parts))
}

fn engine_settings(config: &Config) -> Settings {
    Settings {
        public_base_url: config.public_base_url.clone(),
        allowed_return_origins: config.allowed_return_origins.clone(),
        allowed_return_urls: config.allowed_return_urls.clone(),
        flow_ttl: config.flow_ttl,
        max_pending_flows: config.max_pending_flows,
        authorize_limit: config.authorize_limit,
        callback_limit: config.callback_limit,
        sign_in_limit: config.sign_in_limit,
        oidc: config.oidc.clone(),
        session_idle: config.session_idle,
        session_lifetime: config.session_lifetime,
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
        max_key_age: config.max_key_age,
        calls: config.calls,
        // Another process may have changed what this one remembers of a shared store.
        cache_max_age: config.database.is_some().then_some(Duration::from_secs(1)),
        ..Settings::default()
    }
}

/// Reads the look and the languages of hosted pages.
pub(crate) fn pages(config: &Config) -> Result<Pages> {
    Pages::new(config).map_err(|e| Refusal::Configuration(format!("{e:#}")).into())
}

/// Builds everything and binds the listener.
pub(crate) async fn build(config: &Config) -> Result<App> {
    let pages = pages(config)?;
    let place = Place::open_patiently(config).await?;
    let Core {
        engine,
        place,
        clock,
        tasks,
        water,
        restored,
    } = build_core_on(place, config, SystemClock::new()).await?;
    if let Some(restored) = &restored {
        tracing::warn!("{}", water::describe(restored));
    }
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
    let first_link = match &first_key {
        Some(_) => Some(
            engine
                .new_sign_in_link()
                .await
                .map_err(|e| Refusal::NotNow(e.message))?,
        ),
        None => None,
    };
    let stopping = CancellationToken::new();
    let mut registry = Registry::default();
    engine.metrics().register(&mut registry);
    let metrics = FrontMetrics::default();
    metrics.register(&mut registry);
    let clock_metrics = ClockMetrics::default();
    clock_metrics.register(&mut registry);
    let public_base_url = config.public_base_url.as_ref().map(url::Url::as_str);
    let new_master = NewMaster::of(config);
    let state = AppState::new(
        Arc::clone(&engine),
        registry,
        stopping.clone(),
        public_base_url,
        new_master,
        place.kind(),
        pages,
    );
    let front = Front::new(
        Arc::clone(&engine),
        crate::http::router(state).merge(crate::console::router(Arc::clone(&engine))),
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
        first_link,
        front: Arc::new(front),
        listener,
        place,
        clock,
        clock_metrics,
        water,
        reseal_rate: config.reseal_rate,
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
        crate::work::keep_keys(&self.engine, self.reseal_rate, &self.tasks, &self.stopping);
        let water = crate::work::keep_water(&self.engine, self.water, &self.tasks, &self.stopping);
        let workers = Workers::start().context("the threads that serve cannot be started")?;
        crate::http::serve(
            self.listener,
            crate::system::take_descriptors(),
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
        self.engine.flush_tallies().await.context("the last counts")?;
        water.await?.keep(&self.engine).await?;
        self.place.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
