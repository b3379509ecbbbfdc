//! A connection stays with the account that it was made for, unless whoever starts the flow says that it may change.

use serde_json::{Value, json};
use valetkey_core::encode::base64url;

use crate::support::api::Api;
use crate::support::browser::{Browser, Page, param};
use crate::support::canary::Canaries;
use crate::support::fake::Script;
use crate::support::secret;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

/// A connector type whose provider says for whose account a token is.
const SPEC: &str = r#"
id: .accounts
name: Accounts
version: 1
description: An API whose provider names accounts.
config: {properties: {baseUrl: {type: string}}, required: [baseUrl]}
base_url: "{baseUrl}"
oauth:
  response: {account_id: account.id, account_label: account.label}
  revoke: {kills_grant: false}
auth:
  - type: oauth_authorization_code
    fields: {revocationUrl: {help: Where tokens are revoked.}}
test: {request: {path: /api/whoami}}
actions:
  request:
    description: Sends a request.
    effect: write
    input: {properties: {method: {type: string}, path: {type: string}}}
    request: {passthrough: {methods: [GET, POST]}, result: full}
"#;

/// A stage with the connector `api` of that type.
async fn stage_with(spec: &str) -> Stage {
    let stage = Stage::with(Setup::new().connector_type("accounts", spec)).await;
    stage.fake.name_accounts();
    let body = stage.connector_with(&json!({"connector_type_id": ".accounts"}), &json!({}));
    stage.admin.create("api", &body).await;
    stage
}

pub(crate) async fn stage() -> Stage {
    stage_with(SPEC).await
}

/// Signs in at the provider as somebody, and finishes a flow.
pub(crate) async fn connect_as(stage: &Stage, api: &Api, account: &str, start: Value) -> Page {
    stage.fake.sign_in(account);
    stage.finish(&api.start("api", start).await).await
}

async fn account(api: &Api) -> Value {
    api.token("api").await.expect(200)["account"]["id"].clone()
}

#[tokio::test]
async fn a39_another_account_does_not_take_the_place_of_the_one_that_is_connected() {
    let stage = stage().await;
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    let token = stage.user.token_text("api").await;
    let before = stage.fake.secrets();

    let page = connect_as(&stage, &stage.user, "bob", json!({})).await;
    page.failed(409, "account_changed");
    assert!(!page.body.contains("bob"), "{}", page.body);
    assert_eq!(stage.user.token_text("api").await, token, "the old grant is kept");
    assert_eq!(account(&stage.user).await, "id-of-alice");
    assert_eq!(stage.user.status("api").await, "connected");
    stage.user.renew("api").await.expect(200);

    // Nobody keeps what came for the other account, so it does not live on, here or at the provider.
    let revoked = stage.fake.revoked();
    assert_eq!(revoked.len(), 2, "refresh token and access token");
    assert!(revoked.iter().all(|token| !before.contains(token)));
    Canaries::new(revoked).are_not_below(&stage.valetkey.setup.data_dir());

    let rejected = &stage.admin.audit("flow.reject").await[0];
    assert_eq!(rejected["outcome"], "account_changed");
    assert_eq!(
        rejected["details"]["account"]
            .as_str()
            .zip(rejected["details"]["other_account"].as_str()),
        Some(("id-of-alice", "id-of-bob")),
        "{rejected}"
    );
    assert_eq!(stage.admin.last_outcome("token.revoke").await, "done");
}

#[tokio::test]
async fn a39_whoever_starts_the_flow_may_allow_another_account() {
    let stage = stage().await;
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    let allow = json!({"allowAccountChange": true});
    connect_as(&stage, &stage.user, "alice", allow.clone())
        .await
        .connected();
    assert!(stage.fake.revoked().is_empty(), "the same account keeps its grants");

    connect_as(&stage, &stage.user, "bob", allow).await.connected();
    assert_eq!(account(&stage.user).await, "id-of-bob");
    assert_eq!(
        stage.user.call("api", "/api/whoami").await["data"]["data"]["account"],
        "bob"
    );
    assert_eq!(
        stage.fake.revoked().len(),
        2,
        "nobody has the grant of the account before"
    );
    let completed = stage.admin.audit("flow.complete").await;
    let changed: Vec<_> = completed
        .iter()
        .map(|r| r["details"]["account_changed"] == true)
        .collect();
    assert_eq!(changed, [true, false, false]);
    // From now on it is bob's.
    connect_as(&stage, &stage.user, "alice", json!({}))
        .await
        .failed(409, "account_changed");
}

#[tokio::test]
async fn a39_the_return_url_is_told_of_another_account() {
    let stage = stage().await;
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    stage.fake.sign_in("bob");
    let back = format!("{}/done", stage.valetkey.base());
    let flow = stage.user.start("api", json!({"returnUrl": back})).await;
    let to = Browser::new().connect(&flow.url).await.location().expect("a redirect");
    assert_eq!(
        (param(&to, "oauth_authorization"), param(&to, "status_code")),
        ("error".to_owned(), "409".to_owned())
    );
}

#[tokio::test]
async fn a39_a_grant_that_ended_still_says_whose_it_was_and_a_disconnect_forgets_it() {
    let stage = stage().await;
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    stage.fake.forget_grants();
    stage.user.renew("api").await.refused(409, "authorization_required");
    assert_eq!(stage.user.status("api").await, "reauthorize token_revoked");
    connect_as(&stage, &stage.user, "bob", json!({}))
        .await
        .failed(409, "account_changed");
    assert_eq!(stage.user.status("api").await, "reauthorize token_revoked");
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    connect_as(&stage, &stage.user, "bob", json!({})).await.connected();
    assert_eq!(account(&stage.user).await, "id-of-bob");
}

#[tokio::test]
async fn a39_every_connection_and_every_user_has_an_account_of_its_own() {
    let stage = stage().await;
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    connect_as(&stage, &stage.user, "bob", json!({"connection": "work"}))
        .await
        .connected();
    connect_as(&stage, &stage.admin.for_user("u2"), "bob", json!({}))
        .await
        .connected();
    assert!(stage.fake.revoked().is_empty());
}

#[tokio::test]
async fn a39_a_provider_that_ends_whole_grants_is_not_told_of_an_account_that_another_connection_uses() {
    let stage = stage_with(&SPEC.replace("kills_grant: false", "kills_grant: true")).await;
    let other = stage.admin.for_user("u2");
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    connect_as(&stage, &other, "bob", json!({})).await.connected();
    connect_as(&stage, &stage.user, "bob", json!({}))
        .await
        .failed(409, "account_changed");
    assert!(stage.fake.revoked().is_empty());
    assert_eq!(
        stage.admin.last_outcome("token.revoke").await,
        "kept_for_another_connection"
    );
    other.renew("api").await.expect(200);
}

#[tokio::test]
async fn a39_where_accounts_are_unknown_the_last_grant_counts() {
    let stage = Stage::per_user().await;
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    connect_as(&stage, &stage.user, "bob", json!({})).await.connected();
    assert_eq!(
        stage.user.call("api", "/api/whoami").await["data"]["data"]["account"],
        "bob"
    );
    assert!(stage.fake.revoked().is_empty());
    assert_eq!(
        stage.admin.audit("flow.complete").await[0]["details"]["account_changed"],
        Value::Null
    );
}

#[tokio::test]
async fn a39_ids_of_another_oauth_client_are_not_compared() {
    let stage = stage().await;
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    let moved = stage.connector_with(
        &json!({"connector_type_id": null}),
        &json!({"revocationUrl": format!("{}/elsewhere", stage.fake.url)}),
    );
    stage.admin.put("/api/actions/connector/api", &moved).await.expect(200);
    assert_eq!(stage.user.status("api").await, "reauthorize connector_changed");
    connect_as(&stage, &stage.user, "bob", json!({})).await.connected();
    assert_eq!(account(&stage.user).await, "id-of-bob");
}

/// An id token that nobody signed, for somebody else, from somewhere else, long ago.
fn forged_id_token(sub: &str) -> String {
    let part = |value: Value| base64url(value.to_string().as_bytes());
    let claims = json!({
        "iss": "https://evil.example", "aud": "another-client", "sub": sub, "exp": 1, "nonce": "x", "email": sub,
    });
    format!("{}.{}.", part(json!({"alg": "none"})), part(claims))
}

#[tokio::test]
async fn a47_a_forged_id_token_changes_nothing() {
    let stage = stage().await;
    let mallory = secret("mallory");
    for _ in 0..2 {
        let forged = forged_id_token(&mallory);
        stage.fake.script([Script::Patch(json!({"id_token": forged}))]);
        connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
        let token = stage.user.token("api").await.expect(200);
        assert_eq!(token["account"], json!({"id": "id-of-alice", "label": "alice"}));
        Canaries::new([mallory.clone(), forged]).are_not_below(&stage.valetkey.setup.data_dir());
    }
    let refreshed = forged_id_token(&mallory);
    stage.fake.script([Script::Patch(json!({"id_token": refreshed}))]);
    stage.user.renew("api").await.expect(200);
    assert_eq!(account(&stage.user).await, "id-of-alice");
    connect_as(&stage, &stage.user, "bob", json!({}))
        .await
        .failed(409, "account_changed");
}

#[tokio::test]
async fn a47_a_connector_type_cannot_take_an_account_from_an_id_token_that_nobody_verified() {
    let spec = SPEC.replace("account_id: account.id", "account_id: id_token.sub");
    let stage = stage_with(&spec.replace("account.label", "id_token.email")).await;
    let forged = forged_id_token("mallory");
    stage.fake.script([Script::Patch(json!({"id_token": forged}))]);
    connect_as(&stage, &stage.user, "alice", json!({})).await.connected();
    assert_eq!(stage.user.token("api").await.expect(200)["account"], Value::Null);
}
