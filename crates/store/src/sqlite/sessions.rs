//! Browsers that are signed in, and links that sign in once.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use valetkey_core::{KeyId, ProfileUid, Timestamp};

use super::fields::{Fields, first, json};
use super::{Result, SqliteStore, audit};
use crate::Sessions;
use crate::rows::{AuditRow, Digest, SessionRow, Standing};

macro_rules! columns {
    () => {
        "hash, person, name, profile_uid, privileges, spaces, created_at, seen_at, expires_at,
         standing, confirmed_at, asks, asked_until"
    };
}

super::statements! {
    ADD = concat!("INSERT INTO session (", columns!(), ") VALUES
        (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
    GET = concat!("SELECT ", columns!(), " FROM session WHERE hash = ?1");
    TOUCH = "UPDATE session SET seen_at = ?2 WHERE hash = ?1 AND seen_at < ?2";
    CLAIM_ASK = "UPDATE session SET asks = asks + 1, asked_until = ?4 WHERE hash = ?1 AND asks = ?2 AND asked_until <= ?3";
    RENEW = "UPDATE session SET name = ?3, privileges = ?4, spaces = ?5, standing = ?6, confirmed_at = ?7, asked_until = ?8
        WHERE hash = ?1 AND asks = ?2";
    DELETE = "DELETE FROM session WHERE hash = ?1";
    DELETE_OF = "DELETE FROM session WHERE person = ?1";
    ADD_LINK = "INSERT INTO sign_in_link (hash, expires_at) VALUES (?1, ?2)";
    GET_LINK = "SELECT expires_at FROM sign_in_link WHERE hash = ?1";
    DELETE_LINK = "DELETE FROM sign_in_link WHERE hash = ?1";
    SWEEP = "DELETE FROM session WHERE hash IN (
        SELECT hash FROM session WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)";
    SWEEP_LINKS = "DELETE FROM sign_in_link WHERE hash IN (
        SELECT hash FROM sign_in_link WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)";
}

#[async_trait]
impl Sessions for SqliteStore {
    async fn put_session(&self, row: SessionRow, audit: AuditRow) -> Result<()> {
        self.write(move |conn| {
            add(conn, &row)?;
            audit::append(conn, &audit)
        })
        .await
    }

    async fn get_session(&self, hash: &Digest) -> Result<Option<SessionRow>> {
        self.read(|conn| first(conn, GET, [hash.0], from_row))
    }

    async fn touch_session(&self, hash: &Digest, at: Timestamp) -> Result<()> {
        let hash = *hash;
        self.write(move |conn| {
            conn.prepare_cached(TOUCH)?.execute(params![hash.0, at.0])?;
            Ok(())
        })
        .await
    }

    async fn claim_ask(&self, hash: &Digest, asks: i64, now: Timestamp, until: Timestamp) -> Result<bool> {
        let hash = *hash;
        self.write(move |conn| {
            let params = params![hash.0, asks, now.0, until.0];
            Ok(conn.prepare_cached(CLAIM_ASK)?.execute(params)? > 0)
        })
        .await
    }

    async fn renew_session(&self, row: SessionRow, audit: Option<AuditRow>) -> Result<bool> {
        self.write(move |conn| {
            let renewed = renew(conn, &row)?;
            match audit {
                Some(audit) => audit::note(conn, renewed, &audit),
                None => Ok(renewed),
            }
        })
        .await
    }

    async fn delete_session(&self, hash: &Digest, audit: AuditRow) -> Result<bool> {
        let hash = *hash;
        self.write(move |conn| {
            let found = conn.prepare_cached(DELETE)?.execute([hash.0])? > 0;
            audit::note(conn, found, &audit)
        })
        .await
    }

    async fn delete_sessions_of(&self, person: &KeyId, audit: AuditRow) -> Result<u64> {
        let person = person.clone();
        self.write(move |conn| {
            let gone = conn.prepare_cached(DELETE_OF)?.execute([person.as_str()])?;
            audit::note(conn, gone > 0, &audit)?;
            Ok(gone as u64)
        })
        .await
    }

    async fn put_sign_in_link(&self, hash: Digest, expires_at: Timestamp, audit: AuditRow) -> Result<()> {
        self.write(move |conn| {
            conn.prepare_cached(ADD_LINK)?.execute(params![hash.0, expires_at.0])?;
            audit::append(conn, &audit)
        })
        .await
    }

    async fn take_sign_in_link(&self, hash: &Digest, now: Timestamp) -> Result<bool> {
        let hash = *hash;
        self.write(move |conn| {
            let found: Option<i64> = first(conn, GET_LINK, [hash.0], |row| Ok(row.get(0)?))?;
            conn.prepare_cached(DELETE_LINK)?.execute([hash.0])?;
            Ok(found.is_some_and(|end| end > now.0))
        })
        .await
    }

    async fn sweep_sessions(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |conn| {
            let sessions = conn.prepare_cached(SWEEP)?.execute(params![now.0, limit])?;
            let links = conn.prepare_cached(SWEEP_LINKS)?.execute(params![now.0, limit])?;
            Ok((sessions + links) as u64)
        })
        .await
    }
}

fn add(conn: &Connection, row: &SessionRow) -> Result<()> {
    let standing = row.standing.as_ref();
    conn.prepare_cached(ADD)?.execute(params![
        row.hash.0,
        row.person.as_str(),
        row.name,
        row.profile_uid.as_ref().map(ProfileUid::as_str),
        row.privileges.as_ref().map(json).transpose()?,
        json(&row.spaces)?,
        row.created_at.0,
        row.seen_at.0,
        row.expires_at.0,
        standing.map(|s| &s.sealed.0),
        standing.map(|s| s.confirmed_at.0),
        standing.map(|s| s.asks),
        standing.map(|s| s.asked_until.0),
    ])?;
    Ok(())
}

fn renew(conn: &Connection, row: &SessionRow) -> Result<bool> {
    let Some(standing) = &row.standing else {
        return Ok(false);
    };
    let changed = conn.prepare_cached(RENEW)?.execute(params![
        row.hash.0,
        standing.asks,
        row.name,
        row.privileges.as_ref().map(json).transpose()?,
        json(&row.spaces)?,
        standing.sealed.0,
        standing.confirmed_at.0,
        standing.asked_until.0,
    ])?;
    Ok(changed > 0)
}

fn from_row(row: &Row<'_>) -> Result<SessionRow> {
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
