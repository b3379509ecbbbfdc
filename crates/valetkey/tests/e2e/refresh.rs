//! The refresh: once where once is enough, on its own feet, and never at the price of a grant that still works.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::Answer;
use crate::support::fake::CLIENT_ID;
use crate::support::raw::Reply;
use crate::support::stage::Stage;
use crate::support::wait::{together, until, within};

/// A connected account of `u1` whose access token has ended; the next ones live for an hour.
pub(crate) async fn expired() -> Stage {
    let stage = Stage::per_user().await;
    stage.fake.set_lifetime(1);
    stage.connect(&stage.user, "api").await;
    stage.fake.set_lifetime(3600);
    stage.fake.wait_for_expiry().await;
    stage
}

pub(crate) async fn connected() -> Stage {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    stage
}

pub(crate) fn account(result: &Value) -> &Value {
    assert_eq!(result["status"], "ok", "{result}");
    &result["data"]["data"]["account"]
}

async fn reject(stage: &Stage, token: &str) -> Answer {
    stage
        .user
        .on("api", "_oauth_access_token", json!({"rejectedToken": token}))
        .await
}

#[tokio::test]
async fn b57_fifty_parallel_calls_on_an_expired_connection_make_one_token_request() {
    let stage = expired().await;
    let gate = stage.fake.hold_tokens();
    let calls = (0..50).map(|n| {
        let user = stage.user.clone();
        async move {
            match n % 2 {
                0 => user.token("api").await.expect(200)["access_token"].clone(),
                _ => account(&user.call("api", "/api/whoami").await).clone(),
            }
        }
    });
    let open = async {
        until("the refresh", async || (stage.fake.refreshes() > 0).then_some(())).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(together(calls), open);
    assert_eq!(stage.fake.refreshes(), 1);
    let token = stage.user.token_text("api").await;
    assert!(
        answers.iter().all(|a| a == "alice" || *a == token.as_str()),
        "{answers:?}"
    );
    assert_eq!(stage.fake.refreshes(), 1);
}

#[tokio::test]
async fn b56_a_caller_that_goes_away_does_not_stop_the_refresh() {
    let stage = expired().await;
    let gate = stage.fake.hold_tokens();
    let impatient = tokio::select! {
        answer = stage.user.token("api") => Some(answer),
        () = until("the refresh", async || (stage.fake.refreshes() == 1).then_some(())) => None,
    };
    assert!(impatient.is_none(), "the answer was held back");
    gate.open();
    assert_eq!(account(&stage.user.call("api", "/api/whoami").await), "alice");
    assert_eq!(stage.fake.refreshes(), 1);
}

#[tokio::test]
async fn b29_a_token_that_still_works_is_served_while_it_is_renewed() {
    let stage = Stage::per_user().await;
    stage.fake.set_lifetime(10);
    stage.connect(&stage.user, "api").await;
    let old = stage.user.token_text("api").await;
    // The margin of a short token is a fifth of its life.
    stage.fake.wait_for_age(0.18).await;
    let gate = stage.fake.hold_tokens();
    assert_eq!(within("the old token", stage.user.token_text("api")).await, old);
    assert_eq!(within("the old token", stage.user.token_text("api")).await, old);
    until("the refresh in the background", async || {
        (stage.fake.refreshes() == 1).then_some(())
    })
    .await;
    gate.open();
    until("the new token", async || {
        (stage.user.token_text("api").await != old).then_some(())
    })
    .await;
    assert_eq!(stage.fake.refreshes(), 1);
}

#[tokio::test]
async fn a_token_lasts_as_long_as_the_caller_asks_for() {
    let stage = connected().await;
    let old = stage.user.token_text("api").await;
    let answer = stage
        .user
        .on("api", "_oauth_access_token", json!({"minimumValiditySeconds": 600}))
        .await
        .expect(200);
    assert_eq!(
        (answer["access_token"].as_str(), stage.fake.refreshes()),
        (Some(old.as_str()), 0)
    );
    let renewed = stage.user.renew("api").await.expect(200);
    assert_ne!(renewed["access_token"], old.as_str(), "as good as it gets");
    assert_eq!(stage.fake.refreshes(), 1);
}

#[tokio::test]
async fn b58_one_rejection_costs_one_refresh_however_many_report_it() {
    let stage = connected().await;
    let old = stage.user.token_text("api").await;
    let reports = (0..20).map(|_| {
        let (user, body) = (stage.user.clone(), json!({"rejectedToken": old}));
        async move { user.on("api", "_oauth_access_token", body).await.expect(200)["access_token"].clone() }
    });
    let tokens = together(reports).await;
    assert!(
        tokens.windows(2).all(|pair| pair[0] == pair[1]) && tokens[0] != old.as_str(),
        "{tokens:?}"
    );
    assert_eq!(
        reject(&stage, &old).await.expect(200)["access_token"],
        tokens[0],
        "a late report changes nothing"
    );
    reject(&stage, "a-token-of-somebody-else").await.expect(200);
    assert_eq!(stage.fake.refreshes(), 1);
}

#[tokio::test]
async fn b61_a_new_token_that_is_rejected_again_is_not_renewed_for_a_while() {
    let stage = connected().await;
    let first = stage.user.token_text("api").await;
    let second = reject(&stage, &first).await.expect(200)["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    for _ in 0..5 {
        let refused = reject(&stage, &second).await;
        refused.refused(429, "refresh_cooldown");
        assert!((1..=30).contains(&refused.retry_after()));
    }
    assert_eq!(stage.fake.refreshes(), 1);
    assert_eq!(
        stage.user.token_text("api").await,
        second,
        "who does not complain is served"
    );
}

#[tokio::test]
async fn a_new_token_that_an_api_accepted_may_be_rejected_like_any_other() {
    let stage = connected().await;
    let first = stage.user.token_text("api").await;
    reject(&stage, &first).await.expect(200);
    assert_eq!(account(&stage.user.call("api", "/api/whoami").await), "alice");
    stage.fake.reject_access_tokens();
    assert_eq!(account(&stage.user.call("api", "/api/whoami").await), "alice");
    assert_eq!(stage.fake.refreshes(), 2);
}

#[tokio::test]
async fn b59_an_api_that_answers_401_to_everything_costs_one_refresh() {
    let stage = connected().await;
    stage.fake.answer_api(Reply::json(401, &json!({"error": "no"})));
    for _ in 0..10 {
        let result = stage.user.call("api", "/api/whoami").await;
        assert_eq!(result["status"], "error", "{result}");
    }
    assert_eq!(stage.fake.refreshes(), 1);
    assert_eq!(stage.user.status("api").await, "connected");
    stage.fake.answer_api(None);
    assert_eq!(account(&stage.user.call("api", "/api/whoami").await), "alice");
}

#[tokio::test]
async fn b60_a_403_is_no_reason_to_refresh() {
    let stage = connected().await;
    let challenge = [(
        "www-authenticate",
        "Bearer error=\"insufficient_scope\", scope=\"admin\"",
    )];
    stage.fake.answer_api(Reply::new(403, &challenge, ""));
    let result = stage.user.call("api", "/api/whoami").await;
    assert_eq!(result["status"], "error", "{result}");
    assert_eq!((stage.fake.refreshes(), stage.fake.seen("/api/whoami").len()), (0, 1));
}

#[tokio::test]
async fn b38_a_rotated_refresh_token_is_the_one_sent_next() {
    let stage = connected().await;
    for _ in 0..3 {
        stage.user.renew("api").await.expect(200);
    }
    let sent: Vec<_> = stage
        .fake
        .grants("refresh_token")
        .iter()
        .map(|s| s.form()["refresh_token"].clone())
        .collect();
    assert_eq!(sent.len(), 3);
    assert!(sent[0] != sent[1] && sent[1] != sent[2] && sent.iter().all(|t| !stage.fake.honours(t)));
}

#[tokio::test]
async fn client_credentials_are_minted_once_and_minted_anew() {
    let stage = Stage::new().await;
    let secrets = json!({
        "authType": "oauth_client_credentials", "tokenUrl": format!("{}/token", stage.fake.url),
        "clientId": CLIENT_ID, "clientSecret": stage.fake.client_secret(), "scope": "read",
    });
    let body = json!({"name": "A machine", "connector_type_id": ".http", "config": {"baseUrl": stage.fake.url}, "secrets": secrets});
    assert_eq!(stage.admin.create("machine", &body).await["auth_mode"], "shared");
    stage.fake.set_lifetime(1);
    let calls = (0..10).map(|_| {
        let admin = stage.admin.clone();
        async move { account(&admin.call("machine", "/api/whoami").await).clone() }
    });
    assert!(together(calls).await.iter().all(|who| *who == CLIENT_ID));
    assert_eq!(stage.fake.grants("client_credentials").len(), 1);
    stage.fake.wait_for_expiry().await;
    stage.fake.set_lifetime(3600);
    stage.admin.token("machine").await.expect(200);
    assert_eq!(stage.fake.grants("client_credentials").len(), 2);
    assert_eq!(stage.fake.grants("client_credentials")[0].form()["scope"], "read");
    stage
        .admin
        .on("machine", "_start_oauth_flow", json!({}))
        .await
        .refused(400, "auth_type_not_oauth");
}

#[tokio::test]
async fn d20_users_interleaved_over_one_pool_keep_their_own_tokens() {
    let stage = Stage::per_user().await;
    let users = [("u1", "account-1"), ("u2", "account-2")].map(|(user, name)| (stage.admin.for_user(user), name));
    for (user, name) in &users {
        stage.fake.sign_in(name);
        stage.connect(user, "api").await;
    }
    let calls = (0..200).map(|n| {
        let (user, name) = users[n % 2].clone();
        if n == 100 {
            stage.fake.reject_access_tokens();
        }
        async move { assert_eq!(account(&user.call("api", "/api/whoami").await), name) }
    });
    together(calls).await;
    assert!(stage.fake.refreshes() <= 4, "{}", stage.fake.refreshes());
    tokio::time::timeout(Duration::from_secs(5), stage.user.token("api"))
        .await
        .expect("an answer")
        .expect(200);
}
