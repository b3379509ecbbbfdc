use valetkey_core::Timestamp;
use valetkey_store::rows::{SealingKeyRow, VaultRow};

use crate::Engine;
use crate::fixtures::{NOW, race};

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
