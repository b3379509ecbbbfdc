//! The engine as the server builds it and works with it: a real store, a real network, and clocks that the test owns.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use valetkey_core::{AuthMode, ConnectorId, ErrorCode, Principal, SpaceId, Timestamp};
use valetkey_engine::flow::StartFlow;
use valetkey_engine::{AccessTokenRequest, CallbackRequest, Caller, NewConnector};

use super::*;
use crate::config::Values;
use crate::system::clock::fake::FakeSources;

const START: Timestamp = Timestamp(1_790_000_000_000);
const TTL: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What a provider on loopback was asked: by grant type, and revocations.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<BTreeMap<String, usize>>>);

impl Asked {
    fn note(&self, what: &str) -> usize {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = asked.entry(what.to_owned()).or_default();
        *count += 1;
        *count
    }

    fn count(&self, what: &str) -> usize {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(what).copied().unwrap_or_default()
    }

    /// Waits until it was asked this so often, with a deadline.
    async fn until(&self, what: &str, count: usize) {
        let asked = async {
            while self.count(what) < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), asked).await;
        assert!(waited.is_ok(), "waited in vain for {what}: {self:?}");
    }
}

async fn token(State(asked): State<Asked>, body: Bytes) -> impl IntoResponse {
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
    asked.note(&form["grant_type"]);
    let serial = asked.note("pair");
    let pair = json!({
        "access_token": format!("access-{serial}"), "refresh_token": format!("refresh-{serial}"),
        "token_type": "Bearer", "expires_in": 3_600,
    });
    axum::Json(pair)
}

/// Does not work the first time.
async fn revoke(State(asked): State<Asked>) -> StatusCode {
    if asked.note("revocation") > 2 {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// A server's data directory, its clocks, and the provider that its one connector uses.
struct Stage {
    sources: FakeSources,
    dir: TempDir,
    asked: Asked,
    provider: String,
    tasks: TaskTracker,
}

impl Stage {
    async fn new() -> Self {
        let (asked, tasks) = (Asked::default(), TaskTracker::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let provider = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/token", post(token))
            .route("/revoke", post(revoke));
        let router = router.with_state(asked.clone());
        tasks.spawn(async move { axum::serve(listener, router).await });
        Self {
            sources: FakeSources::at(START),
            dir: tempfile::tempdir().expect("a directory"),
            asked,
            provider,
            tasks,
        }
    }

    /// The engine as it is built.
    async fn core(&self) -> Core {
        let mut values = Values::default();
        let text = format!(
            "data_dir = {:?}\npublic_base_url = \"https://vk.example\"\nallow_networks = [\"127.0.0.0/8\"]\n\
             allow_insecure_http = [\"127.0.0.1\"]",
            self.dir.path().join("data")
        );
        values.add_file(&text, "the test").expect("settings");
        let config = values.check().expect("settings");
        let place = Place::open(&config).await.expect("a store");
        let core = build_core_on(place, &config, self.sources.clock()).await;
        core.expect("an engine")
    }

    async fn connector(&self, core: &Core) {
        let new = NewConnector {
            id: Some(crm()),
            name: "CRM".to_owned(),
            connector_type_id: ".http".to_owned(),
            config: object(json!({"baseUrl": "https://api.example"})),
            secrets: object(json!({
                "authType": "oauth_authorization_code",
                "authorizationUrl": format!("{}/authorize", self.provider),
                "tokenUrl": format!("{}/token", self.provider),
                "revocationUrl": format!("{}/revoke", self.provider),
                "clientId": "client",
                "clientSecret": "client-secret",
            })),
            auth_mode: Some(AuthMode::Shared),
            legacy_redirect_uri: false,
        };
        let made = core.engine.create_connector(&Caller::operator(), new).await;
        made.expect("a connector");
    }

    /// The work of a server, until it is stopped.
    fn work(core: &Core) -> CancellationToken {
        let stopping = CancellationToken::new();
        crate::work::start(
            &core.engine,
            &core.clock,
            &ClockMetrics::default(),
            &core.tasks,
            &stopping,
        );
        stopping
    }
}

fn crm() -> ConnectorId {
    ConnectorId::new("crm").expect("an id")
}

async fn stop(core: Core, stopping: CancellationToken) {
    stopping.cancel();
    core.tasks.close();
    core.tasks.wait().await;
    core.place.close();
}

/// Whoever has the first key.
async fn administrator(core: &Core) -> Caller {
    let key = core
        .engine
        .bootstrap_key(None)
        .await
        .expect("a key")
        .expect("the first one");
    let space = SpaceId::default_space();
    let principal: Principal = core
        .engine
        .authenticate(key.expose(), &space, None, "127.0.0.1")
        .await
        .expect("known");
    Caller {
        principal,
        ..Caller::operator()
    }
}

/// Starts a flow, lets something happen, and comes back with the code.
async fn answer_after(core: &Core, caller: &Caller, happens: impl FnOnce()) -> valetkey_engine::Result<()> {
    let started = core.engine.start_flow(caller, &crm(), StartFlow::default()).await;
    let started = started.expect("started");
    let ticket = started.authorization_url.path_segments().and_then(Iterator::last);
    let page = core.engine.open_ticket(ticket.expect("a ticket"), |_| None).await;
    let page = page.expect("a page");
    let cookie = page.cookie.expect("a new browser gets a cookie");
    happens();
    let request = CallbackRequest {
        context: Some("crm".to_owned()),
        query: format!("state={}&code=the-code", started.state.expose()),
        cookies: [(page.cookie_name, cookie.expose().clone())].into(),
        address: "127.0.0.1".to_owned(),
        request_id: "r".to_owned(),
    };
    core.engine.callback(request).await.expect("a page").result
}

#[tokio::test]
async fn a05_g33_a_state_expires_although_the_wall_clock_is_set_back() {
    let stage = Stage::new().await;
    let core = stage.core().await;
    stage.connector(&core).await;
    let admin = administrator(&core).await;
    let in_time = answer_after(&core, &admin, || stage.sources.pass(Duration::from_secs(599))).await;
    in_time.expect("connected");
    let late = answer_after(&core, &admin, || {
        stage.sources.set_wall(START.minus(HOUR));
        stage.sources.pass(TTL + SECOND);
    });
    assert_eq!(late.await.expect_err("late").code, ErrorCode::FlowExpired);
    assert_eq!(stage.asked.count("authorization_code"), 1, "nothing was exchanged");
    core.place.close();
}

#[tokio::test]
async fn g32_a_wall_clock_that_jumps_ahead_renews_nothing_and_ends_nothing() {
    let stage = Stage::new().await;
    let core = stage.core().await;
    stage.connector(&core).await;
    let admin = administrator(&core).await;
    for jump in [HOUR, HOUR * 24 * 365] {
        let connected = answer_after(&core, &admin, || stage.sources.set_wall(START.plus(jump))).await;
        connected.expect("a state lives its time");
        let round = core.engine.refresh_due().await.expect("a round");
        assert_eq!(round.begun, 0);
        let token = core
            .engine
            .access_token(&admin, &crm(), AccessTokenRequest::default())
            .await;
        token.expect("the token still works");
    }
    assert_eq!(stage.asked.count("refresh_token"), 0);
    core.place.close();
}

#[tokio::test]
async fn g33_a_wall_clock_that_is_set_back_keeps_no_token_past_its_end() {
    let stage = Stage::new().await;
    let core = stage.core().await;
    stage.connector(&core).await;
    let admin = administrator(&core).await;
    answer_after(&core, &admin, || {}).await.expect("connected");
    stage.sources.set_wall(START.minus(HOUR));
    stage.sources.pass(HOUR + SECOND);
    let token = core
        .engine
        .access_token(&admin, &crm(), AccessTokenRequest::default())
        .await;
    assert_eq!(token.expect("a token").access_token.expose(), "access-2");
    core.place.close();
}

#[tokio::test]
async fn a_server_renews_ahead_of_time_although_nobody_asks() {
    let stage = Stage::new().await;
    let core = stage.core().await;
    stage.connector(&core).await;
    let admin = administrator(&core).await;
    let stopping = Stage::work(&core);
    answer_after(&core, &admin, || {}).await.expect("connected");
    for n in 1..=3 {
        stage.sources.pass(56 * MINUTE);
        stage.asked.until("refresh_token", n).await;
    }
    stop(core, stopping).await;
    assert_eq!(stage.asked.count("refresh_token"), 3);
    assert!(!stage.tasks.is_empty());
}

#[tokio::test]
async fn g15_a_server_that_starts_again_does_what_is_still_owed() {
    let stage = Stage::new().await;
    let core = stage.core().await;
    stage.connector(&core).await;
    let admin = administrator(&core).await;
    answer_after(&core, &admin, || {}).await.expect("connected");
    let ended = core.engine.disconnect(&admin, &crm(), None).await;
    ended.expect("ended here");
    assert_eq!(stage.asked.count("revocation"), 2, "which did not work");
    core.engine.delete_connector(&admin, &crm()).await.expect("deleted");
    core.place.close();
    drop(core);
    let core = stage.core().await;
    let stopping = Stage::work(&core);
    stage.sources.pass(MINUTE);
    stage.asked.until("revocation", 4).await;
    stop(core, stopping).await;
}
