//! Browsers that are signed in, and links that sign in once.

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::{KeyId, ProfileUid, Timestamp};

use super::audit::{self, noted};
use super::fields::{Fields, count, first, json};
use super::values::params;
use super::{PostgresStore, Result};
use crate::Sessions;
use crate::rows::{AuditRow, Digest, SessionRow, Standing};

macro_rules! columns {
    () => {
        "hash, person, name, profile_uid, privileges, spaces, created_at, seen_at, expires_at,
         standing, confirmed_at, asks, asked_until"
    };
}

super::statements! {
    PUT = concat!(
        "WITH added AS (
            INSERT INTO session (", columns!(), ") VALUES
                ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING 1
         ), ", noted!("added", "$14"), " SELECT 1 FROM added"
    );
    GET = concat!("SELECT ", columns!(), " FROM session WHERE hash = $1");
    TOUCH = "UPDATE session SET seen_at = $2 WHERE hash = $1 AND seen_at < $2";
    CLAIM_ASK = "UPDATE session SET asks = asks + 1, asked_until = $4
        WHERE hash = $1 AND asks = $2 AND asked_until <= $3 RETURNING 1";
    RENEW = concat!(
        "WITH renewed AS (
            UPDATE session SET name = $3, privileges = $4, spaces = $5, standing = $6, confirmed_at = $7, asked_until = $8
            WHERE hash = $1 AND asks = $2 RETURNING 1
         ), ", noted!("renewed", "$9"), " SELECT 1 FROM renewed"
    );
    DELETE = concat!(
        "WITH gone AS (DELETE FROM session WHERE hash = $1 RETURNING 1), ", noted!("gone", "$2"), " SELECT 1 FROM gone"
    );
    // One record, however many sessions there were.
    DELETE_OF = concat!(
        "WITH gone AS (DELETE FROM session WHERE person = $1 RETURNING 1),
         once AS (SELECT 1 FROM gone LIMIT 1), ", noted!("once", "$2"), " SELECT count(*) FROM gone"
    );
    PUT_LINK = concat!(
        "WITH added AS (INSERT INTO sign_in_link (hash, expires_at) VALUES ($1, $2) RETURNING 1), ",
        noted!("added", "$3"), " SELECT 1 FROM added"
    );
    TAKE_LINK = "DELETE FROM sign_in_link WHERE hash = $1 RETURNING expires_at";
    SWEEP = "WITH old AS (
            SELECT hash FROM session WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ),
        gone AS (DELETE FROM session USING old WHERE session.hash = old.hash RETURNING 1)
        SELECT count(*) FROM gone";
    SWEEP_LINKS = "WITH old AS (
            SELECT hash FROM sign_in_link WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ),
        gone AS (DELETE FROM sign_in_link USING old WHERE sign_in_link.hash = old.hash RETURNING 1)
        SELECT count(*) FROM gone";
}

#[async_trait]
impl Sessions for PostgresStore {
    async fn put_session(&self, row: SessionRow, audit: AuditRow) -> Result<()> {
        let standing = row.standing.as_ref();
        let params = params![
            &row.hash,
            row.person.as_str(),
            &row.name,
            row.profile_uid.as_ref().map(ProfileUid::as_str),
            row.privileges.as_ref().map(json).transpose()?,
            json(&row.spaces)?,
            row.created_at,
            row.seen_at,
            row.expires_at,
            standing.map(|s| &s.sealed),
            standing.map(|s| s.confirmed_at),
            standing.map(|s| s.asks),
            standing.map(|s| s.asked_until),
            audit::records([&audit]),
        ];
        self.write(PUT, &params).await.map(drop)
    }

    async fn get_session(&self, hash: &Digest) -> Result<Option<SessionRow>> {
        first(&self.read(GET, &params![hash]).await?, from_row)
    }

    async fn touch_session(&self, hash: &Digest, at: Timestamp) -> Result<()> {
        self.write(TOUCH, &params![hash, at]).await.map(drop)
    }

    async fn claim_ask(&self, hash: &Digest, asks: i64, now: Timestamp, until: Timestamp) -> Result<bool> {
        let params = params![hash, asks, now, until];
        Ok(!self.write(CLAIM_ASK, &params).await?.is_empty())
    }

    async fn renew_session(&self, row: SessionRow, audit: Option<AuditRow>) -> Result<bool> {
        let Some(standing) = &row.standing else {
            return Ok(false);
        };
        let params = params![
            &row.hash,
            standing.asks,
            &row.name,
            row.privileges.as_ref().map(json).transpose()?,
            json(&row.spaces)?,
            &standing.sealed,
            standing.confirmed_at,
            standing.asked_until,
            audit::records(&audit),
        ];
        Ok(!self.write(RENEW, &params).await?.is_empty())
    }

    async fn delete_session(&self, hash: &Digest, audit: AuditRow) -> Result<bool> {
        let params = params![hash, audit::records([&audit])];
        Ok(!self.write(DELETE, &params).await?.is_empty())
    }

    async fn delete_sessions_of(&self, person: &KeyId, audit: AuditRow) -> Result<u64> {
        let params = params![person.as_str(), audit::records([&audit])];
        count(&self.write(DELETE_OF, &params).await?)
    }

    async fn put_sign_in_link(&self, hash: Digest, expires_at: Timestamp, audit: AuditRow) -> Result<()> {
        let params = params![&hash, expires_at, audit::records([&audit])];
        self.write(PUT_LINK, &params).await.map(drop)
    }

    async fn take_sign_in_link(&self, hash: &Digest, now: Timestamp) -> Result<bool> {
        let rows = self.write(TAKE_LINK, &params![hash]).await?;
        let end = first(&rows, |row| Fields::of(row).time())?;
        Ok(end.is_some_and(|end| end > now))
    }

    async fn sweep_sessions(&self, now: Timestamp, limit: u32) -> Result<u64> {
        let sessions = count(&self.write(SWEEP, &params![now, limit]).await?)?;
        Ok(sessions + count(&self.write(SWEEP_LINKS, &params![now, limit]).await?)?)
    }
}

fn from_row(row: &Row) -> Result<SessionRow> {
    let mut fields = Fields::of(row);
    Ok(SessionRow {
        hash: fields.digest()?,
        person: fields.id()?,
        name: fields.value()?,
        profile_uid: fields.id_if_any()?,
        privileges: fields.json_if_any()?,
        spaces: fields.json()?,
        created_at: fields.time()?,
        seen_at: fields.time()?,
        expires_at: fields.time()?,
        standing: standing(&mut fields)?,
    })
}

fn standing(fields: &mut Fields<'_>) -> Result<Option<Standing>> {
    let Some(sealed) = fields.sealed_if_any()? else {
        return Ok(None);
    };
    Ok(Some(Standing {
        sealed,
        confirmed_at: fields.time()?,
        asks: fields.value()?,
        asked_until: fields.time()?,
    }))
}
