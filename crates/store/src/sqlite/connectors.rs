//! Connectors.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use valetkey_core::{AuthMode, ConnectorId, SpaceId};

use super::fields::{Fields, all, first, json};
use super::{Result, SqliteStore, audit};
use crate::Connectors;
use crate::rows::{AuditRow, ConnectorName, ConnectorRow, Deletion, Sealed};

macro_rules! columns {
    () => {
        "space, id, type_id, name, config, auth_type, auth_mode, auth, sealed_secrets, binding, version,
         legacy_redirect_uri, created_at, updated_at"
    };
}

macro_rules! values {
    () => {
        "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14"
    };
}

super::statements! {
    ADD = concat!(
        "INSERT INTO connector (", columns!(), ") VALUES (", values!(), ") ON CONFLICT (space, id) DO NOTHING"
    );
    REPLACE = concat!(
        "UPDATE connector SET (", columns!(), ") = (", values!(), ") WHERE space = ?1 AND id = ?2 AND version = ?11 - 1"
    );
    GET = concat!("SELECT ", columns!(), " FROM connector WHERE space = ?1 AND id = ?2");
    LIST = concat!(
        "SELECT ", columns!(), " FROM connector WHERE space = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
    );
    NAMES = "SELECT id, type_id, name FROM connector INDEXED BY connector_name
        WHERE space = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
    SCAN = concat!(
        "SELECT ", columns!(), " FROM connector WHERE (space, id) > (?1, ?2) ORDER BY space, id LIMIT ?3"
    );
    RESEAL = "UPDATE connector SET sealed_secrets = ?4 WHERE space = ?1 AND id = ?2 AND version = ?3";
    IS_USED = "SELECT 1 FROM connection WHERE space = ?1 AND connector = ?2 AND state <> 'disconnected' LIMIT 1";
    DELETE = "DELETE FROM connector WHERE space = ?1 AND id = ?2";
    DELETE_FLOWS = "DELETE FROM flow WHERE space = ?1 AND connector = ?2";
    DELETE_CONNECTIONS = "DELETE FROM connection WHERE space = ?1 AND connector = ?2";
}

#[async_trait]
impl Connectors for SqliteStore {
    async fn put_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool> {
        self.write(move |conn| {
            let added = add(conn, &row)?;
            audit::note(conn, added, &audit)
        })
        .await
    }

    async fn replace_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool> {
        self.write(move |conn| {
            let replaced = save(conn, REPLACE, &row)?;
            audit::note(conn, replaced, &audit)
        })
        .await
    }

    async fn get_connector(&self, space: &SpaceId, id: &ConnectorId) -> Result<Option<ConnectorRow>> {
        self.read(|conn| first(conn, GET, [space.as_str(), id.as_str()], from_row))
    }

    async fn get_connectors(&self, space: &SpaceId, ids: &[ConnectorId]) -> Result<Vec<ConnectorRow>> {
        self.read(|conn| {
            let rows = ids
                .iter()
                .map(|id| first(conn, GET, [space.as_str(), id.as_str()], from_row));
            rows.filter_map(Result::transpose).collect()
        })
    }

    async fn list_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorRow>> {
        // Every id is greater than the empty text.
        let after = after.map_or("", ConnectorId::as_str);
        self.read(|conn| all(conn, LIST, params![space.as_str(), after, limit], from_row))
    }

    async fn walk_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorName>> {
        let after = after.map_or("", ConnectorId::as_str);
        self.read(|conn| all(conn, NAMES, params![space.as_str(), after, limit], name_from_row))
    }

    async fn delete_connector(&self, space: &SpaceId, id: &ConnectorId, audit: AuditRow) -> Result<Deletion> {
        let (space, id) = (space.clone(), id.clone());
        self.write(move |conn| {
            let deletion = delete(conn, &space, &id)?;
            audit::note(conn, deletion == Deletion::Done, &audit)?;
            Ok(deletion)
        })
        .await
    }

    async fn scan_connectors(&self, after: Option<(&SpaceId, &ConnectorId)>, limit: u32) -> Result<Vec<ConnectorRow>> {
        self.read(|conn| export(conn, after, limit))
    }

    async fn reseal_connector(&self, space: &SpaceId, id: &ConnectorId, version: i64, sealed: Sealed) -> Result<bool> {
        let (space, id) = (space.clone(), id.clone());
        self.write(move |conn| {
            let resealed =
                conn.prepare_cached(RESEAL)?
                    .execute(params![space.as_str(), id.as_str(), version, sealed.0])?;
            Ok(resealed > 0)
        })
        .await
    }
}

/// The connectors of all spaces, by space and id.
pub(super) fn export(
    conn: &Connection,
    after: Option<(&SpaceId, &ConnectorId)>,
    limit: u32,
) -> Result<Vec<ConnectorRow>> {
    let (space, id) = after.map_or(("", ""), |(space, id)| (space.as_str(), id.as_str()));
    all(conn, SCAN, params![space, id, limit], from_row)
}

/// Adds a connector. `false` if the id exists in the space.
pub(super) fn add(conn: &Connection, row: &ConnectorRow) -> Result<bool> {
    save(conn, ADD, row)
}

fn save(conn: &Connection, statement: &str, row: &ConnectorRow) -> Result<bool> {
    let saved = conn.prepare_cached(statement)?.execute(params![
        row.space.as_str(),
        row.id.as_str(),
        row.type_id.as_str(),
        row.name,
        json(&row.config)?,
        row.auth_type,
        row.auth_mode.as_str(),
        json(&row.auth)?,
        row.sealed_secrets.as_ref().map(|sealed| &sealed.0),
        row.binding.0,
        row.version,
        row.legacy_redirect_uri,
        row.created_at.0,
        row.updated_at.0,
    ])?;
    Ok(saved > 0)
}

fn delete(conn: &Connection, space: &SpaceId, id: &ConnectorId) -> Result<Deletion> {
    let key = [space.as_str(), id.as_str()];
    if conn.prepare_cached(IS_USED)?.exists(key)? {
        return Ok(Deletion::InUse);
    }
    if conn.prepare_cached(DELETE)?.execute(key)? == 0 {
        return Ok(Deletion::Missing);
    }
    conn.prepare_cached(DELETE_FLOWS)?.execute(key)?;
    conn.prepare_cached(DELETE_CONNECTIONS)?.execute(key)?;
    Ok(Deletion::Done)
}

fn name_from_row(row: &Row<'_>) -> Result<ConnectorName> {
    let mut fields = Fields::of(row);
    Ok(ConnectorName {
        id: fields.id()?,
        type_id: fields.id()?,
        name: fields.value()?,
    })
}

fn from_row(row: &Row<'_>) -> Result<ConnectorRow> {
    let mut fields = Fields::of(row);
    Ok(ConnectorRow {
        space: fields.id()?,
        id: fields.id()?,
        type_id: fields.id()?,
        name: fields.value()?,
        config: fields.json()?,
        auth_type: fields.value()?,
        auth_mode: match fields.value::<String>()?.as_str() {
            "shared" => AuthMode::Shared,
            "per-user" => AuthMode::PerUser,
            _ => return Err(fields.corrupt()),
        },
        auth: fields.json()?,
        sealed_secrets: fields.sealed_if_any()?,
        binding: fields.digest()?,
        version: fields.value()?,
        legacy_redirect_uri: fields.value()?,
        created_at: fields.time()?,
        updated_at: fields.time()?,
    })
}
