//! What a connector learns from its issuer's metadata, and whom it does not believe.

use serde_json::{Value, json};

use crate::support::api::Answer;
use crate::support::browser::{Browser, Page, altered};
use crate::support::fake::Fake;
use crate::support::raw::Reply;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

/// Creates a connector that is told its issuer only.
async fn create_by_issuer(stage: &Stage, id: &str, issuer: &str) -> Answer {
    let urls = json!({"authorizationUrl": null, "tokenUrl": null, "revocationUrl": null, "issuer": issuer});
    stage
        .admin
        .post(
            &format!("/api/actions/connector/{id}"),
            &stage.connector_with(&json!({}), &urls),
        )
        .await
}

/// A stage whose provider publishes metadata and announces `iss`, with a connector `api`.
async fn announced() -> Stage {
    let stage = Stage::with(Setup::new()).await;
    let metadata = stage
        .fake
        .metadata(&json!({"authorization_response_iss_parameter_supported": true}));
    stage.fake.publish(Reply::json(200, &metadata));
    create_by_issuer(&stage, "api", &stage.fake.url).await.expect(200);
    stage
}

/// Finishes a new flow with this `iss` in the callback; `None` for none.
async fn finish_with_iss(stage: &Stage, iss: Option<&str>, error: bool) -> Page {
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    let mut changes = vec![("iss", iss)];
    if error {
        let words = Some("call 0800-EVIL");
        changes.extend([
            ("code", None),
            ("error", Some("access_denied")),
            ("error_description", words),
        ]);
    }
    let callback = altered(&callback, &changes);
    let page = browser.open(callback.as_str()).await;
    assert!(!page.body.contains("0800-EVIL"));
    if page.code().is_some() {
        // Whatever was wrong, the state is used up.
        browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    }
    page
}

#[tokio::test]
async fn an_issuer_is_enough_to_connect_refresh_and_revoke() {
    let stage = announced().await;
    stage.fake.set_iss(&stage.fake.url);
    stage.connect(&stage.user, "api").await;
    stage.user.renew("api").await.expect(200);
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    assert_eq!(stage.fake.revoked().len(), 2, "refresh token and access token");
}

#[tokio::test]
async fn a16_an_announced_iss_must_be_there() {
    let stage = announced().await;
    finish_with_iss(&stage, None, false).await.failed(400, "issuer_missing");
    assert_eq!(stage.fake.exchanges(), 0);
    assert_eq!(stage.user.status("api").await, "not_connected");
}

#[tokio::test]
async fn a17_a_wrong_iss_ends_the_flow_before_anything_the_provider_said_is_believed() {
    let stage = announced().await;
    finish_with_iss(&stage, Some("https://evil.example"), false)
        .await
        .failed(400, "issuer_mismatch");
    finish_with_iss(&stage, Some("https://evil.example"), true)
        .await
        .failed(400, "issuer_mismatch");
    assert_eq!(stage.fake.exchanges(), 0);
}

#[tokio::test]
async fn a18_an_iss_is_compared_byte_by_byte() {
    let stage = announced().await;
    let issuer = stage.fake.url.clone();
    let variants = [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        issuer.replace("http:", "HTTP:"),
        format!("{issuer}%2f"),
        format!("{issuer}/."),
        format!(" {issuer}"),
        issuer.replace("127.0.0.1", "127.1"),
    ];
    for iss in variants {
        finish_with_iss(&stage, Some(&iss), false)
            .await
            .failed(400, "issuer_mismatch");
    }
    assert_eq!(stage.fake.exchanges(), 0);
    finish_with_iss(&stage, Some(&issuer), false).await.connected();
}

#[tokio::test]
async fn a19_an_iss_that_was_not_announced_may_be_missing_but_not_wrong() {
    let stage = Stage::with(Setup::new()).await;
    stage.fake.publish(Reply::json(200, &stage.fake.metadata(&json!({}))));
    create_by_issuer(&stage, "api", &stage.fake.url).await.expect(200);
    finish_with_iss(&stage, Some("https://evil.example"), false)
        .await
        .failed(400, "issuer_mismatch");
    assert_eq!(stage.fake.exchanges(), 0);
    finish_with_iss(&stage, Some(&stage.fake.url), false).await.connected();
    finish_with_iss(&stage, None, false).await.connected();
}

#[tokio::test]
async fn a48_a_discovery_document_that_lies_is_refused() {
    let stage = Stage::with(Setup::new()).await;
    let elsewhere = Fake::start().await;
    let lie = |changes: Value| Reply::json(200, &stage.fake.metadata(&changes));
    let big = stage.fake.metadata(&json!({"padding": "x".repeat(2 << 20)}));
    let documents = [
        ("another issuer", lie(json!({"issuer": "https://evil.example"}))),
        (
            "the issuer with a slash",
            lie(json!({"issuer": format!("{}/", stage.fake.url)})),
        ),
        ("no issuer", lie(json!({"issuer": null}))),
        (
            "an endpoint that is no URL",
            lie(json!({"authorization_endpoint": "javascript:alert(1)"})),
        ),
        ("an endpoint of the wrong type", lie(json!({"token_endpoint": 7}))),
        ("no token endpoint", lie(json!({"token_endpoint": null}))),
        ("2 MiB", Reply::json(200, &big)),
        (
            "a redirect",
            Reply::redirect(
                302,
                &format!("{}/.well-known/oauth-authorization-server", elsewhere.url),
            ),
        ),
        ("a list", Reply::json(200, &json!([]))),
        ("no JSON", Reply::new(200, &[("content-type", "text/html")], "<html>")),
        ("an error", Reply::json(500, &json!({}))),
        ("nothing", Reply::hang_up()),
    ];
    elsewhere.publish(Reply::json(200, &stage.fake.metadata(&json!({}))));
    for (what, document) in documents {
        stage.fake.publish(document);
        let refused = create_by_issuer(&stage, "api", &stage.fake.url).await;
        assert_eq!(refused.status, 400, "{what}: {}", refused.text());
        refused.refused(400, "discovery_failed");
        stage
            .admin
            .get("/api/actions/connector/api")
            .await
            .refused(404, "connector_not_found");
    }
    assert!(elsewhere.seen("/.well-known/oauth-authorization-server").is_empty());
}

#[tokio::test]
async fn a48_an_endpoint_over_plain_http_is_never_used() {
    let stage = Stage::with(Setup::new()).await;
    for endpoint in ["authorization_endpoint", "token_endpoint"] {
        let metadata = stage.fake.metadata(&json!({endpoint: "http://as.example/x"}));
        stage.fake.publish(Reply::json(200, &metadata));
        let created = create_by_issuer(&stage, endpoint, &stage.fake.url).await;
        if created.status == 200 {
            stage
                .user
                .on(endpoint, "_start_oauth_flow", json!({}))
                .await
                .refused(400, "validation_failed");
        } else {
            created.refused(400, "discovery_failed");
        }
    }
}

#[tokio::test]
async fn a48_a_document_that_changes_later_changes_nothing() {
    let stage = announced().await;
    stage.fake.set_iss(&stage.fake.url);
    let evil = Fake::start().await;
    let moved = stage
        .fake
        .metadata(&json!({"token_endpoint": format!("{}/token", evil.url)}));
    stage.fake.publish(Reply::json(200, &moved));
    stage.connect(&stage.user, "api").await;
    stage.user.renew("api").await.expect(200);
    assert!(
        evil.seen("/token").is_empty(),
        "a secret went to an address that nobody confirmed"
    );
}
