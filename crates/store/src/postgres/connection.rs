//! A connection as a row: its columns, in and out.

use tokio_postgres::Row;
use valetkey_core::{ConnectionKey, Timestamp};

use super::Result;
use super::fields::{Fields, json};
use super::values::{Value, params};
use crate::rows::{ConnectionRow, ConnectionState, GrantRow, Intent, Sealed};

/// The columns: the key, the grant, what else a refresh or a disconnect may change, and what a refresh keeps.
macro_rules! columns {
    (key) => {
        "space, connector, owner, name"
    };
    (grant) => {
        "sealed_access, sealed_refresh, expires_at, lifetime_ms, refresh_expires_at, scopes, metadata"
    };
    (kept) => {
        "notice, binding, spec_version, account_id, account_label, connected_at, used_at"
    };
    (rest) => {
        concat!(
            "generation, state, cause, ",
            columns!(grant),
            ", refreshed_at, intent_holder, intent_until, intent_at, intent_attempt, due_at, ",
            columns!(kept)
        )
    };
    () => {
        concat!(columns!(key), ", ", columns!(rest))
    };
}

/// The parameters of [`values`] for the same columns.
macro_rules! parameters {
    (key) => {
        "$1, $2, $3, $4"
    };
    (rest) => {
        "$5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27"
    };
    () => {
        concat!(parameters!(key), ", ", parameters!(rest))
    };
}

/// The condition for one connection. Its statements have the key as their first four parameters.
macro_rules! is_key {
    () => {
        "space = $1 AND connector = $2 AND owner = $3 AND name = $4"
    };
}

pub(super) use {columns, is_key, parameters};

/// The parameters for the key.
pub(super) fn key_values(key: &ConnectionKey) -> Vec<Value<'_>> {
    params![
        key.space.as_str(),
        key.connector.as_str(),
        key.owner.as_stored(),
        key.name.as_str(),
    ]
    .into()
}

/// The parameters for the key, and others after it.
pub(super) fn with_key<'a, const N: usize>(key: &'a ConnectionKey, others: [Value<'a>; N]) -> Vec<Value<'a>> {
    let mut values = key_values(key);
    values.extend(others);
    values
}

/// The parameters for a grant.
pub(super) fn grant_values(grant: Option<&GrantRow>) -> Result<[Value<'_>; 7]> {
    Ok(params![
        grant.map(|grant| &grant.sealed_access),
        grant.and_then(|grant| grant.sealed_refresh.as_ref()),
        grant.and_then(|grant| grant.expires_at),
        grant.and_then(|grant| grant.lifetime_ms),
        grant.and_then(|grant| grant.refresh_expires_at),
        grant.map(|grant| json(&grant.scopes)).transpose()?,
        grant.map(|grant| json(&grant.metadata)).transpose()?,
    ])
}

/// The parameters for all columns.
pub(super) fn values(row: &ConnectionRow) -> Result<Vec<Value<'_>>> {
    let intent = row.intent.as_ref();
    let mut values = with_key(&row.key, params![row.generation, row.state.word(), row.state.cause()]);
    values.extend(grant_values(row.grant.as_ref())?);
    values.extend(params![
        row.refreshed_at,
        intent.map(|intent| intent.holder.as_str()),
        intent.map(|intent| intent.lease_until),
        intent.map(|intent| intent.at),
        intent.map(|intent| intent.attempt),
        row.due_at,
        row.notice.as_deref(),
        &row.binding,
        row.spec_version,
        row.account_id.as_deref(),
        row.account_label.as_deref(),
        row.connected_at,
        row.used_at,
    ]);
    Ok(values)
}

/// Reads all columns.
pub(super) fn from_row(row: &Row) -> Result<ConnectionRow> {
    from_fields(&mut Fields::of(row))
}

/// Reads all columns; others may follow.
pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<ConnectionRow> {
    let changing = Changing {
        key: fields.connection_key()?,
        generation: fields.value()?,
        state: state(fields)?,
        grant: grant(fields)?,
        refreshed_at: fields.time_if_any()?,
        intent: intent(fields)?,
        due_at: fields.time_if_any()?,
    };
    changing.with_kept(fields)
}

/// A row without the columns that a refresh keeps.
pub(super) struct Changing {
    pub(super) key: ConnectionKey,
    pub(super) generation: i64,
    pub(super) state: ConnectionState,
    pub(super) grant: Option<GrantRow>,
    pub(super) refreshed_at: Option<Timestamp>,
    pub(super) intent: Option<Intent>,
    pub(super) due_at: Option<Timestamp>,
}

impl Changing {
    /// Reads the columns that a refresh keeps.
    pub(super) fn with_kept(self, fields: &mut Fields<'_>) -> Result<ConnectionRow> {
        Ok(ConnectionRow {
            key: self.key,
            generation: self.generation,
            state: self.state,
            grant: self.grant,
            refreshed_at: self.refreshed_at,
            intent: self.intent,
            due_at: self.due_at,
            notice: fields.value()?,
            binding: fields.digest()?,
            spec_version: fields.value()?,
            account_id: fields.value()?,
            account_label: fields.value()?,
            connected_at: fields.time()?,
            used_at: fields.time()?,
        })
    }
}

fn state(fields: &mut Fields<'_>) -> Result<ConnectionState> {
    let (word, cause): (&str, Option<String>) = (fields.value()?, fields.value()?);
    match (word, cause) {
        ("active", None) => Ok(ConnectionState::Active),
        ("reauthorize", Some(cause)) => Ok(ConnectionState::Reauthorize(cause)),
        ("disconnected", None) => Ok(ConnectionState::Disconnected),
        _ => Err(fields.corrupt()),
    }
}

/// All columns are read even if there is no grant, because the next field comes after them.
fn grant(fields: &mut Fields<'_>) -> Result<Option<GrantRow>> {
    let sealed_access: Option<Sealed> = fields.sealed_if_any()?;
    let sealed_refresh = fields.sealed_if_any()?;
    let expires_at = fields.time_if_any()?;
    let lifetime_ms = fields.value()?;
    let refresh_expires_at = fields.time_if_any()?;
    let (scopes, metadata) = (fields.json_if_any()?, fields.json_if_any()?);
    match (sealed_access, scopes, metadata) {
        (Some(sealed_access), Some(scopes), Some(metadata)) => Ok(Some(GrantRow {
            sealed_access,
            sealed_refresh,
            expires_at,
            lifetime_ms,
            refresh_expires_at,
            scopes,
            metadata,
        })),
        (None, None, None) => Ok(None),
        _ => Err(fields.corrupt()),
    }
}

/// The four columns of an intent.
pub(super) fn intent(fields: &mut Fields<'_>) -> Result<Option<Intent>> {
    let holder = fields.value()?;
    let lease_until = fields.time_if_any()?;
    let at = fields.time_if_any()?;
    let attempt = fields.value()?;
    match (holder, lease_until, at, attempt) {
        (Some(holder), Some(lease_until), Some(at), Some(attempt)) => Ok(Some(Intent {
            holder,
            lease_until,
            at,
            attempt,
        })),
        (None, None, None, None) => Ok(None),
        _ => Err(fields.corrupt()),
    }
}
