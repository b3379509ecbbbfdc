//! The main job against a real authorization server that nobody here wrote: npm `oidc-provider`, certified, with PKCE
//! required, refresh rotation and reuse detection on, and revocation.

use serde_json::{Value, json};

use crate::support::api::{Answer, Api, client};
use crate::support::browser::Browser;
use crate::support::oidc::{Issuer, Oidc};
use crate::support::patch;
use crate::support::valetkey::{Setup, Valetkey};
use crate::support::wait::{together, until};

/// Where the provider may send people back to, for the connector `account` of both spaces.
fn redirect_uris(setup: &Setup) -> Vec<String> {
    let callback = |context| format!("{}/api/actions/connector/_oauth_callback/{context}", setup.base());
    vec![callback("account"), callback("team.account")]
}

/// valetkey and a provider whose access tokens live this long.
async fn stage(lifetime: u64) -> (Valetkey, Oidc, Issuer) {
    let setup = Setup::new();
    let uris = redirect_uris(&setup);
    let instances = [("it", lifetime)];
    let (valetkey, oidc) = tokio::join!(setup.start(), Oidc::start(&instances, &uris));
    let issuer = oidc.issuer("it");
    (valetkey, oidc, issuer)
}

/// Creates the connector `account` and connects an account to it.
async fn connect(api: &Api, issuer: &Issuer, changes: &Value, account: &str) {
    let mut body = issuer.connector();
    patch(&mut body, changes);
    if api.get("/api/actions/connector/account").await.status == 404 {
        api.create("account", &body).await;
    }
    let flow = api.start("account", json!({})).await;
    Browser::of(account).connect(&flow.url).await.connected();
    assert_eq!(api.status("account").await, "connected");
}

/// Who the provider's API says the connection stands for.
async fn whoami(api: &Api) -> String {
    let result = api.call("account", "/api/whoami").await;
    assert_eq!(result["status"], "ok", "{result}");
    result["data"]["data"]["sub"]
        .as_str()
        .unwrap_or_else(|| panic!("nobody: {result}"))
        .to_owned()
}

/// Whether the provider itself still takes an access token.
async fn is_live(issuer: &Issuer, token: &str) -> bool {
    let answer = Answer::to(client().get(format!("{}/api/whoami", issuer.url)).bearer_auth(token)).await;
    answer.status == 200
}

async fn wait_for_end(issuer: &Issuer, token: &str) {
    until("the end of the access token", async || {
        (!is_live(issuer, token).await).then_some(())
    })
    .await;
}

/// Connect, execute, refresh after expiry with a rotated token, survive a restart, disconnect with revocation.
async fn main_job(space: Option<&str>, mode: &str) {
    let (mut valetkey, _oidc, issuer) = stage(3).await;
    let mut api = valetkey.admin();
    if let Some(space) = space {
        api = api.in_space(space);
    }
    if mode == "per-user" {
        api = api.for_user("u1");
    }
    connect(&api, &issuer, &json!({"auth_mode": mode}), "alice").await;
    assert_eq!(whoami(&api).await, "alice");
    let exchange = &issuer.forms("/token").await[0];
    assert_eq!(
        exchange["redirect_uri"],
        api.get("/api/actions/connector/account").await.expect(200)["redirect_uri"]
    );

    for round in 1..=2 {
        let old = api.token_text("account").await;
        wait_for_end(&issuer, &old).await;
        let before = issuer.count("grant refresh_token").await;
        assert_eq!(whoami(&api).await, "alice");
        assert_eq!(issuer.count("grant refresh_token").await, before + 1, "round {round}");
        assert_ne!(api.token_text("account").await, old);
    }
    let forms = issuer.forms("/token").await;
    let sent: Vec<_> = forms.iter().filter_map(|f| f["refresh_token"].as_str()).collect();
    assert!(
        sent.windows(2).all(|pair| pair[0] != pair[1]),
        "each refresh token is used once"
    );

    valetkey.restart().await;
    assert_eq!(whoami(&api).await, "alice");

    let last = api.token_text("account").await;
    api.on("account", "_oauth_disconnect", json!({})).await.expect(204);
    let revoked = issuer.forms("/token/revocation").await;
    assert!(
        revoked.iter().any(|f| f["token_type_hint"] == "refresh_token"),
        "{revoked:?}"
    );
    assert!(
        !is_live(&issuer, &last).await,
        "the provider no longer takes the access token"
    );
    assert_eq!(api.status("account").await, "not_connected");
    let calls = issuer.count("GET /api/whoami").await;
    let refused = api.call("account", "/api/whoami").await;
    assert_eq!(refused["authorization"]["reason"], "no_token", "{refused}");
    assert_eq!(
        issuer.count("GET /api/whoami").await,
        calls,
        "nothing is sent without a grant"
    );
}

#[tokio::test]
async fn the_main_job_for_one_user_with_a_real_provider() {
    main_job(None, "per-user").await;
}

#[tokio::test]
async fn the_main_job_for_everybody_with_a_real_provider() {
    main_job(None, "shared").await;
}

#[tokio::test]
async fn the_main_job_in_another_space_with_a_real_provider() {
    main_job(Some("team"), "per-user").await;
}

#[tokio::test]
async fn a_401_costs_one_refresh_and_one_retry() {
    let (valetkey, _oidc, issuer) = stage(600).await;
    let api = valetkey.admin().for_user("u1");
    connect(&api, &issuer, &json!({}), "alice").await;
    assert_eq!(whoami(&api).await, "alice");
    issuer.reject_access_tokens().await;
    assert_eq!(whoami(&api).await, "alice");
    assert_eq!(issuer.count("api 401").await, 1);
    assert_eq!(issuer.count("grant refresh_token").await, 1);
    assert_eq!(whoami(&api).await, "alice");
    assert_eq!(issuer.count("grant refresh_token").await, 1);
}

#[tokio::test]
async fn fifty_parallel_calls_on_an_expired_connection_make_one_token_request() {
    let (valetkey, _oidc, issuer) = stage(3).await;
    let api = valetkey.admin().for_user("u1");
    connect(&api, &issuer, &json!({}), "alice").await;
    wait_for_end(&issuer, &api.token_text("account").await).await;
    let calls = (0..50).map(|_| {
        let api = api.clone();
        async move { whoami(&api).await }
    });
    assert!(together(calls).await.iter().all(|who| who == "alice"));
    // A second request would have killed the whole family: reuse of a rotated token is detected.
    assert_eq!(issuer.count("grant refresh_token").await, 1);
    wait_for_end(&issuer, &api.token_text("account").await).await;
    assert_eq!(whoami(&api).await, "alice");
}

#[tokio::test]
async fn nothing_crosses_users_modes_or_spaces() {
    let (valetkey, _oidc, issuer) = stage(600).await;
    let admin = valetkey.admin();
    let (u1, u2) = (admin.for_user("u1"), admin.for_user("u2"));
    let team = admin.in_space("team");
    connect(&u1, &issuer, &json!({}), "alice").await;
    connect(&team, &issuer, &json!({"auth_mode": "shared"}), "team-account").await;

    let calls = issuer.count("GET /api/whoami").await;
    let refused = u2.call("account", "/api/whoami").await;
    assert_eq!(refused["authorization"]["reason"], "no_token", "{refused}");
    admin
        .on(
            "account",
            "_execute",
            json!({"params": {"subAction": "request", "subActionParams": {"method": "GET", "path": "/api/whoami"}}}),
        )
        .await
        .refused(409, "user_required");
    u1.in_space("elsewhere")
        .token("account")
        .await
        .refused(404, "connector_not_found");
    assert_eq!(issuer.count("GET /api/whoami").await, calls);

    connect(&u2, &issuer, &json!({}), "bob").await;
    let everybody = [(&u1, "alice"), (&u2, "bob"), (&team, "team-account")];
    for _ in 0..3 {
        for (api, account) in everybody {
            assert_eq!(whoami(api).await, account);
        }
    }
    // A user of the team uses the team's connection, and ending one ends no other.
    assert_eq!(whoami(&team.for_user("u1")).await, "team-account");
    u1.on("account", "_oauth_disconnect", json!({})).await.expect(204);
    assert_eq!(whoami(&u2).await, "bob");
    assert_eq!(whoami(&team).await, "team-account");
    assert_eq!(u1.status("account").await, "not_connected");
}

#[tokio::test]
async fn a45_a_real_provider_that_takes_pushed_requests_only() {
    let setup = Setup::new();
    let (uris, instances) = (redirect_uris(&setup), [("pushed", 600)]);
    let (valetkey, oidc) = tokio::join!(setup.start(), Oidc::start(&instances, &uris));
    let (api, issuer) = (valetkey.admin().for_user("u1"), oidc.issuer("pushed"));
    let mut body = issuer.connector();
    let urls = json!({"authorizationUrl": null, "tokenUrl": null, "revocationUrl": null, "issuer": issuer.url});
    patch(&mut body["secrets"], &urls);
    api.create("account", &body).await;
    connect(&api, &issuer, &json!({}), "alice").await;
    assert_eq!(whoami(&api).await, "alice");
    assert_eq!(issuer.forms("/request").await.len(), 1);
}

#[tokio::test]
async fn b53_an_answer_lost_before_the_provider_acted_costs_nothing() {
    let (valetkey, _oidc, issuer) = stage(600).await;
    let api = valetkey.admin().for_user("u1");
    connect(&api, &issuer, &json!({}), "alice").await;
    issuer
        .fault(&json!({"path": "/token", "grantType": "refresh_token", "drop": "before"}))
        .await;
    issuer.reject_access_tokens().await;
    assert_eq!(whoami(&api).await, "alice");
    assert_eq!(
        issuer.count("grant refresh_token").await,
        2,
        "one that was lost, one that worked"
    );
}

#[tokio::test]
async fn b54_an_answer_lost_after_the_provider_acted_is_told_as_what_it_is() {
    let (valetkey, _oidc, issuer) = stage(600).await;
    let api = valetkey.admin().for_user("u1");
    connect(&api, &issuer, &json!({}), "alice").await;
    issuer
        .fault(&json!({"path": "/token", "grantType": "refresh_token", "drop": "after"}))
        .await;
    issuer.reject_access_tokens().await;
    let refused = api.call("account", "/api/whoami").await;
    assert_eq!(
        refused["authorization"]["reason"], "refresh_outcome_unknown",
        "{refused}"
    );
    assert_eq!(api.status("account").await, "reauthorize refresh_outcome_unknown");
    assert_eq!(
        issuer.count("grant refresh_token").await,
        2,
        "one that was lost, one retry"
    );
    connect(&api, &issuer, &json!({}), "alice").await;
    assert_eq!(whoami(&api).await, "alice");
}
