//! Uses in the audit log: counted, and not lost when the store is away for a while.

use crate::faults::Fault;
use crate::town::{Plan, Town};
use valetkey_oauth::Rotation;

#[tokio::test(start_paused = true)]
async fn uses_that_cannot_be_written_are_counted_on() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    node.engine.flush_audit().await.expect("written");
    for _ in 0..3 {
        node.token_text("alice").await;
    }
    node.faults.set("append_audit", Fault::Before, 0, 2);
    for _ in 0..2 {
        node.engine.flush_audit().await.expect_err("the store is away");
        node.token_text("alice").await;
    }
    node.engine.flush_audit().await.expect("written");
    node.engine.flush_audit().await.expect("nothing waits");
    let uses = town.audit("token.export").await;
    assert_eq!(uses.iter().map(|entry| entry.count).sum::<i64>(), 5, "{uses:?}");
}
