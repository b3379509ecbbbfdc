//! The callback: what makes a flow end well, and everything that must not.

use serde_json::json;

use crate::support::browser::{Browser, altered, param};
use crate::support::canary::Canaries;
use crate::support::fake::{Fake, Script};
use crate::support::raw::Reply;
use crate::support::secret;
use crate::support::stage::{Stage, connector_for};
use crate::support::valetkey::Setup;
use crate::support::wait::together;

/// Where the provider sends people back to, for a connector of the default space.
fn callback_of(stage: &Stage, context: &str) -> String {
    format!(
        "{}/api/actions/connector/_oauth_callback/{context}",
        stage.valetkey.base()
    )
}

#[tokio::test]
async fn a03_a_callback_without_a_state_is_refused() {
    let stage = Stage::per_user().await;
    for query in ["?code=abc", "?code=abc&state=", "", "?"] {
        let url = callback_of(&stage, "api") + query;
        Browser::new().open(&url).await.failed(400, "flow_invalid");
    }
    assert!(stage.fake.seen("/token").is_empty());
    assert_eq!(stage.user.status("api").await, "not_connected");
}

#[tokio::test]
async fn a04_a_forged_state_is_refused_like_any_other() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let real = browser.authorize(&flow.url).await;
    let other = if flow.state.starts_with('A') { "B" } else { "A" };
    let forged = [
        "x".repeat(43),
        format!("{other}{}", &flow.state[1..]),
        flow.state[..42].to_owned(),
        "x".repeat(4000),
        "*".to_owned(),
    ];
    let mut bodies = Vec::new();
    for state in forged {
        let page = browser.open(altered(&real, &[("state", Some(&state))]).as_str()).await;
        page.failed(400, "flow_invalid");
        bodies.push(page.comparable());
    }
    assert!(
        bodies.windows(2).all(|pair| pair[0] == pair[1]),
        "the pages tell the cases apart: {bodies:?}"
    );
    assert!(stage.fake.seen("/token").is_empty());
    browser.open(real.as_str()).await.connected();
}

#[tokio::test]
async fn a04_another_tenants_state_looks_like_one_that_does_not_exist() {
    let stage = Stage::per_user().await;
    let (victim, thief) = (stage.user.clone(), stage.admin.in_space("thieves").for_user("thief"));
    thief.create("lair", &stage.connector()).await;
    let mut browser = Browser::new();
    let real = browser.authorize(&victim.start("api", json!({})).await.url).await;
    let stolen = param(&real, "state");
    let lair = |state: &str| callback_of(&stage, &format!("thieves.lair?code=x&state={state}"));

    // The thief has a flow of his own under way, so that his browser is no blank one.
    let mut thief_browser = Browser::new();
    thief_browser.authorize(&thief.start("lair", json!({})).await.url).await;
    let other = if stolen.starts_with('A') { "B" } else { "A" };
    let mut bodies = Vec::new();
    for state in [
        stolen.clone(),
        "x".repeat(43),
        format!("{other}{}", &stolen[1..]),
        stolen,
    ] {
        let page = thief_browser.open(&lair(&state)).await;
        page.failed(400, "flow_invalid");
        assert!(page.set_cookies().is_empty());
        bodies.push(page.comparable());
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    assert!(stage.fake.seen("/token").is_empty());
    // What was stolen is worth nothing to anybody any more, and whoever lost it can see that.
    browser.open(real.as_str()).await.failed(409, "flow_already_used");
    let rejected = &stage.admin.audit("flow.reject").await;
    assert!(
        rejected
            .iter()
            .any(|r| r["connector"] == "api" && r["outcome"] == "flow_invalid"),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn a05_a_flow_ends_with_its_time_to_live() {
    let stage = Stage::per_user_with(Setup::new().set("OAUTH__FLOW_TTL", "1s")).await;
    let flow = stage.user.start("api", json!({})).await;
    let unopened = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    browser.open(callback.as_str()).await.failed(400, "flow_expired");
    let late = Browser::new().open(&unopened.url).await;
    assert_eq!(late.status, 400);
    assert!(["flow_expired", "flow_invalid"].contains(&late.code().expect("a code").as_str()));
    assert!(stage.fake.seen("/token").is_empty());
    assert_eq!(stage.user.status("api").await, "not_connected");
}

#[tokio::test]
async fn a06_a_successful_callback_works_once() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    let before = browser.clone();
    browser.open(callback.as_str()).await.connected();
    let token = stage.user.token_text("api").await;
    for mut again in [browser, before.clone(), before] {
        again.open(callback.as_str()).await.failed(409, "flow_already_used");
    }
    assert_eq!(stage.fake.exchanges(), 1);
    assert_eq!(stage.user.token_text("api").await, token);
    assert_eq!(stage.admin.last_outcome("flow.reject").await, "flow_already_used");
}

#[tokio::test]
async fn a07_two_callbacks_race_with_one_state_and_one_wins() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    let racers = (0..50).map(|_| {
        let (mut browser, url) = (browser.clone(), callback.to_string());
        async move { browser.open(&url).await }
    });
    let pages = together(racers).await;
    let (won, lost): (Vec<_>, Vec<_>) = pages.into_iter().partition(|page| page.status == 200);
    assert_eq!(won.len(), 1);
    for page in lost {
        page.failed(409, "flow_already_used");
    }
    assert_eq!(stage.fake.exchanges(), 1);
    assert_eq!(stage.user.call("api", "/api/whoami").await["status"], "ok");
}

#[tokio::test]
async fn a08_a_failed_exchange_uses_the_state_up() {
    let stage = Stage::per_user().await;
    stage.fake.script([Script::Say(Reply::json(500, &json!({})))]);
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    browser
        .open(callback.as_str())
        .await
        .failed(502, "provider_unavailable");
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    assert_eq!(stage.fake.exchanges(), 1);
    assert_eq!(stage.user.status("api").await, "not_connected");
}

#[tokio::test]
async fn a15_a_callback_in_another_context_is_refused() {
    let stage = Stage::per_user().await;
    let evil = Fake::start().await;
    stage
        .admin
        .create("evil", &connector_for(&evil, &json!({}), &json!({})))
        .await;
    for (started, delivered) in [
        ("api", "evil"),
        ("evil", "api"),
        ("api", "slack2"),
        ("api", "nobody"),
        ("api", "API"),
    ] {
        let flow = stage.user.start(started, json!({})).await;
        let mut browser = Browser::new();
        let callback = browser.authorize(&flow.url).await;
        let url = format!(
            "{}?{}",
            callback_of(&stage, delivered),
            callback.query().expect("a query")
        );
        browser.open(&url).await.failed(400, "context_mismatch");
        browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    }
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let bare = browser
        .authorize(&flow.url)
        .await
        .as_str()
        .replace("/_oauth_callback/api", "/_oauth_callback");
    browser.open(&bare).await.failed(400, "context_mismatch");
    assert!(stage.fake.seen("/token").is_empty() && evil.seen("/token").is_empty());
    // The last one is written with the end of its flow, maybe before those that belong to no change.
    let rejected = stage.admin.audit("flow.reject").await;
    let last = rejected.iter().find(|record| record["outcome"] == "context_mismatch");
    assert!(last.expect("a record")["details"]["flow"].is_string());
}

#[tokio::test]
async fn the_bare_callback_is_for_connectors_that_ask_for_it() {
    let stage = Stage::with(Setup::new()).await;
    let body = stage.connector_with(&json!({"legacyRedirectUri": true}), &json!({}));
    let created = stage.admin.create("api", &body).await;
    stage.connect(&stage.user, "api").await;
    let sent = stage.fake.seen("/authorize")[0].params()["redirect_uri"].clone();
    assert!(sent.ends_with("/_oauth_callback"), "{sent}");
    assert_eq!(
        created["redirect_uri"], sent,
        "what is to be registered is what is sent"
    );
}

#[tokio::test]
async fn a21_a_connector_that_changed_since_the_start_ends_the_flow() {
    let stage = Stage::per_user().await;
    let elsewhere = Fake::start().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    let mut changed = stage.connector_with(&json!({"connector_type_id": null}), &json!({}));
    changed["secrets"]["tokenUrl"] = format!("{}/token", elsewhere.url).into();
    stage
        .admin
        .put("/api/actions/connector/api", &changed)
        .await
        .expect(200);
    browser.open(callback.as_str()).await.failed(409, "provider_changed");
    assert!(stage.fake.seen("/token").is_empty() && elsewhere.seen("/token").is_empty());
    assert_eq!(stage.user.status("api").await, "not_connected");
}

#[tokio::test]
async fn a23_states_of_two_connectors_cannot_be_swapped() {
    let stage = Stage::per_user().await;
    stage.admin.create("other", &stage.connector()).await;
    let mut browser = Browser::new();
    let x = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    let y = browser.authorize(&stage.user.start("other", json!({})).await.url).await;
    let swapped = |into: &url::Url, from: &url::Url| altered(into, &[("state", Some(&param(from, "state")))]);
    browser
        .open(swapped(&x, &y).as_str())
        .await
        .failed(400, "context_mismatch");
    browser
        .open(swapped(&y, &x).as_str())
        .await
        .failed(400, "context_mismatch");
    assert!(stage.fake.seen("/token").is_empty());
}

#[tokio::test]
async fn a24_parallel_flows_of_one_user_do_not_disturb_each_other() {
    let stage = Stage::per_user().await;
    let mut browser = Browser::new();
    let first = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    stage.fake.sign_in("second-account");
    let second = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    browser.open(second.as_str()).await.connected();
    assert_eq!(
        stage.user.call("api", "/api/whoami").await["data"]["data"]["account"],
        "second-account"
    );
    browser.open(first.as_str()).await.connected();
    assert_eq!(
        stage.user.call("api", "/api/whoami").await["data"]["data"]["account"],
        "alice",
        "the last one counts"
    );
}

#[tokio::test]
async fn a29_a_stolen_code_is_worth_nothing_in_another_flow() {
    let stage = Stage::per_user().await;
    let victim = stage.user.start("api", json!({})).await;
    let stolen = Browser::new().authorize(&victim.url).await;
    let mallory = stage.admin.for_user("mallory");
    let mut browser = Browser::new();
    let own = browser.authorize(&mallory.start("api", json!({})).await.url).await;
    let injected = altered(&own, &[("code", Some(&param(&stolen, "code")))]);
    browser.open(injected.as_str()).await.failed(400, "code_rejected");
    assert_eq!(stage.fake.exchanges(), 1);
    assert_eq!(mallory.status("api").await, "not_connected");
}

#[tokio::test]
async fn a30_tokens_in_the_query_are_not_taken_and_not_logged() {
    let mut stage = Stage::per_user_with(Setup::new().set("LOG", "trace")).await;
    let token = secret("implicit-token");
    for with_code in [false, true] {
        let mut browser = Browser::new();
        let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
        let mut changes = vec![("access_token", Some(token.as_str())), ("token_type", Some("bearer"))];
        if !with_code {
            changes.push(("code", None));
        }
        browser
            .open(altered(&callback, &changes).as_str())
            .await
            .failed(400, "flow_invalid");
    }
    assert!(stage.fake.seen("/token").is_empty());
    Canaries::new([token]).are_not_in("the log", stage.valetkey.whole_output().await);
}

#[tokio::test]
async fn a31_repeated_parameters_are_refused() {
    let stage = Stage::per_user().await;
    for (doubled, same_state) in [
        ("state=other", false),
        ("code=other", true),
        ("iss=a&iss=b", true),
        ("code[]=x", true),
        ("state[x]=1", false),
        ("error[]=a", true),
    ] {
        let mut browser = Browser::new();
        let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
        browser
            .open(&format!("{callback}&{doubled}"))
            .await
            .failed(400, "duplicate_parameter");
        if same_state {
            browser.open(callback.as_str()).await.failed(409, "flow_already_used");
        }
    }
    assert!(stage.fake.seen("/token").is_empty());
}

#[tokio::test]
async fn a32_code_and_error_together_or_neither_are_refused() {
    let stage = Stage::per_user().await;
    for changes in [
        [("code", None)].as_slice(),
        &[("error", Some("access_denied"))],
        &[("code", Some(""))],
    ] {
        let mut browser = Browser::new();
        let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
        browser
            .open(altered(&callback, changes).as_str())
            .await
            .failed(400, "flow_invalid");
        browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    }
    assert!(stage.fake.seen("/token").is_empty());
}

#[tokio::test]
async fn a35_a_refusal_by_the_provider_is_told_in_our_words_and_keeps_what_was_there() {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let token = stage.user.token_text("api").await;
    let long = "e".repeat(300);
    let errors = [
        ("access_denied", 403, "denied_by_user"),
        ("server_error", 502, "provider_unavailable"),
        ("temporarily_unavailable", 502, "provider_unavailable"),
        ("invalid_scope", 502, "provider_config_error"),
        ("unauthorized_client", 502, "provider_config_error"),
        ("interaction_required", 400, "provider_refused"),
        ("never_heard_of", 400, "provider_refused"),
        (&long, 400, "provider_refused"),
    ];
    for (error, status, code) in errors {
        let mut browser = Browser::new();
        let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
        let refusal = altered(&callback, &[("code", None), ("error", Some(error))]);
        browser.open(refusal.as_str()).await.failed(status, code);
        browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    }
    assert_eq!(stage.fake.exchanges(), 1);
    assert_eq!(stage.user.token_text("api").await, token);
}

#[tokio::test]
async fn a52_a_right_that_was_withdrawn_finishes_nothing() {
    let stage = Stage::per_user().await;
    let key = stage
        .admin
        .make_key(&["oauth:connect", "connectors:read"], json!({"profileUid": "u9"}))
        .await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&key.start("api", json!({})).await.url).await;
    let keys = stage.admin.get("/api/security/api_keys").await.expect(200).to_string();
    let listed: Vec<serde_json::Value> = serde_json::from_str(&keys).expect("a list");
    let id = listed.iter().find(|k| k["profileUid"] == "u9").expect("the key")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    stage
        .admin
        .delete(&format!("/api/security/api_keys/{id}"))
        .await
        .expect(204);
    browser.open(callback.as_str()).await.failed(403, "connect_not_allowed");

    let mut browser = Browser::new();
    let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    stage.admin.delete("/api/actions/connector/api").await.expect(204);
    let page = browser.open(callback.as_str()).await;
    assert!(
        ["flow_invalid", "provider_changed"].contains(&page.code().unwrap_or_default().as_str()),
        "{}",
        page.text()
    );
    assert!(stage.fake.seen("/token").is_empty());
}

#[tokio::test]
async fn a55_a_flow_that_ends_in_popup_and_tab_ends_once() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let popup = browser.authorize(&flow.url).await;
    // The same link again in the same browser: still its own flow.
    let tab = browser.authorize(&flow.url).await;
    browser.open(popup.as_str()).await.connected();
    browser.open(tab.as_str()).await.failed(409, "flow_already_used");
    assert_eq!(stage.fake.exchanges(), 1);
    assert_eq!(stage.user.status("api").await, "connected");
}
