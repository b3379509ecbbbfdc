//! What goes away by itself.

use std::time::Duration;

use serde_json::json;
use valetkey_core::ErrorCode;
use valetkey_engine::flow::StartFlow;

use crate::support::{House, caller, id};

#[tokio::test]
async fn expired_flows_are_swept_and_waiting_ones_stay() {
    let house = House::build().await;
    house.connector("crm", "per-user", json!({})).await;
    let (alice, crm) = (caller(Some("alice")), id("crm"));
    let start = || house.engine.start_flow(&alice, &crm, StartFlow::default());
    start().await.expect("started");
    house.clock.advance(Duration::from_secs(400));
    start().await.expect("started");
    house.clock.advance(Duration::from_secs(201));
    assert_eq!(
        house.engine.sweep().await.expect("swept"),
        1,
        "the first flow is past its ten minutes"
    );
    assert_eq!(house.engine.sweep().await.expect("swept"), 0);
}

#[tokio::test]
async fn attempts_are_swept_when_no_limit_looks_at_them_any_more() {
    let house = House::build().await;
    house.connector("crm", "per-user", json!({})).await;
    let alice = caller(Some("alice"));
    house
        .engine
        .start_flow(&alice, &id("crm"), StartFlow::default())
        .await
        .expect("started");
    house.clock.advance(Duration::from_secs(3_601));
    assert_eq!(
        house.engine.sweep().await.expect("swept"),
        2,
        "one flow and one attempt"
    );
}

#[tokio::test]
async fn a51_a_limit_counts_exactly_and_says_how_long_to_wait() {
    let house = House::build().await;
    house.connector("crm", "per-user", json!({})).await;
    let (alice, crm) = (caller(Some("alice")), id("crm"));
    let start = || house.engine.start_flow(&alice, &crm, StartFlow::default());
    for n in 0..100 {
        // Flows that wait have a limit of their own: let each expire.
        start().await.unwrap_or_else(|e| panic!("start {n}: {e}"));
        house.clock.advance(Duration::from_secs(30));
    }
    let refused = start().await.expect_err("the hundred-and-first in the hour");
    assert_eq!(
        (refused.code, refused.retry_after),
        (ErrorCode::RateLimited, Some(Duration::from_secs(600)))
    );
    house.clock.advance(Duration::from_secs(601));
    start().await.expect("the first attempt has left the window");
}
