//! Connectors.

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::{AuthMode, ConnectorId, SpaceId};

use super::audit::{self, noted};
use super::error::Failure;
use super::fields::{Fields, all, first, json};
use super::pool::Work;
use super::session::Session;
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::Connectors;
use crate::rows::{AuditRow, ConnectorName, ConnectorRow, Deletion, Sealed};

macro_rules! columns {
    () => {
        "space, id, type_id, name, config, auth_type, auth_mode, auth, sealed_secrets, binding, version,
         legacy_redirect_uri, created_at, updated_at"
    };
}

macro_rules! parameters {
    () => {
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14"
    };
}

macro_rules! insert {
    () => {
        concat!(
            "INSERT INTO connector (",
            columns!(),
            ") VALUES (",
            parameters!(),
            ")
             ON CONFLICT (space, id) DO NOTHING RETURNING 1"
        )
    };
}

super::statements! {
    PUT = concat!("WITH added AS (", insert!(), "), ", noted!("added", "$15"), " SELECT 1 FROM added");
    ADD = insert!();
    REPLACE = concat!(
        "WITH replaced AS (
            UPDATE connector SET (", columns!(), ") = (", parameters!(), ")
            WHERE space = $1 AND id = $2 AND version = $11 - 1 RETURNING 1
         ), ", noted!("replaced", "$15"), " SELECT 1 FROM replaced"
    );
    GET = concat!("SELECT ", columns!(), " FROM connector WHERE space = $1 AND id = $2");
    GET_SOME = concat!("SELECT ", columns!(), " FROM connector WHERE space = $1 AND id = ANY ($2)");
    LIST = concat!(
        "SELECT ", columns!(), " FROM connector WHERE space = $1 AND id > $2 ORDER BY id LIMIT $3"
    );
    NAMES = "SELECT id, type_id, name FROM connector WHERE space = $1 AND id > $2 ORDER BY id LIMIT $3";
    SCAN = concat!(
        "SELECT ", columns!(), " FROM connector WHERE (space, id) > ($1, $2) ORDER BY space, id LIMIT $3"
    );
    // Whoever makes a connection holds the connector until it is committed: once it is locked here, the next statement
    // sees every connection that was made.
    LOCK = "SELECT 1 FROM connector WHERE space = $1 AND id = $2 FOR UPDATE";
    IS_USED = "SELECT 1 FROM connection WHERE space = $1 AND connector = $2 AND state <> 'disconnected' LIMIT 1";
    DELETE = concat!(
        "WITH gone AS (DELETE FROM connector WHERE space = $1 AND id = $2 RETURNING 1),
         flows AS (DELETE FROM flow WHERE space = $1 AND connector = $2 AND EXISTS (SELECT FROM gone)),
         connections AS (DELETE FROM connection WHERE space = $1 AND connector = $2 AND EXISTS (SELECT FROM gone)), ",
        noted!("gone", "$3"), " SELECT 1 FROM gone"
    );
    RESEAL = "UPDATE connector SET sealed_secrets = $4 WHERE space = $1 AND id = $2 AND version = $3 RETURNING 1";
}

#[async_trait]
impl Connectors for PostgresStore {
    async fn put_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool> {
        self.save(PUT, &row, &audit).await
    }

    async fn replace_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool> {
        self.save(REPLACE, &row, &audit).await
    }

    async fn get_connector(&self, space: &SpaceId, id: &ConnectorId) -> Result<Option<ConnectorRow>> {
        first(&self.read(GET, &params![space.as_str(), id.as_str()]).await?, from_row)
    }

    async fn get_connectors(&self, space: &SpaceId, ids: &[ConnectorId]) -> Result<Vec<ConnectorRow>> {
        let ids = Value::Texts(ids.iter().map(|id| id.as_str().into()).collect());
        all(&self.list(GET_SOME, &[space.as_str().into(), ids]).await?, from_row)
    }

    async fn list_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorRow>> {
        // Every id is greater than the empty text.
        let after = after.map_or("", ConnectorId::as_str);
        all(
            &self.list(LIST, &params![space.as_str(), after, limit]).await?,
            from_row,
        )
    }

    async fn walk_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorName>> {
        let after = after.map_or("", ConnectorId::as_str);
        let params = params![space.as_str(), after, limit];
        all(&self.list(NAMES, &params).await?, name_from_row)
    }

    async fn delete_connector(&self, space: &SpaceId, id: &ConnectorId, audit: AuditRow) -> Result<Deletion> {
        let (space, id) = (space.as_str(), id.as_str());
        self.transact(&Delete {
            space,
            id,
            audit: &audit,
        })
        .await
    }

    async fn scan_connectors(&self, after: Option<(&SpaceId, &ConnectorId)>, limit: u32) -> Result<Vec<ConnectorRow>> {
        let (space, id) = after.map_or(("", ""), |(space, id)| (space.as_str(), id.as_str()));
        all(&self.list(SCAN, &params![space, id, limit]).await?, from_row)
    }

    async fn reseal_connector(&self, space: &SpaceId, id: &ConnectorId, version: i64, sealed: Sealed) -> Result<bool> {
        let params = params![space.as_str(), id.as_str(), version, &sealed];
        Ok(!self.write(RESEAL, &params).await?.is_empty())
    }
}

impl PostgresStore {
    async fn save(&self, statement: &str, row: &ConnectorRow, audit: &AuditRow) -> Result<bool> {
        let mut params = values(row)?;
        params.push(audit::records([audit]).into());
        Ok(!self.write(statement, &params).await?.is_empty())
    }
}

struct Delete<'a> {
    space: &'a str,
    id: &'a str,
    audit: &'a AuditRow,
}

#[async_trait]
impl Work for Delete<'_> {
    type Output = Deletion;

    async fn run(&self, session: &Session<'_>) -> std::result::Result<Deletion, Failure> {
        let key = params![self.space, self.id];
        if session.query(LOCK, &key).await?.is_empty() {
            return Ok(Deletion::Missing);
        }
        if !session.query(IS_USED, &key).await?.is_empty() {
            return Ok(Deletion::InUse);
        }
        let params = params![self.space, self.id, audit::records([self.audit])];
        session.query(DELETE, &params).await?;
        Ok(Deletion::Done)
    }
}

fn values(row: &ConnectorRow) -> Result<Vec<Value<'_>>> {
    Ok(params![
        row.space.as_str(),
        row.id.as_str(),
        row.type_id.as_str(),
        &row.name,
        json(&row.config)?,
        &row.auth_type,
        row.auth_mode.as_str(),
        json(&row.auth)?,
        row.sealed_secrets.as_ref(),
        &row.binding,
        row.version,
        row.legacy_redirect_uri,
        row.created_at,
        row.updated_at,
    ]
    .into())
}

fn name_from_row(row: &Row) -> Result<ConnectorName> {
    let mut fields = Fields::of(row);
    Ok(ConnectorName {
        id: fields.id()?,
        type_id: fields.id()?,
        name: fields.value()?,
    })
}

fn from_row(row: &Row) -> Result<ConnectorRow> {
    let mut fields = Fields::of(row);
    Ok(ConnectorRow {
        space: fields.id()?,
        id: fields.id()?,
        type_id: fields.id()?,
        name: fields.value()?,
        config: fields.json()?,
        auth_type: fields.value()?,
        auth_mode: match fields.value()? {
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

/// Adds a connector. `false` if the id exists in the space.
pub(super) async fn add(session: &Session<'_>, row: &ConnectorRow) -> std::result::Result<bool, Failure> {
    Ok(!session.query(ADD, &values(row)?).await?.is_empty())
}
