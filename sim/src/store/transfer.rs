use std::ops::Bound;

use async_trait::async_trait;
use valetkey_store::rows::{Record, Table};
use valetkey_store::{StoreError, Transfer};

use super::{MemoryStore, Result, Tables, connections, connectors, first, flows, vault};

#[async_trait]
impl Transfer for MemoryStore {
    async fn export(&self, table: Table, after: Option<&Record>, limit: u32) -> Result<Vec<Record>> {
        page(&self.lock(), table, after, limit)
    }

    async fn import(&self, records: Vec<Record>) -> Result<()> {
        let mut tables = self.lock();
        // All or none: what is written is taken back with everything else if a later record cannot be.
        let before = tables.clone();
        for record in records {
            if let Err(error) = add(&mut tables, record) {
                *tables = before;
                return Err(error);
            }
        }
        Ok(())
    }
}

fn page(tables: &Tables, table: Table, after: Option<&Record>, limit: u32) -> Result<Vec<Record>> {
    /// What comes after a key, or everything.
    fn from<K: Ord>(key: Option<K>) -> (Bound<K>, Bound<K>) {
        (key.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
    }
    match (table, after) {
        (Table::Vault, None) => Ok(first(tables.vault.iter().cloned().map(Record::Vault), limit)),
        (Table::Vault, Some(Record::Vault(_))) => Ok(Vec::new()),
        (Table::Key, None | Some(Record::Key(_))) => {
            let key = after.and_then(|after| {
                if let Record::Key(row) = after {
                    Some(row.id.clone())
                } else {
                    None
                }
            });
            let rows = tables.keys.range(from(key));
            Ok(first(rows.map(|(_, row)| Record::Key(row.clone())), limit))
        }
        (Table::Connector, None) => Ok(all_connectors(connectors::page(tables, None, limit))),
        (Table::Connector, Some(Record::Connector(row))) => {
            let after = Some((&row.space, &row.id));
            Ok(all_connectors(connectors::page(tables, after, limit)))
        }
        (Table::Connection, None | Some(Record::Connection(_))) => {
            let key = after.and_then(|after| {
                if let Record::Connection(row) = after {
                    Some(&row.key)
                } else {
                    None
                }
            });
            let rows = connections::after_key(tables, key);
            Ok(first(rows.map(|row| Record::Connection(Box::new(row.clone()))), limit))
        }
        (Table::Flow, None | Some(Record::Flow(_))) => {
            let key = after.and_then(|after| {
                if let Record::Flow(row) = after {
                    Some(row.state_hash.0)
                } else {
                    None
                }
            });
            let rows = tables.flows.range(from(key));
            Ok(first(rows.map(|(_, row)| Record::Flow(row.clone())), limit))
        }
        (Table::Job, None | Some(Record::Job(_))) => {
            let key = after.and_then(|after| match after {
                Record::Job(row) => Some((row.key.space.clone(), row.id.clone())),
                _ => None,
            });
            let rows = tables.jobs.range(from(key));
            Ok(first(rows.map(|(_, row)| Record::Job(row.clone())), limit))
        }
        (Table::Audit, None | Some(Record::Audit(_))) => {
            let key = after.and_then(|after| {
                if let Record::Audit(entry) = after {
                    Some(entry.seq)
                } else {
                    None
                }
            });
            let rows = tables.audit.range(from(key));
            Ok(first(rows.map(|(_, entry)| Record::Audit(entry.clone())), limit))
        }
        (_, Some(_)) => Err(StoreError::Corrupt(
            "a page was asked for after a record of another table".to_owned(),
        )),
    }
}

fn all_connectors(rows: Vec<valetkey_store::rows::ConnectorRow>) -> Vec<Record> {
    rows.into_iter().map(Record::Connector).collect()
}

fn add(tables: &mut Tables, record: Record) -> Result<()> {
    let was_there = match record {
        Record::Vault(row) => tables.vault.replace(vault::ordered(row)).is_some(),
        Record::Key(row) => tables.keys.insert(row.id.clone(), row).is_some(),
        Record::Connector(row) => {
            let id = (row.space.clone(), row.id.clone());
            tables.connectors.insert(id, row).is_some()
        }
        Record::Connection(row) => tables.connections.insert(row.key.clone(), *row).is_some(),
        Record::Flow(row) => {
            flows::add(tables, row)?;
            false
        }
        Record::Job(row) => {
            let id = (row.key.space.clone(), row.id.clone());
            tables.jobs.insert(id, row).is_some()
        }
        Record::Audit(entry) => tables.audit.insert(entry.seq, entry).is_some(),
    };
    if was_there {
        return Err(StoreError::Corrupt(
            "a record to be imported is there already".to_owned(),
        ));
    }
    Ok(())
}
