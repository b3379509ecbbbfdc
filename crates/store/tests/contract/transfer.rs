use std::time::Duration;

use valetkey_core::{AuthMode, Owner};
use valetkey_store::Store;
use valetkey_store::rows::{
    AuditFilter, ConnectionRow, ConnectionState, ConnectorRow, JobRow, Record, SealingKeyRow, Table, VaultRow,
};

use crate::Engine;
use crate::fixtures::{NOW, api_key, audit, connection, connector, flow, job, key, key_of, later, list, space};

fn vault() -> VaultRow {
    let data_key = |id, master: &str| SealingKeyRow {
        id,
        master: master.to_owned(),
        wrapped: vec![1, 2, 255],
        created_at: later(id.into()),
    };
    VaultRow {
        deployment: "one".to_owned(),
        keys: vec![data_key(1, "a"), data_key(1, "b"), data_key(2, "a")],
    }
}

async fn put(store: &dyn Store, row: ConnectionRow) {
    let kind = "connection.connect";
    store.put_connection(row, audit(kind)).await.expect("written");
}

/// Something in every table, in every state that it can have.
pub(crate) async fn fill(store: &dyn Store) {
    assert!(store.init_vault(vault()).await.expect("written"));
    for id in ["b", "C", "a"] {
        assert!(
            store
                .put_key(api_key(id, NOW), audit("key.create"))
                .await
                .expect("written")
        );
    }
    for (space_id, id) in [("other", "a"), ("default", "slack"), ("default", "notion")] {
        let row = ConnectorRow {
            space: space(space_id),
            auth_mode: AuthMode::Shared,
            sealed_secrets: None,
            ..connector(id)
        };
        assert!(
            store
                .put_connector(row, audit("connector.create"))
                .await
                .expect("written")
        );
    }
    fill_connections(store).await;
    for number in [3, 1, 2] {
        let kind = "flow.start";
        assert!(
            store
                .put_flow(flow(number, "ada"), 9, audit(kind))
                .await
                .expect("written")
        );
    }
    store.take_flow(&flow(2, "ada").state_hash, NOW).await.expect("taken");
    let mut elsewhere = job("one");
    elsewhere.key.space = space("other");
    let tried = JobRow {
        attempts: 3,
        ..job("two")
    };
    for row in [elsewhere, job("one"), tried] {
        assert!(store.put_job(row).await.expect("written"));
    }
}

async fn fill_connections(store: &dyn Store) {
    let mut elsewhere = connection(key_of("ada"), 1);
    elsewhere.key.space = space("other");
    let person = ConnectionRow {
        state: ConnectionState::Reauthorize("token_revoked".to_owned()),
        notice: Some("unused".to_owned()),
        due_at: Some(later(4)),
        used_at: later(5),
        ..connection(key("notion", Owner::Shared, "x"), i64::MAX)
    };
    for row in [elsewhere, person] {
        put(store, row).await;
    }
    for uid in ["held", "ended"] {
        put(store, connection(key_of(uid), 1)).await;
    }
    store
        .claim_refresh(&key_of("held"), 1, "one", NOW, Duration::from_secs(60))
        .await
        .expect("a claim");
    store
        .disconnect(&key_of("ended"), 1, later(9), None, audit("connection.disconnect"))
        .await
        .expect("a tombstone");
}

/// A whole table, in pages.
async fn read(store: &dyn Store, table: Table, limit: u32) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let page = store.export(table, all.last(), limit).await.expect("a page");
        assert!(page.len() <= limit as usize);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

pub(crate) async fn read_all(store: &dyn Store) -> Vec<Record> {
    let mut all = Vec::new();
    for table in Table::ALL {
        all.extend(read(store, table, 100).await);
    }
    all
}

pub(crate) async fn every_record_arrives_as_it_was(engine: &dyn Engine) {
    let store = engine.open().await;
    fill(&*store).await;
    let other = engine.another().await;
    let copy = other.open().await;
    for table in Table::ALL {
        let records = read(&*store, table, 2).await;
        assert!(records.len() >= if table == Table::Vault { 1 } else { 3 }, "{table:?}");
        copy.import(records).await.expect("written");
    }
    assert_eq!(read_all(&*copy).await, read_all(&*store).await);
    drop(copy);
    let copy = other.open().await;
    assert_eq!(read_all(&*copy).await, read_all(&*store).await);
    // What is read in other ways is the same too.
    assert_eq!(copy.vault().await.expect("read"), Some(vault()));
    for uid in ["held", "ended"] {
        let key = key_of(uid);
        let (there, here) = (copy.get_connection(&key), store.get_connection(&key));
        assert_eq!(there.await.expect("read"), here.await.expect("read"));
    }
}

pub(crate) async fn pages_of_any_size_join_to_the_same_records(engine: &dyn Engine) {
    let store = engine.open().await;
    for table in Table::ALL {
        assert!(read(&*store, table, 1).await.is_empty());
    }
    fill(&*store).await;
    for table in Table::ALL {
        let whole = store.export(table, None, 1_000).await.expect("a page");
        for limit in [1, 2, 3] {
            assert_eq!(read(&*store, table, limit).await, whole, "{table:?} {limit}");
        }
        assert!(store.export(table, None, 0).await.expect("a page").is_empty());
    }
    // In the order of the keys.
    let ids = |records: Vec<Record>| {
        records
            .into_iter()
            .map(|record| match record {
                Record::Key(row) => row.id.to_string(),
                Record::Job(row) => format!("{} {}", row.key.space, row.id),
                Record::Flow(row) => row.id,
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(read(&*store, Table::Key, 9).await), ["C", "a", "b"]);
    assert_eq!(ids(read(&*store, Table::Flow, 9).await), ["flow-1", "flow-2", "flow-3"]);
    let jobs = ids(read(&*store, Table::Job, 9).await);
    assert_eq!(jobs, ["default one", "default two", "other one"]);
}

pub(crate) async fn a_record_that_is_there_already_fails_the_import_and_nothing_is_written(engine: &dyn Engine) {
    let store = engine.open().await;
    fill(&*store).await;
    let before = read_all(&*store).await;
    for table in Table::ALL {
        let records = read(&*store, table, 100).await;
        let new = Record::Key(api_key("new", NOW));
        for there_already in records {
            let import = vec![new.clone(), there_already.clone()];
            assert!(store.import(import).await.is_err(), "{there_already:?}");
        }
    }
    let twice = vec![Record::Job(job("new")), Record::Job(job("new"))];
    assert!(store.import(twice).await.is_err());
    assert_eq!(read_all(&*store).await, before);
    store.import(vec![]).await.expect("nothing to write");
}

pub(crate) async fn a_page_begins_after_a_record_of_its_own_table(engine: &dyn Engine) {
    let store = engine.open().await;
    fill(&*store).await;
    let mut firsts = Vec::new();
    for table in Table::ALL {
        let [first] = store
            .export(table, None, 1)
            .await
            .expect("a page")
            .try_into()
            .expect("one");
        firsts.push((table, first));
    }
    for (table, _) in &firsts {
        for (other, record) in &firsts {
            let page = store.export(*table, Some(record), 9).await;
            assert_eq!(page.is_ok(), table == other, "{table:?} {other:?}");
        }
    }
}

pub(crate) async fn records_of_the_audit_log_go_on_after_those_that_arrived(engine: &dyn Engine) {
    let store = engine.open().await;
    fill(&*store).await;
    let records = read(&*store, Table::Audit, 100).await;
    let Some(Record::Audit(last)) = records.last().cloned() else {
        panic!("no records")
    };
    let other = engine.another().await;
    let copy = other.open().await;
    copy.import(records).await.expect("written");
    copy.append_audit(vec![audit("after")]).await.expect("written");
    let newest = AuditFilter {
        limit: 1,
        ..AuditFilter::default()
    };
    let [newest] = list(&*copy, newest).await.try_into().expect("one");
    assert_eq!(newest.kind, "after");
    assert!(newest.seq > last.seq);
}
