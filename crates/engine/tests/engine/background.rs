//! What background work does about one connection.

use std::time::Duration;

use serde_json::json;
use valetkey_core::{Clock as _, Timestamp};
use valetkey_engine::{ChangeConnector, Reason, UserAuthStatus};
use valetkey_store::rows::{ConnectionState, Sealed};
use valetkey_store::{Connections as _, Refreshes as _};

use crate::crowd::Trouble;
use crate::stage::{DAY, HOUR, MINUTE, Stage, key};
use crate::support::{id, object};

async fn connected(lifetime: Option<u64>, type_id: &str) -> Stage {
    let stage = Stage::new(lifetime).await;
    stage.connector("default", "crm", type_id, "as.example").await;
    stage.connect("default", "crm", "ada", "ada").await;
    stage
}

#[tokio::test]
async fn a_connection_is_renewed_ahead_of_its_margin_again_and_again() {
    let stage = connected(Some(3_600), ".plain").await;
    let due = stage.due_at("crm", "ada").await.since(stage.clock.now());
    assert!((40 * MINUTE..=55 * MINUTE).contains(&due), "{due:?}");
    stage.live(DAY, MINUTE).await;
    let count = stage.provider.refresh_count();
    assert!((26..=36).contains(&count), "{count} in a day");
    assert!(stage.provider.state().reused.is_empty());
    let token = stage.token("default", "crm", "ada").await.expect("a token");
    assert!(token.expires_at.expect("an end").since(stage.clock.now()) > 5 * MINUTE);
}

#[tokio::test]
async fn a_refresh_on_demand_moves_what_is_due() {
    let stage = connected(Some(3_600), ".plain").await;
    stage.clock.advance(HOUR + MINUTE);
    stage.token("default", "crm", "ada").await.expect("a token");
    let due = stage.due_at("crm", "ada").await.since(stage.clock.now());
    assert!(due >= 40 * MINUTE, "{due:?}");
    assert_eq!(stage.work().await, 0);
    assert_eq!(stage.provider.refresh_count(), 1);
}

#[tokio::test]
async fn a_grant_that_would_idle_away_is_kept_alive() {
    let stage = connected(None, ".idle").await;
    stage.live(59 * DAY, HOUR * 6).await;
    let early = stage.provider.refresh_count();
    stage.live(2 * DAY, HOUR * 6).await;
    assert_eq!(stage.provider.refresh_count(), 1);
    assert!(early <= 1);
    // Somebody uses it now and then, so that it is kept at all.
    for _ in 0..6 {
        stage.token("default", "crm", "ada").await.expect("a token");
        stage.engine().flush_audit().await.expect("written");
        stage.live(60 * DAY, DAY).await;
    }
    let count = stage.provider.refresh_count();
    assert!((6..=9).contains(&count), "every 51 to 60 days: {count}");
}

#[tokio::test]
async fn a_refresh_token_that_slides_is_used_before_it_ends() {
    let stage = Stage::new(None).await;
    stage.provider.state().refresh_lifetime = Some(1_800);
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect("default", "crm", "ada", "ada").await;
    stage.live(DAY, MINUTE).await;
    let count = stage.provider.refresh_count();
    assert!((70..=86).contains(&count), "every 17 to 20 minutes: {count}");
    assert!(
        stage.audit("connection.expiring").await.is_empty(),
        "a token that slides ends nothing"
    );
}

#[tokio::test]
async fn an_end_without_a_refresh_token_is_noted_when_it_comes() {
    let stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect("default", "crm", "ada", "ada").await;
    let row = stage.row("crm", "ada").await.expect("a connection");
    let grant = row.grant.clone().expect("a grant");
    let same = key("default", "crm", "ada");
    let without = stage
        .store
        .reseal_connection(&same, row.generation, grant.sealed_access, None)
        .await;
    assert!(without.expect("written"));
    stage.live(2 * HOUR, MINUTE).await;
    let row = stage.row("crm", "ada").await.expect("a connection");
    assert_eq!(row.state, ConnectionState::Reauthorize("token_expired".to_owned()));
    assert_eq!(row.due_at, None, "nothing is done about it until a person comes");
    let records = stage.audit("connection.state").await;
    assert_eq!((records.len(), records[0].outcome.as_str()), (1, "token_expired"));
    assert_eq!(
        stage.status("crm", "ada").await.user_auth_status,
        UserAuthStatus::Reauthorize
    );
    assert_eq!(stage.provider.refresh_count(), 0);
}

#[tokio::test]
async fn a_provider_that_is_down_is_asked_less_and_less_and_then_as_before() {
    let stage = connected(Some(3_600), ".plain").await;
    stage
        .provider
        .trouble("as.example", Some(Trouble::Status(503, "temporarily_unavailable")));
    stage.live(DAY, MINUTE).await;
    let asked = stage.provider.refresh_count();
    assert_eq!(asked, 0, "the provider did not see a refresh it took");
    let row = stage.row("crm", "ada").await.expect("a connection");
    assert_eq!(
        row.state,
        ConnectionState::Active,
        "nobody's grant ends because a provider is down"
    );
    let next = stage.due_at("crm", "ada").await.since(stage.clock.now());
    assert!(next <= HOUR, "{next:?}");
    stage.provider.trouble("as.example", None);
    stage.live(HOUR, MINUTE).await;
    assert_eq!(stage.provider.refresh_count(), 1);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let stage = connected(Some(3_600), ".plain").await;
    stage
        .provider
        .trouble("as.example", Some(Trouble::RetryAfter(429, 1_800)));
    stage.clock.advance(56 * MINUTE);
    stage.work().await;
    let due = stage.due_at("crm", "ada").await.since(stage.clock.now());
    assert!(due >= 30 * MINUTE, "{due:?}");
}

#[tokio::test]
async fn g51_a_connection_that_always_fails_holds_nobody_up() {
    let stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect_all("default", "crm", 0..20).await;
    let poison = key("default", "crm", "u7");
    let row = stage.row("crm", "u7").await.expect("a connection");
    let grant = row.grant.clone().expect("a grant");
    let garbage = Some(Sealed(b"garbage".to_vec()));
    let spoiled = stage
        .store
        .reseal_connection(&poison, row.generation, grant.sealed_access, garbage)
        .await;
    assert!(spoiled.expect("written"));
    let mut looks = 0;
    for _ in 0..(6 * 60) {
        stage.clock.advance(MINUTE);
        stage.engine().refresh_due().await.expect("a round");
        stage.replica.settle().await;
        let due = stage
            .store
            .list_due(stage.clock.now(), &[], 100)
            .await
            .expect("readable");
        looks += due.iter().filter(|due| due.key == poison).count();
    }
    assert_eq!(looks, 0, "it is put off each time");
    let of_all = stage.provider.refresh_count();
    assert!((19 * 6..=19 * 10).contains(&of_all), "{of_all} in six hours");
    let next = stage.due_at("crm", "u7").await.since(stage.clock.now());
    assert!(next <= HOUR, "{next:?}");
    let row = stage.row("crm", "u7").await.expect("a connection");
    assert_eq!(
        row.state,
        ConnectionState::Active,
        "it is kept: a restored key may open it"
    );
}

#[tokio::test]
async fn a_connector_that_was_changed_keeps_its_connections_and_sends_nothing() {
    let stage = connected(Some(3_600), ".plain").await;
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
    stage.live(3 * DAY, HOUR).await;
    assert_eq!(stage.provider.refresh_count(), 0);
    assert_eq!(stage.status("crm", "ada").await.reason, Some(Reason::ConnectorChanged));
    assert_eq!(
        stage.row("crm", "ada").await.expect("kept").state,
        ConnectionState::Active
    );
}

#[tokio::test]
async fn client_credentials_are_left_to_those_who_need_them() {
    let stage = Stage::new(Some(3_600)).await;
    let secrets = json!({
        "authType": "oauth_client_credentials", "tokenUrl": "https://as.example/token", "clientId": "c",
        "clientSecret": "s",
    });
    stage.make("default", "svc", ".plain", secrets).await;
    stage.token("default", "svc", "ada").await.expect("a token");
    let due = stage
        .store
        .list_due(Timestamp(i64::MAX), &[], 10)
        .await
        .expect("readable");
    assert!(due.is_empty(), "{due:?}");
}

#[tokio::test]
async fn a_connection_of_an_older_version_is_taken_care_of() {
    let stage = connected(Some(3_600), ".plain").await;
    let generation = stage.row("crm", "ada").await.expect("a connection").generation;
    let ada = key("default", "crm", "ada");
    let forgotten = stage.store.postpone(&ada, generation, None, None, None).await;
    assert!(forgotten.expect("written"));
    stage.clock.advance(50 * MINUTE);
    assert_eq!(stage.work().await, 0, "it does not say when it is due");
    assert_eq!(stage.engine().adopt_connections(None).await.expect("looked"), None);
    stage.live(10 * MINUTE, MINUTE).await;
    assert_eq!(stage.provider.refresh_count(), 1);
}

#[tokio::test]
async fn uses_are_noted_late_and_once_an_hour() {
    let stage = connected(Some(86_400), ".plain").await;
    let start = stage.clock.now();
    let used_at = async || stage.row("crm", "ada").await.expect("a connection").used_at;
    assert_eq!(used_at().await, start, "connecting counts");
    let use_it = async |after: Duration| {
        stage.clock.advance(after);
        stage.token("default", "crm", "ada").await.expect("a token");
        stage.engine().flush_audit().await.expect("written");
        used_at().await.since(start)
    };
    assert_eq!(use_it(MINUTE).await, MINUTE);
    assert_eq!(use_it(30 * MINUTE).await, MINUTE, "not within the hour");
    assert_eq!(use_it(31 * MINUTE).await, 62 * MINUTE);
    assert_eq!(use_it(10 * HOUR).await, 62 * MINUTE + 10 * HOUR);
}
