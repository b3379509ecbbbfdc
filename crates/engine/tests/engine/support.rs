//! An engine on a real `SQLite` store, with a clock, a random source and a network that the test owns.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use url::Url;
use valetkey_core::fake::{FakeClock, FakeRng};
use valetkey_core::{
    Clock as _, ConnectorId, KeyGrant, KeyId, Principal, Privilege, ProfileUid, Request, Response, Secret, SpaceId,
    Timestamp,
};
use valetkey_engine::flow::StartFlow;
use valetkey_engine::journal::NoJournal;
use valetkey_engine::wire::{Limits, Outcome, Wire, WireError};
use valetkey_engine::{
    AccessToken, AccessTokenRequest, CallbackRequest, Caller, Engine, Execute, ExecuteResult, NewConnector,
    OpenVaultError, Parts, Result, Settings, open_vault,
};
use valetkey_seal::MasterKey;
use valetkey_spec::Catalogue;
use valetkey_store::Store;
use valetkey_store::rows::{AuditRow, Digest, KeyRow};
use valetkey_store::sqlite::SqliteStore;

pub(crate) const TOKEN_URL: &str = "https://as.example/token";

/// One scripted answer of the token endpoint.
pub(crate) enum Script {
    Json(u16, Value),
    NotSent,
    Uncertain,
}

/// A network with a scripted token endpoint and an API that accepts the tokens it is told to.
#[derive(Debug, Default)]
pub(crate) struct FakeWire {
    answers: Mutex<VecDeque<Scripted>>,
    pub(crate) token_requests: Mutex<Vec<String>>,
    pub(crate) api_tokens: Mutex<Vec<String>>,
    accepted: Mutex<Option<String>>,
    /// Token requests wait for a permit, if the gate is set.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

struct Scripted(Script);

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl FakeWire {
    pub(crate) fn will(&self, script: Script) {
        self.answers.lock().expect("not poisoned").push_back(Scripted(script));
    }

    /// The API accepts this token only; all of them if `None`.
    pub(crate) fn accept_only(&self, token: Option<&str>) {
        *self.accepted.lock().expect("not poisoned") = token.map(str::to_owned);
    }

    pub(crate) fn hold_tokens(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock().expect("not poisoned") = Some(Arc::clone(&gate));
        gate
    }

    pub(crate) fn token_count(&self) -> usize {
        self.token_requests.lock().expect("not poisoned").len()
    }
}

#[async_trait]
impl Wire for FakeWire {
    fn check(&self, _url: &Url) -> std::result::Result<(), WireError> {
        Ok(())
    }

    async fn send_token(&self, request: Request, _deadline: Duration) -> Outcome {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        self.token_requests
            .lock()
            .expect("not poisoned")
            .push(format!("{} {body}", request.url));
        let gate = self.gate.lock().expect("not poisoned").clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("open").forget();
        }
        let next = self.answers.lock().expect("not poisoned").pop_front();
        match next.map(|s| s.0) {
            Some(Script::Json(status, body)) => Outcome::Answered(answer(status, &body)),
            Some(Script::NotSent) => Outcome::NotSent(WireError::Connect),
            Some(Script::Uncertain) => Outcome::Uncertain(WireError::Timeout),
            None => Outcome::Answered(answer(500, &json!({"error": "the test has no answer left"}))),
        }
    }

    async fn send_api(&self, request: Request, _limits: Limits) -> std::result::Result<Response, WireError> {
        let sent = request
            .headers
            .get("authorization")
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let token = sent.trim_start_matches("Bearer ").to_owned();
        self.api_tokens.lock().expect("not poisoned").push(token.clone());
        let accepted = self.accepted.lock().expect("not poisoned").clone();
        let good = accepted.is_none_or(|only| only == token);
        Ok(answer(
            if good { 200 } else { 401 },
            &json!({"path": request.url.path()}),
        ))
    }
}

fn answer(status: u16, body: &Value) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().expect("a header"));
    Response {
        status,
        headers,
        body: body.to_string().into(),
    }
}

/// A token answer.
pub(crate) fn tokens(access: &str, refresh: Option<&str>, expires_in: u64) -> Script {
    let mut body = json!({"access_token": access, "token_type": "Bearer", "expires_in": expires_in});
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.into();
    }
    Script::Json(200, body)
}

pub(crate) fn error(status: u16, code: &str) -> Script {
    Script::Json(status, json!({"error": code}))
}

/// The house under test.
pub(crate) struct House {
    pub(crate) engine: Arc<Engine>,
    pub(crate) wire: Arc<FakeWire>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) tasks: TaskTracker,
    pub(crate) store: Arc<SqliteStore>,
    dir: Arc<TempDir>,
}

pub(crate) fn id(text: &str) -> ConnectorId {
    ConnectorId::new(text).expect("a connector id")
}

/// An administrator, acting for `user` if one is named.
pub(crate) fn caller(user: Option<&str>) -> Caller {
    caller_in("default", user)
}

pub(crate) fn caller_in(space: &str, user: Option<&str>) -> Caller {
    let key = KeyGrant {
        id: KeyId::new("test").expect("a key id"),
        name: "test".to_owned(),
        spaces: ["*".to_owned()].into(),
        profile_uid: None,
        privileges: [Privilege::Admin].into_iter().collect(),
        connectors: None,
        actions: None,
    };
    Caller {
        principal: Principal {
            key: Arc::new(key),
            user: user.map(|u| ProfileUid::new(u).expect("a user")),
            space: SpaceId::new(space).expect("a space"),
            in_session: false,
        },
        request_id: "r".into(),
        address: "127.0.0.1".into(),
    }
}

impl House {
    pub(crate) async fn build() -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let store = Arc::new(SqliteStore::open(&dir.path().join("valetkey.db")).expect("a store"));
        let rng = FakeRng::seeded(7);
        let master = MasterKey::create_file(dir.path().join("master.key"), &rng).expect("a master key");
        let parts = (dir, store, Arc::default(), Arc::default());
        let house = Self::furnish(parts, master, rng, None).await.expect("a key ring");
        // Callbacks look up the key that started the flow.
        put_test_key(&*house.store, house.clock.now()).await;
        house
    }

    /// Another process on the same store, with its own engine.
    pub(crate) async fn replica(&self, master: MasterKey) -> std::result::Result<Self, OpenVaultError> {
        static SEED: AtomicU64 = AtomicU64::new(100);
        let rng = FakeRng::seeded(SEED.fetch_add(1, Ordering::Relaxed));
        let parts = (
            Arc::clone(&self.dir),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            Arc::clone(&self.wire),
        );
        Self::furnish(parts, master, rng, Some(Duration::ZERO)).await
    }

    /// The master key that the house was built with.
    pub(crate) fn master(&self) -> MasterKey {
        MasterKey::read_file(self.dir.path().join("master.key")).expect("a master key")
    }

    async fn furnish(
        (dir, store, clock, wire): (Arc<TempDir>, Arc<SqliteStore>, Arc<FakeClock>, Arc<FakeWire>),
        master: MasterKey,
        rng: FakeRng,
        cache_max_age: Option<Duration>,
    ) -> std::result::Result<Self, OpenVaultError> {
        let vault = open_vault(&*store, Arc::new(master), &*clock, &rng).await?;
        let tasks = TaskTracker::new();
        let settings = Settings {
            public_base_url: Some(Url::parse("https://vk.example").expect("a URL")),
            allowed_return_origins: vec!["https://app.example".to_owned()],
            cache_max_age,
            ..Settings::default()
        };
        let engine = Engine::new(Parts {
            settings,
            store: Arc::clone(&store) as _,
            wire: Arc::clone(&wire) as _,
            journal: Arc::new(NoJournal),
            clock: Arc::clone(&clock) as _,
            rng: Arc::new(rng),
            vault,
            catalogue: Catalogue::embedded().expect("the embedded specs"),
            tasks: tasks.clone(),
        });
        Ok(Self {
            engine,
            wire,
            clock,
            tasks,
            store,
            dir,
        })
    }

    /// A connector of type `.http` with the authorization code grant; `extra` are more fields of its secrets.
    pub(crate) async fn connector(&self, name: &str, auth_mode: &str, extra: Value) {
        self.connector_in("default", name, auth_mode, extra).await;
    }

    pub(crate) async fn connector_in(&self, space: &str, name: &str, auth_mode: &str, extra: Value) {
        self.make(space, name, auth_mode, connector_secrets(extra)).await;
    }

    pub(crate) async fn make(&self, space: &str, name: &str, auth_mode: &str, secrets: Map<String, Value>) {
        make_connector(&self.engine, space, ".http", name, auth_mode, secrets).await;
    }

    /// Walks a flow to its end with one browser; the token endpoint answers as scripted.
    pub(crate) async fn connect(&self, caller: &Caller, connector: &str) -> Result<()> {
        connect_as(&self.engine, caller, connector, "the-code").await
    }

    pub(crate) async fn token(&self, caller: &Caller, connector: &str) -> Result<AccessToken> {
        token_of(&self.engine, caller, connector, None).await
    }

    pub(crate) async fn token_instead(&self, caller: &Caller, connector: &str, rejected: &str) -> Result<AccessToken> {
        token_of(&self.engine, caller, connector, Some(rejected)).await
    }

    pub(crate) async fn execute(&self, caller: &Caller, connector: &str) -> Result<ExecuteResult> {
        let execute = Execute {
            sub_action: "request".to_owned(),
            params: json!({"method": "GET", "path": "/x"}),
            connection: None,
        };
        self.engine.execute(caller, &id(connector), execute).await
    }

    /// Waits until the engine has no task under way.
    pub(crate) async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Callbacks look up the key that started the flow.
pub(crate) async fn put_test_key(store: &dyn Store, at: Timestamp) {
    let key = KeyRow {
        id: KeyId::new("test").expect("a key id"),
        name: "test".to_owned(),
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
    assert!(store.put_key(key, audit).await.expect("a key"));
}

/// The secrets of a connector with the authorization code grant, and `extra` fields.
pub(crate) fn connector_secrets(extra: Value) -> Map<String, Value> {
    let mut secrets = object(json!({
        "authType": "oauth_authorization_code",
        "authorizationUrl": "https://as.example/authorize",
        "tokenUrl": TOKEN_URL,
        "revocationUrl": "https://as.example/revoke",
        "clientId": "client",
        "clientSecret": "client-secret",
        "scope": "read write",
    }));
    secrets.extend(object(extra));
    secrets
}

pub(crate) async fn make_connector(
    engine: &Engine,
    space: &str,
    type_id: &str,
    name: &str,
    auth_mode: &str,
    secrets: Map<String, Value>,
) {
    let new = NewConnector {
        id: Some(id(name)),
        name: name.to_owned(),
        connector_type_id: type_id.to_owned(),
        config: object(json!({"baseUrl": "https://api.example"})),
        secrets,
        auth_mode: Some(serde_json::from_value(auth_mode.into()).expect("an auth mode")),
        legacy_redirect_uri: false,
    };
    engine
        .create_connector(&caller_in(space, None), new)
        .await
        .expect("a connector");
}

/// Walks a flow to its end with one browser; the provider sends this code.
pub(crate) async fn connect_as(engine: &Arc<Engine>, caller: &Caller, connector: &str, code: &str) -> Result<()> {
    let started = engine.start_flow(caller, &id(connector), StartFlow::default()).await?;
    let ticket = started
        .authorization_url
        .path_segments()
        .and_then(Iterator::last)
        .expect("a ticket")
        .to_owned();
    let page = engine.open_ticket(&ticket, |_| None).await?;
    let cookie = page.cookie.expect("a new browser gets a cookie");
    let context = match caller.principal.space.as_str() {
        "default" => connector.to_owned(),
        space => format!("{space}.{connector}"),
    };
    let request = CallbackRequest {
        context: Some(context),
        query: format!("state={}&code={code}", started.state.expose()),
        cookies: [(page.cookie_name, cookie.expose().clone())].into(),
        address: "127.0.0.1".to_owned(),
        request_id: "r".to_owned(),
    };
    engine.callback(request).await?.result
}

/// An access token, another one than `rejected` if that is given.
pub(crate) async fn token_of(
    engine: &Arc<Engine>,
    caller: &Caller,
    connector: &str,
    rejected: Option<&str>,
) -> Result<AccessToken> {
    let request = AccessTokenRequest {
        rejected_token: rejected.map(Secret::from),
        ..AccessTokenRequest::default()
    };
    engine.access_token(caller, &id(connector), request).await
}

pub(crate) fn reason(error: &valetkey_engine::Error) -> Option<valetkey_engine::Reason> {
    error.authorization.as_ref().map(|a| a.reason)
}
