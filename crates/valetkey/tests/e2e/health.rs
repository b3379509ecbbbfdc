//! How flows, refreshes and uses went, as the health page shows it.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::browser::{Browser, altered};
use crate::support::stage::Stage;

async fn health(api: &Api, query: &str) -> Value {
    api.get(&format!("/api/health{query}")).await.expect(200)
}

/// How often something happened in all of the time; `None` if there is no such series.
fn sum(health: &Value, subject: &str, outcome: &str) -> Option<i64> {
    let series = health["series"].as_array().expect("series");
    let found: Vec<_> = series
        .iter()
        .filter(|s| s["subject"] == subject && s["outcome"] == outcome)
        .collect();
    let [one] = found.as_slice() else { return None };
    assert_eq!(one["connector_type_id"], ".http");
    let counts = one["counts"].as_array().expect("counts");
    Some(counts.iter().map(|count| count.as_i64().expect("a number")).sum())
}

/// One flow that worked and one that was denied, two refreshes and one that was refused, three uses and an export of each
/// token.
async fn busy() -> Stage {
    let stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    let denied = altered(&callback, &[("code", None), ("error", Some("access_denied"))]);
    browser.open(denied.as_str()).await.failed(403, "denied_by_user");
    browser.open(denied.as_str()).await.failed(409, "flow_already_used");
    for _ in 0..3 {
        stage.user.call("api", "/api/whoami").await;
    }
    stage.user.renew("api").await.expect(200);
    stage.user.renew("api").await.expect(200);
    stage.fake.forget_grants();
    stage.user.renew("api").await.refused(409, "authorization_required");
    stage
}

fn is_as_it_was(health: &Value) {
    let cases = [
        ("flow", "ok", Some(1)),
        ("flow", "failed", Some(1)),
        ("refresh", "ok", Some(2)),
        ("refresh", "failed", Some(1)),
        ("use", "ok", Some(5)),
        ("use", "failed", None),
    ];
    for (subject, outcome, count) in cases {
        assert_eq!(sum(health, subject, outcome), count, "{subject} {outcome}: {health}");
    }
}

#[tokio::test]
async fn what_went_well_and_what_did_not_is_counted_and_survives_a_stop() {
    let mut stage = busy().await;
    let day = health(&stage.admin, "").await;
    is_as_it_was(&day);
    assert_eq!(day["step_seconds"], 300);
    let counts = day["series"][0]["counts"].as_array().expect("counts");
    assert!((288..=289).contains(&counts.len()), "{}", counts.len());
    let month = health(&stage.admin, "?hours=720").await;
    is_as_it_was(&month);
    assert_eq!(month["step_seconds"], 7_200);
    stage.user.in_space("other").create("api", &stage.connector()).await;
    assert_eq!(health(&stage.admin.in_space("other"), "").await["series"], json!([]));

    stage.valetkey.restart().await;
    is_as_it_was(&health(&stage.admin, "?hours=1").await);
}

#[tokio::test]
async fn what_nobody_asked_about_before_a_stop_is_written_at_the_stop() {
    let mut stage = busy().await;
    stage.valetkey.stop().await;
    stage.valetkey.start_again().await;
    is_as_it_was(&health(&stage.admin, "").await);
}

#[tokio::test]
async fn health_is_for_those_who_may_read_the_audit_log() {
    let stage = Stage::new().await;
    let reader = stage.admin.make_key(&["audit:read"], json!({})).await;
    assert_eq!(health(&reader, "?hours=1").await["series"], json!([]));
    let other = stage.admin.make_key(&["connectors:read"], json!({})).await;
    other.get("/api/health").await.refused(403, "privilege_missing");
    for wrong in ["hours=0", "hours=721", "hours=x"] {
        let refused = reader.get(&format!("/api/health?{wrong}")).await;
        refused.refused(400, "validation_failed");
    }
    reader.get("/api/health?days=1").await.refused(400, "unknown_field");
}
