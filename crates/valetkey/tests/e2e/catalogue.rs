//! Connector types with an authorization server of their own, reached through `upstreams` as in an emulator.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::browser::{Browser, param};
use crate::support::fake::Fake;
use crate::support::raw::{Reply, Server, fields};
use crate::support::secret;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

/// A connector of a type of the catalogue, ready for a flow.
fn connector_of(type_id: &str) -> Value {
    let config = if type_id == ".sharepoint-online" {
        json!({"tenantId": "contoso.example"})
    } else {
        json!({})
    };
    let secrets =
        json!({"authType": "oauth_authorization_code", "clientId": "an-app", "clientSecret": secret("app-secret")});
    json!({"name": type_id, "connector_type_id": type_id, "config": config, "secrets": secrets})
}

#[tokio::test]
async fn a26_every_type_uses_pkce_with_s256_unless_its_spec_says_why_not() {
    let stage = Stage::with(Setup::new()).await;
    let types = stage.admin.get("/api/actions/connector_types").await.expect(200);
    let types: Vec<Value> = serde_json::from_value(types).expect("a list");
    let mut without = BTreeSet::new();
    let mut checked = 0;
    for (n, id) in types.iter().filter_map(|t| t["id"].as_str()).enumerate() {
        let (connector, mut body) = (format!("c{n}"), connector_of(id));
        if id == ".http" {
            body = stage.connector();
        }
        stage.admin.create(&connector, &body).await;
        let flow = stage.user.start(&connector, json!({})).await;
        let link = Browser::new().open(&flow.url).await.link("continue");
        let params = fields(link.query().expect("a query"));
        match params.get("code_challenge_method") {
            Some(method) => assert_eq!(method, "S256", "{id}"),
            None => {
                without.insert(id.to_owned());
            }
        }
        assert_eq!(params["state"], flow.state, "{id}");
        checked += 1;
    }
    assert!(checked >= 4, "{types:?}");
    assert_eq!(
        without,
        BTreeSet::from([".slack2".to_owned()]),
        "an opt-out needs a reason, in the spec and here"
    );
}

#[tokio::test]
async fn a38_the_account_that_was_connected_is_shown() {
    let tokens = (secret("slack-access"), secret("slack-refresh"));
    let answer = json!({
        "ok": true, "app_id": "A1", "team": {"id": "T1", "name": "Acme & Söhne"},
        "authed_user": {"id": "U1", "scope": "users:read", "access_token": tokens.0, "refresh_token": tokens.1, "token_type": "user", "expires_in": 3600},
    });
    let slack = Server::start(move |seen| match seen.path.as_str() {
        "/api/oauth.v2.access" => Reply::json(200, &answer),
        _ => Reply::json(200, &json!({"ok": true, "user": "alice"})),
    })
    .await;
    let setup = Setup::new().set("UPSTREAMS", &format!("https://slack.com={}", slack.origin));
    let stage = Stage::with(setup).await;
    let created = stage.admin.create("chat", &connector_of(".slack2")).await;
    assert!(
        created["redirect_uri"]
            .as_str()
            .is_some_and(|uri| uri.ends_with("/_oauth_callback/slack2")),
        "{created}"
    );
    let flow = stage.user.start("chat", json!({})).await;
    let mut browser = Browser::new();
    let link = browser.open(&flow.url).await.link("continue");
    assert_eq!(link.host_str(), Some("slack.com"), "the browser goes to the real place");
    let callback = format!("{}?code=x&state={}", param(&link, "redirect_uri"), flow.state);
    let page = browser.open(&callback).await;
    page.connected();
    assert!(page.text().contains("Acme & Söhne"), "{}", page.text());
    let token = stage.user.token("chat").await.expect(200);
    assert_eq!(token["account"], json!({"id": "U1", "label": "Acme & Söhne"}));
    assert_eq!(
        (token["access_token"].as_str(), &token["token_type"]),
        (Some(tokens.0.as_str()), &json!("Bearer"))
    );
}

#[tokio::test]
async fn b14_a_200_that_says_no_is_no() {
    let slack = Server::start(|seen| match seen.path.as_str() {
        "/api/oauth.v2.access" => Reply::json(200, &json!({"ok": false, "error": "invalid_code"})),
        _ => Reply::json(200, &json!({"ok": true})),
    })
    .await;
    let stage = Stage::with(Setup::new().set("UPSTREAMS", &format!("https://slack.com={}", slack.origin))).await;
    stage.admin.create("chat", &connector_of(".slack2")).await;
    let flow = stage.user.start("chat", json!({})).await;
    let mut browser = Browser::new();
    let link = browser.open(&flow.url).await.link("continue");
    let callback = format!("{}?code=x&state={}", param(&link, "redirect_uri"), flow.state);
    browser.open(&callback).await.failed(400, "code_rejected");
    assert_eq!(stage.user.status("chat").await, "not_connected");
}

#[tokio::test]
async fn a20_the_endpoints_of_a_fixed_provider_cannot_be_moved() {
    let stage = Stage::with(Setup::new()).await;
    for field in ["authorizationUrl", "tokenUrl", "revocationUrl"] {
        for type_id in [".slack2", ".notion", ".sharepoint-online"] {
            let mut body = connector_of(type_id);
            body["secrets"][field] = "https://evil.example/token".into();
            let refused = stage.admin.post("/api/actions/connector/moved", &body).await;
            assert_eq!(refused.status, 400, "{type_id} {field}: {}", refused.text());
        }
    }
    stage
        .admin
        .get("/api/actions/connector/moved")
        .await
        .refused(404, "connector_not_found");
}

#[tokio::test]
async fn a20_a_stored_secret_does_not_follow_an_edit_to_other_endpoints() {
    let stage = Stage::per_user().await;
    let evil = Fake::start().await;
    for field in [
        "tokenUrl",
        "revocationUrl",
        "authorizationUrl",
        "pushedAuthorizationUrl",
    ] {
        let mut body = stage.connector_with(&json!({"connector_type_id": null}), &json!({"clientSecret": null}));
        body["secrets"][field] = format!("{}/token", evil.url).into();
        stage
            .admin
            .put("/api/actions/connector/api", &body)
            .await
            .refused(400, "validation_failed");
    }
    let kept = stage.connector_with(
        &json!({"connector_type_id": null, "secrets": null, "name": "Renamed"}),
        &json!({}),
    );
    stage.admin.put("/api/actions/connector/api", &kept).await.expect(200);
    stage.connect(&stage.user, "api").await;
    assert!(evil.seen("/token").is_empty());
}

#[tokio::test]
async fn a_connector_cannot_take_the_name_of_a_redirect_uri_that_is_a_types() {
    let stage = Stage::with(Setup::new()).await;
    for id in ["slack2", "notion", "sharepoint-online"] {
        let refused = stage
            .admin
            .post(&format!("/api/actions/connector/{id}"), &stage.connector())
            .await;
        refused.refused(400, "validation_failed");
    }
}
