//! The whole store, table by table. The statements are those of each subject's own file.

use async_trait::async_trait;

use super::error::Failure;
use super::pool::Work;
use super::session::Session;
use super::{PostgresStore, Result, audit, connections, connectors, flows, jobs, keys, vault};
use crate::rows::{ConnectionRow, Record, Table};
use crate::{Connectors as _, StoreError, Transfer, Vault as _};

#[async_trait]
impl Transfer for PostgresStore {
    /// A page of a table. Every id is greater than the empty text, and every digest than no bytes.
    async fn export(&self, table: Table, after: Option<&Record>, limit: u32) -> Result<Vec<Record>> {
        match (table, after) {
            (Table::Vault, None) => {
                let vault = self.vault().await?.into_iter().take(limit as usize);
                Ok(vault.map(Record::Vault).collect())
            }
            (Table::Vault, Some(Record::Vault(_))) => Ok(vec![]),
            (Table::Key, None) => records(keys::export(self, "", limit).await, Record::Key),
            (Table::Key, Some(Record::Key(row))) => {
                records(keys::export(self, row.id.as_str(), limit).await, Record::Key)
            }
            (Table::Connector, None) => records(self.scan_connectors(None, limit).await, Record::Connector),
            (Table::Connector, Some(Record::Connector(row))) => records(
                self.scan_connectors(Some((&row.space, &row.id)), limit).await,
                Record::Connector,
            ),
            (Table::Connection, None) => records(connections::export(self, None, limit).await, connection),
            (Table::Connection, Some(Record::Connection(row))) => {
                records(connections::export(self, Some(&row.key), limit).await, connection)
            }
            (Table::Flow, None) => records(flows::export(self, &[], limit).await, Record::Flow),
            (Table::Flow, Some(Record::Flow(row))) => {
                records(flows::export(self, &row.state_hash.0, limit).await, Record::Flow)
            }
            (Table::Job, None) => records(jobs::export(self, ("", ""), limit).await, Record::Job),
            (Table::Job, Some(Record::Job(row))) => records(
                jobs::export(self, (row.key.space.as_str(), &row.id), limit).await,
                Record::Job,
            ),
            (Table::Audit, None) => records(audit::export(self, i64::MIN, limit).await, Record::Audit),
            (Table::Audit, Some(Record::Audit(entry))) => {
                records(audit::export(self, entry.seq, limit).await, Record::Audit)
            }
            (_, Some(_)) => Err(StoreError::Corrupt(
                "a page was asked for after a record of another table".to_owned(),
            )),
        }
    }

    async fn import(&self, records: Vec<Record>) -> Result<()> {
        self.transact(&Import(records)).await
    }
}

struct Import(Vec<Record>);

#[async_trait]
impl Work for Import {
    type Output = ();

    async fn run(&self, session: &Session<'_>) -> std::result::Result<(), Failure> {
        // Of these there may be millions: all of them go in one statement, the others one by one.
        let (mut connections, mut entries) = (Vec::new(), Vec::new());
        let mut all_new = true;
        for record in &self.0 {
            all_new &= match record {
                Record::Connection(row) => {
                    connections.push(&**row);
                    true
                }
                Record::Audit(entry) => {
                    entries.push(entry);
                    true
                }
                Record::Vault(row) => vault::add(session, row).await?,
                Record::Key(row) => keys::add(session, row).await?,
                Record::Connector(row) => connectors::add(session, row).await?,
                Record::Flow(row) => flows::add(session, row).await?,
                Record::Job(row) => jobs::add(session, row).await?,
            };
        }
        all_new &= connections::add(session, &connections).await? && audit::add(session, &entries).await?;
        if !all_new {
            return Err(StoreError::Corrupt("a record to be imported is there already".to_owned()).into());
        }
        if !entries.is_empty() {
            audit::count_on(session).await?;
        }
        Ok(())
    }
}

fn records<T>(rows: Result<Vec<T>>, record: impl FnMut(T) -> Record) -> Result<Vec<Record>> {
    Ok(rows?.into_iter().map(record).collect())
}

fn connection(row: ConnectionRow) -> Record {
    Record::Connection(Box::new(row))
}
