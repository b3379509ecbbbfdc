//! How many calls run at the same time, and what becomes of those that are too many.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::api::{Answer, Api};
use crate::support::raw::{Gate, Reply};
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::{together, until};

/// A stage with these limits, on which `u1` and `u2` are connected, and `u1` also in the space `team`; its API answers
/// when the gate opens.
async fn crowded(limits: &[(&str, &str)]) -> (Stage, Gate) {
    let setup = limits
        .iter()
        .fold(Setup::new().set("CALLS__PATIENCE", "200ms"), |setup, (name, value)| {
            setup.set(&format!("CALLS__{name}"), value)
        });
    let stage = Stage::per_user_with(setup).await;
    stage.connect(&stage.user, "api").await;
    stage.connect(&stage.admin.for_user("u2"), "api").await;
    let team = stage.user.in_space("team");
    team.create("api", &stage.connector()).await;
    stage.connect(&team, "api").await;
    let gate = Gate::shut();
    stage.fake.answer_api(Reply::json(200, &json!({})).behind(&gate));
    (stage, gate)
}

fn body() -> Value {
    json!({"params": {"subAction": "request", "subActionParams": {"path": "/api/slow"}}})
}

async fn call(api: Api) -> Answer {
    api.on("api", "_execute", body()).await
}

async fn arrived(stage: &Stage, calls: usize) {
    until("calls at the API", async || {
        (stage.fake.seen("/api/slow").len() == calls).then_some(())
    })
    .await;
}

/// Two calls run; a third one is refused, while that of somebody else goes through.
async fn third_is_refused(stage: (Stage, Gate), held: [&Api; 2], refused: &Api, other: Option<&Api>) {
    let (stage, gate) = stage;
    let mut running: JoinSet<_> = held.into_iter().cloned().map(call).collect();
    arrived(&stage, 2).await;
    let answer = refused.on("api", "_execute", body()).await;
    answer.refused(429, "too_many_calls");
    assert_eq!(answer.retry_after(), 1);
    if let Some(other) = other {
        running.spawn(call(other.clone()));
        arrived(&stage, 3).await;
    }
    gate.open();
    let calls = running.len();
    for answer in running.join_all().await {
        assert_eq!(answer.expect(200)["status"], "ok");
    }
    assert_eq!(refused.on("api", "_execute", body()).await.expect(200)["status"], "ok");
    assert_eq!(
        stage.fake.seen("/api/slow").len(),
        calls + 1,
        "what was refused was not sent"
    );
}

#[tokio::test]
async fn e32_one_connection_runs_so_many_calls_at_once() {
    let stage = crowded(&[("PER_CONNECTION", "2")]).await;
    let (u1, u2) = (stage.0.user.clone(), stage.0.admin.for_user("u2"));
    third_is_refused(stage, [&u1, &u1], &u1, Some(&u2)).await;
}

#[tokio::test]
async fn e32_one_space_runs_so_many_calls_at_once() {
    let stage = crowded(&[("PER_SPACE", "2")]).await;
    let (u1, u2) = (stage.0.user.clone(), stage.0.admin.for_user("u2"));
    let team = u1.in_space("team");
    third_is_refused(stage, [&u1, &u2], &u2, Some(&team)).await;
}

#[tokio::test]
async fn e32_one_host_gets_so_many_calls_at_once() {
    let stage = crowded(&[("PER_HOST", "2")]).await;
    let (u1, u2) = (stage.0.user.clone(), stage.0.admin.for_user("u2"));
    let team = u1.in_space("team");
    third_is_refused(stage, [&u1, &u2], &team, None).await;
}

#[tokio::test]
async fn e32_a_flood_of_one_space_is_queued_and_another_space_is_served() {
    let setup = Setup::new()
        .set("CALLS__PER_CONNECTION", "4")
        .set("CALLS__PER_SPACE", "8");
    let stage = Stage::per_user_with(setup).await;
    stage.connect(&stage.user, "api").await;
    let team = stage.user.in_space("team");
    team.create("api", &stage.connector()).await;
    stage.connect(&team, "api").await;
    let flood = (0..300).map(|_| {
        let user = stage.user.clone();
        async move { user.on("api", "_execute", body()).await.status }
    });
    let (flooded, served) = tokio::join!(together(flood), async {
        let mut served = Vec::new();
        for _ in 0..10 {
            served.push(team.call("api", "/api/whoami").await["status"].clone());
        }
        served
    });
    assert!(served.iter().all(|status| status == "ok"), "{served:?}");
    assert!(
        flooded.iter().all(|status| *status == 200),
        "they only waited: {flooded:?}"
    );
}
