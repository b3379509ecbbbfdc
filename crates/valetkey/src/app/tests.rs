use std::time::Duration;

use serde_json::{Map, Value, json};
use valetkey_core::{AuthMode, ConnectorId, ErrorCode, Timestamp};
use valetkey_engine::flow::StartFlow;
use valetkey_engine::{CallbackRequest, Caller, NewConnector};

use super::*;
use crate::config::Values;
use crate::system::clock::fake::FakeSources;

const START: Timestamp = Timestamp(1_790_000_000_000);
const TTL: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The engine as it is built, on clocks that the test owns.
async fn core(sources: &FakeSources, dir: &tempfile::TempDir) -> Core {
    let mut values = Values::default();
    let text = format!(
        "data_dir = {:?}\npublic_base_url = \"https://vk.example\"",
        dir.path().join("data")
    );
    values.add_file(&text, "the test").expect("settings");
    let core = build_core_with(&values.check().expect("settings"), sources.clock()).await;
    let core = core.expect("an engine");
    let new = NewConnector {
        id: Some(ConnectorId::new("crm").expect("an id")),
        name: "CRM".to_owned(),
        connector_type_id: ".http".to_owned(),
        config: object(json!({"baseUrl": "https://api.example"})),
        secrets: object(json!({
            "authType": "oauth_authorization_code",
            "authorizationUrl": "https://as.example/authorize",
            "tokenUrl": "https://as.example/token",
            "clientId": "client",
            "clientSecret": "client-secret",
        })),
        auth_mode: Some(AuthMode::Shared),
        legacy_redirect_uri: false,
    };
    let made = core.engine.create_connector(&Caller::operator(), new).await;
    made.expect("a connector");
    core
}

/// Starts a flow, lets something happen, and comes back with the code.
async fn answer_after(core: &Core, happens: impl FnOnce()) -> ErrorCode {
    let crm = ConnectorId::new("crm").expect("an id");
    let started = core
        .engine
        .start_flow(&Caller::operator(), &crm, StartFlow::default())
        .await
        .expect("started");
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
    let page = core.engine.callback(request).await.expect("a page");
    page.result.expect_err("the operator's key is not in the store").code
}

#[tokio::test]
async fn a05_g33_a_state_expires_although_the_wall_clock_is_set_back() {
    let (sources, dir) = (FakeSources::at(START), tempfile::tempdir().expect("a directory"));
    let core = core(&sources, &dir).await;
    let in_time = answer_after(&core, || sources.pass(Duration::from_secs(599))).await;
    assert_eq!(in_time, ErrorCode::ConnectNotAllowed, "the state was taken");
    let late = answer_after(&core, || {
        sources.set_wall(START.minus(HOUR));
        sources.pass(TTL + SECOND);
    });
    assert_eq!(late.await, ErrorCode::FlowExpired);
    core.store.close();
}

#[tokio::test]
async fn g32_a_state_lives_its_time_although_the_wall_clock_jumps_ahead() {
    let (sources, dir) = (FakeSources::at(START), tempfile::tempdir().expect("a directory"));
    let core = core(&sources, &dir).await;
    for jump in [HOUR, HOUR * 24 * 365] {
        let answer = answer_after(&core, || sources.set_wall(START.plus(jump))).await;
        assert_eq!(answer, ErrorCode::ConnectNotAllowed, "the state was taken");
    }
    assert_eq!(core.engine.refresh_due().await.expect("a round").begun, 0);
    core.store.close();
}
