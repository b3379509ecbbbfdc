//! The audit log.

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use tokio_postgres::Row;
use valetkey_core::{ConnectorId, KeyId, ProfileUid, SpaceId};

use super::error::Failure;
use super::fields::{Fields, all, json};
use super::session::Session;
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::AuditLog;
use crate::rows::{AuditEntry, AuditFilter, AuditRow};

macro_rules! columns {
    () => {
        "at, space, kind, outcome, key_id, profile_uid, connector, owner, connection, request_id, address, details, count"
    };
}

/// A part of a statement that appends the records of a change, if the part named `$change` has a row. The parameter
/// `$records` comes from [`records`]: one parameter for all records and columns keeps a change one statement.
macro_rules! noted {
    ($change:literal, $records:literal) => {
        concat!(
            "noted AS (
                INSERT INTO audit (at, space, kind, outcome, key_id, profile_uid, connector, owner, connection, request_id,
                    address, details, count)
                SELECT r.at, r.space, r.kind, r.outcome, r.key_id, r.profile_uid, r.connector, r.owner, r.connection,
                    r.request_id, r.address, r.details, r.count
                FROM ", $change, ", json_to_recordset(", $records, "::json) AS r(at BIGINT, space TEXT, kind TEXT,
                    outcome TEXT, key_id TEXT, profile_uid TEXT, connector TEXT, owner TEXT, connection TEXT,
                    request_id TEXT, address TEXT, details TEXT, count BIGINT)
            )"
        )
    };
}
pub(super) use noted;

super::statements! {
    APPEND = concat!("WITH always AS (SELECT 1), ", noted!("always", "$1"), " SELECT 1");
    // The list's beginning; the filters that are set come after it.
    LIST = concat!("SELECT seq, ", columns!(), " FROM audit");
    EXPORT = concat!("SELECT seq, ", columns!(), " FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2");
    // One array for each column.
    ADD = concat!(
        "INSERT INTO audit (seq, ", columns!(), ")
         SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TEXT[],
            $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::TEXT[], $12::TEXT[], $13::TEXT[], $14::BIGINT[])
         ON CONFLICT (seq) DO NOTHING RETURNING 1"
    );
    COUNT_ON = "SELECT setval(pg_get_serial_sequence('audit', 'seq'), greatest(max(seq), 1)) FROM audit";
}

#[async_trait]
impl AuditLog for PostgresStore {
    async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<()> {
        self.write(APPEND, &params![records(&rows)]).await.map(drop)
    }

    async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let (sql, values) = select(filter);
        all(&self.list(&sql, &values).await?, from_row)
    }
}

/// Records as one parameter of a statement that has [`noted`] in it.
pub(super) fn records<'a>(rows: impl IntoIterator<Item = &'a AuditRow>) -> String {
    Json::Array(rows.into_iter().map(record).collect()).to_string()
}

fn record(row: &AuditRow) -> Json {
    json!({
        "at": row.at.0,
        "space": row.space.as_ref().map(SpaceId::as_str),
        "kind": row.kind,
        "outcome": row.outcome,
        "key_id": row.key.as_ref().map(KeyId::as_str),
        "profile_uid": row.user.as_ref().map(ProfileUid::as_str),
        "connector": row.connector.as_ref().map(ConnectorId::as_str),
        "owner": row.connection.as_ref().map(|(owner, _)| owner.as_stored()),
        "connection": row.connection.as_ref().map(|(_, name)| name.as_str()),
        "request_id": row.request_id,
        "address": row.address,
        "details": Json::Object(row.details.clone()).to_string(),
        "count": row.count,
    })
}

/// Only the filters that are set are in the statement, so that the server can choose an index by them.
fn select(filter: &AuditFilter) -> (String, Vec<Value<'_>>) {
    let conditions = [
        ("space =", filter.space.as_ref().map(|space| space.as_str().into())),
        ("kind =", filter.kind.as_ref().map(Value::from)),
        (
            "connector =",
            filter.connector.as_ref().map(|connector| connector.as_str().into()),
        ),
        ("profile_uid =", filter.user.as_ref().map(|user| user.as_str().into())),
        ("owner =", filter.owner.as_ref().map(|owner| owner.as_stored().into())),
        (
            "connection =",
            filter.connection.as_ref().map(|name| name.as_str().into()),
        ),
        ("at >=", filter.from.map(Value::from)),
        ("at <", filter.to.map(Value::from)),
        ("seq <", filter.before.map(Value::from)),
    ];
    let mut sql = LIST.to_owned();
    let mut values = Vec::new();
    for (condition, value) in conditions
        .into_iter()
        .filter_map(|(condition, value)| Some((condition, value?)))
    {
        values.push(value);
        let (word, number) = (if values.len() == 1 { "WHERE" } else { "AND" }, values.len());
        sql = format!("{sql} {word} {condition} ${number}");
    }
    values.push(filter.limit.into());
    let number = values.len();
    (format!("{sql} ORDER BY seq DESC LIMIT ${number}"), values)
}

fn from_row(row: &Row) -> Result<AuditEntry> {
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

/// The records after this number, by number.
pub(super) async fn export(store: &PostgresStore, after: i64, limit: u32) -> Result<Vec<AuditEntry>> {
    all(&store.list(EXPORT, &params![after, limit]).await?, from_row)
}

/// Adds records with the numbers that they have. `false` if a number is used.
pub(super) async fn add(session: &Session<'_>, entries: &[&AuditEntry]) -> std::result::Result<bool, Failure> {
    let rows: Result<Vec<_>> = entries.iter().map(|entry| values(entry)).collect();
    session.add(ADD, rows?).await
}

fn values(entry: &AuditEntry) -> Result<Vec<Value<'_>>> {
    Ok(params![
        entry.seq,
        entry.at,
        entry.space.as_deref(),
        &entry.kind,
        &entry.outcome,
        entry.key.as_deref(),
        entry.user.as_deref(),
        entry.connector.as_deref(),
        entry.owner.as_deref(),
        entry.connection.as_deref(),
        entry.request_id.as_deref(),
        entry.address.as_deref(),
        json(&entry.details)?,
        entry.count,
    ]
    .into())
}

/// Makes new records have greater numbers than those that were added with their own.
pub(super) async fn count_on(session: &Session<'_>) -> std::result::Result<(), Failure> {
    session.query(COUNT_ON, &[]).await.map(drop)
}

#[cfg(test)]
pub(super) fn every_list() -> impl Iterator<Item = String> {
    use valetkey_core::{ConnectionName, Owner, Timestamp};

    (0..1_u32 << 9).map(|set| {
        let is_set = |bit: u32| (set >> bit & 1 == 1).then_some(());
        let filter = AuditFilter {
            space: is_set(0).map(|()| SpaceId::default_space()),
            kind: is_set(1).map(|()| "token.refresh".to_owned()),
            connector: is_set(2).map(|()| ConnectorId::new("slack").expect("valid")),
            user: is_set(3).map(|()| ProfileUid::new("ada").expect("valid")),
            from: is_set(4).map(|()| Timestamp(1)),
            to: is_set(5).map(|()| Timestamp(2)),
            before: is_set(6).map(|()| 3),
            owner: is_set(7).map(|()| Owner::Shared),
            connection: is_set(8).map(|()| ConnectionName::default_name()),
            limit: 10,
        };
        select(&filter).0
    })
}
