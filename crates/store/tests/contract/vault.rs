use valetkey_core::Timestamp;
use valetkey_store::Store;
use valetkey_store::rows::{SealingKeyRow, VaultRow};

use crate::Engine;
use crate::fixtures::{NOW, audit, later, race, records};

fn vault(deployment: &str) -> VaultRow {
    let first = SealingKeyRow {
        id: u32::MAX,
        master: String::new(),
        wrapped: vec![1, 2, 3],
        created_at: NOW,
    };
    VaultRow {
        deployment: deployment.to_owned(),
        keys: vec![first],
        restored_at: None,
    }
}

pub(crate) async fn a_new_store_takes_one_vault(engine: &dyn Engine) {
    let store = engine.open().await;
    assert_eq!(store.vault().await.expect("read"), None);
    assert!(store.init_vault(vault("first")).await.expect("written"));
    assert!(!store.init_vault(vault("second")).await.expect("refused"));
    drop(store);
    let store = engine.open().await;
    assert_eq!(store.vault().await.expect("read"), Some(vault("first")));
}

pub(crate) async fn of_racing_vaults_one_stays(engine: &dyn Engine) {
    let store = engine.open().await;
    let written = race(&store, 20, |store, number| async move {
        let row = vault(&number.to_string());
        store.init_vault(row.clone()).await.expect("an answer").then_some(row)
    })
    .await;
    let winners: Vec<_> = written.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.vault().await.expect("read").as_ref(), winners.first());
}

pub(crate) async fn data_keys_come_oldest_first(engine: &dyn Engine) {
    let store = engine.open().await;
    let mut row = vault("one");
    row.keys.push(SealingKeyRow {
        id: 7,
        master: String::new(),
        wrapped: vec![],
        created_at: Timestamp(NOW.0 - 1),
    });
    assert!(store.init_vault(row.clone()).await.expect("written"));
    row.keys.reverse();
    assert_eq!(store.vault().await.expect("read"), Some(row));
}

pub(crate) async fn a_probe_writes_each_time(engine: &dyn Engine) {
    let store = engine.open().await;
    for _ in 0..3 {
        store.probe().await.expect("written");
    }
}

fn data_key(id: u32, master: &str) -> SealingKeyRow {
    SealingKeyRow {
        id,
        master: master.to_owned(),
        wrapped: format!("{id} by {master}").into_bytes(),
        created_at: later(id.into()),
    }
}

async fn with_keys(store: &dyn Store, keys: Vec<SealingKeyRow>) {
    let deployment = "one".to_owned();
    let row = VaultRow {
        deployment,
        keys,
        restored_at: None,
    };
    assert!(store.init_vault(row).await.expect("written"));
}

async fn keys(store: &dyn Store) -> Vec<SealingKeyRow> {
    store.vault().await.expect("read").expect("there").keys
}

async fn replace(store: &dyn Store, before: &[SealingKeyRow], after: Vec<SealingKeyRow>) -> bool {
    store
        .replace_keys(before, after, audit("vault.keys"))
        .await
        .expect("an answer")
}

pub(crate) async fn a_data_key_is_there_once_for_each_master_key(engine: &dyn Engine) {
    let store = engine.open().await;
    let unordered = [(2, "b"), (1, "b"), (2, ""), (1, "a")].map(|(id, master)| data_key(id, master));
    with_keys(&*store, unordered.to_vec()).await;
    let ordered = [(1, "a"), (1, "b"), (2, ""), (2, "b")].map(|(id, master)| data_key(id, master));
    assert_eq!(keys(&*store).await, ordered);
}

pub(crate) async fn data_keys_are_replaced_only_from_what_they_were(engine: &dyn Engine) {
    let store = engine.open().await;
    let before = vec![data_key(1, "old"), data_key(2, "old")];
    let after = vec![data_key(1, "new"), data_key(2, "new"), data_key(3, "new")];
    assert!(!replace(&*store, &[], after.clone()).await, "there is no vault");
    assert_eq!(store.vault().await.expect("read"), None);
    with_keys(&*store, before.clone()).await;
    let mut altered = before.clone();
    altered[1].wrapped.push(0);
    for other in [&[][..], &before[..1], &after, &altered] {
        assert!(!replace(&*store, other, after.clone()).await);
        assert_eq!(keys(&*store).await, before);
    }
    assert_eq!(records(&*store, "vault.keys").await, 0);
    assert!(replace(&*store, &before, after.clone()).await);
    drop(store);
    let store = engine.open().await;
    assert_eq!(keys(&*store).await, after);
    assert_eq!(records(&*store, "vault.keys").await, 1);
}

pub(crate) async fn of_racing_replacements_of_data_keys_one_is_written(engine: &dyn Engine) {
    let store = engine.open().await;
    with_keys(&*store, vec![data_key(1, "old")]).await;
    let replaced = race(&store, 20, |store, number| async move {
        let after = vec![data_key(1, &format!("new-{number}"))];
        let is_written = replace(&*store, &[data_key(1, "old")], after.clone()).await;
        is_written.then_some(after)
    })
    .await;
    let winners: Vec<_> = replaced.into_iter().flatten().collect();
    assert_eq!(winners, [keys(&*store).await]);
}

pub(crate) async fn a_restore_is_noted_and_its_time_is_only_raised(engine: &dyn Engine) {
    let store = engine.open().await;
    let mark = async |at: Timestamp| {
        let marked = store.mark_restored(at, audit("backup.restore")).await;
        marked.expect("an answer")
    };
    assert!(!mark(NOW).await, "there is no vault");
    assert!(store.init_vault(vault("one")).await.expect("written"));
    assert!(mark(later(5)).await);
    assert!(!mark(later(5)).await && !mark(later(4)).await);
    let expected = VaultRow {
        restored_at: Some(later(5)),
        ..vault("one")
    };
    assert_eq!(store.vault().await.expect("read"), Some(expected.clone()));
    let before = expected.keys.clone();
    assert!(replace(&*store, &before, before.clone()).await);
    assert_eq!(
        store.vault().await.expect("read"),
        Some(expected),
        "keys are apart from it"
    );
    assert!(mark(later(6)).await);
    assert_eq!(records(&*store, "backup.restore").await, 2);
}

pub(crate) async fn a_clock_of_the_store_does_not_go_back(engine: &dyn Engine) {
    let store = engine.open().await;
    let first = store.time().await.expect("an answer");
    let second = store.time().await.expect("an answer");
    assert!(first <= second, "{first:?} {second:?}");
    assert_eq!(first.is_some(), second.is_some());
}
