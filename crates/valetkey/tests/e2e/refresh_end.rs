//! Refreshes that fail, and connections that end: what is kept, what is told, what is never tried again.

use serde_json::json;

use crate::refresh::{account, connected, expired};
use crate::support::fake::{CLIENT_ID, Script};
use crate::support::raw::Reply;
use crate::support::stage::Stage;
use crate::support::wait::{together, until};

#[tokio::test]
async fn b47_while_the_provider_is_down_the_old_token_is_served() {
    let stage = connected().await;
    let old = stage.user.token_text("api").await;
    for status in [500, 503] {
        stage.fake.script([Script::Say(Reply::json(
            status,
            &json!({"error": "temporarily_unavailable"}),
        ))]);
        let failed = until("an attempt", async || {
            let before = stage.fake.refreshes();
            let answer = stage.user.renew("api").await;
            (stage.fake.refreshes() > before).then_some(answer)
        })
        .await;
        failed.refused(502, "provider_unavailable");
        assert!(failed.retry_after() >= 1);
        assert_eq!(stage.user.token_text("api").await, old);
        assert_eq!(account(&stage.user.call("api", "/api/whoami").await), "alice");
    }
    let renewed = until("the provider to be asked again", async || {
        Some(stage.user.renew("api").await).filter(|a| a.status == 200)
    })
    .await;
    assert_ne!(renewed.expect(200)["access_token"], old.as_str());
}

#[tokio::test]
async fn b48_a_provider_that_asks_to_wait_is_left_alone() {
    let stage = connected().await;
    let busy = Reply::new(
        429,
        &[("content-type", "application/json"), ("retry-after", "30")],
        "{\"error\":\"slow_down\"}",
    );
    stage.fake.script([Script::Say(busy)]);
    for _ in 0..5 {
        let refused = stage.user.renew("api").await;
        assert_eq!(refused.expect(502)["code"], "provider_unavailable");
        assert!((25..=30).contains(&refused.retry_after()), "{}", refused.retry_after());
    }
    assert_eq!(stage.fake.refreshes(), 1);
    stage.user.token("api").await.expect(200);
}

#[tokio::test]
async fn b44_a_dead_grant_is_told_to_everybody_and_never_tried_again() {
    let stage = expired().await;
    stage.fake.forget_grants();
    let calls = (0..50).map(|_| {
        let user = stage.user.clone();
        async move { user.token("api").await }
    });
    for refused in together(calls).await {
        let body = refused.refused(409, "authorization_required");
        let start = "/api/actions/connector/api/_start_oauth_flow";
        let expected = json!({"reason": "token_revoked", "auth_method": "oauth_authorization_code", "start": start});
        assert_eq!(body["authorization"], expected);
    }
    for _ in 0..10 {
        let result = stage.user.call("api", "/api/whoami").await;
        assert_eq!(
            (&result["status"], &result["authorization"]["reason"]),
            (&json!("error"), &json!("token_revoked"))
        );
    }
    assert_eq!(stage.fake.refreshes(), 1);
    assert!(stage.fake.seen("/api/whoami").is_empty());
    assert_eq!(stage.user.status("api").await, "reauthorize token_revoked");
    stage.connect(&stage.user, "api").await;
    assert_eq!(account(&stage.user.call("api", "/api/whoami").await), "alice");
}

#[tokio::test]
async fn b45_a_rejected_client_kills_no_connection_and_mends_itself() {
    let stage = connected().await;
    let old = stage.user.token_text("api").await;
    stage
        .fake
        .script([Script::Say(Reply::json(401, &json!({"error": "invalid_client"})))]);
    stage.user.renew("api").await.refused(502, "client_rejected");
    assert_eq!(stage.user.status("api").await, "connected");
    assert_eq!(stage.user.token_text("api").await, old);
    until("the recovery", async || {
        (stage.user.renew("api").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn b36_a_refresh_without_a_new_refresh_token_keeps_the_old_one() {
    let stage = connected().await;
    for absent in [json!({"refresh_token": null}), json!({"refresh_token": ""})] {
        let before = stage.fake.refreshes();
        stage.fake.script([Script::Patch(absent)]);
        stage.user.renew("api").await.expect(200);
        stage.fake.script([Script::Say(Reply::json(503, &json!({})))]);
        stage.user.renew("api").await.expect(502);
        let forms = stage.fake.grants("refresh_token");
        assert_eq!(
            forms[before].form()["refresh_token"],
            forms[before + 1].form()["refresh_token"]
        );
        stage.connect(&stage.user, "api").await;
    }
}

#[tokio::test]
async fn b39_without_a_refresh_token_a_connection_ends_with_its_access_token() {
    let stage = Stage::per_user().await;
    stage.fake.set_lifetime(1);
    stage.fake.script([Script::Patch(json!({"refresh_token": null}))]);
    stage.connect(&stage.user, "api").await;
    stage.fake.wait_for_expiry().await;
    let body = stage.user.token("api").await.refused(409, "authorization_required");
    assert_eq!(body["authorization"]["reason"], "token_expired");
    assert_eq!(stage.user.status("api").await, "reauthorize token_expired");
    assert_eq!(stage.fake.refreshes(), 0);
}

#[tokio::test]
async fn b31_a_refresh_token_that_has_ended_is_not_sent() {
    for name in ["refresh_token_expires_in", "refresh_expires_in"] {
        let stage = Stage::per_user().await;
        stage.fake.set_lifetime(1);
        stage.fake.script([Script::Patch(json!({name: 1}))]);
        stage.connect(&stage.user, "api").await;
        stage.fake.wait_for_expiry().await;
        let body = stage.user.token("api").await.refused(409, "authorization_required");
        assert_eq!(body["authorization"]["reason"], "refresh_token_expired");
        assert_eq!(stage.fake.refreshes(), 0);
    }
}

#[tokio::test]
async fn d25_a_changed_client_asks_for_a_new_consent_and_deletes_nothing() {
    let stage = connected().await;
    let mut body = stage.connector_with(
        &json!({"connector_type_id": null}),
        &json!({"clientId": "another-client"}),
    );
    stage.admin.put("/api/actions/connector/api", &body).await.expect(200);
    assert_eq!(stage.user.status("api").await, "reauthorize connector_changed");
    let refused = stage.user.token("api").await.refused(409, "authorization_required");
    assert_eq!(refused["authorization"]["reason"], "connector_changed");
    assert_eq!(
        stage.user.call("api", "/api/whoami").await["authorization"]["reason"],
        "connector_changed"
    );
    assert_eq!((stage.fake.refreshes(), stage.fake.seen("/api/whoami").len()), (0, 0));
    body["secrets"]["clientId"] = CLIENT_ID.into();
    stage.admin.put("/api/actions/connector/api", &body).await.expect(200);
    stage.connect(&stage.user, "api").await;
}

#[tokio::test]
async fn a_disconnect_during_a_refresh_is_final_and_what_was_minted_is_revoked() {
    let stage = expired().await;
    let gate = stage.fake.hold_tokens();
    let waiting = stage.user.clone();
    let (answer, ()) = tokio::join!(async { waiting.token("api").await }, async {
        until("the refresh", async || (stage.fake.refreshes() == 1).then_some(())).await;
        stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
        gate.open();
    });
    assert_ne!(answer.status, 200, "{}", answer.text());
    assert_eq!(stage.user.status("api").await, "not_connected");
    let minted: Vec<_> = stage
        .fake
        .secrets()
        .into_iter()
        .rev()
        .filter(|s| s.starts_with("refresh-"))
        .take(1)
        .collect();
    until("the revocation", async || {
        stage.fake.revoked().contains(&minted[0]).then_some(())
    })
    .await;
    assert!(!stage.fake.honours(&minted[0]));
}
