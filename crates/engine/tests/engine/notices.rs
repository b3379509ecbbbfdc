//! Ends that are told ahead.

use valetkey_core::Clock as _;
use valetkey_engine::{EndReason, UserAuthStatus};
use valetkey_store::rows::ConnectionState;

use crate::stage::{DAY, HOUR, Stage};

async fn connected(lifetime: Option<u64>, type_id: &str, unused_after: Option<std::time::Duration>) -> Stage {
    let stage = Stage::with(lifetime, |settings| settings.unused_after = unused_after).await;
    stage.connector("default", "crm", type_id, "as.example").await;
    stage.connect("default", "crm", "ada", "ada").await;
    stage
}

#[tokio::test]
async fn an_absolute_end_is_told_14_and_3_days_ahead_although_the_grant_is_renewed_every_day() {
    let stage = connected(Some(86_400), ".absolute", None).await;
    let end = stage.clock.now().plus(365 * DAY);
    stage.live(350 * DAY, 6 * HOUR).await;
    assert!(stage.audit("connection.expiring").await.is_empty());
    assert_eq!(stage.status("crm", "ada").await.notice, None);
    stage.live(DAY * 3 / 2, HOUR).await;
    let records = stage.audit("connection.expiring").await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].outcome, "expires");
    assert_eq!(records[0].details["at"], end.to_string());
    let refreshes = stage.provider.refresh_count();
    stage.live(9 * DAY, HOUR).await;
    assert!(stage.provider.refresh_count() > refreshes + 5);
    let notice = stage.status("crm", "ada").await.notice.expect("a notice");
    assert_eq!(
        (notice.reason, notice.expires_at),
        (EndReason::Expires, end),
        "over refreshes"
    );
    assert_eq!(stage.audit("connection.expiring").await.len(), 1);
    stage.live(4 * DAY, HOUR).await;
    assert_eq!(
        stage.audit("connection.expiring").await.len(),
        2,
        "and three days ahead"
    );
    stage.connect("default", "crm", "ada", "ada").await;
    assert_eq!(
        stage.status("crm", "ada").await.notice,
        None,
        "connecting again moves it"
    );
}

#[tokio::test]
async fn the_end_of_a_refresh_token_that_does_not_slide_is_told_when_a_refresh_shows_it() {
    let stage = connected(Some(86_400), ".plain", None).await;
    // What is left of 60 days, whatever is done: as a provider tells it that gives no more.
    let end = stage.clock.now().plus(60 * DAY);
    let mut told = 0;
    for _ in 0..58 {
        let left = end.since(stage.clock.now()).as_secs();
        stage.provider.state().refresh_lifetime = Some(left);
        stage.live(DAY, HOUR).await;
        told = stage.audit("connection.expiring").await.len();
        let notice = stage.status("crm", "ada").await.notice;
        let days = end.since(stage.clock.now()).as_secs() / 86_400;
        assert_eq!(notice.is_some(), told > 0, "{days} days ahead");
        assert!(days < 15 || told == 0, "{days} days ahead");
    }
    assert_eq!(told, 2);
}

#[tokio::test]
async fn an_unused_connection_is_told_and_ended_and_its_grant_with_it() {
    let stage = connected(Some(86_400), ".plain", Some(90 * DAY)).await;
    stage.live(75 * DAY, 6 * HOUR).await;
    assert!(stage.audit("connection.expiring").await.is_empty());
    stage.live(2 * DAY, HOUR).await;
    let records = stage.audit("connection.expiring").await;
    assert_eq!((records.len(), records[0].outcome.as_str()), (1, "unused"));
    let status = stage.status("crm", "ada").await;
    assert_eq!(status.user_auth_status, UserAuthStatus::Connected);
    assert_eq!(status.notice.map(|notice| notice.reason), Some(EndReason::Unused));
    stage.live(14 * DAY, HOUR).await;
    let row = stage.row("crm", "ada").await.expect("a tombstone");
    assert_eq!(row.state, ConnectionState::Disconnected);
    let ended = stage.audit("connection.state").await;
    assert_eq!(ended[0].details["cause"], "unused");
    assert_eq!(stage.audit("token.revoke").await[0].outcome, "done");
    let serial = stage.provider.refresh_count() + 1;
    assert_eq!(
        stage.provider.revoked(),
        [format!("refresh-{serial}"), format!("access-{serial}")],
        "the last pair"
    );
    assert_eq!(stage.audit("connection.expiring").await.len(), 1, "told once");
}

#[tokio::test]
async fn using_a_connection_is_enough_to_keep_it() {
    let stage = connected(Some(86_400), ".plain", Some(90 * DAY)).await;
    stage.live(80 * DAY, 6 * HOUR).await;
    assert_eq!(stage.audit("connection.expiring").await.len(), 1);
    stage.token("default", "crm", "ada").await.expect("a token");
    // The use is not even written yet when the end comes: it counts all the same.
    stage.clock.advance(10 * DAY);
    stage.work().await;
    stage.live(2 * DAY, HOUR).await;
    let row = stage.row("crm", "ada").await.expect("a connection");
    assert_eq!(row.state, ConnectionState::Active);
    assert_eq!(stage.status("crm", "ada").await.notice, None);
    stage.live(62 * DAY, 6 * HOUR).await;
    assert_eq!(stage.audit("connection.expiring").await.len(), 1);
    stage.live(3 * DAY, HOUR).await;
    assert_eq!(
        stage.audit("connection.expiring").await.len(),
        2,
        "told anew after 76 days more"
    );
    assert!(stage.provider.revoked().is_empty());
}

#[tokio::test]
async fn nothing_ends_that_was_not_told_two_weeks_before() {
    let mut stage = connected(Some(86_400), ".plain", Some(90 * DAY)).await;
    stage.clock.advance(200 * DAY);
    stage.start_again().await;
    stage.work().await;
    let row = stage.row("crm", "ada").await.expect("a connection");
    assert_eq!(row.state, ConnectionState::Active);
    assert_eq!(stage.audit("connection.expiring").await.len(), 1);
    stage.live(13 * DAY, 6 * HOUR).await;
    assert_eq!(
        stage.row("crm", "ada").await.expect("kept").state,
        ConnectionState::Active
    );
    stage.live(2 * DAY, 6 * HOUR).await;
    assert_eq!(
        stage.row("crm", "ada").await.expect("a tombstone").state,
        ConnectionState::Disconnected
    );
}
