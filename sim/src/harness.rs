//! Where the simulation touches the engine: how one is built, what callers and browsers ask of it, what runs beside it,
//! and how its stored tokens are read. When the engine's own interface changes, this file does.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Map, json};
use tokio_util::task::TaskTracker;
use url::Url;
use valetkey_core::fake::FakeRng;
use valetkey_core::{
    Clock, ConnectionKey, ConnectionName, ConnectorId, ErrorCode, KeyGrant, KeyId, Owner, Principal, Privilege,
    ProfileUid, Secret, SpaceId,
};
use valetkey_engine::flow::StartFlow;
use valetkey_engine::journal::Journal;
use valetkey_engine::wire::Wire;
use valetkey_engine::{
    AccessTokenRequest, CallbackRequest, Caller, Engine, Error, Execute, NewConnector, OpenVault, Parts, RateLimit,
    Settings, open_vault,
};
use valetkey_seal::{Context, KeyRing, MasterKey, WrappedKey};
use valetkey_spec::Catalogue;
use valetkey_store::Store;
use valetkey_store::rows::{AuditRow, ConnectionRow, Digest, KeyRow, Sealed};

/// Not a secret: it opens nothing but simulated stores.
const MASTER_KEY: &str = "pkL3tfcvZ3qHqMK8b7+0nXw1oJmS0eYhVg5cRz9xTDE=";

/// How long a token endpoint may take, and how long a lease lasts.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// See [`TOKEN_TIMEOUT`].
pub const LEASE: Duration = Duration::from_secs(40);

/// How long a stop waits for tasks.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// The longest pause that the engine makes between two attempts of its own accord.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The connector types of the product and of the simulation. Reading them takes longer than a whole run.
pub fn catalogue() -> Result<Catalogue> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors");
    Ok(Catalogue::load(Some(&dir))?)
}

/// What an engine is built from, besides what [`engine`] decides itself.
#[derive(Debug)]
pub struct Surroundings {
    /// The process's way to the store.
    pub store: Arc<dyn Store>,
    /// The process's network.
    pub wire: Arc<dyn Wire>,
    /// The replica's disk.
    pub journal: Arc<dyn Journal>,
    /// The clock on its wall.
    pub clock: Arc<dyn Clock>,
    /// The seed of its random source.
    pub seed: u64,
    /// The open keys of the store.
    pub vault: OpenVault,
    /// The connector types.
    pub catalogue: Catalogue,
    /// How old a remembered record may be.
    pub cache_max_age: Duration,
    /// Whether connections are renewed before somebody asks.
    pub refreshes_ahead: bool,
}

/// An engine with its tasks.
#[derive(Debug)]
pub struct Running {
    /// The engine.
    pub engine: Arc<Engine>,
    tasks: TaskTracker,
}

/// An engine, as the binary would build it for a store that several processes share.
pub async fn engine(around: Surroundings) -> Result<Running> {
    let often = RateLimit {
        limit: 1_000_000,
        window: Duration::from_secs(3_600),
    };
    let mut settings = Settings {
        public_base_url: Some(Url::parse("https://vk.example")?),
        authorize_limit: often,
        callback_limit: often,
        max_pending_flows: 1_000,
        token_timeout: TOKEN_TIMEOUT,
        refresh_lease: LEASE,
        cache_max_age: Some(around.cache_max_age),
        ..Settings::default()
    };
    if !around.refreshes_ahead {
        settings.background_refreshes = 0;
    }
    let tasks = TaskTracker::new();
    let engine = Engine::new(Parts {
        settings,
        store: around.store,
        wire: around.wire,
        journal: around.journal,
        clock: around.clock,
        rng: Arc::new(FakeRng::seeded(around.seed)),
        vault: around.vault,
        catalogue: around.catalogue,
        tasks: tasks.clone(),
    });
    engine.replay_journal().await.map_err(|error| told(&error))?;
    Ok(Running { engine, tasks })
}

impl Running {
    /// Ends as the binary does: what must not be cut off is waited for, but not for ever.
    pub async fn stop(&self) {
        self.engine.prepare_stop();
        self.tasks.close();
        // What is not done by then is the next start's.
        let _ = tokio::time::timeout(STOP_PATIENCE, self.tasks.wait()).await;
    }
}

/// Opens the keys of a store; a new store gets its first.
pub async fn vault(store: &dyn Store, clock: &dyn Clock) -> Result<OpenVault> {
    let master = Arc::new(MasterKey::parse(MASTER_KEY)?);
    Ok(open_vault(store, master, clock, &FakeRng::seeded(1)).await?)
}

/// The keys of a store that has some, for a look at what is stored.
pub async fn ring(store: &dyn Store) -> Result<KeyRing> {
    let master = MasterKey::parse(MASTER_KEY)?;
    let stored = store.vault().await?.context("the store has no keys")?;
    let wrapped: Vec<_> = stored
        .keys
        .into_iter()
        .map(|key| WrappedKey {
            id: key.id,
            master: key.master,
            bytes: key.wrapped,
        })
        .collect();
    Ok(KeyRing::open(&master, &stored.deployment, &wrapped)?)
}

/// What runs beside requests in the binary, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// The audit log's counted records, and what ended long ago.
    Tidy,
    /// Connections that are due.
    Refresh,
    /// Revocations that are owed.
    Revoke,
}

impl Chore {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tidy, Self::Refresh, Self::Revoke];
}

/// Does a chore once.
pub async fn work(engine: &Arc<Engine>, chore: Chore) -> Result<(), Error> {
    match chore {
        Chore::Tidy => {
            engine.flush_audit().await?;
            engine.sweep().await.map(drop)
        }
        Chore::Refresh => engine.refresh_due().await.map(drop),
        Chore::Revoke => engine.run_jobs().await.map(drop),
    }
}

/// The connection of a user with a connector.
pub fn key(connector: &str, user: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: id(connector),
        owner: Owner::User(ProfileUid::new(user).expect("a user")),
        name: ConnectionName::default_name(),
    }
}

/// Makes the API key of all callers, which flows look up, and a connector of each type.
pub async fn furnish(store: &dyn Store, engine: &Engine, connectors: &[&str]) -> Result<()> {
    let at = valetkey_core::Timestamp(0);
    let row = KeyRow {
        id: key_id(),
        name: "simulation".to_owned(),
        hash: Digest([0; 32]),
        privileges: vec!["admin".to_owned()],
        spaces: vec!["*".to_owned()],
        profile_uid: None,
        connectors: None,
        actions: None,
        created_at: at,
        expires_at: None,
        created_by: None,
    };
    let audit = AuditRow {
        at,
        space: None,
        kind: "apikey.create",
        outcome: "ok".to_owned(),
        key: None,
        user: None,
        connector: None,
        connection: None,
        request_id: None,
        address: None,
        details: Map::new(),
        count: 1,
    };
    store.put_key(row, audit).await?;
    for name in connectors {
        let secrets = json!({
            "authType": "oauth_authorization_code",
            "clientId": "client",
            "clientSecret": "client-secret",
            "scope": "read",
        });
        let new = NewConnector {
            id: Some(id(name)),
            name: (*name).to_owned(),
            connector_type_id: format!(".sim-{name}"),
            config: Map::new(),
            secrets: secrets.as_object().cloned().unwrap_or_default(),
            auth_mode: None,
            legacy_redirect_uri: false,
        };
        let made = engine.create_connector(&caller(None), new).await;
        made.map_err(|error| told(&error))
            .with_context(|| format!("the connector {name}"))?;
    }
    Ok(())
}

/// A caller acting for a user.
pub fn caller(user: Option<&str>) -> Caller {
    let key = KeyGrant {
        id: key_id(),
        name: "simulation".to_owned(),
        spaces: ["*".to_owned()].into(),
        profile_uid: None,
        privileges: [Privilege::Admin].into_iter().collect(),
        connectors: None,
        actions: None,
    };
    Caller {
        principal: Principal {
            key: Arc::new(key),
            user: user.and_then(|user| ProfileUid::new(user).ok()),
            space: SpaceId::default_space(),
            in_session: false,
        },
        request_id: "r".into(),
        address: "192.0.2.1".into(),
    }
}

/// Asks for an access token; `instead` of one that an API rejected.
pub async fn token(engine: &Arc<Engine>, connector: &str, user: &str, instead: Option<&str>) -> Result<String, Error> {
    let request = AccessTokenRequest {
        rejected_token: instead.map(Secret::from),
        ..AccessTokenRequest::default()
    };
    let token = engine
        .access_token(&caller(Some(user)), &id(connector), request)
        .await?;
    Ok(token.access_token.expose().clone())
}

/// Runs an action. Its result says in words whether it worked.
pub async fn execute(engine: &Arc<Engine>, connector: &str, user: &str) -> Result<&'static str, Error> {
    let execute = Execute {
        sub_action: "look".to_owned(),
        params: json!({}),
        connection: None,
    };
    let result = engine.execute(&caller(Some(user)), &id(connector), execute).await?;
    Ok(match result.authorization {
        Some(authorization) => authorization.reason.as_str(),
        None => result.status,
    })
}

/// Ends a connection.
pub async fn disconnect(engine: &Arc<Engine>, connector: &str, user: &str) -> Result<(), Error> {
    engine.disconnect(&caller(Some(user)), &id(connector), None).await
}

/// A browser half-way through a flow: it has been at the connect page.
#[derive(Debug)]
pub struct Browser {
    state: Secret<String>,
    cookie: (String, String),
}

/// Starts a flow and opens its page, each at a process of its own.
pub async fn go_connecting(
    start: &Arc<Engine>,
    page: &Arc<Engine>,
    connector: &str,
    user: &str,
) -> Result<Browser, Error> {
    let started = start
        .start_flow(&caller(Some(user)), &id(connector), StartFlow::default())
        .await?;
    let path = started.authorization_url.path().to_owned();
    let ticket = path.rsplit('/').next().unwrap_or_default();
    let page = page.open_ticket(ticket, |_| None).await?;
    let cookie = page.cookie.map(|cookie| cookie.expose().clone()).unwrap_or_default();
    Ok(Browser {
        state: started.state,
        cookie: (page.cookie_name, cookie),
    })
}

/// Comes back from the provider with a code.
pub async fn come_back(engine: &Arc<Engine>, connector: &str, browser: &Browser, code: &str) -> Result<(), Error> {
    let (name, value) = &browser.cookie;
    let request = CallbackRequest {
        context: Some(connector.to_owned()),
        query: format!("state={}&code={code}", browser.state.expose()),
        cookies: [(name.clone(), value.clone())].into(),
        address: "192.0.2.1".to_owned(),
        request_id: "r".to_owned(),
    };
    engine.callback(request).await?.result
}

/// What a stored connection holds: access token and refresh token.
pub fn reveal(ring: &KeyRing, row: &ConnectionRow) -> Result<Option<(String, String)>> {
    let Some(grant) = &row.grant else { return Ok(None) };
    let refresh = grant
        .sealed_refresh
        .as_ref()
        .context("every provider here gives refresh tokens")?;
    let access = open(ring, row, "access_token", &grant.sealed_access)?;
    let (_, access) = access.split_once(' ').context("a type stands before an access token")?;
    Ok(Some((access.to_owned(), open(ring, row, "refresh_token", refresh)?)))
}

fn open(ring: &KeyRing, row: &ConnectionRow, column: &str, sealed: &Sealed) -> Result<String> {
    let place = Context {
        space: row.key.space.as_str(),
        table: "connection",
        row: &format!("{}/{}", row.key.connector, row.key.name),
        column,
        owner: &row.key.owner.as_stored(),
        generation: row.generation,
        binding: &row.binding.0,
    };
    let plain = ring.open_record(&place, &sealed.0)?;
    Ok(String::from_utf8(plain.to_vec())?)
}

/// Whether callers must expect this error while things go wrong around the service.
pub fn may_be_told(error: &Error) -> bool {
    matches!(
        error.code,
        ErrorCode::StoreUnavailable
            | ErrorCode::ProviderUnavailable
            | ErrorCode::AuthorizationRequired
            | ErrorCode::RefreshBusy
            | ErrorCode::RefreshCooldown
            | ErrorCode::FlowAlreadyUsed
            | ErrorCode::FlowExpired
            | ErrorCode::CodeRejected
            | ErrorCode::ProviderBadResponse
    )
}

/// The reason for which a person must connect again, if that is what the error says.
pub fn must_connect(error: &Error) -> Option<&'static str> {
    error
        .authorization
        .as_ref()
        .map(|authorization| authorization.reason.as_str())
}

/// An error in one line, with its private cause.
pub fn told(error: &Error) -> anyhow::Error {
    let mut text = error.code.to_string();
    if let Some(reason) = must_connect(error) {
        reason.clone_into(&mut text);
    }
    if let Some(cause) = &error.cause {
        let _ = write!(text, " ({cause})");
    }
    anyhow!(text)
}

fn id(connector: &str) -> ConnectorId {
    ConnectorId::new(connector).expect("a connector id")
}

fn key_id() -> KeyId {
    KeyId::new("simulation").expect("a key id")
}
