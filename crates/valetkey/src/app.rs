//! The composition root: builds the application from its settings, runs it, and stops it in order.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Secret;
use valetkey_engine::{Engine, OpenVaultError, Parts, Settings, open_vault};
use valetkey_seal::{MasterKey, SealError};
use valetkey_spec::Catalogue;
use valetkey_store::sqlite::SqliteStore;
use valetkey_store::{Store, StoreError, Vault as _};

use crate::config::Config;
use crate::http::{AppState, Front, FrontMetrics};
use crate::journal::FileJournal;
use crate::system::{SystemClock, SystemRng};
use crate::wire::{HyperWire, WireSettings};

/// Why the program does not start, with the exit code that says so (sysexits: 75 try later, 78 configuration).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The data directory is in use.
    #[error("{0}")]
    InUse(String),
    /// The master key is missing or another one, or a setting is wrong.
    #[error("{0}")]
    Configuration(String),
}

impl Refusal {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::InUse(_) => 75,
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
    store: Arc<SqliteStore>,
    connections: TaskTracker,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// The engine with what it stands on.
pub(crate) struct Core {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) tasks: TaskTracker,
}

/// Opens the data directory and builds the engine.
pub(crate) async fn build_core(config: &Config) -> Result<Core> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .with_context(|| format!("data_dir: cannot make {}", config.data_dir.display()))?;
    let store = Arc::new(open_store(&config.data_dir)?);
    let rng = Arc::new(SystemRng);
    let clock = Arc::new(SystemClock::new());
    let master = master_key(config, &store, &rng).await?;
    let ring = open_vault(&*store, &master, &*clock, &*rng)
        .await
        .map_err(|error| match error {
            OpenVaultError::Seal(SealError::WrongMasterKey) => Refusal::Configuration(format!(
                "the master key does not open {}: it is not the one that this data directory was made with. \
             Put the right one back ({}); nothing was changed",
                config.data_dir.display(),
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
        connect_timeout: std::time::Duration::from_secs(5),
    })
    .map_err(|e| Refusal::Configuration(e.to_string()))?;
    let rescue = config.data_dir.join("rescue");
    let journal = FileJournal::open(&rescue)
        .map_err(|e| Refusal::Configuration(format!("data_dir: cannot use {}: {e}", rescue.display())))?;
    let engine = Engine::new(Parts {
        settings: engine_settings(config),
        store: Arc::clone(&store) as Arc<dyn Store>,
        wire: Arc::new(wire),
        journal: Arc::new(journal),
        clock,
        rng,
        ring,
        catalogue,
        tasks: tasks.clone(),
    });
    Ok(Core { engine, store, tasks })
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
        refresh_lease: (config.token_timeout * 4 / 3).max(config.token_timeout + std::time::Duration::from_secs(10)),
        refresh_patience: config.token_timeout + std::time::Duration::from_secs(5),
        token_concurrency: config.token_concurrency,
        response_timeout: config.response_timeout,
        max_response_content_length: config.max_response_content_length,
        ..Settings::default()
    }
}

fn open_store(data_dir: &Path) -> Result<SqliteStore> {
    SqliteStore::open(&data_dir.join("valetkey.db")).map_err(|error| match error {
        StoreError::Unavailable(_) => Refusal::InUse(format!("data_dir {}: {error}", data_dir.display())).into(),
        StoreError::Corrupt(_) => Refusal::Configuration(format!("data_dir {}: {error}", data_dir.display())).into(),
    })
}

/// The master key: given, read from its file, or made for a new data directory. It is never made for one that exists.
async fn master_key(config: &Config, store: &SqliteStore, rng: &SystemRng) -> Result<MasterKey> {
    let refuse = |what: &str, error: &dyn std::fmt::Display| Refusal::Configuration(format!("{what}: {error}"));
    if let Some(text) = &config.master_key {
        return Ok(MasterKey::parse(text.expose()).map_err(|e| refuse("master_key", &e))?);
    }
    let file = &config.master_key_file;
    let place = format!("master_key_file {}", file.display());
    if file.exists() {
        return Ok(MasterKey::read_file(file).map_err(|e| refuse(&place, &e))?);
    }
    if store.vault().await?.is_some() {
        return Err(Refusal::Configuration(format!(
            "{place} does not exist, but {} was made with one. Put the file back, or set master_key; nothing was changed",
            config.data_dir.display()
        ))
        .into());
    }
    Ok(MasterKey::create_file(file, rng).map_err(|e| refuse(&place, &e))?)
}

/// Builds everything and binds the listener.
pub(crate) async fn build(config: &Config) -> Result<App> {
    let Core { engine, store, tasks } = build_core(config).await?;
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
    let public_base_url = config.public_base_url.as_ref().map(url::Url::as_str);
    let state = AppState::new(Arc::clone(&engine), registry, stopping.clone(), public_base_url);
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
        store,
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
        crate::work::start(&self.engine, &self.tasks, &self.stopping);
        crate::http::serve(
            self.listener,
            self.front,
            self.connections.clone(),
            self.stopping.clone(),
        )
        .await;
        self.engine.prepare_stop();
        self.connections.close();
        self.tasks.close();
        self.connections.wait().await;
        self.tasks.wait().await;
        self.engine.flush_audit().await.context("the last audit records")?;
        self.store.close();
        Ok(())
    }
}
