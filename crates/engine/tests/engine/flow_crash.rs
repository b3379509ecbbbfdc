//! A process that ends while an account is being connected: the flow that it had taken is said to be interrupted, once.

use std::time::Duration;

use valetkey_oauth::Rotation;

use crate::faults::Fault;
use crate::town::{DiesAt, Node, Plan, Town, until};

/// Longer than any callback takes.
const LONG: Duration = Duration::from_secs(100);

/// Alice, who is connected, connects again, and the process ends on the way; it is started again, and another one beside.
async fn crashed(prepare: impl FnOnce(&Node)) -> (Town, [Node; 2]) {
    let (mut town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    prepare(&node);
    let connecting = node.connecting("alice");
    until(|| node.is_dead()).await;
    connecting.abort();
    let again = town.restart(node).await;
    let other = town.start().await;
    (town, [again, other])
}

async fn sweep(nodes: &[Node; 2]) {
    let (one, two) = tokio::join!(nodes[0].engine.sweep(), nodes[1].engine.sweep());
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
}

async fn is_told_once(prepare: impl FnOnce(&Node)) {
    let (town, nodes) = crashed(prepare).await;
    sweep(&nodes).await;
    assert!(town.audit("flow.interrupted").await.is_empty(), "somebody may be at it");
    town.pass(LONG).await;
    sweep(&nodes).await;
    sweep(&nodes).await;
    let [told] = &town.audit("flow.interrupted").await[..] else {
        panic!("not told once");
    };
    let started = town.audit("flow.start").await;
    let started = started.last().expect("a start");
    assert_eq!(
        (told.outcome.as_str(), &told.key, &told.user),
        ("failed", &started.key, &started.user)
    );
    assert_eq!(told.details["reason"], "interrupted");
    assert_eq!(told.details["flow"], started.details["flow"]);
    assert_eq!(town.audit("flow.complete").await.len(), 1, "the first one");

    // What there was stays, and connecting again works.
    assert!(nodes[1].token("alice").await.is_ok());
    nodes[0].connect("alice").await;
    town.pass(LONG).await;
    sweep(&nodes).await;
    assert_eq!(town.audit("flow.interrupted").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn g04_a_flow_that_was_taken_by_a_process_that_died_is_said_to_be_interrupted() {
    is_told_once(|node| node.faults.once("take_flow", Fault::DieAfter)).await;
}

#[tokio::test(start_paused = true)]
async fn g05_a_flow_whose_tokens_were_never_read_is_said_to_be_interrupted() {
    is_told_once(|node| node.line.die_at(DiesAt::Waiting)).await;
}

#[tokio::test(start_paused = true)]
async fn g06_a_flow_whose_tokens_were_not_stored_is_said_to_be_interrupted() {
    is_told_once(|node| node.faults.once("put_connection", Fault::DieBefore)).await;
}

#[tokio::test(start_paused = true)]
async fn g08_a_flow_whose_connection_was_stored_is_not_said_to_be_interrupted() {
    for (operation, fault) in [("put_connection", Fault::DieAfter), ("end_flow", Fault::DieBefore)] {
        let (town, nodes) = crashed(|node| node.faults.once(operation, fault)).await;
        town.pass(LONG).await;
        sweep(&nodes).await;
        assert!(town.audit("flow.interrupted").await.is_empty());
        assert_eq!(town.audit("flow.complete").await.len(), 2);
        assert_eq!(nodes[0].faults.calls("end_flow") + nodes[1].faults.calls("end_flow"), 2);
        sweep(&nodes).await;
        assert_eq!(nodes[0].faults.calls("end_flow") + nodes[1].faults.calls("end_flow"), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_was_refused_or_is_being_finished_is_not_said_to_be_interrupted() {
    let (town, node) = Town::with_alice(Plan::of(Rotation::SingleUse)).await;
    node.faults.set("put_connection", Fault::Before, 0, usize::MAX);
    node.connecting("alice")
        .await
        .expect("no panic")
        .expect_err("it cannot be stored");
    node.faults.lift();
    town.pass(LONG).await;
    node.engine.sweep().await.expect("swept");
    assert!(town.audit("flow.interrupted").await.is_empty());
    assert_eq!(
        town.audit("flow.reject").await.len(),
        1,
        "written with the end of the flow"
    );
}
