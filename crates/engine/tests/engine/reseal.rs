//! Sealing again under the current data key, in the background and by the operator.

use std::time::Duration;

use serde_json::json;
use valetkey_core::{ConnectionKey, ConnectionName, Owner, ProfileUid, SpaceId};
use valetkey_engine::{Caller, Pass, ResealState, Tally};
use valetkey_store::rows::{ConnectionRow, ConnectorRow, Sealed};
use valetkey_store::{Connections as _, Connectors as _};

use crate::rotation::{connect, connected, metrics, opens, records};
use crate::support::{House, caller, id, tokens};

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// A house whose five connections and two connectors are sealed under the first of two data keys.
async fn behind() -> House {
    let house = connected(&USERS).await;
    house.connector("second", "shared", json!({})).await;
    house.engine.rotate_data_key(&Caller::operator()).await.expect("a key");
    house
}

async fn rows(house: &House) -> (Vec<ConnectorRow>, Vec<ConnectionRow>) {
    (
        house.store.scan_connectors(None, 100).await.expect("read"),
        house.store.scan_connections(None, 100).await.expect("read"),
    )
}

/// The data keys that what is stored is sealed under.
async fn sealed_under(house: &House) -> Vec<u8> {
    let (connectors, connections) = rows(house).await;
    let secrets = connectors.into_iter().filter_map(|row| row.sealed_secrets);
    let tokens = connections
        .into_iter()
        .filter_map(|row| row.grant)
        .flat_map(|grant| [Some(grant.sealed_access), grant.sealed_refresh])
        .flatten();
    let mut keys: Vec<_> = secrets.chain(tokens).map(|Sealed(bytes)| bytes[4]).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

async fn finish(house: &House, pass: &mut Pass) {
    while !pass.is_over() {
        house.engine.reseal_page(pass, 2, 2).await.expect("a page");
    }
}

fn tally(seen: u64, behind: u64, resealed: u64) -> Tally {
    Tally {
        seen,
        behind,
        resealed,
        ..Tally::default()
    }
}

fn key_of(user: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: id("crm"),
        owner: Owner::User(ProfileUid::new(user).expect("a user")),
        name: ConnectionName::default_name(),
    }
}

async fn state(house: &House) -> ResealState {
    let view = house.engine.sealing_view(&Caller::operator()).await.expect("a view");
    view.reseal.state
}

#[tokio::test]
async fn c15_a_pass_leaves_nothing_under_the_old_key_and_everything_opens() {
    let house = behind().await;
    assert_eq!(sealed_under(&house).await, [1]);
    assert_eq!(state(&house).await, ResealState::Waiting);
    assert!(house.engine.due_pass().is_none(), "somebody may still be writing");
    house.clock.advance(Duration::from_secs(5));
    let mut pass = house.engine.due_pass().expect("a pass");
    house.engine.reseal_page(&mut pass, 2, 2).await.expect("a page");
    assert_eq!(state(&house).await, ResealState::UnderWay);
    opens(&house, &USERS).await;
    finish(&house, &mut pass).await;
    assert_eq!(
        (pass.connectors(), pass.connections()),
        (tally(2, 2, 2), tally(5, 5, 5))
    );
    assert_eq!(sealed_under(&house).await, [2]);
    assert_eq!(state(&house).await, ResealState::Done);
    assert!(house.engine.due_pass().is_none());
    opens(&house, &USERS).await;
    let anew = house.replica(house.master()).await.expect("opens");
    opens(&anew, &USERS).await;
    house.clock.advance(Duration::from_secs(3600));
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    let token = anew.token(&caller(Some("alice")), "crm").await.expect("renewed");
    assert_eq!(token.access_token.expose(), "access-2");
    assert!(house.wire.token_requests.lock().expect("not poisoned")[5].contains("refresh_token=refresh-alice"));

    let steps: Vec<_> = records(&house, "key.rotate")
        .await
        .iter()
        .map(|record| record.details["step"].clone())
        .collect();
    assert_eq!(steps, ["new_data_key", "reseal_begun", "reseal_done"]);
    let text = metrics(&house);
    assert!(
        text.contains("valetkey_reseal_total{outcome=\"resealed\"} 7\n"),
        "{text}"
    );
    assert!(text.contains("valetkey_reseal_pending 0\n"), "{text}");
}

#[tokio::test]
async fn g16_a_pass_that_was_cut_off_starts_over_and_loses_nothing() {
    let house = behind().await;
    let mut cut_off = house.engine.reseal_pass(false);
    for _ in 0..3 {
        house.engine.reseal_page(&mut cut_off, 2, 1).await.expect("a page");
    }
    assert_eq!(
        sealed_under(&house).await,
        [1, 2],
        "both keys are needed until it is done"
    );
    let anew = house.replica(house.master()).await.expect("opens");
    opens(&anew, &USERS).await;
    anew.clock.advance(Duration::from_secs(30));
    let mut pass = anew.engine.due_pass().expect("a pass");
    finish(&anew, &mut pass).await;
    let done = cut_off.connections().resealed + pass.connections().resealed;
    assert_eq!((pass.connections().seen, done), (5, 5));
    assert_eq!(sealed_under(&house).await, [2]);
    opens(&anew, &USERS).await;
}

#[tokio::test]
async fn two_processes_at_it_at_once_do_no_harm() {
    let house = behind().await;
    let other = house.replica(house.master()).await.expect("opens");
    let (mut one, mut two) = (house.engine.reseal_pass(false), other.engine.reseal_pass(false));
    tokio::join!(finish(&house, &mut one), finish(&other, &mut two));
    assert_eq!(sealed_under(&house).await, [2]);
    for pass in [one, two] {
        let tally = pass.connections();
        assert_eq!((tally.seen, tally.unreadable, tally.changed), (5, 0, 0));
    }
    opens(&house, &USERS).await;
    opens(&other, &USERS).await;
}

#[tokio::test]
async fn a_process_that_has_not_seen_the_new_key_seals_nothing_back_under_the_old_one() {
    let house = behind().await;
    let stale = connected_before(&house).await;
    let mut pass = house.engine.reseal_pass(false);
    finish(&house, &mut pass).await;
    let mut pass = stale.engine.reseal_pass(false);
    finish(&stale, &mut pass).await;
    assert_eq!(sealed_under(&house).await, [3]);
    assert_eq!(pass.connections().unreadable, 0);
    opens(&stale, &USERS).await;
}

/// A process that read the keys, before one more was added.
async fn connected_before(house: &House) -> House {
    let stale = house.replica(house.master()).await.expect("opens");
    house.engine.rotate_data_key(&Caller::operator()).await.expect("a key");
    stale
}

#[tokio::test]
async fn c16_a_refresh_under_way_is_not_undone() {
    let house = behind().await;
    house.clock.advance(Duration::from_secs(3601));
    let gate = house.wire.hold_tokens();
    house.wire.will(tokens("access-2", Some("refresh-2"), 3600));
    let alice = caller(Some("alice"));
    let reseal = async {
        while house.wire.token_count() < USERS.len() + 1 {
            tokio::task::yield_now().await;
        }
        // The refresh token is spent, its successor is not written yet: the old pair is sealed again.
        let mut pass = house.engine.reseal_pass(false);
        finish(&house, &mut pass).await;
        assert_eq!(pass.connections().resealed, 5);
        gate.add_permits(1);
    };
    let (token, ()) = tokio::join!(house.token(&alice, "crm"), reseal);
    assert_eq!(token.expect("renewed").access_token.expose(), "access-2");
    let before = house.store.get_connection(&key_of("alice")).await.expect("read");
    let mut pass = house.engine.reseal_pass(false);
    finish(&house, &mut pass).await;
    let after = house.store.get_connection(&key_of("alice")).await.expect("read");
    assert_eq!(after, before, "it is sealed under the current key already");
    let anew = house.replica(house.master()).await.expect("opens");
    let token = anew.token(&alice, "crm").await.expect("a token");
    assert_eq!(token.access_token.expose(), "access-2");
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let house = behind().await;
    connect(&house, "frank").await;
    let before = rows(&house).await;
    let mut pass = house.engine.reseal_pass(true);
    finish(&house, &mut pass).await;
    assert_eq!(
        (pass.connectors(), pass.connections()),
        (tally(2, 2, 0), tally(6, 5, 0))
    );
    assert_eq!(rows(&house).await, before);
    assert_eq!(state(&house).await, ResealState::Waiting);
    assert_eq!(records(&house, "key.rotate").await.len(), 1, "the rotation itself");
}

#[tokio::test]
async fn a_value_that_does_not_open_is_reported_and_stays_as_it_is() {
    let house = behind().await;
    let key = key_of("bob");
    let row = house.store.get_connection(&key).await.expect("read").expect("there");
    let grant = row.grant.expect("a grant");
    let mut spoilt = grant.sealed_access.clone();
    spoilt.0[80] ^= 1;
    let spoiled = house
        .store
        .reseal_connection(&key, row.generation, spoilt.clone(), grant.sealed_refresh);
    assert!(spoiled.await.expect("written"));
    house.clock.advance(Duration::from_secs(5));
    let mut pass = house.engine.due_pass().expect("a pass");
    finish(&house, &mut pass).await;
    assert_eq!((pass.connections().resealed, pass.connections().unreadable), (4, 1));
    let row = house.store.get_connection(&key).await.expect("read").expect("there");
    assert_eq!(row.grant.expect("a grant").sealed_access, spoilt);
    assert_eq!(
        state(&house).await,
        ResealState::Done,
        "another pass would find the same"
    );
    let [record] = records(&house, "crypto.fail").await.try_into().expect("one record");
    assert_eq!(record.owner.as_deref(), Some("user:bob"));
    opens(&house, &["alice", "carol", "dave", "erin"]).await;
}

#[tokio::test]
async fn a_store_with_one_data_key_has_nothing_to_seal_again() {
    let house = connected(&["alice"]).await;
    house.clock.advance(Duration::from_secs(60));
    assert!(house.engine.due_pass().is_none());
    assert_eq!(state(&house).await, ResealState::NotNeeded);
}
