//! Connections: where they are read, made and ended. A row is taken apart in `connection.rs`; what refreshes do is in
//! `refresh.rs`.

use std::borrow::Cow;

use async_trait::async_trait;
use valetkey_core::{ConnectionKey, ConnectorId, SpaceId, Timestamp};

use super::audit::{self, noted};
use super::connection::{columns, from_row, is_key, key_values, parameters, values, with_key};
use super::error::Failure;
use super::fields::{all, count, first};
use super::jobs::{self, job_columns};
use super::session::Session;
use super::values::{Value, params};
use super::{PostgresStore, Result, walk};
use crate::Connections;
use crate::rows::{AuditRow, Committed, ConnectionRow, JobRow, Place, Sealed, Walk};

super::statements! {
    GET = concat!("SELECT ", columns!(), " FROM connection WHERE ", is_key!());
    GET_SOME = concat!(
        "SELECT ", columns!(), " FROM connection
         JOIN unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[]) AS wanted(space, connector, owner, name)
         USING (space, connector, owner, name)"
    );
    PUT = concat!(
        // The connector is held, if there is one, so that nobody deletes it without seeing this.
        "WITH held AS (SELECT 1 FROM connector WHERE space = $1 AND id = $2 FOR KEY SHARE),
         put AS (
            INSERT INTO connection (", columns!(), ") SELECT ", parameters!(), "
            WHERE (SELECT count(*) FROM held) >= 0
            ON CONFLICT (space, connector, owner, name) DO UPDATE SET (", columns!(rest), ") = (", parameters!(rest), ")
            WHERE connection.generation < $5
            RETURNING 1
         ), ", noted!("put", "$28"), " SELECT 1 FROM put"
    );
    // One array for each column.
    ADD = concat!(
        "INSERT INTO connection (", columns!(), ")
         SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::TEXT[], $7::TEXT[],
            $8::BYTEA[], $9::BYTEA[], $10::BIGINT[], $11::BIGINT[], $12::BIGINT[], $13::TEXT[], $14::TEXT[],
            $15::BIGINT[], $16::TEXT[], $17::BIGINT[], $18::BIGINT[], $19::BIGINT[], $20::BIGINT[], $21::TEXT[],
            $22::BYTEA[], $23::BIGINT[], $24::TEXT[], $25::TEXT[], $26::BIGINT[], $27::BIGINT[])
         ON CONFLICT (space, connector, owner, name) DO NOTHING RETURNING 1"
    );
    DISCONNECT = concat!(
        "WITH ended AS (
            UPDATE connection
            SET generation = generation + 1, state = 'disconnected', cause = NULL, due_at = $6, notice = NULL,
                (", columns!(grant), ") = (NULL, NULL, NULL, NULL, NULL, NULL, NULL),
                (intent_holder, intent_until, intent_at, intent_attempt) = (NULL, NULL, NULL, NULL)
            WHERE ", is_key!(), " AND generation = $5 AND state <> 'disconnected'
            RETURNING ", columns!(), "
         ), ", noted!("ended", "$7"), " SELECT ", columns!(), " FROM ended"
    );
    DISCONNECT_WITH_JOB = concat!(
        "WITH ended AS (
            UPDATE connection
            SET generation = generation + 1, state = 'disconnected', cause = NULL, due_at = $6, notice = NULL,
                (", columns!(grant), ") = (NULL, NULL, NULL, NULL, NULL, NULL, NULL),
                (intent_holder, intent_until, intent_at, intent_attempt) = (NULL, NULL, NULL, NULL)
            WHERE ", is_key!(), " AND generation = $5 AND state <> 'disconnected'
            RETURNING ", columns!(), "
         ),
         ordered AS (
            INSERT INTO job (", job_columns!(), ")
            SELECT $8, $9, $10, $11, $12, $13, $14, $15, $16, $17 FROM ended
         ), ", noted!("ended", "$7"), " SELECT ", columns!(), " FROM ended"
    );
    LIST = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND connector = $2 AND (owner, name) > ($3, $4) AND state <> 'disconnected'
         ORDER BY owner, name LIMIT $5"
    );
    SHARES_ACCOUNT = "SELECT 1 FROM connection
        WHERE space = $1 AND connector = $2 AND account_id = $5 AND state <> 'disconnected'
        AND (owner <> $3 OR name <> $4) LIMIT 1";
    SCAN = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE (space, connector, owner, name) > ($1, $2, $3, $4) AND state <> 'disconnected'
         ORDER BY space, connector, owner, name LIMIT $5"
    );
    EXPORT = concat!(
        "SELECT ", columns!(), " FROM connection WHERE (space, connector, owner, name) > ($1, $2, $3, $4)
         ORDER BY space, connector, owner, name LIMIT $5"
    );
    RESEAL = concat!(
        "UPDATE connection SET sealed_access = $6, sealed_refresh = $7
         WHERE ", is_key!(), " AND generation = $5 AND state <> 'disconnected' RETURNING 1"
    );
    // The rows are locked in the order of their keys, so that several processes cannot wait for each other in a circle.
    TOUCH = "WITH used AS (
            SELECT space, connector, owner, name, max(at) AS at
            FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[])
                AS u(space, connector, owner, name, at)
            GROUP BY space, connector, owner, name
        ),
        older AS (
            SELECT c.space, c.connector, c.owner, c.name, used.at FROM connection c
            JOIN used ON c.space = used.space AND c.connector = used.connector AND c.owner = used.owner
                AND c.name = used.name
            WHERE c.used_at < used.at AND c.state <> 'disconnected'
            ORDER BY c.space, c.connector, c.owner, c.name FOR UPDATE OF c
        )
        UPDATE connection c SET used_at = older.at FROM older
        WHERE c.space = older.space AND c.connector = older.connector AND c.owner = older.owner AND c.name = older.name";
    SWEEP = "WITH old AS (
            SELECT space, connector, owner, name FROM connection
            WHERE state = 'disconnected' AND due_at < $1 ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ),
        gone AS (
            DELETE FROM connection c USING old
            WHERE c.space = old.space AND c.connector = old.connector AND c.owner = old.owner AND c.name = old.name
            RETURNING 1
        )
        SELECT count(*) FROM gone";
}

#[async_trait]
impl Connections for PostgresStore {
    async fn get_connection(&self, key: &ConnectionKey) -> Result<Option<ConnectionRow>> {
        first(&self.read(GET, &key_values(key)).await?, from_row)
    }

    async fn get_connections(&self, keys: &[ConnectionKey]) -> Result<Vec<ConnectionRow>> {
        let params = [
            texts(keys, |key| key.space.as_str().into()),
            texts(keys, |key| key.connector.as_str().into()),
            texts(keys, |key| key.owner.as_stored().into()),
            texts(keys, |key| key.name.as_str().into()),
        ];
        all(&self.list(GET_SOME, &params).await?, from_row)
    }

    async fn put_connection(&self, mut row: ConnectionRow, audit: AuditRow) -> Result<Committed> {
        row.intent = None;
        let mut params = values(&row)?;
        params.push(audit::records([&audit]).into());
        if self.write(PUT, &params).await?.is_empty() {
            return self.lost(&row.key).await;
        }
        Ok(Committed::Done(Box::new(row)))
    }

    async fn disconnect(
        &self,
        key: &ConnectionKey,
        generation: i64,
        until: Timestamp,
        job: Option<JobRow>,
        audit: AuditRow,
    ) -> Result<Committed> {
        let mut params = with_key(key, params![generation, until, audit::records([&audit])]);
        let statement = match &job {
            Some(job) => {
                params.extend(jobs::values(job));
                DISCONNECT_WITH_JOB
            }
            None => DISCONNECT,
        };
        self.commit(key, statement, &params).await
    }

    async fn list_connections(
        &self,
        space: &SpaceId,
        connector: &ConnectorId,
        after: Option<&ConnectionKey>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>> {
        // Every owner is greater than the empty text.
        let (owner, name) = after.map_or((String::new(), ""), |key| (key.owner.as_stored(), key.name.as_str()));
        let params = params![space.as_str(), connector.as_str(), owner, name, limit];
        all(&self.list(LIST, &params).await?, from_row)
    }

    async fn walk_connections(
        &self,
        space: &SpaceId,
        walk: &Walk,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>> {
        let (statement, params) = walk::along(space, walk, after, limit);
        all(&self.list(statement, &params).await?, from_row)
    }

    async fn shares_account(&self, key: &ConnectionKey, account_id: &str) -> Result<bool> {
        let params = with_key(key, params![account_id]);
        Ok(!self.list(SHARES_ACCOUNT, &params).await?.is_empty())
    }

    async fn scan_connections(&self, after: Option<&ConnectionKey>, limit: u32) -> Result<Vec<ConnectionRow>> {
        all(&self.list(SCAN, &page(after, limit)).await?, from_row)
    }

    async fn reseal_connection(
        &self,
        key: &ConnectionKey,
        generation: i64,
        sealed_access: Sealed,
        sealed_refresh: Option<Sealed>,
    ) -> Result<bool> {
        let params = with_key(key, params![generation, &sealed_access, sealed_refresh.as_ref()]);
        Ok(!self.write(RESEAL, &params).await?.is_empty())
    }

    async fn touch_connections(&self, used: Vec<(ConnectionKey, Timestamp)>) -> Result<()> {
        let keys = || used.iter().map(|(key, _)| key);
        let params = [
            texts(keys(), |key| key.space.as_str().into()),
            texts(keys(), |key| key.connector.as_str().into()),
            texts(keys(), |key| key.owner.as_stored().into()),
            texts(keys(), |key| key.name.as_str().into()),
            Value::Ints(used.iter().map(|(_, at)| at.0).collect()),
        ];
        self.write(TOUCH, &params).await.map(drop)
    }

    async fn sweep_tombstones(&self, now: Timestamp, limit: u32) -> Result<u64> {
        count(&self.write(SWEEP, &params![now, limit]).await?)
    }
}

impl PostgresStore {
    /// Runs a compare-and-set that answers with the row as it is then, or with nothing.
    pub(super) async fn commit(&self, key: &ConnectionKey, statement: &str, params: &[Value<'_>]) -> Result<Committed> {
        match first(&self.write(statement, params).await?, from_row)? {
            Some(row) => Ok(Committed::Done(Box::new(row))),
            None => self.lost(key).await,
        }
    }

    async fn lost(&self, key: &ConnectionKey) -> Result<Committed> {
        Ok(Committed::Lost(self.get_connection(key).await?.map(Box::new)))
    }
}

/// A part of each of these keys, as one parameter.
fn texts<'a>(
    keys: impl IntoIterator<Item = &'a ConnectionKey>,
    part: fn(&'a ConnectionKey) -> Cow<'a, str>,
) -> Value<'a> {
    Value::Texts(keys.into_iter().map(part).collect())
}

/// The parameters for a page of all connections. Every space is greater than the empty text.
fn page(after: Option<&ConnectionKey>, limit: u32) -> Vec<Value<'_>> {
    let mut params = after.map_or_else(|| params!["", "", "", ""].into(), key_values);
    params.push(limit.into());
    params
}

/// The connections of all spaces in the order of their keys, tombstones included.
pub(super) async fn export(
    store: &PostgresStore,
    after: Option<&ConnectionKey>,
    limit: u32,
) -> Result<Vec<ConnectionRow>> {
    all(&store.list(EXPORT, &page(after, limit)).await?, from_row)
}

/// Adds connections as they are, tombstones and intents included. `false` if there is one with a key of theirs.
pub(super) async fn add(session: &Session<'_>, rows: &[&ConnectionRow]) -> std::result::Result<bool, Failure> {
    let rows: Result<Vec<_>> = rows.iter().map(|row| values(row)).collect();
    session.add(ADD, rows?).await
}
