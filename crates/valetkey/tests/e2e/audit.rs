//! The audit log: who did what for whom, once each, and nothing that does not belong there.

use serde_json::{Value, json};

use crate::support::browser::{Browser, altered};
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

/// Does one of everything that is recorded, as `u1` on the connector `api`.
async fn one_of_everything(stage: &Stage) {
    stage.connect(&stage.user, "api").await;
    stage.user.call("api", "/api/whoami").await;
    stage.user.token("api").await.expect(200);
    stage.user.renew("api").await.expect(200);
    let mut browser = Browser::new();
    let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    let denied = altered(&callback, &[("code", None), ("error", Some("access_denied"))]);
    browser.open(denied.as_str()).await.failed(403, "denied_by_user");
    stage.user.on("api", "_oauth_disconnect", json!({})).await.expect(204);
    stage
        .admin
        .with_key("vk_nobodys-key-0123456789")
        .get("/api/actions/connectors")
        .await
        .expect(401);
}

#[tokio::test]
async fn d41_every_event_is_recorded_with_who_what_and_when() {
    let stage = Stage::per_user().await;
    one_of_everything(&stage).await;
    let kinds = [
        ("config.change", "ok", false),
        ("flow.start", "ok", true),
        ("flow.complete", "ok", true),
        ("token.use", "ok", true),
        ("token.export", "ok", true),
        ("token.refresh", "ok", true),
        ("flow.reject", "denied_by_user", true),
        ("connection.state", "disconnected", true),
        ("token.revoke", "done", true),
    ];
    for (kind, outcome, of_user) in kinds {
        let records = stage.admin.audit(kind).await;
        let record = records.iter().find(|r| r["outcome"] == outcome);
        let record = record.unwrap_or_else(|| panic!("no {kind} with {outcome}: {records:?}"));
        assert_eq!(record["connector"], "api", "{record}");
        assert!(record["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{record}");
        if of_user {
            assert_eq!(record["user"], "u1", "{record}");
        }
    }
    let failed = stage.admin.audit("auth.fail").await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["address"], "127.0.0.1");
}

#[tokio::test]
async fn d41_changes_of_keys_and_connectors_name_the_key_that_made_them() {
    let stage = Stage::new().await;
    let writer = stage
        .admin
        .make_key(&["connectors:write", "connectors:read"], json!({}))
        .await;
    writer.create("api", &stage.connector()).await;
    writer.delete("/api/actions/connector/api").await.expect(204);
    let keys = stage.admin.audit("apikey.create").await;
    let made = keys[0]["details"]["id"].as_str().expect("an id").to_owned();
    let changes = stage.admin.audit("config.change").await;
    assert_eq!(changes.len(), 2);
    assert!(
        changes.iter().all(|c| c["key"] == made && c["request_id"].is_string()),
        "{changes:?}"
    );
    stage
        .admin
        .delete(&format!("/api/security/api_keys/{made}"))
        .await
        .expect(204);
    assert_eq!(stage.admin.audit("apikey.delete").await[0]["details"]["id"], made);
}

#[tokio::test]
async fn a_denied_attempt_and_a_reached_limit_are_recorded() {
    let stage = Stage::per_user_with(Setup::new().set("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "1")).await;
    let reader = stage.admin.make_key(&["connectors:read"], json!({})).await;
    reader
        .delete("/api/actions/connector/api")
        .await
        .refused(403, "privilege_missing");
    stage.user.start("api", json!({})).await;
    stage
        .user
        .on("api", "_start_oauth_flow", json!({}))
        .await
        .refused(429, "rate_limited");
    assert_eq!(stage.admin.audit("authz.deny").await.len(), 1);
    assert_eq!(stage.admin.audit("limit.hit").await.len(), 1);
}

#[tokio::test]
async fn records_are_filtered_and_paged_newest_first() {
    let stage = Stage::per_user().await;
    one_of_everything(&stage).await;
    let page = async |query: &str| stage.admin.get(&format!("/api/audit?{query}")).await.expect(200);
    let all = page("limit=200").await["records"].as_array().expect("records").clone();
    let numbers: Vec<_> = all.iter().map(|r| r["seq"].as_i64().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]), "{numbers:?}");
    let mut seen = Vec::new();
    let mut query = "limit=3".to_owned();
    loop {
        let page = page(&query).await;
        let records = page["records"].as_array().expect("records");
        assert!(records.len() <= 3);
        seen.extend(records.iter().map(|r| r["seq"].as_i64().expect("a number")));
        let Some(next) = page["next"].as_i64() else { break };
        query = format!("limit=3&after={next}");
    }
    assert_eq!(seen, numbers);
    let of = |records: &Value| records["records"].as_array().map_or(0, Vec::len);
    assert_eq!(of(&page("user=nobody").await), 0);
    assert_eq!(of(&page("connector=other").await), 0);
    let own = of(&page("owner=u1&connector=api&limit=200").await);
    assert!(own > 4, "the history of one connection");
    assert_eq!(
        of(&page("owner=user:u1&connector=api&connection=default&limit=200").await),
        own
    );
    assert_eq!(of(&page("owner=shared").await), 0);
    assert_eq!(of(&page("owner=u1&connection=second").await), 0);
    assert_eq!(of(&page("to=2001-01-01T00:00:00Z").await), 0);
    assert_eq!(of(&page("from=2001-01-01T00:00:00Z&limit=200").await), all.len());
    for wrong in [
        "limit=0",
        "limit=201",
        "limit=x",
        "after=x",
        "from=yesterday",
        "connector=_x",
        "user=*",
        "owner=*",
        "connection=",
    ] {
        stage
            .admin
            .get(&format!("/api/audit?{wrong}"))
            .await
            .refused(400, "validation_failed");
    }
    stage
        .admin
        .get("/api/audit?sort=asc")
        .await
        .refused(400, "unknown_field");
}
