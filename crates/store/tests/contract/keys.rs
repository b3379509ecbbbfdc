use valetkey_core::Timestamp;
use valetkey_store::rows::KeyRow;

use crate::Engine;
use crate::fixtures::{NOW, api_key, audit, key_id, race, records};

pub(crate) async fn a_key_is_read_back_as_it_was_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let full = api_key("full", NOW);
    let bare = KeyRow {
        profile_uid: None,
        connectors: None,
        actions: None,
        expires_at: None,
        created_by: None,
        ..api_key("bare", NOW)
    };
    for row in [full, bare] {
        assert!(store.put_key(row.clone(), audit("key.create")).await.expect("written"));
        assert_eq!(store.get_key(&row.id).await.expect("read"), Some(row));
    }
    assert_eq!(store.get_key(&key_id("other")).await.expect("read"), None);
}

pub(crate) async fn an_id_is_used_once(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = api_key("one", NOW);
    assert!(store.put_key(row.clone(), audit("key.create")).await.expect("written"));
    let other = KeyRow {
        name: "another".to_owned(),
        ..row.clone()
    };
    assert!(!store.put_key(other, audit("key.create")).await.expect("refused"));
    assert_eq!(store.get_key(&row.id).await.expect("read"), Some(row));
    assert_eq!(records(&*store, "key.create").await, 1);
}

pub(crate) async fn of_racing_first_keys_one_is_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let added = race(&store, 20, |store, number| async move {
        let row = api_key(&format!("first-{number}"), NOW);
        store.put_first_key(row, audit("key.create")).await.expect("an answer")
    })
    .await;
    assert_eq!(added.into_iter().filter(|added| *added).count(), 1);
    assert_eq!(store.list_keys().await.expect("read").len(), 1);
    assert_eq!(records(&*store, "key.create").await, 1);
}

pub(crate) async fn keys_are_listed_oldest_first(engine: &dyn Engine) {
    let store = engine.open().await;
    for (id, age) in [("b", 1), ("c", 3), ("a", 2)] {
        let row = api_key(id, Timestamp(NOW.0 - age));
        assert!(store.put_key(row, audit("key.create")).await.expect("written"));
    }
    let ids: Vec<_> = store
        .list_keys()
        .await
        .expect("read")
        .into_iter()
        .map(|row| row.id.to_string())
        .collect();
    assert_eq!(ids, ["c", "a", "b"]);
}

pub(crate) async fn keys_are_walked_in_pages_that_join(engine: &dyn Engine) {
    let store = engine.open().await;
    for (id, age) in [("b", 1), ("d", 3), ("c", 3), ("a", 2)] {
        let row = api_key(id, Timestamp(NOW.0 - age));
        assert!(store.put_key(row, audit("key.create")).await.expect("written"));
    }
    let mut pages = Vec::new();
    let mut after: Option<KeyRow> = None;
    loop {
        let behind = after.as_ref().map(|row| (row.created_at, &row.id));
        let page = store.walk_keys(behind, 3).await.expect("a page");
        pages.push(page.iter().map(|row| row.id.to_string()).collect::<Vec<_>>());
        after = page.last().cloned();
        if after.is_none() {
            break;
        }
        // Whoever stands behind a key goes on there although it is gone.
        let gone = after.as_ref().map(|row| row.id.clone()).expect("a key");
        assert!(store.delete_key(&gone, audit("key.delete")).await.expect("removed"));
    }
    assert_eq!(pages, [vec!["c", "d", "a"], vec!["b"], vec![]]);
}

pub(crate) async fn a_removed_key_is_gone(engine: &dyn Engine) {
    let store = engine.open().await;
    let row = api_key("one", NOW);
    store.put_key(row.clone(), audit("key.create")).await.expect("written");
    assert!(store.delete_key(&row.id, audit("key.delete")).await.expect("removed"));
    assert!(
        !store
            .delete_key(&row.id, audit("key.delete"))
            .await
            .expect("nothing to remove")
    );
    assert_eq!(store.get_key(&row.id).await.expect("read"), None);
    assert_eq!(records(&*store, "key.delete").await, 1);
}
