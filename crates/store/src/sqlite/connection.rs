//! A connection as a row: its columns, in and out.

use rusqlite::{Connection, Row, ToSql, params};
use valetkey_core::ConnectionKey;

use super::Result;
use super::fields::{Fields, json};
use crate::rows::{ConnectionRow, ConnectionState, GrantRow, Intent};

/// The columns: the key, what a refresh may change, and what only connecting again changes. Apart, because writing a
/// column also writes its indexes, and those of a refresh should be no more than the one of what is due.
macro_rules! columns {
    (key) => {
        "space, connector, owner, name"
    };
    (changing) => {
        "generation, state, cause, sealed_access, sealed_refresh, expires_at, lifetime_ms, refresh_expires_at, scopes,
         metadata, refreshed_at, intent_holder, intent_until, intent_at, intent_attempt, due_at, notice"
    };
    (made) => {
        "binding, spec_version, account_id, account_label, connected_at, used_at"
    };
    (written) => {
        concat!(columns!(key), ", ", columns!(changing), ", ", columns!(made))
    };
    (read) => {
        concat!(
            columns!(key),
            ", ",
            columns!(changing),
            ",
            binding, spec_version, account_id, account_label, connected_at, coalesce(used_at, connected_at)"
        )
    };
}

/// The condition for one connection. Its statements have the key as their first four parameters.
macro_rules! is_key {
    () => {
        "space = ?1 AND connector = ?2 AND owner = ?3 AND name = ?4"
    };
}

/// The parameters of [`save`] for the same columns.
macro_rules! values {
    (changing) => {
        "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21"
    };
    (made) => {
        "?22, ?23, ?24, ?25, ?26, ?27"
    };
}

pub(super) use {columns, is_key, values};

/// Runs a statement that begins with the key and goes on with these parameters. Whether it changed a row.
pub(super) fn update(conn: &Connection, statement: &str, key: &ConnectionKey, values: &[&dyn ToSql]) -> Result<bool> {
    let owner = key.owner.as_stored();
    let (space, connector, name) = (key.space.as_str(), key.connector.as_str(), key.name.as_str());
    let key: [&dyn ToSql; 4] = [&space, &connector, &owner, &name];
    let params = [&key, values].concat();
    Ok(conn.prepare_cached(statement)?.execute(&params[..])? > 0)
}

/// Runs one of the statements that write a row, with as many of its values as the statement has parameters. Whether it
/// changed one.
pub(super) fn save(conn: &Connection, statement: &str, row: &ConnectionRow) -> Result<bool> {
    let (grant, intent) = (row.grant.as_ref(), row.intent.as_ref());
    let params = params![
        row.key.space.as_str(),
        row.key.connector.as_str(),
        row.key.owner.as_stored(),
        row.key.name.as_str(),
        row.generation,
        row.state.word(),
        row.state.cause(),
        grant.map(|grant| &grant.sealed_access.0),
        grant
            .and_then(|grant| grant.sealed_refresh.as_ref())
            .map(|sealed| &sealed.0),
        grant.and_then(|grant| grant.expires_at).map(|at| at.0),
        grant.and_then(|grant| grant.lifetime_ms),
        grant.and_then(|grant| grant.refresh_expires_at).map(|at| at.0),
        grant.map(|grant| json(&grant.scopes)).transpose()?,
        grant.map(|grant| json(&grant.metadata)).transpose()?,
        row.refreshed_at.map(|at| at.0),
        intent.map(|intent| intent.holder.as_str()),
        intent.map(|intent| intent.lease_until.0),
        intent.map(|intent| intent.at.0),
        intent.map(|intent| intent.attempt),
        row.due_at.map(|at| at.0),
        row.notice,
        row.binding.0,
        row.spec_version,
        row.account_id,
        row.account_label,
        row.connected_at.0,
        row.used_at.0,
    ];
    let mut statement = conn.prepare_cached(statement)?;
    let count = statement.parameter_count();
    Ok(statement.execute(&params[..count])? > 0)
}

/// Reads the columns that are read.
pub(super) fn from_row(row: &Row<'_>) -> Result<ConnectionRow> {
    let mut fields = Fields::of(row);
    Ok(ConnectionRow {
        key: fields.connection_key()?,
        generation: fields.value()?,
        state: state(&mut fields)?,
        grant: grant(&mut fields)?,
        refreshed_at: fields.time_if_any()?,
        intent: intent(&mut fields)?,
        due_at: fields.time_if_any()?,
        notice: fields.value()?,
        binding: fields.digest()?,
        spec_version: fields.value()?,
        account_id: fields.value()?,
        account_label: fields.value()?,
        connected_at: fields.time()?,
        used_at: fields.time()?,
    })
}

fn state(fields: &mut Fields<'_>) -> Result<ConnectionState> {
    let (word, cause): (String, Option<String>) = (fields.value()?, fields.value()?);
    match (word.as_str(), cause) {
        ("active", None) => Ok(ConnectionState::Active),
        ("reauthorize", Some(cause)) => Ok(ConnectionState::Reauthorize(cause)),
        ("disconnected", None) => Ok(ConnectionState::Disconnected),
        _ => Err(fields.corrupt()),
    }
}

/// All columns are read even if there is no grant, because the next field comes after them.
fn grant(fields: &mut Fields<'_>) -> Result<Option<GrantRow>> {
    let sealed_access = fields.sealed_if_any()?;
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

fn intent(fields: &mut Fields<'_>) -> Result<Option<Intent>> {
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
