//! How often flows, refreshes and uses went well or not, by time: what the health page shows.
//!
//! Each process counts in memory and adds its counts to those of the others every few seconds. A crash can lose what was
//! counted since, and a write whose answer is lost is counted twice; the audit log is what is complete.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::{ConnectorTypeId, Privilege, SpaceId, Timestamp};
use valetkey_store::rows::{Outcome, Subject, TallyRow};

use crate::Engine;
use crate::caller::Caller;
use crate::connector::{Connector, validation};
use crate::error::Result;

/// The span that is counted together.
const SPAN: Duration = Duration::from_secs(300);

/// How long counts are kept.
pub(crate) const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The most spans of one answer.
const MAX_STEPS: u64 = 360;

/// The longest time that can be asked for, in hours.
const MAX_HOURS: u32 = 720;

/// How many counts are written at once.
const BATCH: usize = 500;

/// What is counted: space, beginning of the span, subject, outcome and type.
type Counted = (SpaceId, Timestamp, Subject, Outcome, ConnectorTypeId);

/// Counts that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<BTreeMap<Counted, i64>>);

impl Tallies {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Counted, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How flows, refreshes and uses went.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// When the first span begins.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// When the last span ends; it may still be under way.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// How long each span is.
    pub step_seconds: u64,
    /// What was counted; what did not happen is not there.
    pub series: Vec<HealthSeries>,
}

/// How often one thing happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthSeries {
    /// `flow`, `refresh` or `use`.
    pub subject: &'static str,
    /// `ok` or `failed`.
    pub outcome: &'static str,
    /// The type of the connectors.
    pub connector_type_id: String,
    /// How often, for each span from the first on.
    pub counts: Vec<i64>,
}

impl Engine {
    /// Counts one event of a connector now.
    pub(crate) fn count_end(&self, connector: &Connector, subject: Subject, went_well: bool) {
        let row = &connector.row;
        self.count_at(&row.space, self.clock.now(), subject, went_well, &row.type_id, 1);
    }

    /// Counts events.
    pub(crate) fn count_at(
        &self,
        space: &SpaceId,
        at: Timestamp,
        subject: Subject,
        went_well: bool,
        connector_type: &ConnectorTypeId,
        count: i64,
    ) {
        let outcome = if went_well { Outcome::Ok } else { Outcome::Failed };
        let key = (space.clone(), begin(at, SPAN), subject, outcome, connector_type.clone());
        *self.tallies.lock().entry(key).or_default() += count;
    }

    /// Adds what was counted here to what is stored. What cannot be written waits on.
    pub async fn flush_tallies(&self) -> Result<()> {
        let mut waiting: Vec<_> = std::mem::take(&mut *self.tallies.lock()).into_iter().collect();
        while !waiting.is_empty() {
            let batch = waiting.split_off(waiting.len().saturating_sub(BATCH));
            let rows = batch.iter().cloned().map(|(key, count)| row(key, count)).collect();
            if let Err(error) = self.store.add_tallies(rows).await {
                let mut counted = self.tallies.lock();
                for (key, count) in waiting.into_iter().chain(batch) {
                    *counted.entry(key).or_default() += count;
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// How flows, refreshes and uses of the caller's space went in the last hours, in every process together.
    pub async fn health(&self, caller: &Caller, hours: Option<u32>) -> Result<Health> {
        caller.need(Privilege::AuditRead)?;
        let hours = hours.unwrap_or(24);
        if !(1..=MAX_HOURS).contains(&hours) {
            return Err(validation(format!("hours: must be 1 to {MAX_HOURS}")));
        }
        // Uses are counted with the audit log.
        self.flush_audit().await?;
        self.flush_tallies().await?;
        let (now, asked) = (self.clock.now(), Duration::from_secs(u64::from(hours) * 3_600));
        let steps = asked.as_secs().div_ceil(SPAN.as_secs()).div_ceil(MAX_STEPS);
        let step = Duration::from_secs(SPAN.as_secs() * steps);
        let (from, to) = (begin(now.minus(asked), step), begin(now, step).plus(step));
        let rows = self.store.list_tallies(&caller.principal.space, from, to).await?;
        Ok(Health {
            from,
            to,
            step_seconds: step.as_secs(),
            series: series(rows, from, to, step),
        })
    }
}

/// When the span begins that has this time in it.
fn begin(at: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp(at.0 - at.0.rem_euclid(span))
}

fn row((space, at, subject, outcome, connector_type): Counted, count: i64) -> TallyRow {
    TallyRow {
        space,
        at,
        subject,
        outcome,
        connector_type,
        count,
    }
}

fn series(rows: Vec<TallyRow>, from: Timestamp, to: Timestamp, step: Duration) -> Vec<HealthSeries> {
    let place = |at: Timestamp| usize::try_from(at.since(from).as_secs() / step.as_secs()).unwrap_or(usize::MAX);
    let mut all: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for row in rows {
        let counts = all
            .entry((row.subject, row.outcome, row.connector_type))
            .or_insert_with(|| vec![0; place(to)]);
        if let Some(count) = counts.get_mut(place(row.at)) {
            *count += row.count;
        }
    }
    let named = all.into_iter().map(|((subject, outcome, kind), counts)| HealthSeries {
        subject: subject.word(),
        outcome: outcome.word(),
        connector_type_id: kind.to_string(),
        counts,
    });
    named.collect()
}
