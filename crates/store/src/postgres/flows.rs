//! Flows.

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::Timestamp;

use super::audit::{self, noted};
use super::error::Failure;
use super::fields::{Fields, all, count, first};
use super::limits::InTurn;
use super::session::Session;
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::rows::{AuditRow, BoundBrowser, Digest, FlowRow, FlowState, TakenFlow};
use crate::{Flows, StoreError};

macro_rules! columns {
    () => {
        "state_hash, id, ticket_hash, browser_hash, space, connector, owner, name, context, state, sealed, started_by,
         created_at, expires_at"
    };
}

macro_rules! parameters {
    () => {
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14"
    };
}

super::statements! {
    // A flow that ended waits no longer, swept or not.
    PUT = concat!(
        "WITH added AS (
            INSERT INTO flow (", columns!(), ") SELECT ", parameters!(), "
            WHERE (
                SELECT count(*) FROM flow WHERE space = $5 AND owner = $7 AND state = 'pending' AND expires_at > $13
            ) < $15
            RETURNING 1
         ), ", noted!("added", "$16"), " SELECT 1 FROM added"
    );
    ADD = concat!(
        "INSERT INTO flow (", columns!(), ") VALUES (", parameters!(), ") ON CONFLICT DO NOTHING RETURNING 1"
    );
    GET = concat!("SELECT ", columns!(), " FROM flow WHERE state_hash = $1");
    GET_BY_TICKET = concat!("SELECT ", columns!(), " FROM flow WHERE ticket_hash = $1");
    // The row as it was before; it is locked, so that of several callers each sees what the one before left.
    TAKE = concat!(
        "WITH found AS (SELECT ", columns!(), " FROM flow WHERE state_hash = $1 FOR UPDATE),
         used AS (
            UPDATE flow SET state = 'used', sealed = '', taken_at = $2 FROM found
            WHERE flow.state_hash = found.state_hash AND found.state = 'pending' AND found.expires_at > $2
         ),
         gone AS (
            DELETE FROM flow USING found
            WHERE flow.state_hash = found.state_hash AND found.expires_at <= $2 AND flow.taken_at IS NULL
         )
         SELECT ", columns!(), " FROM found"
    );
    END = concat!(
        "WITH ended AS (UPDATE flow SET taken_at = NULL WHERE state_hash = $1 AND taken_at IS NOT NULL RETURNING 1), ",
        noted!("ended", "$2"), " SELECT 1 FROM ended"
    );
    LIST_TAKEN = concat!("SELECT ", columns!(), " FROM flow WHERE taken_at < $1 ORDER BY taken_at LIMIT $2");
    BIND = concat!(
        "UPDATE flow SET browser_hash = $2 WHERE ticket_hash = $1 AND state = 'pending' AND browser_hash IS NULL
         RETURNING ", columns!()
    );
    SWEEP = "WITH old AS (
            SELECT state_hash FROM flow WHERE expires_at < $1 AND taken_at IS NULL ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ),
        gone AS (DELETE FROM flow USING old WHERE flow.state_hash = old.state_hash RETURNING 1)
        SELECT count(*) FROM gone";
    EXPORT = concat!("SELECT ", columns!(), " FROM flow WHERE state_hash > $1 ORDER BY state_hash LIMIT $2");
}

/// How often to look again at a row that changes between two looks.
const LOOKS: u32 = 5;

#[async_trait]
impl Flows for PostgresStore {
    async fn put_flow(&self, row: FlowRow, max_pending: u32, audit: AuditRow) -> Result<bool> {
        let (space, owner) = (row.key.space.as_str(), row.key.owner.as_stored());
        let mut params = values(&row);
        params.extend(params![max_pending, audit::records([&audit])]);
        let work = InTurn {
            turn: params![space, "flow", owner, row.created_at],
            statement: PUT,
            params,
        };
        Ok(!self.transact(&work).await?.is_empty())
    }

    async fn get_flow(&self, state_hash: &Digest) -> Result<Option<FlowRow>> {
        first(&self.read(GET, &params![state_hash]).await?, from_row)
    }

    async fn take_flow(&self, state_hash: &Digest, now: Timestamp) -> Result<TakenFlow> {
        let rows = self.write(TAKE, &params![state_hash, now]).await?;
        Ok(match first(&rows, from_row)? {
            None => TakenFlow::Unknown,
            Some(row) if row.expires_at <= now => TakenFlow::Expired,
            Some(row) if row.state == FlowState::Used => TakenFlow::AlreadyUsed,
            Some(row) => TakenFlow::Taken(Box::new(row)),
        })
    }

    async fn end_flow(&self, state_hash: &Digest, audit: Option<AuditRow>) -> Result<bool> {
        let params = params![state_hash, audit::records(&audit)];
        Ok(!self.write(END, &params).await?.is_empty())
    }

    async fn list_taken_flows(&self, before: Timestamp, limit: u32) -> Result<Vec<FlowRow>> {
        all(&self.list(LIST_TAKEN, &params![before, limit]).await?, from_row)
    }

    async fn get_flow_by_ticket(&self, ticket_hash: &Digest) -> Result<Option<FlowRow>> {
        first(&self.read(GET_BY_TICKET, &params![ticket_hash]).await?, from_row)
    }

    async fn bind_browser(&self, ticket_hash: &Digest, browser: Digest) -> Result<BoundBrowser> {
        for _ in 0..LOOKS {
            let bound = self.write(BIND, &params![ticket_hash, &browser]).await?;
            if let Some(row) = first(&bound, from_row)? {
                return Ok(BoundBrowser::Bound(Box::new(row)));
            }
            match self.get_flow_by_ticket(ticket_hash).await? {
                None => return Ok(BoundBrowser::Unknown),
                Some(row) if row.state == FlowState::Used => return Ok(BoundBrowser::Unknown),
                Some(row) if row.browser_hash.is_some() => return Ok(BoundBrowser::Already(Box::new(row))),
                // It was started between the two looks.
                Some(_) => {}
            }
        }
        Err(StoreError::Unavailable("a flow keeps changing".to_owned()))
    }

    async fn sweep_flows(&self, now: Timestamp, limit: u32) -> Result<u64> {
        count(&self.write(SWEEP, &params![now, limit]).await?)
    }
}

fn values(row: &FlowRow) -> Vec<Value<'_>> {
    params![
        &row.state_hash,
        &row.id,
        row.ticket_hash.as_ref(),
        row.browser_hash.as_ref(),
        row.key.space.as_str(),
        row.key.connector.as_str(),
        row.key.owner.as_stored(),
        row.key.name.as_str(),
        &row.context,
        match row.state {
            FlowState::Pending => "pending",
            FlowState::Used => "used",
        },
        &row.sealed,
        row.started_by.as_str(),
        row.created_at,
        row.expires_at,
    ]
    .into()
}

fn from_row(row: &Row) -> Result<FlowRow> {
    let mut fields = Fields::of(row);
    Ok(FlowRow {
        state_hash: fields.digest()?,
        id: fields.value()?,
        ticket_hash: fields.digest_if_any()?,
        browser_hash: fields.digest_if_any()?,
        key: fields.connection_key()?,
        context: fields.value()?,
        state: match fields.value()? {
            "pending" => FlowState::Pending,
            "used" => FlowState::Used,
            _ => return Err(fields.corrupt()),
        },
        sealed: fields.sealed()?,
        started_by: fields.id()?,
        created_at: fields.time()?,
        expires_at: fields.time()?,
    })
}

/// The flows after this state, by state.
pub(super) async fn export(store: &PostgresStore, after: &[u8], limit: u32) -> Result<Vec<FlowRow>> {
    all(&store.list(EXPORT, &params![after, limit]).await?, from_row)
}

/// Adds a flow as it is, whatever its owner has waiting. `false` if it is there.
pub(super) async fn add(session: &Session<'_>, row: &FlowRow) -> std::result::Result<bool, Failure> {
    Ok(!session.query(ADD, &values(row)).await?.is_empty())
}
