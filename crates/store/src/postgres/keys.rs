//! API keys.

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::{KeyId, ProfileUid, Timestamp};

use super::audit::{self, noted};
use super::error::Failure;
use super::fields::{Fields, all, first, json};
use super::limits::InTurn;
use super::session::Session;
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::Keys;
use crate::rows::{AuditRow, KeyRow};

macro_rules! columns {
    () => {
        "id, name, hash, privileges, spaces, profile_uid, connectors, actions, created_at, expires_at, created_by"
    };
}

macro_rules! insert {
    () => {
        concat!(
            "INSERT INTO api_key (",
            columns!(),
            ")
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING RETURNING 1"
        )
    };
}

super::statements! {
    PUT = concat!("WITH added AS (", insert!(), "), ", noted!("added", "$12"), " SELECT 1 FROM added");
    // Made in turn: an empty table has no row that could be locked.
    PUT_FIRST = concat!(
        "WITH added AS (
            INSERT INTO api_key (", columns!(), ") SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
            WHERE NOT EXISTS (SELECT FROM api_key)
            ON CONFLICT (id) DO NOTHING RETURNING 1
         ), ", noted!("added", "$12"), " SELECT 1 FROM added"
    );
    ADD = insert!();
    GET = concat!("SELECT ", columns!(), " FROM api_key WHERE id = $1");
    LIST = concat!("SELECT ", columns!(), " FROM api_key ORDER BY created_at, id");
    WALK = concat!(
        "SELECT ", columns!(), " FROM api_key WHERE (created_at, id) > ($1, $2) ORDER BY created_at, id LIMIT $3"
    );
    DELETE = concat!(
        "WITH gone AS (DELETE FROM api_key WHERE id = $1 RETURNING 1), ", noted!("gone", "$2"), " SELECT 1 FROM gone"
    );
    EXPORT = concat!("SELECT ", columns!(), " FROM api_key WHERE id > $1 ORDER BY id LIMIT $2");
}

#[async_trait]
impl Keys for PostgresStore {
    async fn put_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool> {
        let mut params = values(&row)?;
        params.push(audit::records([&audit]).into());
        Ok(!self.write(PUT, &params).await?.is_empty())
    }

    async fn put_first_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool> {
        let mut params = values(&row)?;
        params.push(audit::records([&audit]).into());
        let work = InTurn {
            turn: params!["", "first_key", "", row.created_at],
            statement: PUT_FIRST,
            params,
        };
        Ok(!self.transact(&work).await?.is_empty())
    }

    async fn get_key(&self, id: &KeyId) -> Result<Option<KeyRow>> {
        first(&self.read(GET, &params![id.as_str()]).await?, from_row)
    }

    async fn list_keys(&self) -> Result<Vec<KeyRow>> {
        all(&self.list(LIST, &[]).await?, from_row)
    }

    async fn walk_keys(&self, after: Option<(Timestamp, &KeyId)>, limit: u32) -> Result<Vec<KeyRow>> {
        let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at.0, id.as_str()));
        all(&self.list(WALK, &params![at, id, limit]).await?, from_row)
    }

    async fn delete_key(&self, id: &KeyId, audit: AuditRow) -> Result<bool> {
        let params = params![id.as_str(), audit::records([&audit])];
        Ok(!self.write(DELETE, &params).await?.is_empty())
    }
}

fn values(row: &KeyRow) -> Result<Vec<Value<'_>>> {
    Ok(params![
        row.id.as_str(),
        &row.name,
        &row.hash,
        json(&row.privileges)?,
        json(&row.spaces)?,
        row.profile_uid.as_ref().map(ProfileUid::as_str),
        row.connectors.as_ref().map(json).transpose()?,
        row.actions.as_ref().map(json).transpose()?,
        row.created_at,
        row.expires_at,
        row.created_by.as_ref().map(KeyId::as_str),
    ]
    .into())
}

fn from_row(row: &Row) -> Result<KeyRow> {
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

/// The keys after this id, by id.
pub(super) async fn export(store: &PostgresStore, after: &str, limit: u32) -> Result<Vec<KeyRow>> {
    all(&store.list(EXPORT, &params![after, limit]).await?, from_row)
}

/// Adds a key. `false` if the id exists.
pub(super) async fn add(session: &Session<'_>, row: &KeyRow) -> std::result::Result<bool, Failure> {
    Ok(!session.query(ADD, &values(row)?).await?.is_empty())
}
