//! Flaws, put around the engine on purpose: a simulation that does not find these finds nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_store::Store;
use valetkey_store::rows::{AuditRow, Claim, Committed, ConnectionRow, ConnectionState, Intent, Renewed};

use crate::layer::{Call, Layer, Reply, Result};
use crate::store::MemoryStore;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Everybody gets the lease, whoever has it.
    NoLease,
    /// Nobody learns that an intent was there before.
    NoIntent,
    /// A new pair is written over whatever is there.
    NoCompareAndSet,
    /// What is read and claimed is a generation old.
    StaleRead,
    /// The rescue journal says that it keeps a pair, and does not.
    ForgetfulJournal,
    /// The network says that nothing was sent when an answer is lost.
    LyingWire,
}

impl Flaw {
    /// All of them, with their names on the command line.
    pub const ALL: [(&str, Self); 6] = [
        ("no-lease", Self::NoLease),
        ("no-intent", Self::NoIntent),
        ("no-compare-and-set", Self::NoCompareAndSet),
        ("stale-read", Self::StaleRead),
        ("forgetful-journal", Self::ForgetfulJournal),
        ("lying-wire", Self::LyingWire),
    ];
}

/// A store with a flaw.
#[derive(Debug)]
pub struct Saboteur {
    flaw: Flaw,
    memory: Arc<MemoryStore>,
    /// What each connection was before it became what it is.
    before: Mutex<BTreeMap<ConnectionKey, (ConnectionRow, ConnectionRow)>>,
}

impl Saboteur {
    /// Puts a flaw in front of a store.
    pub fn new(flaw: Flaw, memory: Arc<MemoryStore>) -> Self {
        Self {
            flaw,
            memory,
            before: Mutex::default(),
        }
    }

    /// The row as it was a generation ago, if it was usable then.
    fn old(&self, row: ConnectionRow) -> ConnectionRow {
        let mut rows = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = rows
            .entry(row.key.clone())
            .or_insert_with(|| (row.clone(), row.clone()));
        if pair.1.generation != row.generation {
            let last = std::mem::replace(&mut pair.1, row.clone());
            pair.0 = last;
        }
        let is_usable = pair.0.grant.is_some() && row.grant.is_some();
        if is_usable { pair.0.clone() } else { row }
    }

    /// Takes a lease away from whoever has it.
    async fn take_away(
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        until: Timestamp,
        lease: Duration,
    ) -> Result<Claim> {
        let claim = store.claim_refresh(key, generation, holder, until, lease).await?;
        Ok(match claim {
            Claim::Held { row, .. } => Claim::Held { row, previous: None },
            other => other,
        })
    }
}

#[async_trait]
impl Layer for Saboteur {
    fn carry<'a, T: Send + 'a>(&'a self, _: Call, reply: Reply<'a, T>) -> impl Future<Output = Result<T>> + Send + 'a {
        reply
    }

    async fn get_connection(&self, store: &dyn Store, key: &ConnectionKey) -> Result<Option<ConnectionRow>> {
        let row = store.get_connection(key).await?;
        Ok(match self.flaw {
            Flaw::StaleRead => row.map(|row| self.old(row)),
            Flaw::NoIntent => row.map(|row| ConnectionRow {
                intent: row.intent.map(first),
                ..row
            }),
            Flaw::NoLease | Flaw::NoCompareAndSet | Flaw::ForgetfulJournal | Flaw::LyingWire => row,
        })
    }

    async fn claim_refresh(
        &self,
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Claim> {
        let claim = store.claim_refresh(key, generation, holder, now, lease).await?;
        match (self.flaw, claim) {
            (Flaw::NoLease, Claim::Busy(until)) => Self::take_away(store, key, generation, holder, until, lease).await,
            (Flaw::NoIntent, Claim::Held { mut row, .. }) => {
                row.intent = row.intent.map(first);
                Ok(Claim::Held { row, previous: None })
            }
            // Whoever has read an old generation claims the new one, and gets the old row.
            (Flaw::StaleRead, Claim::Moved(row)) if row.state == ConnectionState::Active => {
                let claim = store.claim_refresh(key, row.generation, holder, now, lease).await?;
                Ok(match claim {
                    Claim::Held { row, previous } => Claim::Held {
                        row: Box::new(self.old(*row)),
                        previous,
                    },
                    other => other,
                })
            }
            (_, claim) => Ok(claim),
        }
    }

    async fn finish_refresh(
        &self,
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        renewed: Renewed,
        audit: AuditRow,
    ) -> Result<Committed> {
        let committed = store.finish_refresh(key, generation, renewed.clone(), audit).await?;
        let Committed::Lost(Some(row)) = committed else {
            return Ok(committed);
        };
        if self.flaw != Flaw::NoCompareAndSet || row.state == ConnectionState::Disconnected {
            return Ok(Committed::Lost(Some(row)));
        }
        // Sealed bytes open in their own generation only, so that is the one they are written with.
        let mut row = *row;
        row.generation = generation;
        crate::store::renew(&mut row, renewed);
        self.memory.overwrite("finish_refresh", &row);
        Ok(Committed::Done(Box::new(row)))
    }
}

/// The intent as if it were the first.
fn first(intent: Intent) -> Intent {
    Intent { attempt: 0, ..intent }
}
