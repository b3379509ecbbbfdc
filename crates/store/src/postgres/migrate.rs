//! Brings the schema up to date.
//!
//! Migrations are numbered files, embedded, applied once and never edited after a release: the checksum of each that was
//! applied must be the one that this program knows. All that are missing are applied in one transaction, so that a
//! schema is never half-way. Whoever migrates has locked a row that is made together with the list, so that processes
//! which start together do it one after the other.
//!
//! Processes of two versions run side by side while an installation is upgraded. Therefore a change of the schema comes in
//! two steps: one that *expands* it, so that the version before goes on over it, and one that *contracts* it, which takes
//! away what only that version needed. A start applies what expands. What contracts is applied by
//! `valetkey migrate --finish`, or together with the next version's first step, which nobody should start before that.
//! Each step says how much a program must know to work on the schema after it (`works_since`), and the list keeps that, so
//! that a program can tell whether steps that it has never heard of concern it.

use sha2::{Digest, Sha256};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};
use valetkey_core::encode::hex;

use super::Result;
use super::error::Failure;
use super::fields::Fields;
use crate::StoreError;

/// One step of the schema.
pub(super) struct Migration {
    number: i64,
    name: &'static str,
    /// The newest step that a program must know to work on the schema when this one was applied.
    works_since: i64,
    sql: &'static str,
}

/// Every step, in order, without a gap.
pub(super) const STEPS: &[Migration] = &[
    Migration {
        number: 1,
        name: "initial",
        works_since: 1,
        sql: include_str!("../../migrations/postgres/0001_initial.sql"),
    },
    Migration {
        number: 2,
        name: "sessions",
        works_since: 1,
        sql: include_str!("../../migrations/postgres/0002_sessions.sql"),
    },
    Migration {
        number: 3,
        name: "lists",
        works_since: 1,
        sql: include_str!("../../migrations/postgres/0003_lists.sql"),
    },
    Migration {
        number: 4,
        name: "taken",
        works_since: 1,
        sql: include_str!("../../migrations/postgres/0004_taken.sql"),
    },
    Migration {
        number: 5,
        name: "names",
        works_since: 1,
        sql: include_str!("../../migrations/postgres/0005_names.sql"),
    },
    Migration {
        number: 6,
        name: "standing",
        works_since: 1,
        sql: include_str!("../../migrations/postgres/0006_standing.sql"),
    },
];

/// Made before any migration, so it is none itself. The row with the number 0 is the one to lock.
const TABLE: &str = "BEGIN;
    CREATE TABLE schema_migration (
        number      BIGINT NOT NULL PRIMARY KEY,
        name        TEXT   NOT NULL,
        checksum    TEXT   NOT NULL,
        applied_at  BIGINT NOT NULL,
        works_since BIGINT NOT NULL
    );
    INSERT INTO schema_migration (number, name, checksum, applied_at, works_since) VALUES (0, 'lock', '', 0, 0);
    COMMIT";

/// A migration may take longer than a statement of the service, and so may waiting for another process's.
const TAKE_TIME: &str = "SET LOCAL statement_timeout = '1h'; SET LOCAL idle_in_transaction_session_timeout = '1h'";

super::statements! {
    COUNT_TABLES = "SELECT current_schema() IS NOT NULL, count(*), count(*) FILTER (WHERE tablename = 'schema_migration')
        FROM pg_catalog.pg_tables WHERE schemaname = current_schema()";
    LOCK = "SELECT 1 FROM schema_migration WHERE number = 0 FOR UPDATE";
    APPLIED = "SELECT number, name, checksum, works_since FROM schema_migration WHERE number > 0 ORDER BY number";
    NOTE = "INSERT INTO schema_migration (number, name, checksum, applied_at, works_since)
        VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT, $4)";
}

/// Whose the schema is.
#[derive(PartialEq, Eq)]
enum Owner {
    /// It is empty.
    Nobody,
    /// It has our list of migrations.
    Us,
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// As far as the version before can go on.
    Expanded,
    /// To the last step: only this version runs.
    Finished,
}

impl Until {
    /// The steps to have: contracting ones at the end wait.
    fn cut(self, steps: &[Migration]) -> &[Migration] {
        let waits = |at: &usize| *at > 0 && steps[*at].works_since > steps[*at - 1].works_since;
        let kept = match self {
            Self::Finished => steps.len(),
            Self::Expanded => (0..steps.len()).rev().find(|at| !waits(at)).map_or(0, |at| at + 1),
        };
        &steps[..kept]
    }
}

/// Applies the steps that are missing. Refuses a schema that is not ours, one that only newer versions can work on, and an
/// altered step. A server that only reads must have all of them.
pub(super) async fn migrate(client: &mut Client, steps: &[Migration], until: Until, is_standby: bool) -> Result<()> {
    let wanted = until.cut(steps).len();
    let owner = owner(client).await?;
    if owner == Owner::Us && check_applied(client, steps).await? >= wanted {
        return Ok(());
    }
    if is_standby {
        return Err(StoreError::Unavailable(
            "the server only reads (it is a standby), and its schema is not the one of this version".to_owned(),
        ));
    }
    if owner == Owner::Nobody {
        make_table(client).await?;
    }
    let transaction = client.transaction().await.map_err(Failure::from)?;
    apply(&transaction, steps, wanted).await?;
    Ok(transaction.commit().await.map_err(Failure::from)?)
}

async fn apply(transaction: &Transaction<'_>, steps: &[Migration], wanted: usize) -> Result<()> {
    transaction.batch_execute(TAKE_TIME).await.map_err(Failure::from)?;
    transaction.query_typed(LOCK, &[]).await.map_err(Failure::from)?;
    let applied = check_applied(transaction.client(), steps).await?;
    for step in steps.iter().take(wanted).skip(applied) {
        transaction.batch_execute(step.sql).await.map_err(Failure::from)?;
        let (checksum, name) = (checksum(step), step.name);
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
            (&step.number, Type::INT8),
            (&name, Type::TEXT),
            (&checksum, Type::TEXT),
            (&step.works_since, Type::INT8),
        ];
        transaction.query_typed(NOTE, &params).await.map_err(Failure::from)?;
    }
    Ok(())
}

async fn owner(client: &Client) -> Result<Owner> {
    let row = client.query_typed_one(COUNT_TABLES, &[]).await.map_err(Failure::from)?;
    let mut fields = Fields::of(&row);
    let (is_there, tables, own): (bool, i64, i64) = (fields.value()?, fields.value()?, fields.value()?);
    match (is_there, tables, own) {
        (false, ..) => Err(StoreError::Unavailable(
            "there is no schema to work in: make the one that search_path names".to_owned(),
        )),
        (true, 0, _) => Ok(Owner::Nobody),
        (true, _, 0) => Err(StoreError::Corrupt(
            "the schema belongs to another program; use a database or a schema of its own".to_owned(),
        )),
        _ => Ok(Owner::Us),
    }
}

/// What the server says to the slower one of two that make the same table.
const MADE_MEANWHILE: [SqlState; 3] = [
    SqlState::DUPLICATE_TABLE,
    SqlState::DUPLICATE_OBJECT,
    SqlState::UNIQUE_VIOLATION,
];

/// Makes the list, unless another process does so at the same moment.
async fn make_table(client: &Client) -> Result<()> {
    let Err(error) = client.batch_execute(TABLE).await else {
        return Ok(());
    };
    client.batch_execute("ROLLBACK").await.map_err(Failure::from)?;
    match error.code() {
        Some(code) if MADE_MEANWHILE.contains(code) => Ok(()),
        _ => Err(Failure::from(error).into()),
    }
}

/// How many of the steps were applied; they must be the first ones, unaltered. Steps that come after all that this program
/// knows are no business of its, as long as they say so.
async fn check_applied(client: &Client, steps: &[Migration]) -> Result<usize> {
    let rows = client.query_typed(APPLIED, &[]).await.map_err(Failure::from)?;
    let mut applied = 0;
    for row in &rows {
        let mut fields = Fields::of(row);
        let (number, name, sum): (i64, &str, &str) = (fields.value()?, fields.value()?, fields.value()?);
        let works_since: i64 = fields.value()?;
        let Some(step) = steps.get(applied) else {
            let known = steps.last().map_or(0, |step| step.number);
            if number > known && works_since <= known {
                continue;
            }
            let text = format!("its schema is number {number}, written by a newer version; this one knows {known}");
            return Err(StoreError::Corrupt(text));
        };
        if (step.number, step.name) != (number, name) || checksum(step) != sum {
            return Err(StoreError::Corrupt(format!(
                "migration {number} is not the one that this version knows"
            )));
        }
        applied += 1;
    }
    Ok(applied)
}

fn checksum(step: &Migration) -> String {
    hex(&Sha256::digest(step.sql))
}

#[cfg(test)]
mod tests;
