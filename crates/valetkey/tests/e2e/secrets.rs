//! No secret is anywhere but where it belongs: not in the data directory, not in logs at their loudest, not in metrics.

use serde_json::{Value, json};

use crate::support::browser::{Browser, altered};
use crate::support::canary::Canaries;
use crate::support::fake::Script;
use crate::support::raw::Reply;
use crate::support::secret;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

/// Fails if a secret is in the data directory, in the log, in the metrics or in the audit log.
async fn search(stage: &mut Stage, secrets: impl IntoIterator<Item = String>) {
    let canaries = Canaries::new(
        stage
            .fake
            .secrets()
            .into_iter()
            .chain([stage.admin.key.clone()])
            .chain(secrets),
    );
    canaries.are_not_below(&stage.valetkey.setup.data_dir());
    canaries.are_not_in("the metrics", stage.admin.metrics().await);
    canaries.are_not_in("the audit log", stage.admin.get("/api/audit?limit=200").await.text());
    canaries.are_not_in("the log", stage.valetkey.whole_output().await);
    canaries.are_not_below(&stage.valetkey.setup.data_dir());
    stage.valetkey.start_again().await;
}

async fn loud() -> Stage {
    Stage::per_user_with(Setup::new().set("LOG", "trace")).await
}

#[tokio::test]
async fn c27_c28_c31_the_main_job_leaves_no_secret_behind() {
    let mut stage = loud().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    let cookies: Vec<_> = browser.cookies["127.0.0.1"].values().cloned().collect();
    let ticket = flow.url.rsplit('/').next().expect("a ticket").to_owned();
    let mut known = vec![flow.state, ticket];
    known.extend(cookies);
    search(&mut stage, known.clone()).await;

    browser.open(callback.as_str()).await.connected();
    stage.user.call("api", "/api/whoami").await;
    stage.user.renew("api").await.expect(200);
    stage.fake.reject_access_tokens();
    stage.user.call("api", "/api/whoami").await;
    let key = stage
        .admin
        .make_key(&["tokens:read"], json!({"profileUid": "u1"}))
        .await;
    key.token("api").await.expect(200);
    known.push(key.key);
    search(&mut stage, known.clone()).await;

    stage.valetkey.restart().await;
    stage.user.call("api", "/api/whoami").await;
    search(&mut stage, known.clone()).await;

    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    stage.admin.delete("/api/actions/connector/api").await.expect(204);
    search(&mut stage, known.clone()).await;
    stage.valetkey.kill().await;
    stage.valetkey.start_again().await;
    search(&mut stage, known).await;
}

#[tokio::test]
async fn what_is_no_secret_is_found_by_the_same_search() {
    let mut stage = Stage::with(Setup::new().set("LOG", "trace")).await;
    let (name, path) = (secret("a-name"), secret("a-path"));
    stage
        .admin
        .create("api", &stage.connector_with(&json!({"name": name}), &json!({})))
        .await;
    stage.admin.get(&format!("/{path}")).await.expect(404);
    let control = Canaries::new([name, path]);
    assert_eq!(control.found_below(&stage.valetkey.setup.data_dir()).len(), 1);
    assert_eq!(
        control.found_in(stage.valetkey.whole_output().await.as_bytes()).len(),
        1
    );
}

#[tokio::test]
async fn c27_c28_failures_leave_no_secret_behind() {
    let mut stage = loud().await;
    let echo = |status: u16| {
        let text = format!("no good: {}", stage.fake.client_secret());
        Script::Say(Reply::json(
            status,
            &json!({"error": "server_error", "error_description": text}),
        ))
    };
    let mut known = Vec::new();
    for script in [
        echo(400),
        echo(500),
        Script::lose(),
        Script::Say(Reply::json_text(200, "{\"access_token\":\"half-a-token-in-broken-json")),
    ] {
        stage.fake.script([script]);
        let flow = stage.user.start("api", json!({})).await;
        known.push(flow.state.clone());
        stage.finish(&flow).await;
    }
    known.push("half-a-token-in-broken-json".to_owned());
    let denied = Browser::new()
        .authorize(&stage.user.start("api", json!({})).await.url)
        .await;
    Browser::new()
        .open(denied.as_str())
        .await
        .failed(403, "flow_browser_mismatch");
    stage.fake.script([]);
    stage.connect(&stage.user, "api").await;
    stage.fake.forget_grants();
    stage.user.renew("api").await.expect(409);
    let rejected = secret("a-token-that-an-api-rejected");
    stage
        .user
        .on("api", "_oauth_access_token", json!({"rejectedToken": rejected}))
        .await
        .expect(409);
    known.push(rejected);
    search(&mut stage, known).await;
}

#[tokio::test]
async fn c27_fields_of_every_auth_type_are_sealed() {
    let mut stage = Stage::with(Setup::new().set("LOG", "trace")).await;
    let (token, password, api_key, client) = (
        secret("bearer-token"),
        secret("basic-password"),
        secret("header-key"),
        secret("machine-secret"),
    );
    let types = [
        ("b", json!({"authType": "bearer", "token": token})),
        (
            "p",
            json!({"authType": "basic", "username": "somebody", "password": password}),
        ),
        (
            "h",
            json!({"authType": "api_key_header", "headerField": "X-Key", "apiKey": api_key}),
        ),
        (
            "c",
            json!({"authType": "oauth_client_credentials", "tokenUrl": format!("{}/token", stage.fake.url), "clientId": "x", "clientSecret": client}),
        ),
    ];
    for (id, secrets) in types {
        let body = json!({"name": id, "connector_type_id": ".http", "config": {"baseUrl": stage.fake.url}, "secrets": secrets});
        stage.admin.create(id, &body).await;
        stage.admin.call(id, "/api/whoami").await;
    }
    let sent = stage.fake.seen("/api/whoami");
    assert_eq!(sent.len(), 3);
    assert_eq!(
        sent[0].header("authorization"),
        Some(format!("Bearer {token}").as_str())
    );
    assert_eq!(sent[2].header("x-key"), Some(api_key.as_str()));
    search(&mut stage, [token, password, api_key, client]).await;
}

#[tokio::test]
async fn a02_a_state_appears_in_the_answer_to_its_start_only() {
    let mut stage = Stage::per_user_with(Setup::new().set("LOG", "trace").set("OAUTH__FLOW_TTL", "2s")).await;
    let mut states = Vec::new();
    let mut pages = Vec::new();
    let done = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&done.url).await;
    pages.push(browser.open(callback.as_str()).await.body);
    pages.push(browser.open(callback.as_str()).await.body);
    states.push(done.state);
    let expired = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let connect = browser.open(&expired.url).await;
    let callback = browser.walk(connect.link("continue")).await;
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    pages.push(browser.open(callback.as_str()).await.body);
    states.push(expired.state.clone());
    let unknown = secret("unknown-state");
    pages.push(
        browser
            .open(altered(&callback, &[("state", Some(&unknown))]).as_str())
            .await
            .body,
    );
    states.push(unknown);
    let cancelled = stage.user.start("api", json!({})).await;
    stage
        .user
        .on("api", "_oauth_cancel", json!({"state": cancelled.state}))
        .await
        .expect(204);
    states.push(cancelled.state);
    let canaries = Canaries::new(states.clone());
    for page in &pages {
        canaries.are_not_in("a page", page);
    }
    stage.valetkey.restart().await;
    search(&mut stage, states).await;
}

#[tokio::test]
async fn a_key_that_was_made_at_the_first_start_is_printed_once() {
    let setup = Setup::new().unset("BOOTSTRAP_API_KEY");
    let mut valetkey = setup.start().await;
    let output = valetkey.output();
    let key = output
        .split_whitespace()
        .find(|word| word.starts_with("vk_"))
        .unwrap_or_else(|| panic!("no key in {output}"))
        .to_owned();
    let admin = setup.admin().with_key(&key);
    let keys: Vec<Value> =
        serde_json::from_value(admin.get("/api/security/api_keys").await.expect(200)).expect("a list");
    assert_eq!(keys.len(), 1);
    valetkey.restart().await;
    assert_eq!(valetkey.output().matches(&key).count(), 1, "once, at the first start");
    admin.get("/api/security/api_keys").await.expect(200);
    Canaries::new([key]).are_not_below(&setup.data_dir());
}
