//! What a refresh does to a connection: it claims the lease, then finishes or releases it; and which connections are due
//! for one. Each change is one statement that says itself what it expects; the server lets nobody in between.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::{ConnectionKey, SpaceId, Timestamp};

use super::audit::{self, noted};
use super::batch::Change;
use super::connection::{Changing, columns, from_fields, from_row, grant_values, intent, is_key, with_key};
use super::fields::{Fields, all, first};
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::rows::{AuditRow, Claim, Committed, ConnectionRow, ConnectionState, Due, Released, Renewed};
use crate::{Connections as _, Refreshes, StoreError};

super::statements! {
    // The intent as it was before; the row is locked, so that of several callers each sees what the one before left.
    CLAIM = concat!(
        "WITH before AS (
            SELECT intent_holder AS holder, intent_until AS until, intent_at AS since, intent_attempt AS attempt
            FROM connection
            WHERE ", is_key!(), " AND generation = $5 AND state = 'active' AND coalesce(intent_until, $7) <= $7
            FOR UPDATE
         ),
         claimed AS (
            UPDATE connection
            SET intent_holder = $6, intent_at = $7, intent_until = $8, intent_attempt = coalesce(before.attempt + 1, 0),
                due_at = CASE WHEN due_at > $8 THEN $8 ELSE due_at END
            FROM before WHERE ", is_key!(), " AND generation = $5
            RETURNING ", columns!(), ", holder, until, since, attempt
         )
         SELECT ", columns!(), ", holder, until, since, attempt FROM claimed"
    );
    EXTEND = concat!(
        "UPDATE connection SET intent_until = $7, due_at = CASE WHEN due_at > $7 THEN $7 ELSE due_at END
         WHERE ", is_key!(), " AND generation = $5 AND intent_holder = $6 RETURNING 1"
    );
    FINISH = concat!(
        "WITH renewed AS (
            UPDATE connection
            SET generation = generation + 1, state = 'active', cause = NULL, refreshed_at = $6, due_at = $7,
                (", columns!(grant), ") = ($9, $10, $11, $12, $13, $14, $15),
                (intent_holder, intent_until, intent_at, intent_attempt) = (NULL, NULL, NULL, NULL)
            WHERE ", is_key!(), " AND generation = $5 AND state <> 'disconnected'
            RETURNING ", columns!(), "
         ), ", noted!("renewed", "$8"), " SELECT ", columns!(), " FROM renewed"
    );
    RELEASE = concat!(
        "WITH released AS (
            UPDATE connection
            SET state = coalesce($8, state), cause = CASE WHEN $8 IS NULL THEN cause ELSE $9 END, due_at = $7,
                (intent_holder, intent_until, intent_at, intent_attempt) = (NULL, NULL, NULL, NULL)
            WHERE ", is_key!(), " AND generation = $5 AND intent_holder = $6
            RETURNING ", columns!(), "
         ), ", noted!("released", "$10"), " SELECT ", columns!(), " FROM released"
    );
    LIST_DUE = concat!(
        "SELECT ", columns!(key), ", generation, due_at FROM connection
         WHERE state = 'active' AND due_at <= $1 AND space <> ALL ($2) AND coalesce(intent_until, $1) <= $1
         ORDER BY due_at LIMIT $3"
    );
    POSTPONE = concat!(
        "WITH postponed AS (
            UPDATE connection SET due_at = $6, notice = $7 WHERE ", is_key!(), " AND generation = $5 AND state = 'active'
            RETURNING 1
         ), ", noted!("postponed", "$8"), " SELECT 1 FROM postponed"
    );
}

/// How often to look again at a connection that changes between two looks.
const LOOKS: u32 = 5;

#[async_trait]
impl Refreshes for PostgresStore {
    async fn claim_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Claim> {
        let params = with_key(key, params![generation, holder, now, now.plus(lease)]);
        self.begin()?;
        if let Some(row) = self.claims.make(change(&params)).await? {
            let row = Box::new(from_row(&row)?);
            return Ok(Claim::Held { row, previous: None });
        }
        for _ in 0..LOOKS {
            if let Some(held) = first(&self.write(CLAIM, &params).await?, held_from_row)? {
                return Ok(held);
            }
            let Some(row) = self.get_connection(key).await? else {
                return Ok(Claim::Gone);
            };
            if row.generation != generation || row.state != ConnectionState::Active {
                return Ok(Claim::Moved(Box::new(row)));
            }
            // Nobody gets a lease that runs, not even its own holder: a second refresh would spend the token again.
            let runs = row.intent.filter(|held| held.lease_until > now);
            if let Some(held) = runs {
                return Ok(Claim::Busy(held.lease_until));
            }
            // It was released between the two looks.
        }
        Err(StoreError::Unavailable("a connection keeps changing".to_owned()))
    }

    async fn extend_lease(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<bool> {
        let params = with_key(key, params![generation, holder, now.plus(lease)]);
        Ok(!self.write(EXTEND, &params).await?.is_empty())
    }

    async fn finish_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        renewed: Renewed,
        audit: AuditRow,
    ) -> Result<Committed> {
        let mut params = with_key(
            key,
            params![generation, renewed.at, renewed.due_at, audit::records([&audit])],
        );
        params.extend(grant_values(Some(&renewed.grant))?);
        self.begin()?;
        if let Some(row) = self.finishes.make(change(&params)).await? {
            let row = renewed_from_row(&row, key.clone(), generation, renewed)?;
            return Ok(Committed::Done(Box::new(row)));
        }
        self.commit(key, FINISH, &params).await
    }

    async fn release_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        released: Released,
        audit: Option<AuditRow>,
    ) -> Result<Committed> {
        let state = released.state.as_ref();
        let params = with_key(
            key,
            params![
                generation,
                holder,
                released.due_at,
                state.map(ConnectionState::word),
                state.and_then(ConnectionState::cause),
                audit::records(&audit),
            ],
        );
        self.commit(key, RELEASE, &params).await
    }

    async fn list_due(&self, now: Timestamp, skip: &[SpaceId], limit: u32) -> Result<Vec<Due>> {
        let skip = Value::Texts(skip.iter().map(|space| space.as_str().into()).collect());
        let rows = self.list(LIST_DUE, &[now.into(), skip, limit.into()]).await?;
        all(&rows, due_from_row)
    }

    async fn postpone(
        &self,
        key: &ConnectionKey,
        generation: i64,
        due_at: Option<Timestamp>,
        notice: Option<String>,
        audit: Option<AuditRow>,
    ) -> Result<bool> {
        let params = with_key(key, params![generation, due_at, notice, audit::records(&audit)]);
        Ok(!self.write(POSTPONE, &params).await?.is_empty())
    }
}

/// The parameters of one change among others.
fn change(params: &[Value<'_>]) -> Change {
    params.iter().cloned().map(Value::into_owned).collect()
}

/// The row with the new intent, then the one that was taken over.
fn held_from_row(row: &Row) -> Result<Claim> {
    let mut fields = Fields::of(row);
    Ok(Claim::Held {
        row: Box::new(from_fields(&mut fields)?),
        previous: intent(&mut fields)?,
    })
}

/// The row as a refresh left it: what the refresh wrote, and what the row says that it kept.
fn renewed_from_row(row: &Row, key: ConnectionKey, generation: i64, renewed: Renewed) -> Result<ConnectionRow> {
    let changed = Changing {
        key,
        generation: generation + 1,
        state: ConnectionState::Active,
        grant: Some(renewed.grant),
        refreshed_at: Some(renewed.at),
        intent: None,
        due_at: renewed.due_at,
    };
    changed.with_kept(&mut Fields::of(row))
}

fn due_from_row(row: &Row) -> Result<Due> {
    let mut fields = Fields::of(row);
    Ok(Due {
        key: fields.connection_key()?,
        generation: fields.value()?,
        due_at: fields.time()?,
    })
}
