//! The whole store, table by table. The statements are those of each subject's own file.

use async_trait::async_trait;
use rusqlite::Connection;

use super::{Result, SqliteStore, audit, connections, connectors, flows, jobs, keys, vault};
use crate::rows::{ConnectionRow, Record, Table};
use crate::{StoreError, Transfer};

#[async_trait]
impl Transfer for SqliteStore {
    async fn export(&self, table: Table, after: Option<&Record>, limit: u32) -> Result<Vec<Record>> {
        self.read(|conn| export(conn, table, after, limit))
    }

    async fn import(&self, records: Vec<Record>) -> Result<()> {
        self.write(move |conn| records.iter().try_for_each(|record| add(conn, record)))
            .await
    }
}

/// A page of a table. Every id is greater than the empty text, and every digest than no bytes.
fn export(conn: &Connection, table: Table, after: Option<&Record>, limit: u32) -> Result<Vec<Record>> {
    match (table, after) {
        (Table::Vault, None) => records(vault::export(conn, limit), Record::Vault),
        (Table::Vault, Some(Record::Vault(_))) => Ok(vec![]),
        (Table::Key, None) => records(keys::export(conn, "", limit), Record::Key),
        (Table::Key, Some(Record::Key(row))) => records(keys::export(conn, row.id.as_str(), limit), Record::Key),
        (Table::Connector, None) => records(connectors::export(conn, None, limit), Record::Connector),
        (Table::Connector, Some(Record::Connector(row))) => records(
            connectors::export(conn, Some((&row.space, &row.id)), limit),
            Record::Connector,
        ),
        (Table::Connection, None) => records(connections::export(conn, None, limit), connection),
        (Table::Connection, Some(Record::Connection(row))) => {
            records(connections::export(conn, Some(&row.key), limit), connection)
        }
        (Table::Flow, None) => records(flows::export(conn, &[], limit), Record::Flow),
        (Table::Flow, Some(Record::Flow(row))) => records(flows::export(conn, &row.state_hash.0, limit), Record::Flow),
        (Table::Job, None) => records(jobs::export(conn, ("", ""), limit), Record::Job),
        (Table::Job, Some(Record::Job(row))) => records(
            jobs::export(conn, (row.key.space.as_str(), &row.id), limit),
            Record::Job,
        ),
        (Table::Audit, None) => records(audit::export(conn, i64::MIN, limit), Record::Audit),
        (Table::Audit, Some(Record::Audit(entry))) => records(audit::export(conn, entry.seq, limit), Record::Audit),
        (_, Some(_)) => Err(StoreError::Corrupt(
            "a page was asked for after a record of another table".to_owned(),
        )),
    }
}

fn records<T>(rows: Result<Vec<T>>, record: impl FnMut(T) -> Record) -> Result<Vec<Record>> {
    Ok(rows?.into_iter().map(record).collect())
}

fn connection(row: ConnectionRow) -> Record {
    Record::Connection(Box::new(row))
}

fn add(conn: &Connection, record: &Record) -> Result<()> {
    let added = match record {
        Record::Vault(row) => vault::init(conn, row)?,
        Record::Key(row) => keys::add(conn, row)?,
        Record::Connector(row) => connectors::add(conn, row)?,
        Record::Connection(row) => connections::add(conn, row)?,
        Record::Flow(row) => flows::add(conn, row)?,
        Record::Job(row) => jobs::add(conn, row)?,
        Record::Audit(entry) => audit::add(conn, entry)?,
    };
    if added {
        Ok(())
    } else {
        Err(StoreError::Corrupt(
            "a record to be imported is there already".to_owned(),
        ))
    }
}
