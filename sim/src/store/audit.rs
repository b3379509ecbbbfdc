use async_trait::async_trait;
use valetkey_core::{ConnectionName, ConnectorId, Owner, ProfileUid, SpaceId};
use valetkey_store::AuditLog;
use valetkey_store::rows::{AuditEntry, AuditFilter, AuditRow};

use super::{MemoryStore, Result, Tables, first};

#[async_trait]
impl AuditLog for MemoryStore {
    async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<()> {
        let mut tables = self.lock();
        for row in &rows {
            append(&mut tables, row);
        }
        Ok(())
    }

    async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let tables = self.lock();
        let entries = tables.audit.values().rev().filter(|entry| chosen(filter, entry));
        Ok(first(entries.cloned(), filter.limit))
    }
}

/// Appends a record.
pub(super) fn append(tables: &mut Tables, row: &AuditRow) {
    let seq = tables.audit.last_key_value().map_or(1, |(seq, _)| seq + 1);
    let entry = AuditEntry {
        seq,
        at: row.at,
        space: row.space.as_ref().map(ToString::to_string),
        kind: row.kind.to_owned(),
        outcome: row.outcome.clone(),
        key: row.key.as_ref().map(ToString::to_string),
        user: row.user.as_ref().map(ToString::to_string),
        connector: row.connector.as_ref().map(ToString::to_string),
        owner: row.connection.as_ref().map(|(owner, _)| owner.as_stored()),
        connection: row.connection.as_ref().map(|(_, name)| name.to_string()),
        request_id: row.request_id.clone(),
        address: row.address.clone(),
        details: row.details.clone(),
        count: row.count,
    };
    tables.audit.insert(seq, entry);
}

/// Appends the record of a change if it happened; passes on whether it did.
pub(super) fn note(tables: &mut Tables, happened: bool, row: &AuditRow) -> bool {
    if happened {
        append(tables, row);
    }
    happened
}

fn chosen(filter: &AuditFilter, entry: &AuditEntry) -> bool {
    let same = |wanted: Option<&str>, is: &Option<String>| wanted.is_none_or(|wanted| is.as_deref() == Some(wanted));
    same(filter.space.as_ref().map(SpaceId::as_str), &entry.space)
        && filter.kind.as_ref().is_none_or(|kind| *kind == entry.kind)
        && same(filter.connector.as_ref().map(ConnectorId::as_str), &entry.connector)
        && same(filter.user.as_ref().map(ProfileUid::as_str), &entry.user)
        && same(filter.owner.as_ref().map(Owner::as_stored).as_deref(), &entry.owner)
        && same(
            filter.connection.as_ref().map(ConnectionName::as_str),
            &entry.connection,
        )
        && filter.from.is_none_or(|from| entry.at >= from)
        && filter.to.is_none_or(|to| entry.at < to)
        && filter.before.is_none_or(|before| entry.seq < before)
}
