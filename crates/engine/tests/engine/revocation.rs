//! The end of a connection, here and at the provider, whatever happens in between.

use std::sync::Arc;

use serde_json::json;
use valetkey_core::ErrorCode;
use valetkey_engine::{ChangeConnector, Reason};
use valetkey_store::Transfer as _;
use valetkey_store::rows::{ConnectionState, JobRow};

use crate::crowd::Trouble;
use crate::stage::{DAY, HOUR, MINUTE, Stage};
use crate::support::{id, object};

async fn connected(type_id: &str) -> Stage {
    let stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", type_id, "as.example").await;
    stage.connect("default", "crm", "ada", "account-1").await;
    stage
}

/// The jobs that are stored, as they are.
async fn jobs(stage: &Stage) -> Vec<JobRow> {
    use valetkey_store::rows::{Record, Table};
    let records = stage.store.export(Table::Job, None, 1_000).await.expect("readable");
    let jobs = records.into_iter().map(|record| match record {
        Record::Job(row) => row,
        other => panic!("{other:?}"),
    });
    jobs.collect()
}

/// Begins to disconnect; returns when the provider has the request and holds it back.
async fn disconnect_held(stage: &Stage) -> tokio::task::JoinHandle<()> {
    let (engine, caller) = (Arc::clone(stage.engine()), stage.caller("default", Some("ada")));
    let under_way = stage.replica.tasks.spawn(async move {
        let ended = engine.disconnect(&caller, &id("crm"), None).await;
        ended.expect("disconnected");
    });
    while jobs(stage).await.is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    under_way
}

async fn is_ended(stage: &Stage) {
    let refused = stage.token("default", "crm", "ada").await.expect_err("ended");
    assert_eq!(refused.authorization.map(|a| a.reason), Some(Reason::NoToken));
}

#[tokio::test]
async fn a_disconnect_tells_the_provider_at_once_and_leaves_no_job() {
    let stage = connected(".plain").await;
    stage.disconnect("crm", "ada").await.expect("disconnected");
    assert_eq!(stage.provider.revoked(), ["refresh-1", "access-1"]);
    assert!(jobs(&stage).await.is_empty());
    is_ended(&stage).await;
    let records = stage.audit("token.revoke").await;
    assert_eq!((records.len(), records[0].outcome.as_str()), (1, "done"));
}

#[tokio::test]
async fn g15_a_kill_before_the_tombstone_leaves_everything_as_it_was() {
    let mut stage = connected(".plain").await;
    stage.store.close();
    stage.disconnect("crm", "ada").await.expect_err("not written");
    stage.start_again().await;
    stage.token("default", "crm", "ada").await.expect("still connected");
    assert!(stage.provider.revoked().is_empty());
    assert!(jobs(&stage).await.is_empty());
}

#[tokio::test]
async fn g15_a_kill_after_the_tombstone_does_not_end_the_revocation() {
    let mut stage = connected(".plain").await;
    stage.provider.hold("as.example");
    let killed = disconnect_held(&stage).await;
    let row = stage.row("crm", "ada").await.expect("a tombstone");
    assert_eq!(row.state, ConnectionState::Disconnected);
    killed.abort();
    stage.start_again().await;
    stage.provider.trouble("as.example", Some(Trouble::Down));
    stage.provider.release("as.example");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(stage.provider.revoked().is_empty(), "nobody told the provider yet");
    stage.provider.trouble("as.example", None);
    is_ended(&stage).await;
    assert_eq!(
        stage.engine().run_jobs().await.expect("looked"),
        0,
        "the lease of the one that was killed"
    );
    stage.clock.advance(2 * MINUTE);
    assert_eq!(stage.engine().run_jobs().await.expect("done"), 1);
    assert_eq!(stage.provider.revoked(), ["refresh-1", "access-1"], "exactly these");
    assert!(jobs(&stage).await.is_empty());
    is_ended(&stage).await;
    assert_eq!(stage.audit("token.revoke").await.len(), 1);
}

#[tokio::test]
async fn g15_a_kill_after_the_provider_heard_costs_a_second_call_and_nothing_else() {
    let mut stage = connected(".plain").await;
    stage.provider.hold("as.example");
    let killed = disconnect_held(&stage).await;
    // The provider answers, and what came of it cannot be written any more.
    stage.store.close();
    stage.provider.release("as.example");
    killed.await.expect("answered");
    assert_eq!(stage.provider.revoked(), ["refresh-1", "access-1"]);
    stage.start_again().await;
    is_ended(&stage).await;
    assert_eq!(jobs(&stage).await.len(), 1);
    stage.clock.advance(2 * MINUTE);
    stage.engine().run_jobs().await.expect("done");
    assert_eq!(
        stage.provider.revoked(),
        ["refresh-1", "access-1", "refresh-1", "access-1"]
    );
    assert!(jobs(&stage).await.is_empty());
    let records = stage.audit("token.revoke").await;
    assert_eq!((records.len(), records[0].outcome.as_str()), (1, "done"));
}

#[tokio::test]
async fn a_provider_that_is_down_is_told_when_it_is_back() {
    let mut stage = connected(".plain").await;
    stage
        .provider
        .trouble("as.example", Some(Trouble::Status(503, "temporarily_unavailable")));
    stage.disconnect("crm", "ada").await.expect("ended here");
    is_ended(&stage).await;
    let mut attempts = 0;
    for _ in 0..(24 * 60) {
        stage.clock.advance(MINUTE);
        attempts += stage.engine().run_jobs().await.expect("looked");
    }
    assert!(
        (20..=45).contains(&attempts),
        "{attempts} attempts in a day, also over restarts"
    );
    stage.start_again().await;
    stage.provider.trouble("as.example", None);
    stage.clock.advance(HOUR);
    assert_eq!(stage.engine().run_jobs().await.expect("done"), 1);
    assert_eq!(stage.provider.revoked(), ["refresh-1", "access-1"]);
    assert!(jobs(&stage).await.is_empty());
}

#[tokio::test]
async fn a_revocation_is_given_up_after_a_week_and_that_is_told() {
    let stage = connected(".plain").await;
    stage.provider.trouble("as.example", Some(Trouble::Down));
    stage.disconnect("crm", "ada").await.expect("ended here");
    for _ in 0..(8 * 24) {
        stage.clock.advance(HOUR);
        stage.engine().run_jobs().await.expect("looked");
    }
    assert!(jobs(&stage).await.is_empty());
    let records = stage.audit("token.revoke").await;
    assert_eq!((records.len(), records[0].outcome.as_str()), (1, "given_up"));
}

#[tokio::test]
async fn a_refusal_that_time_does_not_mend_is_final() {
    let stage = connected(".plain").await;
    stage
        .provider
        .trouble("as.example", Some(Trouble::Status(400, "invalid_client")));
    stage.disconnect("crm", "ada").await.expect("ended here");
    assert!(jobs(&stage).await.is_empty());
    assert_eq!(stage.audit("token.revoke").await[0].outcome, "failed");
}

#[tokio::test]
async fn replicas_share_the_jobs() {
    let mut stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect_all("default", "crm", 0..40).await;
    stage.provider.trouble("as.example", Some(Trouble::Down));
    for n in 0..40 {
        stage.disconnect("crm", &format!("u{n}")).await.expect("ended here");
    }
    stage.provider.trouble("as.example", None);
    stage.clock.advance(HOUR);
    let other = stage.another().await;
    let (one, two) = tokio::join!(stage.engine().run_jobs(), other.engine.run_jobs());
    let (one, two) = (one.expect("done"), two.expect("done"));
    assert_eq!(one + two, 40);
    assert!(one > 0 && two > 0, "{one} and {two}");
    assert_eq!(stage.provider.revoked().len(), 80, "each token once");
}

#[tokio::test]
async fn a_grant_that_another_connection_shares_is_not_killed() {
    let stage = connected(".family").await;
    stage.connect("default", "crm", "bob", "account-1").await;
    stage.connect("default", "crm", "eve", "account-2").await;
    stage.disconnect("crm", "ada").await.expect("ended here");
    assert!(stage.provider.revoked().is_empty());
    assert_eq!(
        stage.audit("token.revoke").await[0].outcome,
        "kept_for_another_connection"
    );
    stage
        .disconnect("crm", "bob")
        .await
        .expect("the last one of the account");
    assert_eq!(stage.provider.revoked(), ["refresh-2", "access-2"]);
}

#[tokio::test]
async fn g44_a_late_revocation_does_not_kill_what_was_connected_again() {
    let stage = connected(".family").await;
    stage.provider.trouble("as.example", Some(Trouble::Down));
    stage.disconnect("crm", "ada").await.expect("ended here");
    stage.provider.trouble("as.example", None);
    stage.connect("default", "crm", "ada", "account-1").await;
    stage.clock.advance(HOUR);
    stage.engine().run_jobs().await.expect("done");
    assert!(stage.provider.revoked().is_empty());
    assert!(jobs(&stage).await.is_empty());
}

#[tokio::test]
async fn every_connection_of_a_deleted_connector_is_revoked_although_the_connector_is_gone() {
    let stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect_all("default", "crm", 0..450).await;
    let admin = stage.caller("default", None);
    stage
        .engine()
        .delete_connector(&admin, &id("crm"))
        .await
        .expect("deleted");
    assert_eq!(stage.provider.revoked().len(), 400, "the first while the caller waits");
    stage.clock.advance(2 * MINUTE);
    stage.engine().run_jobs().await.expect("done");
    let mut revoked = stage.provider.revoked();
    revoked.sort_unstable();
    revoked.dedup();
    assert_eq!(revoked.len(), 900, "each pair of the 450");
    assert!(jobs(&stage).await.is_empty());
    let ended = stage.audit("connection.state").await;
    assert_eq!(ended[0].details["cause"], "connector_deleted");
    stage
        .engine()
        .delete_connector(&admin, &id("crm"))
        .await
        .expect_err("gone");
}

#[tokio::test]
async fn a_deletion_outlives_its_caller() {
    let stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect_all("default", "crm", 0..300).await;
    let (admin, crm) = (stage.caller("default", None), id("crm"));
    let mut call = Box::pin(stage.engine().delete_connector(&admin, &crm));
    // The caller goes away as soon as the first connection has ended.
    while jobs(&stage).await.is_empty() {
        tokio::select! {
            biased;
            _ = &mut call => panic!("it takes longer than this"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(call);
    stage.replica.settle().await;
    let gone = stage.engine().delete_connector(&admin, &crm).await;
    assert_eq!(gone.expect_err("gone").code, ErrorCode::ConnectorNotFound);
    stage.clock.advance(2 * MINUTE);
    stage.engine().run_jobs().await.expect("done");
    assert_eq!(stage.provider.revoked().len(), 600);
}

#[tokio::test]
async fn g43_a_pair_that_comes_after_the_end_is_revoked_when_the_provider_is_back() {
    let stage = connected(".plain").await;
    stage.clock.advance(HOUR + MINUTE);
    stage.provider.hold("as.example");
    let (engine, caller) = (Arc::clone(stage.engine()), stage.caller("default", Some("ada")));
    let waiting = stage.replica.tasks.spawn(async move {
        engine
            .access_token(&caller, &id("crm"), valetkey_engine::AccessTokenRequest::default())
            .await
    });
    while stage.provider.under_way("as.example") == 0 {
        tokio::task::yield_now().await;
    }
    let ended = disconnect_held(&stage).await;
    stage.provider.release("as.example");
    waiting
        .await
        .expect("no panic")
        .expect_err("no token of an ended connection");
    ended.await.expect("ended");
    stage.replica.settle().await;
    is_ended(&stage).await;
    let mut revoked = stage.provider.revoked();
    revoked.sort_unstable();
    assert_eq!(revoked, ["access-1", "access-2", "refresh-1", "refresh-2"]);
    assert!(jobs(&stage).await.is_empty());
}

#[tokio::test]
async fn tokens_do_not_go_to_addresses_that_they_were_not_made_for() {
    let stage = connected(".plain").await;
    let change = ChangeConnector {
        name: "crm".to_owned(),
        secrets: Some(object(json!({
            "authType": "oauth_authorization_code",
            "authorizationUrl": "https://evil.example/authorize",
            "tokenUrl": "https://evil.example/token",
            "revocationUrl": "https://evil.example/revoke",
            "clientId": "client",
            "clientSecret": "another-secret",
        }))),
        ..ChangeConnector::default()
    };
    let admin = stage.caller("default", None);
    let changed = stage.engine().change_connector(&admin, &id("crm"), change).await;
    changed.expect("changed");
    stage.disconnect("crm", "ada").await.expect("ended here");
    assert!(stage.provider.state().revoked.is_empty());
    assert_eq!(stage.audit("token.revoke").await[0].outcome, "connector_changed");
}

#[tokio::test]
async fn i7_a_job_shows_no_secret() {
    let stage = connected(".plain").await;
    stage.provider.trouble("as.example", Some(Trouble::Down));
    stage.disconnect("crm", "ada").await.expect("ended here");
    let jobs = jobs(&stage).await;
    let stored = format!("{jobs:?} {}", String::from_utf8_lossy(&jobs[0].sealed.0));
    for secret in ["refresh-1", "access-1", "client-secret", "as.example"] {
        assert!(!stored.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn tombstones_go_after_a_month() {
    let stage = connected(".plain").await;
    stage.disconnect("crm", "ada").await.expect("ended");
    stage.clock.advance(29 * DAY);
    stage.engine().sweep().await.expect("swept");
    assert!(stage.row("crm", "ada").await.is_some());
    stage.clock.advance(2 * DAY);
    stage.engine().sweep().await.expect("swept");
    assert!(stage.row("crm", "ada").await.is_none());
}
