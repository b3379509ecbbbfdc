//! Token hosts in trouble: how soon they are left alone, how gently they are asked again, and what they are believed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;
use valetkey_core::ErrorCode;
use valetkey_engine::Reason;
use valetkey_oauth::Rotation;

use crate::provider::Incident;
use crate::support::{connector_secrets, make_connector, reason};
use crate::town::{Node, Plan, Town, until};

const S: Duration = Duration::from_secs(1);

/// A town with so many connected users, `user-0` and on, whose access tokens have ended.
async fn with_users(count: usize, plan: Plan) -> (Town, Node) {
    let (town, node) = Town::build(plan).await;
    for n in 0..count {
        node.connect(&user(n)).await;
    }
    town.expire().await;
    (town, node)
}

fn user(n: usize) -> String {
    format!("user-{n}")
}

fn strict() -> Plan {
    Plan::of(Rotation::SingleUse)
}

#[tokio::test(start_paused = true)]
async fn g46_a_provider_that_is_down_is_left_alone_and_nobody_waits_for_it() {
    for trouble in [
        Incident::NotSent,
        Incident::Refuse(503, "temporarily_unavailable", None),
        Incident::Refuse(500, "server_error", None),
        Incident::Refuse(429, "slow_down", None),
    ] {
        let (town, node) = with_users(40, strict()).await;
        node.connect("valid").await;
        town.provider.always(Some(trouble));
        for second in 0..600 {
            for n in 0..4 {
                let before = tokio::time::Instant::now();
                let refused = node.token(&user((second * 4 + n) % 40)).await.expect_err("down");
                assert!(before.elapsed() < Duration::from_millis(50), "callers fail at once");
                assert_eq!(refused.code, ErrorCode::ProviderUnavailable);
                assert!(refused.retry_after.is_some());
            }
            node.token("valid").await.expect("a valid token is served");
            town.pass(S).await;
        }
        let sent = town.provider.sent().len();
        assert!(
            (50..=140).contains(&sent),
            "ten to open it, then one in five seconds: {sent}"
        );
        assert!(node.counted("valetkey_circuit_total{event=\"opened\"}") >= 1);
        for n in 0..40 {
            assert_eq!(town.row(&user(n)).await.state.word(), "active");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g46_who_waits_for_a_turn_at_a_host_that_is_found_to_be_down_does_not_ask_it() {
    let plan = Plan {
        settings: |settings| settings.token_concurrency = 10,
        ..strict()
    };
    let (town, node) = with_users(200, plan).await;
    town.provider.always(Some(Incident::Slow(1_000 * S)));
    let calls: Vec<_> = (0..200).map(|n| node.call(&user(n))).collect();
    until(|| town.provider.sent().len() == 10).await;
    town.pass(34 * S).await;
    let told = calls.iter().filter(|call| call.is_finished()).count();
    assert!(told >= 180, "they are told as soon as it is known: {told}");
    let sent = town.provider.sent().len();
    assert!(sent <= 20, "ten, and their repetitions: {sent}");
    for call in calls {
        let refused = call.await.expect("no panic").expect_err("down");
        assert!(refused.retry_after.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn g46_a_probe_that_meets_another_processs_lease_leaves_its_turn_to_others() {
    let (town, one) = with_users(20, strict()).await;
    let two = town.start().await;
    let gate = Arc::new(Semaphore::new(0));
    town.provider.will([Incident::Held(Arc::clone(&gate))]);
    let elsewhere = one.call("user-0");
    until(|| town.provider.sent().len() == 1).await;
    town.provider.always(Some(Incident::NotSent));
    for n in 1..15 {
        two.token(&user(n)).await.expect_err("down");
    }
    town.provider.always(None);
    town.pass(8 * S).await;
    let waits = two.call("user-0");
    town.pass(S).await;
    two.token("user-15").await.expect("the probe is this one's");
    gate.add_permits(1);
    elsewhere.await.expect("no panic").expect("a token");
    waits.await.expect("no panic").expect("the other process's");
}

#[tokio::test(start_paused = true)]
async fn g47_a_provider_that_is_back_is_asked_at_a_growing_rate() {
    let (town, node) = with_users(400, strict()).await;
    town.provider.always(Some(Incident::NotSent));
    for n in 0..20 {
        node.token(&user(n)).await.expect_err("down");
    }
    town.provider.always(None);
    town.pass(30 * S).await;
    let before = town.provider.sent().len();
    let began = tokio::time::Instant::now();
    let mut served = 0;
    for _ in 0..1_200 {
        for n in 0..400 {
            served += usize::from(node.token(&user(n)).await.is_ok());
        }
        if served >= 400 * 3 {
            break;
        }
        town.pass(Duration::from_millis(100)).await;
        if (0..400).all(|n| {
            town.provider
                .newest(&user(n))
                .is_some_and(|t| t != format!("access-{}", n + 1))
        }) {
            break;
        }
    }
    let took = began.elapsed();
    assert!(took <= 120 * S, "back to normal: {took:?}");
    let times = town.provider.times();
    let mut by_second = std::collections::BTreeMap::<u64, usize>::new();
    for time in &times[before..] {
        *by_second.entry(time.as_secs()).or_default() += 1;
    }
    assert!(by_second.values().all(|n| *n <= 20), "{by_second:?}");
    let first: Vec<_> = by_second.values().take(3).collect();
    assert!(first.iter().all(|n| **n <= 2), "gently at first: {by_second:?}");
}

#[tokio::test(start_paused = true)]
async fn b48_a_provider_that_says_how_long_to_wait_is_not_asked_before() {
    for (wait, seconds) in [("5", 5), ("0", 1), ("1000000000", 3_600)] {
        let (town, node) = with_users(20, strict()).await;
        town.provider.will([Incident::Refuse(429, "slow_down", Some(wait))]);
        let refused = node.token("user-0").await.expect_err("asked to wait");
        assert_eq!(refused.retry_after, Some(Duration::from_secs(seconds)));
        for n in 1..20 {
            let refused = node.token(&user(n)).await.expect_err("the same client");
            assert_eq!(refused.code, ErrorCode::ProviderUnavailable);
            assert_eq!(refused.retry_after, Some(Duration::from_secs(seconds)));
        }
        assert_eq!(town.provider.sent().len(), 1);
        town.pass(Duration::from_secs(seconds)).await;
        node.token("user-3").await.expect("a token");
    }
}

#[tokio::test(start_paused = true)]
async fn b45_a_rejected_client_is_told_as_such_and_asked_again_soon() {
    let (town, node) = with_users(20, strict()).await;
    town.provider
        .always(Some(Incident::Refuse(401, "invalid_client", None)));
    for n in 0..20 {
        let refused = node.token(&user(n)).await.expect_err("rejected");
        assert_eq!(refused.code, ErrorCode::ClientRejected);
    }
    assert_eq!(
        town.provider.sent().len(),
        1,
        "all connections of the client would be told the same"
    );
    town.provider.always(None);
    town.pass(10 * S).await;
    for n in 0..20 {
        town.pass(2 * S).await;
        node.token(&user(n)).await.expect("mended by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn one_clients_trouble_is_not_anothers() {
    let (town, node) = with_users(20, strict()).await;
    let secrets = connector_secrets(json!({"rotation": "single_use"}));
    make_connector(&node.engine, "other", ".fake", "crm", "per-user", secrets).await;
    town.provider
        .always(Some(Incident::Refuse(401, "invalid_client", None)));
    node.token("user-0").await.expect_err("rejected");
    town.provider.always(None);
    let bob = crate::support::caller_in("other", Some("bob"));
    crate::support::connect_as(&node.engine, &bob, "crm", "bob")
        .await
        .expect("connected");
    town.expire().await;
    town.provider.will([Incident::Refuse(401, "invalid_client", None)]);
    node.token("user-1").await.expect_err("rejected");
    crate::support::token_of(&node.engine, &bob, "crm", None)
        .await
        .expect("the same client id in another space");
}

#[tokio::test(start_paused = true)]
async fn b46_a_wrong_configuration_is_not_tried_again_soon_but_when_it_was_changed() {
    let (town, node) = with_users(1, strict()).await;
    town.provider.will([Incident::Refuse(400, "unauthorized_client", None)]);
    let refused = node.token("user-0").await.expect_err("misconfigured");
    assert_eq!(refused.code, ErrorCode::ProviderConfigError);
    for _ in 0..59 {
        town.pass(10 * S).await;
        node.token("user-0").await.expect_err("a long pause");
    }
    assert_eq!(town.provider.sent().len(), 1);
    town.pass(10 * S).await;
    node.token("user-0").await.expect("a token");
    assert_eq!(town.row("user-0").await.state.word(), "active");
}

#[tokio::test(start_paused = true)]
async fn g50_no_more_requests_are_under_way_at_one_host_than_allowed() {
    let plan = Plan {
        settings: |settings| settings.token_concurrency = 4,
        ..strict()
    };
    let (town, node) = with_users(40, plan).await;
    town.provider.always(Some(Incident::Slow(S)));
    let calls: Vec<_> = (0..40).map(|n| node.call(&user(n))).collect();
    for call in calls {
        call.await.expect("no panic").expect("a token");
    }
    assert_eq!(town.provider.most_under_way(), 4);
    assert_eq!(town.provider.sent().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn g48_callers_go_before_background_work_that_came_first() {
    let plan = Plan {
        settings: |settings| settings.token_concurrency = 1,
        ..strict()
    };
    let (town, node) = Town::build(plan).await;
    for n in 0..20 {
        node.connect(&user(n)).await;
    }
    town.pass(60 * S).await;
    let gate = Arc::new(Semaphore::new(0));
    town.provider.always(Some(Incident::Held(Arc::clone(&gate))));
    town.pass(3_300 * S).await;
    for n in 0..20 {
        node.token(&user(n)).await.expect("stale, renewed in the background");
    }
    until(|| town.provider.sent().len() == 1).await;
    // The last one's token is wanted for longer than it lasts: somebody waits for it now.
    let urgent = node.call_lasting("user-19", 1_000 * S);
    town.pass(S).await;
    gate.add_permits(1);
    until(|| town.provider.sent().len() == 2).await;
    gate.add_permits(1);
    urgent.await.expect("no panic").expect("a token");
    assert!(town.provider.sent().len() <= 3, "it was the second, not the twentieth");
    gate.add_permits(100);
    node.settle().await;
    assert_eq!(town.provider.sent().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn g52_a_provider_that_refuses_everybody_ends_no_connection() {
    let (town, node) = with_users(40, strict()).await;
    town.provider.always(Some(Incident::Refuse(400, "invalid_grant", None)));
    for round in 0..10 {
        for n in 0..40 {
            let refused = node.token(&user(n)).await.expect_err("refused");
            if round > 0 {
                assert_eq!(
                    refused.code,
                    ErrorCode::ProviderUnavailable,
                    "user-{n} in round {round}"
                );
                assert!(refused.retry_after.is_some());
            }
        }
        town.pass(60 * S).await;
        node.settle().await;
    }
    for n in 0..40 {
        assert_eq!(town.row(&user(n)).await.state.word(), "active", "user-{n}");
    }
    assert_eq!(node.counted("valetkey_mass_refusal_total{event=\"begins\"}"), 1);
    let told = town.audit("connection.state").await;
    assert_eq!(told.iter().filter(|r| r.outcome == "refusal_doubted").count(), 9);
    assert!(town.provider.sent().len() <= 40 * 12);
    town.provider.always(None);
    for _ in 0..5 {
        town.pass(60 * S).await;
        for n in 0..40 {
            let _ = node.token(&user(n)).await;
        }
    }
    town.expire().await;
    for n in 0..40 {
        town.check_in_force(&node, &user(n)).await;
    }
    assert_eq!(node.counted("valetkey_mass_refusal_total{event=\"ends\"}"), 1);
}

#[tokio::test(start_paused = true)]
async fn g52_a_few_refusals_among_many_answers_are_believed() {
    let (town, node) = with_users(100, strict()).await;
    for n in 0..100 {
        if n % 6 == 5 {
            town.provider.revoke_account(&user(n));
        }
        let token = node.token(&user(n)).await;
        if n % 6 == 5 {
            assert_eq!(reason(&token.expect_err("revoked")), Some(Reason::TokenRevoked));
        } else {
            token.expect("a token");
        }
    }
    assert_eq!(node.counted("valetkey_mass_refusal_total{event=\"begins\"}"), 0);
}

#[tokio::test(start_paused = true)]
async fn g52_an_application_that_was_withdrawn_is_believed_after_an_hour() {
    let (town, node) = with_users(15, strict()).await;
    for n in 0..15 {
        town.provider.revoke_account(&user(n));
    }
    for _ in 0..150 {
        for n in 0..15 {
            let _ = node.token(&user(n)).await;
        }
        town.pass(30 * S).await;
    }
    for n in 0..15 {
        let refused = node.token(&user(n)).await.expect_err("withdrawn");
        assert_eq!(reason(&refused), Some(Reason::TokenRevoked));
    }
}
