//! A connection as a row: its columns, in and out.

use rusqlite::{Connection, Row, params};

use super::Result;
use super::fields::{Fields, json};
use crate::rows::{ConnectionRow, ConnectionState, GrantRow, Intent};

/// The columns: the key, what a refresh may change, and what only connecting again changes. Apart, because writing a
/// column also writes its indexes, and those of a refresh should be none.
macro_rules! columns {
    (key) => {
        "space, connector, owner, name"
    };
    (changing) => {
        "generation, state, cause, sealed_access, sealed_refresh, expires_at, lifetime_ms, refresh_expires_at, scopes,
         metadata, refreshed_at, intent_holder, intent_until, intent_at, intent_attempt"
    };
    (made) => {
        "binding, spec_version, account_id, account_label, connected_at"
    };
    () => {
        concat!(columns!(key), ", ", columns!(changing), ", ", columns!(made))
    };
}

/// The parameters of [`save`] for the same columns.
macro_rules! values {
    (changing) => {
        "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19"
    };
    (made) => {
        "?20, ?21, ?22, ?23, ?24"
    };
}

pub(super) use {columns, values};

/// Runs one of the statements that write a row, with as many of its values as the statement has parameters.
pub(super) fn save(conn: &Connection, statement: &str, row: &ConnectionRow) -> Result<()> {
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
        row.binding.0,
        row.spec_version,
        row.account_id,
        row.account_label,
        row.connected_at.0,
    ];
    let mut statement = conn.prepare_cached(statement)?;
    let count = statement.parameter_count();
    statement.execute(&params[..count])?;
    Ok(())
}

/// Reads all columns.
pub(super) fn from_row(row: &Row<'_>) -> Result<ConnectionRow> {
    let mut fields = Fields::of(row);
    Ok(ConnectionRow {
        key: fields.connection_key()?,
        generation: fields.value()?,
        state: state(&mut fields)?,
        grant: grant(&mut fields)?,
        refreshed_at: fields.time_if_any()?,
        intent: intent(&mut fields)?,
        binding: fields.digest()?,
        spec_version: fields.value()?,
        account_id: fields.value()?,
        account_label: fields.value()?,
        connected_at: fields.time()?,
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
