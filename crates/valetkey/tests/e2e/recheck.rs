//! What a person who is signed in may do is asked again at a real identity provider that nobody here wrote.

use serde_json::{Value, json};

use crate::sign_in::{Stage, stage_of};
use crate::support::api::Answer;
use crate::support::canary::Canaries;
use crate::support::place::{Schema, run};
use crate::support::secret;
use crate::support::signed_in::SignedIn;
use crate::support::site::new_master_key;
use crate::support::valetkey::Setup;
use crate::support::wait::{together, until};

const KEYS: &str = "/api/security/api_keys";
const LIST: &str = "/api/actions/connectors";

/// The provider is asked as often as can be set.
async fn stage(instance: &str) -> Stage {
    stage_of(Setup::new().set("OIDC__RECHECK", "5s"), instance).await
}

async fn until_status(session: &SignedIn, path: &str, status: u16) -> Answer {
    until("another answer", async || {
        let answer = session.get(path).await;
        (answer.status == status).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn d37_a_role_that_is_taken_away_lowers_what_a_session_allows_or_ends_it() {
    let stage = stage("identity").await;
    let (ada, bob) = (stage.sign_in("ada").await, stage.sign_in("bob").await);
    ada.get(KEYS).await.expect(200);
    bob.get(LIST).await.expect(200);
    stage.issuer.set_accounts(&json!({"ada": {"roles": ["vk-user"]}})).await;
    until_status(&ada, KEYS, 403).await.refused(403, "privilege_missing");
    assert_eq!(ada.who().await["privileges"][0], "connectors:read");
    let refused = until_status(&bob, LIST, 401).await.refused(401, "session_revoked");
    let message = refused["message"].as_str().expect("a sentence");
    assert!(message.contains("no role here any more"), "{message}");
    assert_eq!(bob.who().await["signed_in"], false);
    bob.get(LIST).await.refused(401, "unauthenticated");

    let admin = stage.valetkey.admin();
    let change = &admin.audit("session.change").await[0];
    assert_eq!(change["details"]["before"], json!(["admin"]), "{change}");
    let end = &admin.audit("session.end").await[0];
    assert_eq!(
        (&end["outcome"], &end["details"]["reason"]),
        (&json!("session_revoked"), &json!("no_role"))
    );
    // What was sent to ask is nowhere to be read.
    let forms = stage.issuer.forms("/token").await;
    let sent: Vec<_> = forms.iter().filter_map(|form| form["refresh_token"].as_str()).collect();
    assert!(sent.len() >= 2, "{sent:?}");
    Canaries::new(sent.into_iter().map(str::to_owned)).are_not_below(&stage.valetkey.setup.data_dir());
}

#[tokio::test]
async fn d37_a_sign_in_that_ended_at_the_provider_ends_the_session() {
    let stage = stage("identity").await;
    let ada = stage.sign_in("ada").await;
    let refusal = json!({"error": "invalid_grant"});
    let fault = json!({"path": "/token", "grantType": "refresh_token", "status": 400, "body": refusal});
    stage.issuer.fault(&fault).await;
    until_status(&ada, KEYS, 401).await.refused(401, "session_revoked");
    let end = &stage.valetkey.admin().audit("session.end").await[0];
    assert_eq!(end["details"]["reason"], "grant_ended");
}

#[tokio::test]
async fn d37_while_the_provider_is_away_nobody_keeps_a_role_for_long() {
    let stage = stage("identity").await;
    let ada = stage.sign_in("ada").await;
    let fault = json!({"path": "/token", "grantType": "refresh_token", "drop": "before", "times": 99});
    stage.issuer.fault(&fault).await;
    let refused = until_status(&ada, KEYS, 503).await;
    refused.refused(503, "session_unconfirmed");
    assert_eq!(refused.header("retry-after"), "10");
    stage.issuer.reset().await;
    until_status(&ada, KEYS, 200).await;
}

#[tokio::test]
async fn d37_a_provider_without_refresh_tokens_is_asked_with_the_access_token() {
    let stage = stage("frugal").await;
    let ada = stage.sign_in("ada").await;
    stage.issuer.set_accounts(&json!({"ada": {"roles": ["vk-user"]}})).await;
    until_status(&ada, KEYS, 403).await.refused(403, "privilege_missing");
    assert_eq!(stage.issuer.count("grant refresh_token").await, 0);
    assert_eq!(stage.issuer.count("GET /me").await, 1);
}

#[tokio::test]
async fn d37_two_processes_ask_once() {
    let Some(schema) = Schema::new().await else { return };
    let (admin_key, master_key) = (secret("vk_bootstrap"), new_master_key());
    let on_it = |setup: Setup| {
        let setup = setup.with_admin_key(&admin_key).set("MASTER_KEY", &master_key);
        setup.set("DATABASE_URL", &schema.url())
    };
    let stage = stage_of(on_it(Setup::new()), "identity").await;
    let mut other = on_it(Setup::new());
    for (name, value) in stage.valetkey.setup.variables() {
        if name.contains("OIDC") || name.ends_with("PUBLIC_BASE_URL") {
            other = other.set_plain(name, value);
        }
    }
    let other = other.start().await;
    let ada = stage.sign_in("ada").await;
    stage.issuer.set_accounts(&json!({"ada": {"roles": ["vk-user"]}})).await;
    run(&schema.url(), "UPDATE session SET confirmed_at = confirmed_at - 300000").await;
    let calls = (0..40).map(|call| {
        let base = if call % 2 == 0 {
            stage.valetkey.base()
        } else {
            other.base()
        };
        let session = SignedIn::of_cookie(&base, &ada.set_cookie, Value::Null);
        async move { session.get(LIST).await.status }
    });
    assert!(together(calls).await.iter().all(|status| *status == 200));
    until_status(&ada, KEYS, 403).await;
    assert_eq!(stage.issuer.count("grant refresh_token").await, 1);
    let there = SignedIn::of_cookie(&other.base(), &ada.set_cookie, Value::Null);
    there.get(KEYS).await.refused(403, "privilege_missing");
    assert_eq!(other.admin().audit("session.change").await.len(), 1);
}
