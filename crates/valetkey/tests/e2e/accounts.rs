//! Several accounts of one owner at one connector, told apart by the name of the connection.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::fake::Fake;
use crate::support::stage::Stage;

/// Lets `alice` connect the account of the default connection, and `work` the one named so.
async fn two_accounts() -> Stage {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    stage.fake.sign_in("work-account");
    let flow = stage.user.start("api", json!({"connection": "Arbeit für Köln"})).await;
    stage.finish(&flow).await.connected();
    stage
}

async fn whoami(api: &Api, connection: Option<&str>) -> Value {
    let mut body = json!({"params": {"subAction": "request", "subActionParams": {"path": "/api/whoami"}}});
    if let Some(name) = connection {
        body["connection"] = name.into();
    }
    let result = api.on("api", "_execute", body).await.expect(200);
    match result["status"].as_str() {
        Some("ok") => result["data"]["data"]["account"].clone(),
        _ => result["authorization"]["reason"].clone(),
    }
}

#[tokio::test]
async fn each_connection_is_its_own_account() {
    let stage = two_accounts().await;
    assert_eq!(whoami(&stage.user, None).await, "alice");
    assert_eq!(whoami(&stage.user, Some("default")).await, "alice");
    assert_eq!(whoami(&stage.user, Some("Arbeit für Köln")).await, "work-account");
    assert_eq!(whoami(&stage.user, Some("arbeit für köln")).await, "no_token");
    let other = stage.admin.for_user("u2");
    assert_eq!(whoami(&other, Some("Arbeit für Köln")).await, "no_token");
    let token = stage
        .user
        .on("api", "_oauth_access_token", json!({"connection": "Arbeit für Köln"}))
        .await
        .expect(200);
    assert_ne!(token["access_token"], stage.user.token_text("api").await);
}

#[tokio::test]
async fn ending_one_connection_leaves_the_other() {
    let stage = two_accounts().await;
    stage
        .user
        .on("api", "_oauth_disconnect", json!({"connection": "Arbeit für Köln"}))
        .await
        .expect(204);
    assert_eq!(whoami(&stage.user, Some("Arbeit für Köln")).await, "no_token");
    assert_eq!(whoami(&stage.user, None).await, "alice");
    assert_eq!(
        stage.fake.revoked().len(),
        2,
        "the refresh token and the access token of one of them"
    );
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    assert_eq!(stage.user.status("api").await, "not_connected");
    assert_eq!(stage.fake.revoked().len(), 4);
}

#[tokio::test]
async fn a_deleted_connector_revokes_the_connections_of_everybody() {
    let stage = two_accounts().await;
    stage.connect(&stage.admin.for_user("u2"), "api").await;
    stage.admin.delete("/api/actions/connector/api").await.expect(204);
    assert_eq!(stage.fake.revoked().len(), 6);
    stage.admin.create("api", &stage.connector()).await;
    assert_eq!(
        stage.user.status("api").await,
        "not_connected",
        "what ended does not come back"
    );
}

#[tokio::test]
async fn tokens_are_not_revoked_at_addresses_that_they_were_not_given_for() {
    let stage = two_accounts().await;
    let evil = Fake::start().await;
    let revocation = json!({"revocationUrl": format!("{}/revoke", evil.url)});
    let moved = stage.connector_with(&json!({"connector_type_id": null}), &revocation);
    stage.admin.put("/api/actions/connector/api", &moved).await.expect(200);
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    assert_eq!(stage.admin.last_outcome("token.revoke").await, "connector_changed");
    stage.admin.delete("/api/actions/connector/api").await.expect(204);
    assert!(evil.seen("/revoke").is_empty());
    assert!(stage.fake.revoked().is_empty());
    stage.admin.create("api", &stage.connector()).await;
    assert_eq!(stage.user.status("api").await, "not_connected");
}
