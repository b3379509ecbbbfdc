//! The audit log.

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
use valetkey_core::{ConnectorId, KeyId, Owner, ProfileUid, SpaceId};

use super::fields::{Fields, all, json};
use super::{Result, SqliteStore};
use crate::AuditLog;
use crate::rows::{AuditEntry, AuditFilter, AuditRow};

macro_rules! columns {
    () => {
        "seq, at, space, kind, outcome, key_id, profile_uid, connector, owner, connection, request_id, address, details,
         count"
    };
}

super::statements! {
    APPEND = "INSERT INTO audit (at, space, kind, outcome, key_id, profile_uid, connector, owner, connection, request_id,
        address, details, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    ADD = concat!(
        "INSERT INTO audit (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (seq) DO NOTHING"
    );
    EXPORT = concat!("SELECT ", columns!(), " FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    // The list's beginning; the filters that are set come after it.
    LIST = concat!("SELECT ", columns!(), " FROM audit");
}

#[async_trait]
impl AuditLog for SqliteStore {
    async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<()> {
        self.write(move |conn| rows.iter().try_for_each(|row| append(conn, row)))
            .await
    }

    async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        self.read(|conn| list(conn, filter))
    }
}

/// Appends a record.
pub(super) fn append(conn: &Connection, row: &AuditRow) -> Result<()> {
    conn.prepare_cached(APPEND)?.execute(params![
        row.at.0,
        row.space.as_ref().map(SpaceId::as_str),
        row.kind,
        row.outcome,
        row.key.as_ref().map(KeyId::as_str),
        row.user.as_ref().map(ProfileUid::as_str),
        row.connector.as_ref().map(ConnectorId::as_str),
        row.connection.as_ref().map(|(owner, _)| owner.as_stored()),
        row.connection.as_ref().map(|(_, name)| name.as_str()),
        row.request_id,
        row.address,
        json(&row.details)?,
        row.count,
    ])?;
    Ok(())
}

/// Appends the record of a change if it happened; passes on whether it did.
pub(super) fn note(conn: &Connection, happened: bool, row: &AuditRow) -> Result<bool> {
    if happened {
        append(conn, row)?;
    }
    Ok(happened)
}

/// Adds a record under its own number. `false` if there is one with it.
pub(super) fn add(conn: &Connection, entry: &AuditEntry) -> Result<bool> {
    let added = conn.prepare_cached(ADD)?.execute(params![
        entry.seq,
        entry.at.0,
        entry.space,
        entry.kind,
        entry.outcome,
        entry.key,
        entry.user,
        entry.connector,
        entry.owner,
        entry.connection,
        entry.request_id,
        entry.address,
        json(&entry.details)?,
        entry.count,
    ])?;
    Ok(added > 0)
}

/// The records with greater numbers than this, oldest first.
pub(super) fn export(conn: &Connection, after: i64, limit: u32) -> Result<Vec<AuditEntry>> {
    all(conn, EXPORT, params![after, limit], from_row)
}

fn list(conn: &Connection, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
    let (sql, values) = select(filter);
    conn.prepare(&sql)?
        .query_and_then(params_from_iter(values), from_row)?
        .collect()
}

/// Only the filters that are set are in the statement, so that `SQLite` can choose an index by them.
fn select(filter: &AuditFilter) -> (String, Vec<Value>) {
    let text = |text: &str| Value::Text(text.to_owned());
    // A user has fewer records than a connector, and what is shared has more. A plus keeps `SQLite` from an index.
    let (connector, user, owner) = match &filter.owner {
        Some(Owner::User(_)) => ("+connector =", "+profile_uid =", "owner ="),
        Some(Owner::Shared) if filter.connector.is_some() || filter.user.is_some() => {
            ("connector =", "profile_uid =", "+owner =")
        }
        _ => ("connector =", "profile_uid =", "owner ="),
    };
    let conditions = [
        ("space =", filter.space.as_ref().map(|space| text(space.as_str()))),
        ("kind =", filter.kind.as_deref().map(text)),
        (
            connector,
            filter.connector.as_ref().map(|connector| text(connector.as_str())),
        ),
        (user, filter.user.as_ref().map(|user| text(user.as_str()))),
        (owner, filter.owner.as_ref().map(|owner| text(&owner.as_stored()))),
        (
            "connection =",
            filter.connection.as_ref().map(|name| text(name.as_str())),
        ),
        ("at >=", filter.from.map(|at| Value::Integer(at.0))),
        ("at <", filter.to.map(|at| Value::Integer(at.0))),
        ("seq <", filter.before.map(Value::Integer)),
    ];
    let mut sql = LIST.to_owned();
    let mut values = Vec::new();
    for (condition, value) in conditions
        .into_iter()
        .filter_map(|(condition, value)| Some((condition, value?)))
    {
        sql += if values.is_empty() { " WHERE " } else { " AND " };
        sql += condition;
        sql += " ?";
        values.push(value);
    }
    sql += " ORDER BY seq DESC LIMIT ?";
    values.push(Value::Integer(filter.limit.into()));
    (sql, values)
}

fn from_row(row: &Row<'_>) -> Result<AuditEntry> {
    let mut fields = Fields::of(row);
    Ok(AuditEntry {
        seq: fields.value()?,
        at: fields.time()?,
        space: fields.value()?,
        kind: fields.value()?,
        outcome: fields.value()?,
        key: fields.value()?,
        user: fields.value()?,
        connector: fields.value()?,
        owner: fields.value()?,
        connection: fields.value()?,
        request_id: fields.value()?,
        address: fields.value()?,
        details: fields.json()?,
        count: fields.value()?,
    })
}

#[cfg(test)]
pub(super) fn every_list() -> impl Iterator<Item = String> {
    use valetkey_core::{ConnectionName, Timestamp};

    (0..1_u32 << 10).map(|set| {
        let is_set = |bit: u32| (set >> bit & 1 == 1).then_some(());
        let filter = AuditFilter {
            space: is_set(0).map(|()| SpaceId::default_space()),
            kind: is_set(1).map(|()| "token.refresh".to_owned()),
            connector: is_set(2).map(|()| ConnectorId::new("slack").expect("valid")),
            user: is_set(3).map(|()| ProfileUid::new("ada").expect("valid")),
            from: is_set(4).map(|()| Timestamp(1)),
            to: is_set(5).map(|()| Timestamp(2)),
            before: is_set(6).map(|()| 3),
            owner: match (is_set(7), is_set(9)) {
                (None, _) => None,
                (_, None) => Some(Owner::Shared),
                (..) => Some(Owner::User(ProfileUid::new("ada").expect("valid"))),
            },
            connection: is_set(8).map(|()| ConnectionName::default_name()),
            limit: 10,
        };
        select(&filter).0
    })
}
