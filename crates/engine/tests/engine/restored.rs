//! A store that was put back from a backup is noticed.

use std::time::Duration;

use valetkey_core::{Clock as _, ConnectionKey, ConnectionName, Owner, ProfileUid, SpaceId};
use valetkey_engine::{Caller, HighWater, Reason};
use valetkey_oauth::Rotation;
use valetkey_store::Connections as _;
use valetkey_store::rows::ConnectionRow;

use crate::crowd::Trouble;
use crate::provider::Incident;
use crate::rotation::{connect, connected, records};
use crate::stage::{HOUR, MINUTE, Stage};
use crate::support::{House, caller, error, id, reason, tokens};
use crate::town::{Node, Plan, Town};

async fn mark(house: &House) -> HighWater {
    house.engine.high_water().await.expect("read").expect("a record")
}

async fn is_older(house: &House, mark: &HighWater) -> bool {
    house.engine.is_older_than(mark).await.expect("an answer")
}

async fn row(house: &House, user: &str) -> ConnectionRow {
    let key = ConnectionKey {
        space: SpaceId::default_space(),
        connector: id("crm"),
        owner: Owner::User(ProfileUid::new(user).expect("a user")),
        name: ConnectionName::default_name(),
    };
    house.store.get_connection(&key).await.expect("read").expect("there")
}

#[tokio::test]
async fn c38_a_store_that_lacks_what_was_seen_of_it_is_older() {
    let house = connected(&["alice"]).await;
    let seen = mark(&house).await;
    assert!(!is_older(&house, &seen).await);
    connect(&house, "bob").await;
    assert!(mark(&house).await.seq > seen.seq, "every change raises the mark");
    assert!(!is_older(&house, &seen).await, "it went on");

    let newest = mark(&house).await;
    let lost = HighWater {
        seq: newest.seq + 1,
        ..newest.clone()
    };
    assert!(is_older(&house, &lost).await, "the record is not there any more");
    let other_history = HighWater {
        at: seen.at + 1,
        ..seen
    };
    assert!(
        is_older(&house, &other_history).await,
        "another record has its place: the store went back and on"
    );
    let elsewhere = HighWater {
        deployment: "another".to_owned(),
        ..lost
    };
    assert!(
        !is_older(&house, &elsewhere).await,
        "a mark of another store says nothing"
    );
    let pruned = HighWater { seq: 0, ..newest };
    assert!(
        !is_older(&house, &pruned).await,
        "the beginning of the log was taken away"
    );
}

#[tokio::test]
async fn c38_of_several_processes_the_first_notices_a_restore_for_all() {
    let house = connected(&["alice"]).await;
    let newest = mark(&house).await;
    let lost = HighWater {
        seq: newest.seq + 1,
        ..newest
    };
    house.clock.advance(Duration::from_secs(60));
    let other = house.replica(house.master()).await.expect("opens");
    assert!(is_older(&house, &lost).await && is_older(&other, &lost).await);
    house.engine.mark_restored().await.expect("noted");
    assert!(
        !is_older(&other, &lost).await,
        "what was renewed meanwhile is not old again"
    );
    let later = HighWater {
        seq: lost.seq + 10,
        at: house.clock.now().0 + 1,
        ..lost
    };
    assert!(is_older(&other, &later).await, "it was put back once more");
}

#[tokio::test]
async fn c38_what_was_in_the_backup_counts_as_old_until_it_is_renewed_or_connected_again() {
    let house = connected(&["alice", "bob", "carol"]).await;
    let other = house.replica(house.master()).await.expect("opens");
    assert_eq!(house.engine.restored(), None);
    assert!(!house.engine.is_from_backup(&row(&house, "alice").await));

    house.clock.advance(Duration::from_secs(3601));
    let restored = house.engine.mark_restored().await.expect("noted");
    assert_eq!(restored.connections, 3);
    assert_eq!(house.engine.restored(), Some(restored.at));
    for user in ["alice", "bob", "carol"] {
        assert!(house.engine.is_from_backup(&row(&house, user).await));
    }
    // Other processes learn of it, and so does the next start.
    other.engine.reread_keys().await.expect("read");
    assert_eq!(other.engine.restored(), Some(restored.at));
    let next = house.replica(house.master()).await.expect("opens");
    assert_eq!(next.engine.restored(), Some(restored.at));

    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    house.token(&caller(Some("alice")), "crm").await.expect("renewed");
    connect(&house, "bob").await;
    let old = ["alice", "bob", "carol"].map(async |user| house.engine.is_from_backup(&row(&house, user).await));
    let mut found = Vec::new();
    for answer in old {
        found.push(answer.await);
    }
    assert_eq!(found, [false, false, true]);
    let [record] = records(&house, "backup.restore").await.try_into().expect("one record");
    assert_eq!(record.details["connections"], 3);
}

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// A restored house whose connections are stale and still work.
async fn stale() -> House {
    let house = connected(&USERS).await;
    house.clock.advance(Duration::from_secs(3_400));
    house.engine.mark_restored().await.expect("noted");
    house
}

/// Everybody asks for a token, and all that this starts comes to its end.
async fn everybody_asks(house: &House) {
    for user in USERS {
        let token = house.token(&caller(Some(user)), "crm").await.expect("it still works");
        assert_eq!(token.access_token.expose(), &format!("access-{user}"));
        house.settle().await;
    }
}

#[tokio::test]
async fn c38_after_a_restore_a_few_canaries_are_renewed_ahead_of_time_and_no_storm_follows() {
    let house = stale().await;
    for _ in 0..USERS.len() {
        house.wire.will(error(400, "invalid_grant"));
    }
    everybody_asks(&house).await;
    assert_eq!(house.wire.token_count(), USERS.len() + 3);
    let refused = house
        .token(&caller(Some("alice")), "crm")
        .await
        .expect_err("her grant is over");
    let reason = refused.authorization.as_ref().map(|a| a.reason);
    assert_eq!(reason, Some(Reason::Restored));
    let records = records(&house, "token.refresh").await;
    assert_eq!(records.iter().filter(|r| r.outcome == "restored").count(), 3);
    // Whoever needs a token gets what the provider says.
    house.clock.advance(Duration::from_secs(201));
    let refused = house.token(&caller(Some("erin")), "crm").await.expect_err("over, too");
    assert_eq!(refused.authorization.map(|a| a.reason), Some(Reason::Restored));
}

#[tokio::test]
async fn c38_when_a_canary_comes_back_the_others_follow() {
    let house = stale().await;
    for n in 0..USERS.len() {
        house
            .wire
            .will(tokens(&format!("renewed-{n}"), Some(&format!("refresh-{n}")), 3600));
    }
    everybody_asks(&house).await;
    assert_eq!(house.wire.token_count(), 2 * USERS.len());
    for user in USERS {
        assert!(!house.engine.is_from_backup(&row(&house, user).await));
    }
    let view = house.engine.sealing_view(&Caller::operator()).await.expect("a view");
    assert!(view.restored_at.is_some(), "what it was stays known");
}

/// A town with so many connected users whose access tokens have ended.
async fn expired(count: usize) -> (Town, Node) {
    let (town, node) = Town::build(Plan::of(Rotation::SingleUse)).await;
    for n in 0..count {
        node.connect(&format!("user-{n}")).await;
    }
    town.expire().await;
    (town, node)
}

fn refusal() -> Incident {
    Incident::Refuse(400, "invalid_grant", None)
}

#[tokio::test(start_paused = true)]
async fn c38_that_a_provider_refuses_what_is_old_raises_no_doubt_about_it() {
    let (town, node) = expired(20).await;
    node.engine.mark_restored().await.expect("noted");
    town.provider.always(Some(refusal()));
    for n in 0..20 {
        let refused = node.token(&format!("user-{n}")).await.expect_err("over");
        assert_eq!(reason(&refused), Some(Reason::Restored), "user-{n}");
    }
    assert_eq!(node.counted("valetkey_mass_refusal_total{event=\"begins\"}"), 0);
    // Whoever connected since is believed to be refused, too.
    town.provider.always(None);
    node.connect("user-0").await;
    town.expire().await;
    town.provider.always(Some(refusal()));
    let refused = node.token("user-0").await.expect_err("over");
    assert_eq!(reason(&refused), Some(Reason::TokenRevoked));
}

#[tokio::test(start_paused = true)]
async fn c38_while_a_provider_is_doubted_what_is_old_is_kept_as_well() {
    let (town, node) = expired(30).await;
    town.provider.always(Some(refusal()));
    for n in 0..20 {
        node.token(&format!("user-{n}")).await.expect_err("refused");
    }
    assert_eq!(node.counted("valetkey_mass_refusal_total{event=\"begins\"}"), 1);
    node.engine.mark_restored().await.expect("noted");
    for n in 20..30 {
        let refused = node.token(&format!("user-{n}")).await.expect_err("refused");
        assert_eq!(reason(&refused), None, "user-{n}");
        assert_eq!(town.row(&format!("user-{n}")).await.state.word(), "active");
    }
}

#[tokio::test]
async fn c38_background_work_sends_canaries_first_and_the_others_when_one_came_back() {
    let stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect_all("default", "crm", 0..8).await;
    let end = stage.clock.now().plus(HOUR);
    stage.clock.advance(Duration::from_secs(3_400));
    stage.engine().mark_restored().await.expect("noted");
    let gate = stage.provider.hold("as.example");
    let round = stage.engine().refresh_due().await.expect("a round");
    assert_eq!(round.begun, 8);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    while stage.provider.under_way("as.example") < 3 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(3);
    stage.provider.release("as.example");
    stage.replica.settle().await;
    assert_eq!(stage.provider.refresh_count(), 3);
    let mut waiting = 0;
    for n in 0..8 {
        waiting += usize::from(stage.due_at("crm", &format!("u{n}")).await == end);
    }
    assert_eq!(waiting, 5, "until their access tokens end");
    stage.clock.advance(Duration::from_secs(200));
    stage.work().await;
    assert_eq!(stage.provider.refresh_count(), 8);
    assert!(stage.provider.state().reused.is_empty());
}

#[tokio::test]
async fn c38_background_work_asks_again_after_an_hour_when_no_canary_came_back() {
    let stage = Stage::new(Some(3_600)).await;
    stage.connector("default", "crm", ".plain", "as.example").await;
    stage.connect_all("default", "crm", 0..8).await;
    stage.clock.advance(2 * HOUR);
    stage.engine().mark_restored().await.expect("noted");
    stage.provider.trouble("as.example", Some(Trouble::Down));
    stage.work().await;
    let later = stage.clock.now().plus(HOUR);
    let mut waiting = 0;
    for n in 0..8 {
        waiting += usize::from(stage.due_at("crm", &format!("u{n}")).await == later);
    }
    assert_eq!(waiting, 5);
    stage.provider.trouble("as.example", None);
    stage.live(2 * HOUR, MINUTE).await;
    for n in 0..8 {
        let row = stage.row("crm", &format!("u{n}")).await.expect("a connection");
        assert!(!stage.engine().is_from_backup(&row), "u{n}");
    }
}
