//! API keys.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use valetkey_core::{KeyId, ProfileUid, Timestamp};

use super::fields::{Fields, all, first, json};
use super::{Result, SqliteStore, audit};
use crate::Keys;
use crate::rows::{AuditRow, KeyRow};

macro_rules! columns {
    () => {
        "id, name, hash, privileges, spaces, profile_uid, connectors, actions, created_at, expires_at, created_by"
    };
}

super::statements! {
    ADD = concat!(
        "INSERT INTO api_key (", columns!(), ")
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING"
    );
    // Every id is greater than the empty text.
    ANY = "SELECT 1 FROM api_key WHERE id > '' LIMIT 1";
    GET = concat!("SELECT ", columns!(), " FROM api_key WHERE id = ?1");
    LIST = concat!("SELECT ", columns!(), " FROM api_key ORDER BY created_at, id");
    WALK = concat!(
        "SELECT ", columns!(), " FROM api_key WHERE (created_at, id) > (?1, ?2) ORDER BY created_at, id LIMIT ?3"
    );
    DELETE = "DELETE FROM api_key WHERE id = ?1";
    EXPORT = concat!("SELECT ", columns!(), " FROM api_key WHERE id > ?1 ORDER BY id LIMIT ?2");
}

#[async_trait]
impl Keys for SqliteStore {
    async fn put_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool> {
        self.write(move |conn| {
            let added = add(conn, &row)?;
            audit::note(conn, added, &audit)
        })
        .await
    }

    async fn put_first_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool> {
        self.write(move |conn| {
            let added = !conn.prepare_cached(ANY)?.exists([])? && add(conn, &row)?;
            audit::note(conn, added, &audit)
        })
        .await
    }

    async fn get_key(&self, id: &KeyId) -> Result<Option<KeyRow>> {
        self.read(|conn| first(conn, GET, [id.as_str()], from_row))
    }

    async fn list_keys(&self) -> Result<Vec<KeyRow>> {
        self.read(|conn| all(conn, LIST, [], from_row))
    }

    async fn walk_keys(&self, after: Option<(Timestamp, &KeyId)>, limit: u32) -> Result<Vec<KeyRow>> {
        let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at.0, id.as_str()));
        self.read(|conn| all(conn, WALK, params![at, id, limit], from_row))
    }

    async fn delete_key(&self, id: &KeyId, audit: AuditRow) -> Result<bool> {
        let id = id.clone();
        self.write(move |conn| {
            let found = conn.prepare_cached(DELETE)?.execute([id.as_str()])? > 0;
            audit::note(conn, found, &audit)
        })
        .await
    }
}

/// The keys with ids greater than this one, by id.
pub(super) fn export(conn: &Connection, after: &str, limit: u32) -> Result<Vec<KeyRow>> {
    all(conn, EXPORT, params![after, limit], from_row)
}

/// Adds a key. `false` if the id exists.
pub(super) fn add(conn: &Connection, row: &KeyRow) -> Result<bool> {
    let added = conn.prepare_cached(ADD)?.execute(params![
        row.id.as_str(),
        row.name,
        row.hash.0,
        json(&row.privileges)?,
        json(&row.spaces)?,
        row.profile_uid.as_ref().map(ProfileUid::as_str),
        row.connectors.as_ref().map(json).transpose()?,
        row.actions.as_ref().map(json).transpose()?,
        row.created_at.0,
        row.expires_at.map(|at| at.0),
        row.created_by.as_ref().map(KeyId::as_str),
    ])?;
    Ok(added > 0)
}

fn from_row(row: &Row<'_>) -> Result<KeyRow> {
    let mut fields = Fields::of(row);
    Ok(KeyRow {
        id: fields.id()?,
        name: fields.value()?,
        hash: fields.digest()?,
        privileges: fields.json()?,
        spaces: fields.json()?,
        profile_uid: fields.id_if_any()?,
        connectors: fields.json_if_any()?,
        actions: fields.json_if_any()?,
        created_at: fields.time()?,
        expires_at: fields.time_if_any()?,
        created_by: fields.id_if_any()?,
    })
}
