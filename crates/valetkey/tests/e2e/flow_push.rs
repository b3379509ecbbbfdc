//! Pushed authorization requests: what is asked goes to the provider directly, and the browser carries a reference only.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::support::api::Started;
use crate::support::browser::{Browser, Page};
use crate::support::canary::Canaries;
use crate::support::raw::{Reply, fields};
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::until;

/// A stage whose provider takes pushed requests only, with a connector `api` that was told nothing but the issuer.
async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.fake.demand_pushes();
    stage.admin.create("api", &by_issuer(&stage)).await;
    stage
}

fn by_issuer(stage: &Stage) -> Value {
    let urls =
        json!({"authorizationUrl": null, "tokenUrl": null, "revocationUrl": null, "issuer": stage.fake.url.as_str()});
    stage.connector_with(&json!({}), &urls)
}

/// Opens the connect page of a flow in a browser, and says where its link goes: to a page of ours.
async fn open(stage: &Stage, browser: &mut Browser, flow: &Started) -> Url {
    let page = browser.open(&flow.url).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(!page.body.contains(&flow.state), "the state stays here");
    let link = page.link("continue");
    assert!(link.as_str().starts_with(&stage.valetkey.base()), "{link}");
    assert!(stage.fake.seen("/par").is_empty(), "a page pushes nothing");
    link
}

/// Where the browser is sent on to.
fn departure(page: &Page) -> Url {
    assert_eq!(page.header("cache-control"), "no-store");
    page.location()
        .unwrap_or_else(|| panic!("no departure: {} {}", page.status, page.text()))
}

#[tokio::test]
async fn a45_the_browser_carries_the_client_and_a_reference_and_nothing_else() {
    let stage = stage().await;
    let flow = stage.user.start("api", json!({"scopes": ["read"]})).await;
    assert!(
        stage.fake.seen("/par").is_empty(),
        "nothing is pushed before a person goes on"
    );
    let mut browser = Browser::new();
    let link = open(&stage, &mut browser, &flow).await;
    let to = departure(&browser.open(link.as_str()).await);
    assert!(
        to.as_str().starts_with(&format!("{}/authorize?", stage.fake.url)),
        "{to}"
    );
    let carried = fields(to.query().expect("a query"));
    assert_eq!(carried.keys().collect::<Vec<_>>(), ["client_id", "request_uri"]);

    let pushed = stage.fake.seen("/par")[0].form();
    assert_eq!(pushed["state"], flow.state);
    assert_eq!(pushed["code_challenge_method"], "S256");
    assert_eq!(
        (pushed["scope"].as_str(), pushed["response_type"].as_str()),
        ("read", "code")
    );
    let callback = browser.walk(to).await;
    browser.open(callback.as_str()).await.connected();
    let exchange = stage.fake.grants("authorization_code")[0].form();
    assert_eq!(exchange["redirect_uri"], pushed["redirect_uri"], "byte for byte (A40)");
    Canaries::new(stage.fake.secrets()).are_not_below(&stage.valetkey.setup.data_dir());
    stage.user.renew("api").await.expect(200);
}

#[tokio::test]
async fn a45_without_a_question_the_request_is_pushed_as_well() {
    let stage = stage().await;
    let flow = stage.user.start("api", json!({"confirm": false})).await;
    stage.finish(&flow).await.connected();
    assert_eq!(stage.fake.seen("/par").len(), 1);
}

#[tokio::test]
async fn a45_a_connector_may_push_where_nobody_demands_it() {
    let stage = Stage::new().await;
    let url = json!({"pushedAuthorizationUrl": format!("{}/par", stage.fake.url), "useBasicAuth": false});
    stage.admin.create("api", &stage.connector_with(&json!({}), &url)).await;
    stage.connect(&stage.user, "api").await;
    let pushed = &stage.fake.seen("/par")[0];
    assert!(pushed.form().contains_key("client_secret") && pushed.header("authorization").is_none());
    assert_eq!(stage.fake.seen("/authorize")[0].params().len(), 2);
}

#[tokio::test]
async fn a45_a_provider_that_does_not_demand_it_gets_the_request_from_the_browser() {
    let stage = Stage::new().await;
    let endpoint = json!({"pushed_authorization_request_endpoint": format!("{}/par", stage.fake.url)});
    stage.fake.publish(Reply::json(200, &stage.fake.metadata(&endpoint)));
    stage.admin.create("api", &by_issuer(&stage)).await;
    stage.connect(&stage.user, "api").await;
    assert!(stage.fake.seen("/par").is_empty());
}

#[tokio::test]
async fn a45_a_reload_pushes_again_and_no_reference_is_used_twice() {
    let stage = stage().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let link = open(&stage, &mut browser, &flow).await;
    let first = departure(&browser.open(link.as_str()).await);
    let second = departure(&browser.open(link.as_str()).await);
    assert_ne!(first, second);
    assert_eq!(stage.fake.seen("/par").len(), 2);
    let callback = browser.walk(second.clone()).await;
    assert_eq!(
        browser.open(second.as_str()).await.status,
        400,
        "the provider takes it once"
    );
    browser.open(callback.as_str()).await.connected();
    browser.open(link.as_str()).await.failed(409, "flow_already_used");
    assert_eq!(stage.fake.seen("/par").len(), 2, "a flow that is over pushes nothing");
}

#[tokio::test]
async fn a45_a_refused_push_never_falls_back_to_plain_parameters() {
    let stage = stage().await;
    let error = |status, code: &str| Reply::json(status, &json!({"error": code}));
    let wait = [("retry-after", "7"), ("content-type", "application/json")];
    let elsewhere = format!("{}/par2", stage.fake.url);
    let refusals = [
        (error(400, "invalid_request"), "provider_config_error", ""),
        (error(400, "invalid_scope"), "provider_config_error", ""),
        (error(401, "invalid_client"), "client_rejected", ""),
        (Reply::new(413, &[], ""), "provider_config_error", ""),
        (Reply::new(429, &wait, "{}"), "provider_unavailable", "7"),
        (Reply::new(503, &wait, "{}"), "provider_unavailable", "7"),
        (Reply::redirect(307, &elsewhere), "provider_redirected", ""),
        (
            Reply::json(201, &json!({"expires_in": 60})),
            "provider_bad_response",
            "",
        ),
        (
            Reply::json(201, &json!({"request_uri": "urn:x", "expires_in": 0})),
            "provider_bad_response",
            "",
        ),
        (
            Reply::new(201, &[("content-type", "text/html")], "<html>"),
            "provider_bad_response",
            "",
        ),
        (Reply::hang_up(), "provider_unavailable", ""),
    ];
    for (reply, code, retry_after) in refusals {
        let flow = stage.user.start("api", json!({})).await;
        let mut browser = Browser::new();
        let page = browser.open(&flow.url).await;
        stage.fake.answer_pushes([reply]);
        let refused = browser.open(page.link("continue").as_str()).await;
        refused.failed(502, code);
        assert_eq!(refused.header("retry-after"), retry_after, "{code}");
        assert_eq!(refused.header("location"), "");
        assert!(!refused.body.contains(&flow.state));
        // Nothing was used up: when the provider is well again, so is the flow.
        let callback = browser.walk(page.link("continue")).await;
        browser.open(callback.as_str()).await.connected();
    }
    assert!(stage.fake.seen("/par2").is_empty());
    for seen in stage.fake.seen("/authorize") {
        assert_eq!(seen.params().len(), 2, "{}", seen.query);
    }
}

#[tokio::test]
async fn a45_a_reference_that_came_too_late_is_not_used() {
    let stage = stage().await;
    stage.fake.set_pushed_seconds(1);
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let link = open(&stage, &mut browser, &flow).await;
    let gate = stage.fake.hold_tokens();
    let mut late = browser.clone();
    let (page, ()) = tokio::join!(late.open(link.as_str()), async {
        until("the push", async || (!stage.fake.seen("/par").is_empty()).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        gate.open();
    });
    page.failed(502, "provider_unavailable");
    assert!(stage.fake.seen("/authorize").is_empty());
    let callback = browser.walk(link).await;
    browser.open(callback.as_str()).await.connected();
}

#[tokio::test]
async fn a45_only_the_browser_that_opened_the_link_is_sent_on() {
    let stage = stage().await;
    let flow = stage.user.start("api", json!({})).await;
    let link = format!("{}/continue", flow.url);
    Browser::new().open(&link).await.failed(403, "flow_browser_mismatch");
    let mut browser = Browser::new();
    browser.open(&flow.url).await;
    Browser::new().open(&link).await.failed(403, "flow_browser_mismatch");
    assert_eq!(browser.open_with(Method::HEAD, &link, &[]).await.status, 405);
    let prefetch = [("sec-purpose", "prefetch")];
    assert_eq!(browser.open_with(Method::GET, &link, &prefetch).await.status, 503);
    browser
        .open(&format!("{}/connect/unknown/continue", stage.valetkey.base()))
        .await
        .failed(404, "ticket_unknown");
    assert!(stage.fake.seen("/par").is_empty());
    assert_eq!(browser.open(&link).await.status, 302);
}

#[tokio::test]
async fn a45_what_changed_since_the_start_is_not_pushed() {
    let stage = stage().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let link = open(&stage, &mut browser, &flow).await;
    let mut renamed = by_issuer(&stage);
    renamed["name"] = "Renamed".into();
    renamed.as_object_mut().expect("an object").remove("connector_type_id");
    stage
        .admin
        .put("/api/actions/connector/api", &renamed)
        .await
        .expect(200);
    browser.open(link.as_str()).await.failed(409, "provider_changed");
    let cancelled = stage.user.start("api", json!({})).await;
    let link = open(&stage, &mut browser, &cancelled).await;
    stage
        .user
        .on("api", "_oauth_cancel", json!({"state": cancelled.state}))
        .await
        .expect(204);
    browser.open(link.as_str()).await.failed(409, "flow_already_used");
    assert!(stage.fake.seen("/par").is_empty());
}

#[tokio::test]
async fn a45_one_flow_does_not_make_us_push_without_end() {
    let stage = stage().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let link = open(&stage, &mut browser, &flow).await;
    for _ in 0..10 {
        assert_eq!(browser.open(link.as_str()).await.status, 302);
    }
    let refused = browser.open(link.as_str()).await;
    refused.failed(429, "rate_limited");
    assert!(
        refused
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|s| (590..=600).contains(&s))
    );
    assert_eq!(stage.fake.seen("/par").len(), 10);
}

#[tokio::test]
async fn a45_a_provider_that_does_not_say_where_to_push_cannot_be_used() {
    let stage = Stage::with(Setup::new()).await;
    let demands = json!({"require_pushed_authorization_requests": true});
    stage.fake.publish(Reply::json(200, &stage.fake.metadata(&demands)));
    stage
        .admin
        .post("/api/actions/connector/api", &by_issuer(&stage))
        .await
        .refused(400, "discovery_failed");
    let insecure = json!({"pushedAuthorizationUrl": "http://as.example/par"});
    stage
        .admin
        .create("insecure", &stage.connector_with(&json!({}), &insecure))
        .await;
    stage
        .user
        .on("insecure", "_start_oauth_flow", json!({}))
        .await
        .refused(400, "validation_failed");
}
