//! New data keys and the exchange of the master key, while processes run.

use std::time::Duration;

use serde_json::json;
use valetkey_core::fake::FakeRng;
use valetkey_core::{ErrorCode, Rng, Secret, SpaceId};
use valetkey_engine::{Caller, Engine, Exchange, NewKey, OpenVaultError};
use valetkey_seal::{KeySource as _, MasterKey};
use valetkey_store::rows::{AuditEntry, AuditFilter, SealingKeyRow};
use valetkey_store::{AuditLog as _, Vault as _};

use crate::support::{House, caller, tokens};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(crate) fn master(seed: u64) -> MasterKey {
    MasterKey::from_bytes(&(&FakeRng::seeded(seed) as &dyn Rng).bytes::<32>()).expect("a key")
}

/// A house where somebody is connected.
pub(crate) async fn connected(users: &[&str]) -> House {
    let house = House::build().await;
    house.connector("crm", "per-user", json!({})).await;
    for user in users {
        connect(&house, user).await;
    }
    house
}

pub(crate) async fn connect(house: &House, user: &str) {
    let (access, refresh) = (format!("access-{user}"), format!("refresh-{user}"));
    house.wire.will(tokens(&access, Some(&refresh), 3600));
    house.connect(&caller(Some(user)), "crm").await.expect("connected");
}

pub(crate) async fn opens(house: &House, users: &[&str]) {
    for user in users {
        let token = house.token(&caller(Some(user)), "crm").await;
        let token = token.unwrap_or_else(|error| panic!("{user}: {error} ({:?})", error.cause));
        assert_eq!(token.access_token.expose(), &format!("access-{user}"));
    }
}

fn operator() -> Caller {
    Caller::operator()
}

async fn keys(house: &House) -> Vec<SealingKeyRow> {
    house.store.vault().await.expect("read").expect("there").keys
}

/// The data keys with the master keys that wrapped them, in one text.
async fn wrapped(house: &House, names: &[(&str, &str)]) -> String {
    let mut all: Vec<_> = keys(house)
        .await
        .iter()
        .map(|key| {
            let name = names.iter().find(|(id, _)| *id == key.master);
            format!("{}{}", key.id, name.map_or("?", |(_, name)| *name))
        })
        .collect();
    all.sort();
    all.join(" ")
}

pub(crate) async fn records(house: &House, kind: &str) -> Vec<AuditEntry> {
    house.engine.flush_audit().await.expect("written");
    let filter = AuditFilter {
        kind: Some(kind.to_owned()),
        limit: 100,
        ..AuditFilter::default()
    };
    let mut records = house.store.list_audit(&filter).await.expect("read");
    records.reverse();
    records
}

async fn steps(house: &House) -> Vec<String> {
    let records = records(house, "key.rotate").await;
    let step = |record: &AuditEntry| record.details["step"].as_str().unwrap_or_default().to_owned();
    records.iter().map(step).collect()
}

#[tokio::test]
async fn c15_a_process_opens_at_once_what_another_sealed_under_a_data_key_it_has_not_seen() {
    let house = connected(&["alice"]).await;
    let other = house.replica(house.master()).await.expect("opens");
    assert_eq!(house.engine.rotate_data_key(&operator()).await.expect("a key"), 2);
    connect(&house, "bob").await;
    house.connector("second", "per-user", json!({})).await;
    opens(&other, &["alice", "bob"]).await;
    // A flow that one process started, and the secrets of a connector that it made, open in the other.
    other.wire.will(tokens("access-carol", None, 3600));
    other
        .connect(&caller(Some("carol")), "second")
        .await
        .expect("connected");
    // And what the other seals now is sealed under the new key, too.
    connect(&other, "dave").await;
    opens(&house, &["alice", "bob", "dave"]).await;
}

#[tokio::test]
async fn c15_every_value_opens_in_every_process_while_the_master_key_is_exchanged() {
    let house = connected(&["alice"]).await;
    let (old, new) = (house.master(), master(2));
    let names = [(old.id(), "old"), (new.id(), "new")];
    let behind = house.replica(house.master()).await.expect("opens");
    assert_eq!(wrapped(&house, &names).await, "1old");

    let exchange = house.engine.rotate_master(&operator(), &new).await.expect("begun");
    assert_eq!(exchange, Exchange::Begun(2));
    assert_eq!(wrapped(&house, &names).await, "1new 1old 2new 2old");
    connect(&house, "bob").await;
    opens(&behind, &["alice", "bob"]).await;
    connect(&behind, "carol").await;

    let started_anew = house.replica(master(2)).await.expect("opens with the new one");
    opens(&started_anew, &["alice", "bob", "carol"]).await;
    connect(&started_anew, "dave").await;
    for house in [&house, &behind, &started_anew] {
        opens(house, &["alice", "bob", "carol", "dave"]).await;
    }
    // API keys are recognised by a hash under a key that stays.
    let made = NewKey {
        name: "ci".to_owned(),
        privileges: [valetkey_core::Privilege::TokensRead].into_iter().collect(),
        spaces: vec!["*".to_owned()],
        ..NewKey::default()
    };
    let (_, key) = house.engine.create_key(&operator(), made).await.expect("a key");
    recognises(&started_anew.engine, &key).await;

    let retired = started_anew.engine.retire_master(&operator(), false).await;
    assert_eq!(retired.expect("retired"), [old.id()]);
    assert_eq!(wrapped(&house, &names).await, "1new 2new");
    // Processes that still run with the old one go on with what they have.
    for house in [&house, &behind, &started_anew] {
        opens(house, &["alice", "bob", "carol", "dave"]).await;
    }
    let refused = house
        .engine
        .reread_keys()
        .await
        .expect_err("its master key was retired");
    assert!(refused.cause.expect("a cause").contains("was retired"));
    assert_eq!(steps(&house).await, ["new_master_key", "master_keys_retired"]);
}

async fn recognises(engine: &Engine, key: &Secret<String>) {
    let space = SpaceId::default_space();
    let recognised = engine.authenticate(key.expose(), &space, None, "127.0.0.1").await;
    recognised.expect("the same hash");
}

#[tokio::test]
async fn c18_a_retired_master_key_and_one_that_never_was_are_refused_by_name() {
    let house = connected(&["alice"]).await;
    let (old, new) = (house.master(), master(2));
    let refusal = async |master: MasterKey| match house.replica(master).await {
        Err(OpenVaultError::WrongMasterKey { given, wanted }) => (given, wanted),
        other => panic!("not refused: {:?}", other.map(|_| ())),
    };
    let (given, wanted) = refusal(master(3)).await;
    assert_eq!((given.as_str(), wanted), (master(3).id(), vec![old.id().to_owned()]));

    house.engine.rotate_master(&operator(), &new).await.expect("begun");
    let mut both = vec![old.id().to_owned(), new.id().to_owned()];
    both.sort();
    assert_eq!(refusal(master(3)).await.1, both);
    let anew = house.replica(master(2)).await.expect("opens");
    anew.engine.retire_master(&operator(), false).await.expect("retired");
    let (given, wanted) = refusal(house.master()).await;
    assert_eq!((given.as_str(), wanted), (old.id(), vec![new.id().to_owned()]));
}

#[tokio::test]
async fn an_exchange_is_begun_once_and_no_other_before_it_is_finished() {
    let house = connected(&["alice"]).await;
    let same = house.engine.rotate_master(&operator(), &house.master()).await;
    assert_eq!(same.expect_err("the same").code, ErrorCode::ValidationFailed);
    house
        .engine
        .rotate_master(&operator(), &master(2))
        .await
        .expect("begun");
    let written = keys(&house).await;
    let again = house.engine.rotate_master(&operator(), &master(2)).await;
    assert_eq!(again.expect("nothing to do"), Exchange::Prepared(2));
    for refused in [
        house.engine.rotate_master(&operator(), &master(3)).await.map(drop),
        house.engine.rotate_data_key(&operator()).await.map(drop),
    ] {
        assert_eq!(refused.expect_err("under way").code, ErrorCode::RotationUnderWay);
    }
    assert_eq!(keys(&house).await, written);

    let anew = house.replica(master(2)).await.expect("opens");
    let third = anew.engine.rotate_master(&operator(), &master(3)).await;
    assert_eq!(third.expect_err("under way").code, ErrorCode::RotationUnderWay);
    anew.engine.retire_master(&operator(), false).await.expect("retired");
    anew.engine.rotate_master(&operator(), &master(3)).await.expect("begun");
    let last = house.replica(master(3)).await.expect("opens");
    last.engine.retire_master(&operator(), false).await.expect("retired");
    opens(&last, &["alice"]).await;
}

#[tokio::test]
async fn the_newer_master_key_is_not_retired_by_mistake() {
    let house = connected(&["alice"]).await;
    assert!(
        house
            .engine
            .retire_master(&operator(), false)
            .await
            .expect("nothing to do")
            .is_empty()
    );
    house
        .engine
        .rotate_master(&operator(), &master(2))
        .await
        .expect("begun");
    let written = keys(&house).await;
    let refused = house.engine.retire_master(&operator(), false).await;
    let error = refused.expect_err("the old one is still in use");
    assert_eq!(error.code, ErrorCode::RotationUnderWay);
    assert!(error.message.contains(master(2).id()), "{error}");
    assert_eq!(keys(&house).await, written);

    let undone = house.engine.retire_master(&operator(), true).await.expect("undone");
    assert_eq!(undone, [master(2).id()]);
    assert!(house.replica(master(2)).await.is_err());
    opens(&house.replica(house.master()).await.expect("opens"), &["alice"]).await;
    assert_eq!(steps(&house).await, ["new_master_key", "exchange_undone"]);
}

#[tokio::test]
async fn the_newest_master_key_is_known_although_the_clock_went_back() {
    let house = connected(&["alice"]).await;
    house.clock.jump_to(valetkey_core::Timestamp(1));
    house
        .engine
        .rotate_master(&operator(), &master(2))
        .await
        .expect("begun");
    let refused = house.engine.retire_master(&operator(), false).await;
    assert_eq!(refused.expect_err("older").code, ErrorCode::RotationUnderWay);
    let anew = house.replica(master(2)).await.expect("opens");
    anew.engine.retire_master(&operator(), false).await.expect("retired");
}

#[tokio::test]
async fn keys_stored_before_masters_had_names_open_and_get_one_at_the_first_rotation() {
    let house = connected(&["alice"]).await;
    let unnamed = |key: SealingKeyRow| SealingKeyRow {
        master: String::new(),
        ..key
    };
    let before = keys(&house).await;
    let after: Vec<_> = before.iter().cloned().map(unnamed).collect();
    let audit = house_audit();
    assert!(house.store.replace_keys(&before, after, audit).await.expect("written"));
    let house = house.replica(house.master()).await.expect("opens");
    opens(&house, &["alice"]).await;
    house.engine.rotate_data_key(&operator()).await.expect("a key");
    assert!(keys(&house).await.iter().all(|key| key.master == house.master().id()));
    opens(&house.replica(house.master()).await.expect("opens"), &["alice"]).await;
    assert!(matches!(
        house.replica(master(2)).await.map(|_| ()),
        Err(OpenVaultError::WrongMasterKey { .. })
    ));
}

fn house_audit() -> valetkey_store::rows::AuditRow {
    valetkey_store::rows::AuditRow {
        at: valetkey_core::Timestamp(0),
        space: None,
        kind: "test",
        outcome: "ok".to_owned(),
        key: None,
        user: None,
        connector: None,
        connection: None,
        request_id: None,
        address: None,
        details: serde_json::Map::new(),
        count: 1,
    }
}

#[tokio::test]
async fn rotations_of_several_processes_at_once_lose_no_key() {
    let house = connected(&["alice"]).await;
    let others = [
        house.replica(house.master()).await.expect("opens"),
        house.replica(house.master()).await.expect("opens"),
    ];
    let caller = operator();
    let (one, two, three) = tokio::join!(
        house.engine.rotate_data_key(&caller),
        others[0].engine.rotate_data_key(&caller),
        others[1].engine.rotate_data_key(&caller),
    );
    for made in [one, two, three] {
        made.expect("a key");
    }
    let ids: Vec<_> = keys(&house).await.iter().map(|key| key.id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    for house in [&house, &others[0], &others[1]] {
        opens(house, &["alice"]).await;
    }
}

#[tokio::test]
async fn only_an_administrator_rotates() {
    let house = connected(&["alice"]).await;
    let mut nobody = caller(None);
    let mut grant = (*nobody.principal.key).clone();
    let all_but_admin = valetkey_core::Privilege::ALL.into_iter();
    grant.privileges = all_but_admin
        .filter(|p| *p != valetkey_core::Privilege::Admin)
        .collect();
    nobody.principal.key = grant.into();
    for refused in [
        house.engine.rotate_data_key(&nobody).await.map(drop),
        house.engine.rotate_master(&nobody, &master(2)).await.map(drop),
        house.engine.retire_master(&nobody, false).await.map(drop),
        house.engine.sealing_view(&nobody).await.map(drop),
    ] {
        assert_eq!(refused.expect_err("refused").code, ErrorCode::PrivilegeMissing);
    }
    assert_eq!(keys(&house).await.len(), 1);
}

#[tokio::test]
async fn c44_a_data_key_that_is_too_old_is_replaced_by_one_process() {
    let house = connected(&["alice"]).await;
    let other = house.replica(house.master()).await.expect("opens");
    house.clock.advance(YEAR.saturating_sub(Duration::from_secs(1)));
    house.engine.keep_keys().await.expect("nothing to do");
    assert_eq!(keys(&house).await.len(), 1);
    assert!(metrics(&house).contains(&format!(
        "valetkey_sealing_data_key_age_seconds {}\n",
        YEAR.as_secs() - 1
    )));

    house.clock.advance(Duration::from_secs(1));
    for house in [&house, &other] {
        house.engine.keep_keys().await.expect("kept");
        house.engine.keep_keys().await.expect("kept");
    }
    assert_eq!(keys(&house).await.len(), 2, "one new key, not one of each");
    connect(&house, "bob").await;
    opens(&other, &["bob"]).await;
    let text = metrics(&other);
    assert!(text.contains("valetkey_sealing_data_key_age_seconds 0\n"), "{text}");
    assert!(text.contains("valetkey_sealing_data_keys 2\n"), "{text}");
    let [record] = records(&house, "key.rotate").await.try_into().expect("one record");
    assert_eq!(record.details["reason"], "age");
}

#[tokio::test]
async fn c44_an_old_data_key_waits_for_the_exchange_of_the_master_key_to_be_finished() {
    let house = connected(&["alice"]).await;
    house
        .engine
        .rotate_master(&operator(), &master(2))
        .await
        .expect("begun");
    house.clock.advance(YEAR * 2);
    let anew = house.replica(master(2)).await.expect("opens");
    for house in [&house, &anew] {
        house.engine.keep_keys().await.expect("kept");
    }
    assert_eq!(keys(&house).await.len(), 4, "two data keys, each wrapped twice");
    assert!(metrics(&anew).contains("valetkey_sealing_master_keys 2\n"));
    anew.engine.retire_master(&operator(), false).await.expect("retired");
    anew.engine.keep_keys().await.expect("kept");
    assert_eq!(keys(&house).await.len(), 3);
}

#[tokio::test]
async fn the_age_of_a_data_key_survives_the_exchange_of_the_master_key() {
    let house = connected(&["alice"]).await;
    let made = keys(&house).await[0].created_at;
    house.clock.advance(YEAR / 2);
    house
        .engine
        .rotate_master(&operator(), &master(2))
        .await
        .expect("begun");
    let anew = house.replica(master(2)).await.expect("opens");
    anew.engine.retire_master(&operator(), false).await.expect("retired");
    let view = anew.engine.sealing_view(&operator()).await.expect("a view");
    let keys: Vec<_> = view.data_keys.iter().map(|key| (key.id, key.seals)).collect();
    assert_eq!(keys, [(1, false), (2, true)]);
    assert_eq!(view.data_keys[0].created_at, made);
    assert_eq!(view.master_keys.len(), 1);
    assert!(view.master_keys[0].in_use && view.master_keys[0].name == master(2).id());
}

pub(crate) fn metrics(house: &House) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    house.engine.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a text");
    text
}
