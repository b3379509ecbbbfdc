//! The token engine: when a token is renewed, by whom, and what becomes of it when things go wrong.

use std::time::Duration;

use crate::support::{House, Script, caller, error, id, tokens};
use serde_json::json;
use valetkey_core::{Clock as _, ErrorCode};
use valetkey_engine::{AccessTokenRequest, Reason};

async fn connected(expires_in: u64, extra: serde_json::Value) -> House {
    let house = House::build().await;
    house.connector("crm", "per-user", extra).await;
    house.wire.will(tokens("access-1", Some("refresh-1"), expires_in));
    house.connect(&caller(Some("alice")), "crm").await.expect("connected");
    house
}

fn reason(error: &valetkey_engine::Error) -> Option<Reason> {
    error.authorization.as_ref().map(|a| a.reason)
}

#[tokio::test]
async fn b57_fifty_callers_of_one_expired_token_cost_one_request() {
    let house = connected(3600, json!({})).await;
    house.clock.advance(Duration::from_secs(3601));
    let gate = house.wire.hold_tokens();
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    let alice = caller(Some("alice"));
    let calls: Vec<_> = (0..50).map(|_| house.token(&alice, "crm")).collect();
    let release = async {
        while house.wire.token_count() < 2 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(50);
    };
    let (tokens, ()) = tokio::join!(join_all(calls), release);
    for token in tokens {
        assert_eq!(token.expect("a token").access_token.expose(), "access-2");
    }
    assert_eq!(house.wire.token_count(), 2, "one for the connect, one for the refresh");
    assert!(house.wire.token_requests.lock().expect("not poisoned")[1].contains("refresh_token=refresh-1"));
}

async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut out: Vec<Option<F::Output>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, slot) in pinned.iter_mut().zip(&mut out) {
            if slot.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *slot = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    out.into_iter().flatten().collect()
}

#[tokio::test]
async fn b29_a_stale_token_is_served_while_it_is_renewed() {
    let house = connected(3600, json!({})).await;
    house.clock.advance(Duration::from_secs(3400));
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    let alice = caller(Some("alice"));
    assert_eq!(
        house.token(&alice, "crm").await.expect("a token").access_token.expose(),
        "access-1"
    );
    house.settle().await;
    assert_eq!(
        house.token(&alice, "crm").await.expect("a token").access_token.expose(),
        "access-2"
    );
}

#[tokio::test]
async fn b28_a_short_token_is_not_renewed_on_every_call() {
    let house = connected(30, json!({})).await;
    house.clock.advance(Duration::from_secs(20));
    for _ in 0..100 {
        house.token(&caller(Some("alice")), "crm").await.expect("a token");
    }
    house.settle().await;
    assert_eq!(house.wire.token_count(), 1);
}

#[tokio::test]
async fn a_minimum_validity_is_waited_for_once() {
    let house = connected(3600, json!({})).await;
    house.clock.advance(Duration::from_secs(1800));
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    let request = || AccessTokenRequest {
        minimum_validity: Some(Duration::from_secs(3000)),
        ..AccessTokenRequest::default()
    };
    let alice = caller(Some("alice"));
    for _ in 0..3 {
        let token = house
            .engine
            .access_token(&alice, &id("crm"), request())
            .await
            .expect("a token");
        assert_eq!(token.access_token.expose(), "access-2");
    }
    assert_eq!(house.wire.token_count(), 2);
}

#[tokio::test]
async fn b44_invalid_grant_ends_the_grant_and_costs_no_further_request() {
    let house = connected(60, json!({})).await;
    house.clock.advance(Duration::from_secs(61));
    house.wire.will(error(400, "invalid_grant"));
    let alice = caller(Some("alice"));
    for _ in 0..100 {
        let refused = house.token(&alice, "crm").await.expect_err("dead");
        assert_eq!(
            (refused.code, reason(&refused)),
            (ErrorCode::AuthorizationRequired, Some(Reason::TokenRevoked))
        );
    }
    assert_eq!(house.wire.token_count(), 2);
    house.wire.will(tokens("access-9", Some("refresh-9"), 60));
    house.connect(&alice, "crm").await.expect("connected again");
    assert_eq!(
        house.token(&alice, "crm").await.expect("a token").access_token.expose(),
        "access-9"
    );
}

#[tokio::test]
async fn b47_a_provider_that_is_down_keeps_the_grant() {
    let house = connected(60, json!({})).await;
    house.clock.advance(Duration::from_secs(61));
    let alice = caller(Some("alice"));
    for failure in [
        error(503, "temporarily_unavailable"),
        Script::NotSent,
        Script::Json(200, json!([])),
        error(401, "invalid_client"),
    ] {
        house.wire.will(failure);
        let refused = house.token(&alice, "crm").await.expect_err("down");
        assert_ne!(refused.code, ErrorCode::AuthorizationRequired);
        let before = house.wire.token_count();
        house.token(&alice, "crm").await.expect_err("set back");
        assert_eq!(house.wire.token_count(), before, "no request while set back");
        house.clock.advance(Duration::from_secs(120));
    }
    house.wire.will(tokens("access-2", Some("refresh-2"), 60));
    assert_eq!(
        house.token(&alice, "crm").await.expect("a token").access_token.expose(),
        "access-2"
    );
}

#[tokio::test]
async fn b36_a_refresh_without_a_new_refresh_token_keeps_the_old_one() {
    let house = connected(60, json!({})).await;
    let alice = caller(Some("alice"));
    for n in 2..4 {
        house.clock.advance(Duration::from_secs(61));
        house.wire.will(tokens(&format!("access-{n}"), None, 60));
        house.token(&alice, "crm").await.expect("a token");
    }
    let sent = house.wire.token_requests.lock().expect("not poisoned").clone();
    assert!(sent[1..].iter().all(|r| r.contains("refresh_token=refresh-1")));
}

#[tokio::test]
async fn b53_a_lost_answer_is_asked_for_again_at_once() {
    let house = connected(60, json!({})).await;
    house.clock.advance(Duration::from_secs(61));
    house.wire.will(Script::Uncertain);
    house.wire.will(tokens("access-2", Some("refresh-2"), 60));
    let alice = caller(Some("alice"));
    assert_eq!(
        house.token(&alice, "crm").await.expect("a token").access_token.expose(),
        "access-2"
    );
}

#[tokio::test]
async fn b54_a_spent_token_after_a_lost_answer_is_told_as_such() {
    let house = connected(60, json!({})).await;
    house.clock.advance(Duration::from_secs(61));
    house.wire.will(Script::Uncertain);
    house.wire.will(error(400, "invalid_grant"));
    let refused = house.token(&caller(Some("alice")), "crm").await.expect_err("spent");
    assert_eq!(reason(&refused), Some(Reason::RefreshOutcomeUnknown));
}

#[tokio::test]
async fn b54_a_family_is_not_risked_while_its_access_token_works() {
    let house = connected(3600, json!({"rotation": "single_use_revokes_family"})).await;
    let alice = caller(Some("alice"));
    house.clock.advance(Duration::from_secs(3400));
    house.wire.will(Script::Uncertain);
    house.token(&alice, "crm").await.expect("the old token");
    house.settle().await;
    assert_eq!(house.wire.token_count(), 2);
    house.clock.advance(Duration::from_secs(100));
    assert_eq!(
        house
            .token(&alice, "crm")
            .await
            .expect("the old token")
            .access_token
            .expose(),
        "access-1"
    );
    house.settle().await;
    assert_eq!(house.wire.token_count(), 2, "not repeated while the old token works");
    house.clock.advance(Duration::from_secs(200));
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    assert_eq!(
        house
            .token(&alice, "crm")
            .await
            .expect("the last attempt")
            .access_token
            .expose(),
        "access-2"
    );
}

#[tokio::test]
async fn b58_a_rejected_token_is_renewed_once_for_all() {
    let house = connected(3600, json!({})).await;
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    let alice = caller(Some("alice"));
    for _ in 0..20 {
        let token = house
            .token_instead(&alice, "crm", "access-1")
            .await
            .expect("another token");
        assert_eq!(token.access_token.expose(), "access-2");
    }
    assert_eq!(house.wire.token_count(), 2);
}

#[tokio::test]
async fn b61_a_token_rejected_right_after_its_renewal_cools_down() {
    let house = connected(3600, json!({})).await;
    let alice = caller(Some("alice"));
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    house
        .token_instead(&alice, "crm", "access-1")
        .await
        .expect("another token");
    let refused = house
        .token_instead(&alice, "crm", "access-2")
        .await
        .expect_err("cool-down");
    assert_eq!(
        (refused.code, refused.retry_after),
        (ErrorCode::RefreshCooldown, Some(Duration::from_secs(30)))
    );
    assert_eq!(house.wire.token_count(), 2);
    house.clock.advance(Duration::from_secs(31));
    house.wire.will(tokens("access-3", Some("refresh-3"), 3600));
    assert_eq!(
        house
            .token_instead(&alice, "crm", "access-2")
            .await
            .expect("a token")
            .access_token
            .expose(),
        "access-3"
    );
}

#[tokio::test]
async fn b59_an_action_renews_a_rejected_token_once_and_repeats() {
    let house = connected(3600, json!({})).await;
    let alice = caller(Some("alice"));
    house.wire.accept_only(Some("access-2"));
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    assert_eq!(house.execute(&alice, "crm").await.expect("a result").status, "ok");
    assert_eq!(
        *house.wire.api_tokens.lock().expect("not poisoned"),
        ["access-1", "access-2"]
    );
    house.wire.accept_only(Some("nothing"));
    house.wire.will(tokens("access-3", Some("refresh-3"), 3600));
    let result = house.execute(&alice, "crm").await.expect("a result");
    assert_eq!(result.status, "error");
    for _ in 0..5 {
        house.execute(&alice, "crm").await.expect("a result");
    }
    assert_eq!(
        house.wire.token_count(),
        3,
        "an API that rejects everything does not cost a refresh a call"
    );
}

#[tokio::test]
async fn b43_disconnecting_during_a_refresh_wins_and_revokes_what_came() {
    let house = connected(60, json!({})).await;
    let alice = caller(Some("alice"));
    house.clock.advance(Duration::from_secs(61));
    let gate = house.wire.hold_tokens();
    house.wire.will(tokens("access-2", Some("refresh-2"), 60));
    for _ in 0..4 {
        house.wire.will(Script::Json(200, json!({})));
    }
    let waiting = house.token(&alice, "crm");
    let disconnecting = async {
        while house.wire.token_count() < 2 {
            tokio::task::yield_now().await;
        }
        let engine = std::sync::Arc::clone(&house.engine);
        let ended = house
            .tasks
            .spawn(async move { engine.disconnect(&caller(Some("alice")), &id("crm"), None).await });
        while house.wire.token_count() < 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(10);
        ended.await.expect("no panic").expect("disconnected");
    };
    let (token, ()) = tokio::join!(waiting, disconnecting);
    token.expect_err("no token of an ended connection");
    house.settle().await;
    let refused = house.token(&alice, "crm").await.expect_err("ended");
    assert_eq!(reason(&refused), Some(Reason::NoToken));
    let sent = house.wire.token_requests.lock().expect("not poisoned").join("\n");
    assert!(sent.contains("/revoke token=refresh-2"), "{sent}");
}

#[tokio::test]
async fn client_credentials_are_minted_and_renewed_without_a_person() {
    let house = House::build().await;
    let secrets = json!({"authType": "oauth_client_credentials", "tokenUrl": crate::support::TOKEN_URL, "clientId": "c", "clientSecret": "s"});
    house
        .make("default", "svc", "shared", crate::support::object(secrets))
        .await;
    house.wire.will(tokens("access-1", Some("never-used"), 60));
    let nobody = caller(None);
    assert_eq!(
        house
            .token(&nobody, "svc")
            .await
            .expect("a token")
            .access_token
            .expose(),
        "access-1"
    );
    house.clock.advance(Duration::from_secs(61));
    house.wire.will(tokens("access-2", None, 60));
    assert_eq!(
        house
            .token(&nobody, "svc")
            .await
            .expect("a token")
            .access_token
            .expose(),
        "access-2"
    );
    let sent = house.wire.token_requests.lock().expect("not poisoned").clone();
    assert!(sent.iter().all(|r| r.contains("grant_type=client_credentials")));
}

#[tokio::test]
async fn without_a_refresh_token_an_expired_token_needs_a_person() {
    let house = House::build().await;
    house.connector("crm", "per-user", json!({})).await;
    house.wire.will(tokens("access-1", None, 60));
    let alice = caller(Some("alice"));
    house.connect(&alice, "crm").await.expect("connected");
    house.token(&alice, "crm").await.expect("a token");
    house.clock.advance(Duration::from_secs(61));
    assert_eq!(
        reason(&house.token(&alice, "crm").await.expect_err("expired")),
        Some(Reason::TokenExpired)
    );
    assert!(house.clock.now().0 > 0);
}
