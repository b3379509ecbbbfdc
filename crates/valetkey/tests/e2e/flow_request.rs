//! The authorization request: what is sent to the provider, and who decides about it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::support::api::{Answer, Started};
use crate::support::browser::Browser;
use crate::support::canary::Canaries;
use crate::support::fake::CLIENT_ID;
use crate::support::raw::{Reply, fields};
use crate::support::s256;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

/// The authorization request behind a connect link.
async fn authorization_request(flow: &Started) -> (Url, BTreeMap<String, String>) {
    let page = Browser::new().open(&flow.url).await;
    let url = page.location().unwrap_or_else(|| page.link("continue"));
    let params = fields(url.query().unwrap_or_default());
    (url, params)
}

#[tokio::test]
async fn the_authorization_request_has_what_rfc_6749_asks_for_and_nothing_else() {
    let stage = Stage::with(Setup::new()).await;
    let url = format!("{}/authorize?tenant=a%20b", stage.fake.url);
    stage
        .admin
        .create(
            "api",
            &stage.connector_with(&json!({}), &json!({"authorizationUrl": url})),
        )
        .await;
    let flow = stage.user.start("api", json!({})).await;
    let (url, mut params) = authorization_request(&flow).await;
    assert!(url.as_str().starts_with(&format!("{}/authorize?", stage.fake.url)));
    assert_eq!(params.remove("code_challenge").map(|c| c.len()), Some(43));
    let redirect_uri = format!("{}/api/actions/connector/_oauth_callback/api", stage.valetkey.base());
    let expected = [
        ("client_id", CLIENT_ID),
        ("code_challenge_method", "S256"),
        ("redirect_uri", &redirect_uri),
        ("response_type", "code"),
        ("scope", "read write"),
        ("state", &flow.state),
        ("tenant", "a b"),
    ];
    assert_eq!(
        params,
        expected
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect()
    );
}

#[tokio::test]
async fn an_empty_scope_is_left_out() {
    let stage = Stage::with(Setup::new()).await;
    stage
        .admin
        .create("api", &stage.connector_with(&json!({}), &json!({"scope": null})))
        .await;
    let flow = stage.user.start("api", json!({})).await;
    assert!(!authorization_request(&flow).await.1.contains_key("scope"));
}

#[tokio::test]
async fn a25_parameters_of_the_protocol_cannot_be_overridden() {
    let stage = Stage::with(Setup::new()).await;
    let reserved = [
        "response_type",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
        "client_id",
        "scope",
        "nonce",
        "response_mode",
        "resource",
        "request",
        "request_uri",
        "iss",
        "State",
        "CLIENT_ID",
        "redirect%5Furi",
    ];
    for name in reserved {
        let body = stage.connector_with(&json!({}), &json!({"extraParams": {name: "x"}}));
        let refusal = stage
            .admin
            .post("/api/actions/connector/api", &body)
            .await
            .refused(400, "reserved_parameter");
        assert!(!refusal["message"].as_str().expect("a message").is_empty(), "{name}");
        stage
            .admin
            .get("/api/actions/connector/api")
            .await
            .refused(404, "connector_not_found");
    }
    let extra = json!({"extraParams": {"audience": "a b&c"}});
    stage
        .admin
        .create("api", &stage.connector_with(&json!({}), &extra))
        .await;
    let flow = stage.user.start("api", json!({})).await;
    assert_eq!(authorization_request(&flow).await.1["audience"], "a b&c");
    for name in reserved {
        stage
            .user
            .on("api", "_start_oauth_flow", json!({name: "x"}))
            .await
            .refused(400, "unknown_field");
    }
}

#[tokio::test]
async fn a27_a_verifier_is_long_checked_by_the_provider_and_stored_only_sealed() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let (_, params) = authorization_request(&flow).await;
    stage.connect(&stage.user, "api").await;
    let verifier = stage.fake.grants("authorization_code")[0].form()["code_verifier"].clone();
    assert!(
        (43..=128).contains(&verifier.len())
            && verifier
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    );
    assert_ne!(
        s256(&verifier),
        params["code_challenge"],
        "each flow has its own verifier"
    );
    Canaries::new([verifier]).are_not_below(&stage.valetkey.setup.data_dir());
}

#[tokio::test]
async fn a28_pkce_does_not_depend_on_what_metadata_say() {
    let stage = Stage::with(Setup::new()).await;
    for (id, methods) in [("silent", Value::Null), ("plain", json!(["plain"]))] {
        let metadata = stage
            .fake
            .metadata(&json!({"code_challenge_methods_supported": methods}));
        stage.fake.publish(Reply::json(200, &metadata));
        let urls = json!({"authorizationUrl": null, "tokenUrl": null, "revocationUrl": null, "issuer": stage.fake.url});
        stage.admin.create(id, &stage.connector_with(&json!({}), &urls)).await;
        let flow = stage.user.start(id, json!({})).await;
        assert_eq!(authorization_request(&flow).await.1["code_challenge_method"], "S256");
    }
}

#[tokio::test]
async fn a40_the_redirect_uri_is_the_same_at_both_requests() {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let authorization = stage.fake.seen("/authorize")[0].params();
    let exchange = stage.fake.grants("authorization_code")[0].form();
    assert_eq!(authorization["redirect_uri"], exchange["redirect_uri"]);
    let connector = stage.admin.get("/api/actions/connector/api").await.expect(200);
    assert_eq!(connector["redirect_uri"], exchange["redirect_uri"]);
}

#[tokio::test]
async fn a41_the_redirect_uri_comes_from_the_settings_only() {
    let stage = Stage::per_user().await;
    for header in [
        "host",
        "x-forwarded-host",
        "forwarded",
        "x-forwarded-proto",
        "x-original-host",
    ] {
        let value = if header == "forwarded" {
            "host=evil.example;proto=https"
        } else {
            "evil.example"
        };
        let path = "/api/actions/connector/api/_start_oauth_flow";
        let answer = Answer::to(
            stage
                .user
                .request(Method::POST, path)
                .header(header, value)
                .json(&json!({})),
        )
        .await;
        // A server may refuse to answer under a name that is not its own; it may not believe it.
        if answer.status == 421 {
            continue;
        }
        let url = answer.expect(200)["authorizationUrl"]
            .as_str()
            .expect("a URL")
            .to_owned();
        let flow = Started {
            url,
            state: String::new(),
            expires_at: String::new(),
        };
        let (_, params) = authorization_request(&flow).await;
        assert!(
            params["redirect_uri"].starts_with(&stage.valetkey.base()),
            "{header}: {}",
            params["redirect_uri"]
        );
    }
}

#[tokio::test]
async fn a43_scopes_are_the_connectors_or_fewer() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({"scopes": ["write"]})).await;
    assert_eq!(authorization_request(&flow).await.1["scope"], "write");
    for scopes in [
        json!(["admin"]),
        json!(["read", "admin"]),
        json!(["read,admin"]),
        json!(["read admin"]),
        json!(["read%20admin"]),
        json!(["READ"]),
        json!([""]),
    ] {
        stage
            .user
            .on("api", "_start_oauth_flow", json!({"scopes": scopes}))
            .await
            .refused(403, "scope_not_allowed");
    }
}

#[tokio::test]
async fn a44_the_resource_is_the_same_in_every_request() {
    let stage = Stage::with(Setup::new()).await;
    let with = |resource: &str| stage.connector_with(&json!({}), &json!({"resource": resource}));
    let fragment = with("https://api.example/v1#part");
    stage
        .admin
        .post("/api/actions/connector/bad", &fragment)
        .await
        .refused(400, "validation_failed");
    stage.admin.create("api", &with("https://api.example/v1?x=1")).await;
    stage.connect(&stage.user, "api").await;
    stage.user.renew("api").await.expect(200);
    assert_eq!(
        stage.fake.seen("/authorize")[0].params()["resource"],
        "https://api.example/v1?x=1"
    );
    let forms: Vec<_> = stage
        .fake
        .seen("/token")
        .iter()
        .map(|s| s.form()["resource"].clone())
        .collect();
    assert_eq!(forms, ["https://api.example/v1?x=1", "https://api.example/v1?x=1"]);
}
