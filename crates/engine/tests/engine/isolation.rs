//! Whose connection serves whom: users, spaces, shared connections, changed connectors.

use serde_json::{Value, json};
use valetkey_core::ErrorCode;
use valetkey_engine::{ChangeConnector, Reason, UserAuthStatus};

use crate::support::{House, caller, caller_in, id, object, tokens};

async fn alice_connected() -> House {
    let house = House::build().await;
    house.connector("crm", "per-user", json!({})).await;
    house.wire.will(tokens("access-alice", Some("refresh-alice"), 3600));
    house.connect(&caller(Some("alice")), "crm").await.expect("connected");
    house
}

fn change(name: &str, secrets: Option<Value>) -> ChangeConnector {
    ChangeConnector {
        name: name.to_owned(),
        config: object(json!({"baseUrl": "https://api.example"})),
        secrets: secrets.map(object),
    }
}

fn full_secrets(token_url: &str) -> Value {
    json!({
        "authType": "oauth_authorization_code", "authorizationUrl": "https://as.example/authorize",
        "tokenUrl": token_url, "revocationUrl": "https://as.example/revoke", "clientId": "client",
        "clientSecret": "client-secret", "scope": "read write",
    })
}

#[tokio::test]
async fn d18_a_users_connection_serves_nobody_else() {
    let house = alice_connected().await;
    house.token(&caller(Some("alice")), "crm").await.expect("her own");
    let bob = house.token(&caller(Some("bob")), "crm").await.expect_err("not his");
    assert_eq!(bob.authorization.map(|a| a.reason), Some(Reason::NoToken));
    assert!(house.wire.api_tokens.lock().expect("not poisoned").is_empty());
    let result = house.execute(&caller(Some("bob")), "crm").await.expect("a result");
    assert_eq!(result.authorization.map(|a| a.reason), Some(Reason::NoToken));
    assert!(
        house.wire.api_tokens.lock().expect("not poisoned").is_empty(),
        "nothing was sent for him"
    );
}

#[tokio::test]
async fn d19_a_call_without_a_user_never_uses_somebodys_connection() {
    let house = alice_connected().await;
    let nobody = house.token(&caller(None), "crm").await.expect_err("no user");
    assert_eq!(nobody.code, ErrorCode::UserRequired);
    assert_eq!(
        house.execute(&caller(None), "crm").await.expect_err("no user").code,
        ErrorCode::UserRequired
    );
}

#[tokio::test]
async fn d14_the_same_id_in_another_space_is_another_connector() {
    let house = alice_connected().await;
    let elsewhere = caller_in("other", Some("alice"));
    assert_eq!(
        house.token(&elsewhere, "crm").await.expect_err("not here").code,
        ErrorCode::ConnectorNotFound
    );
    house.connector_in("other", "crm", "per-user", json!({})).await;
    let refused = house.token(&elsewhere, "crm").await.expect_err("not connected here");
    assert_eq!(refused.authorization.map(|a| a.reason), Some(Reason::NoToken));
    house.wire.will(tokens("access-other", Some("refresh-other"), 3600));
    house.connect(&elsewhere, "crm").await.expect("connected");
    assert_eq!(
        house
            .token(&elsewhere, "crm")
            .await
            .expect("a token")
            .access_token
            .expose(),
        "access-other"
    );
    let here = house.token(&caller(Some("alice")), "crm").await.expect("a token");
    assert_eq!(here.access_token.expose(), "access-alice");
}

#[tokio::test]
async fn a_shared_connection_serves_everybody_and_is_not_a_users() {
    let house = House::build().await;
    house.connector("crm", "shared", json!({})).await;
    house.wire.will(tokens("access-shared", Some("refresh-shared"), 3600));
    house.connect(&caller(Some("alice")), "crm").await.expect("connected");
    for user in [None, Some("alice"), Some("bob")] {
        let token = house.token(&caller(user), "crm").await.expect("a token");
        assert_eq!(token.access_token.expose(), "access-shared");
    }
}

#[tokio::test]
async fn d25_changing_where_tokens_go_makes_connections_unusable_and_undoing_it_mends_them() {
    let house = alice_connected().await;
    let admin = caller(None);
    let alice = caller(Some("alice"));
    let moved = full_secrets("https://other.example/token");
    house
        .engine
        .change_connector(&admin, &id("crm"), change("CRM", Some(moved)))
        .await
        .expect("changed");
    let refused = house.token(&alice, "crm").await.expect_err("changed");
    assert_eq!(refused.authorization.map(|a| a.reason), Some(Reason::ConnectorChanged));
    let status = house.engine.auth_status(&alice).await.expect("a status");
    assert_eq!(status["crm"].user_auth_status, UserAuthStatus::Reauthorize);
    let back = full_secrets(crate::support::TOKEN_URL);
    house
        .engine
        .change_connector(&admin, &id("crm"), change("CRM", Some(back)))
        .await
        .expect("changed back");
    assert_eq!(
        house.token(&alice, "crm").await.expect("a token").access_token.expose(),
        "access-alice"
    );
}

#[tokio::test]
async fn renaming_a_connector_keeps_secrets_and_connections() {
    let house = alice_connected().await;
    let view = house
        .engine
        .change_connector(&caller(None), &id("crm"), change("New name", None))
        .await
        .expect("renamed");
    assert_eq!(view.name, "New name");
    house
        .token(&caller(Some("alice")), "crm")
        .await
        .expect("still connected");
}

#[tokio::test]
async fn kept_secrets_do_not_follow_a_changed_address() {
    let house = alice_connected().await;
    let mut moved = full_secrets("https://evil.example/token");
    moved.as_object_mut().expect("an object").remove("clientSecret");
    let refused = house
        .engine
        .change_connector(&caller(None), &id("crm"), change("CRM", Some(moved)))
        .await;
    let refused = refused.expect_err("the secret must be entered again");
    assert_eq!(refused.code, ErrorCode::ValidationFailed);
    assert!(refused.message.contains("enter the secrets again"), "{refused}");
}

#[tokio::test]
async fn a21_an_edit_between_start_and_callback_ends_the_flow() {
    use valetkey_engine::CallbackRequest;
    use valetkey_engine::flow::StartFlow;

    let house = House::build().await;
    house.connector("crm", "per-user", json!({})).await;
    let alice = caller(Some("alice"));
    let started = house
        .engine
        .start_flow(&alice, &id("crm"), StartFlow::default())
        .await
        .expect("started");
    let ticket = started
        .authorization_url
        .path_segments()
        .and_then(Iterator::last)
        .expect("a ticket")
        .to_owned();
    let page = house.engine.open_ticket(&ticket, |_| None).await.expect("a page");
    house
        .engine
        .change_connector(&caller(None), &id("crm"), change("CRM 2", None))
        .await
        .expect("changed");
    let request = CallbackRequest {
        context: Some("crm".to_owned()),
        query: format!("state={}&code=x", started.state.expose()),
        cookies: [(page.cookie_name, page.cookie.expect("a cookie").expose().clone())].into(),
        address: "127.0.0.1".to_owned(),
        request_id: "r".to_owned(),
    };
    let refused = house
        .engine
        .callback(request)
        .await
        .expect("a page")
        .result
        .expect_err("changed in between");
    assert_eq!(refused.code, ErrorCode::ProviderChanged);
    assert_eq!(house.wire.token_count(), 0);
}

#[tokio::test]
async fn redirect_uris_of_two_connectors_are_never_the_same() {
    let house = House::build().await;
    house.connector("crm", "per-user", json!({})).await;
    house.connector_in("other", "crm", "per-user", json!({})).await;
    let here = house
        .engine
        .get_connector(&caller(None), &id("crm"))
        .await
        .expect("here")
        .redirect_uri;
    let there = house
        .engine
        .get_connector(&caller_in("other", None), &id("crm"))
        .await
        .expect("there")
        .redirect_uri;
    assert_eq!(
        here.as_deref(),
        Some("https://vk.example/api/actions/connector/_oauth_callback/crm")
    );
    assert_eq!(
        there.as_deref(),
        Some("https://vk.example/api/actions/connector/_oauth_callback/other.crm")
    );
}
