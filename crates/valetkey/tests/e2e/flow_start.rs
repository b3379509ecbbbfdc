//! Starting a flow: what is sent to the provider, and what is refused before anybody is sent anywhere.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;
use valetkey_core::Timestamp;

use crate::support::api::{Answer, client};
use crate::support::browser::Browser;
use crate::support::canary::Canaries;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

#[tokio::test]
async fn a_start_answers_our_connect_page_the_state_and_the_end() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    assert!(
        flow.url.starts_with(&format!("{}/connect/", stage.valetkey.base())),
        "{}",
        flow.url
    );
    assert!(Timestamp::parse(&flow.expires_at).is_some(), "{}", flow.expires_at);
    assert!(!flow.url.contains(&flow.state));
    let page = Browser::new().open(&flow.url).await;
    assert_eq!(page.status, 200);
    for shown in ["An account", "u1", "127.0.0.1", "read", "write"] {
        assert!(page.text().contains(shown), "{shown} is not in {}", page.text());
    }
}

#[tokio::test]
async fn get_start_redirects_to_the_authorization_url() {
    let stage = Stage::per_user().await;
    let answer = stage.user.get("/api/actions/connector/api/oauth/start").await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert!(
        answer
            .header("location")
            .starts_with(&format!("{}/connect/", stage.valetkey.base()))
    );
    Browser::new().connect(answer.header("location")).await.connected();
    assert_eq!(stage.user.status("api").await, "connected");
}

#[tokio::test]
async fn without_confirmation_the_connect_page_redirects_at_once() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({"confirm": false})).await;
    let mut browser = Browser::new();
    let page = browser.open(&flow.url).await;
    let location = page.location().expect("a redirect");
    assert_eq!(location.origin().ascii_serialization(), stage.fake.url);
    let callback = browser.walk(location).await;
    browser.open(callback.as_str()).await.connected();
}

#[tokio::test]
async fn a01_states_are_256_random_bits_and_never_repeat() {
    let setup = Setup::new()
        .set("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "1000")
        .set("OAUTH__MAX_PENDING_FLOWS", "1000");
    let stage = Stage::per_user_with(setup).await;
    let mut states = BTreeSet::new();
    for _ in 0..300 {
        states.insert(stage.user.start("api", json!({})).await.state);
    }
    assert_eq!(states.len(), 300);
    let mut counts = BTreeMap::new();
    for state in &states {
        assert_eq!(state.len(), 43, "32 bytes in base64url");
        // The last character holds four bits only.
        state[..42].chars().for_each(|c| *counts.entry(c).or_insert(0.0) += 1.0);
    }
    assert_eq!(counts.len(), 64, "every character of base64url: {counts:?}");
    let expected = 300.0 * 42.0 / 64.0;
    let chi_squared: f64 = counts.values().map(|n: &f64| (n - expected).powi(2) / expected).sum();
    // 63 degrees of freedom: beyond 150 once in ten million runs.
    assert!(chi_squared < 150.0, "{chi_squared}: {counts:?}");
    Canaries::new(states).are_not_below(&stage.valetkey.setup.data_dir());
}

#[tokio::test]
async fn a22_no_flow_is_started_without_credentials_in_a_header() {
    let stage = Stage::per_user().await;
    let (get, post) = (
        "/api/actions/connector/api/oauth/start",
        "/api/actions/connector/api/_start_oauth_flow",
    );
    Answer::to(client().get(stage.user.url(get)))
        .await
        .refused(401, "unauthenticated");
    Answer::to(client().post(stage.user.url(post)))
        .await
        .refused(401, "unauthenticated");
    let foreign = client()
        .post(stage.user.url(post))
        .header("origin", "https://evil.example");
    Answer::to(foreign.header("content-type", "text/plain").body("{}"))
        .await
        .refused(401, "unauthenticated");
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let request = stage
            .user
            .request(Method::POST, post)
            .header("content-type", media)
            .body("{}");
        Answer::to(request).await.refused(415, "unsupported_media_type");
    }
    assert!(stage.admin.audit("flow.start").await.is_empty());
}

#[tokio::test]
async fn a42_dangerous_urls_are_refused_when_they_are_saved() {
    let stage = Stage::with(Setup::new()).await;
    let urls = [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vscode://x/y",
        "ftp://as.example/auth",
        "https://user:pw@as.example/auth",
        "https://as.example/$(id)",
        "https://as.example/a\nb",
        "https://as.example/#f",
        "//as.example/auth",
        "/auth",
        "https://",
        "",
        "https://as.example/ü",
        "https:as.example",
        "https://as.example/\\x",
    ];
    for field in ["authorizationUrl", "tokenUrl", "revocationUrl"] {
        for url in urls.iter().filter(|u| !(u.is_empty() && field == "revocationUrl")) {
            let body = stage.connector_with(&json!({}), &json!({field: url}));
            let refusal = stage
                .admin
                .post("/api/actions/connector/bad", &body)
                .await
                .refused(400, "validation_failed");
            assert!(
                refusal["message"].as_str().expect("a message").contains(field),
                "{field} {url:?}: {refusal}"
            );
        }
    }
    stage
        .admin
        .get("/api/actions/connector/bad")
        .await
        .refused(404, "connector_not_found");
    // Plain http is a matter of the operator's list, and is refused before anybody is sent there.
    for field in ["authorizationUrl", "tokenUrl"] {
        let body = stage.connector_with(&json!({}), &json!({field: "http://as.example/x"}));
        let created = stage
            .admin
            .post(&format!("/api/actions/connector/{field}"), &body)
            .await;
        if created.status == 200 {
            stage
                .user
                .on(field, "_start_oauth_flow", json!({}))
                .await
                .refused(400, "validation_failed");
        } else {
            created.refused(400, "validation_failed");
        }
    }
}

#[tokio::test]
async fn a51_flows_that_wait_are_limited_for_each_user() {
    let stage = Stage::per_user_with(Setup::new().set("OAUTH__MAX_PENDING_FLOWS", "3")).await;
    for _ in 0..3 {
        stage.user.start("api", json!({})).await;
    }
    let refused = stage.user.on("api", "_start_oauth_flow", json!({})).await;
    refused.refused(429, "too_many_flows");
    assert!((1..=600).contains(&refused.retry_after()));
    stage.admin.for_user("u2").start("api", json!({})).await;
}

#[tokio::test]
async fn a_flow_needs_a_public_address() {
    let stage = Stage::per_user_with(Setup::new().unset("PUBLIC_BASE_URL")).await;
    stage
        .user
        .on("api", "_start_oauth_flow", json!({}))
        .await
        .refused(400, "public_base_url_missing");
}

#[tokio::test]
async fn a_flow_goes_to_allowed_hosts_only() {
    let stage = Stage::with(Setup::new().set("ALLOWED_HOSTS", "127.0.0.1")).await;
    for field in ["authorizationUrl", "tokenUrl"] {
        let body = stage.connector_with(&json!({}), &json!({field: "https://as.example/x"}));
        stage.admin.create(field, &body).await;
        stage
            .user
            .on(field, "_start_oauth_flow", json!({}))
            .await
            .refused(400, "host_not_allowed");
    }
}

#[tokio::test]
async fn a_connector_without_oauth_has_no_flow() {
    let stage = Stage::with(Setup::new()).await;
    let secrets = json!({"authType": "bearer", "token": "a-token-of-an-administrator"});
    let body =
        json!({"name": "x", "connector_type_id": ".http", "config": {"baseUrl": stage.fake.url}, "secrets": secrets});
    stage.admin.create("plain", &body).await;
    stage
        .user
        .on("plain", "_start_oauth_flow", json!({}))
        .await
        .refused(400, "auth_type_not_oauth");
    assert_eq!(stage.user.status("plain").await, "not_applicable");
}

#[tokio::test]
async fn a_per_user_flow_needs_a_user() {
    let stage = Stage::per_user().await;
    stage
        .admin
        .on("api", "_start_oauth_flow", json!({}))
        .await
        .refused(409, "user_required");
}
