//! Writing the pair that a refresh brought. From the provider's answer on nothing else may be lost: the refresh token that
//! the store has may be worth nothing any more.
//!
//! The pair is written by compare-and-set on the generation that it came from, and handed out when it is written. If the
//! store does not take it, the pair is served from memory, written again and again, and kept in the rescue journal. A
//! store that failed may have written it all the same: a row that holds our own sealed bytes is our own write.
//!
//! The journal is written when the first write has failed, or has not been acknowledged after a moment, and not before
//! every write: keeping a pair is a sync of a local disk, which takes as long as the store's own, so that keeping it first
//! would move the moment in which a crash loses an answer instead of making it shorter, at the price of a second sync for
//! every refresh of every connection. What that moment can cost is what the intent is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_oauth::Tokens;
use valetkey_store::rows::{AuditRow, Committed, ConnectionRow, ConnectionState, Renewed, Subject};

use super::Landing;
use super::failure::gone;
use super::flight::Flight;
use super::lease::Held;
use super::recovery::Past;
use crate::Engine;
use crate::caller::Audit;
use crate::connector::Connector;
use crate::error::Result;
use crate::grant::{CachedConnection, Minted};

/// How long the store may take before the pair is kept in the journal as well.
const JOURNAL_AFTER: Duration = Duration::from_millis(250);

/// How long one write may take before it counts as failed.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// The first and the longest pause between two writes.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A pair that is to be written.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The row as it will be.
    pub(super) row: ConnectionRow,
    /// The generation that it came from.
    pub(super) parent: i64,
    /// When the refresh was made.
    pub(super) at: Timestamp,
    audit: AuditRow,
    /// The connector that the refresh was made with, should the pair have to be revoked when that is gone; not known of a
    /// pair from the journal.
    connector: Option<Arc<Connector>>,
    /// Whether the journal has it.
    is_kept: AtomicBool,
}

impl Pair {
    pub(super) fn new(row: ConnectionRow, at: Timestamp, audit: AuditRow) -> Self {
        Self {
            parent: row.generation - 1,
            row,
            at,
            audit,
            connector: None,
            is_kept: AtomicBool::new(false),
        }
    }

    fn of(self, connector: &Arc<Connector>) -> Self {
        Self {
            connector: Some(Arc::clone(connector)),
            ..self
        }
    }

    pub(super) fn key(&self) -> &ConnectionKey {
        &self.row.key
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Relaxed)
    }

    pub(super) fn set_kept(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Whether a stored row is this very pair. Sealing the same token twice gives different bytes, so that nobody else's
    /// write can be taken for it.
    fn is_stored_as(&self, row: &ConnectionRow) -> bool {
        let bytes = |row: &ConnectionRow| row.grant.as_ref().map(|grant| grant.sealed_access.clone());
        row.generation == self.row.generation && bytes(row) == bytes(&self.row)
    }
}

/// Whether both accounts are known, and are not the same.
fn is_other_account(ours: &ConnectionRow, theirs: &ConnectionRow) -> bool {
    let accounts = ours.account_id.as_ref().zip(theirs.account_id.as_ref());
    accounts.is_some_and(|(ours, theirs)| ours != theirs)
}

impl Engine {
    /// Writes a new pair, or sees to it that it will be written; callers get it in either case.
    pub(super) async fn commit(self: &Arc<Self>, flight: &Flight, held: &Held, minted: Minted, past: Past) -> Landing {
        self.note_honoured(flight);
        self.count_end(&flight.connector, Subject::Refresh, true);
        self.note_renewed(&flight.connector, &held.row);
        for note in &minted.tokens.notes {
            self.metrics.ignored_field(note);
        }
        let before = &held.row;
        let next = before.generation + 1;
        let sealed = self.seal_grant(&flight.connector, &before.key, next, &minted, Some(before));
        let grant = sealed.await?;
        let now = self.clock.now();
        let mut audit = Audit::new("token.refresh", now).connection(&before.key);
        if past.is_unclear() {
            audit = audit.detail("recovered", true);
        }
        let row = ConnectionRow {
            generation: next,
            state: ConnectionState::Active,
            due_at: self.due_after(&flight.connector, before, &grant),
            grant: Some(grant),
            refreshed_at: Some(now),
            intent: None,
            ..before.clone()
        };
        let pair = Arc::new(Pair::new(row, now, audit.row()).of(&flight.connector));
        match self.write_first(&pair).await {
            Some(committed) => {
                self.metrics.commit("written");
                self.settle(&pair, committed).await
            }
            None => Ok(self.write_later(pair)),
        }
    }

    /// Writes a pair for the first time, and keeps it in the journal unless that is done at once.
    async fn write_first(&self, pair: &Pair) -> Option<Committed> {
        let mut write = std::pin::pin!(self.write_once(pair));
        let at_once = tokio::select! {
            biased;
            written = &mut write => Some(written),
            () = tokio::time::sleep(JOURNAL_AFTER) => None,
        };
        match at_once {
            Some(Some(committed)) => Some(committed),
            Some(None) => {
                self.keep_in_journal(pair).await;
                None
            }
            None => tokio::join!(write, self.keep_in_journal(pair)).0,
        }
    }

    /// One write; `None` if it failed or takes too long. It may have happened all the same.
    async fn write_once(&self, pair: &Pair) -> Option<Committed> {
        let Some(grant) = pair.row.grant.clone() else {
            return Some(Committed::Lost(None));
        };
        let renewed = Renewed {
            grant,
            at: pair.at,
            due_at: pair.row.due_at,
        };
        let write = self
            .store
            .finish_refresh(pair.key(), pair.parent, renewed, pair.audit.clone());
        let cause = match tokio::time::timeout(WRITE_PATIENCE, write).await {
            Ok(Ok(committed)) => return Some(committed),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store does not answer".to_owned(),
        };
        self.metrics.commit("failed");
        tracing::error!(
            connector.id = %pair.key().connector, space = %pair.key().space, cause,
            "a new token pair cannot be written: token at risk; it is served from memory and written again"
        );
        None
    }

    /// Serves the pair from memory and goes on writing it, on a task of its own.
    pub(super) fn write_later(self: &Arc<Self>, pair: Arc<Pair>) -> Arc<CachedConnection> {
        let connection = self.in_memory(pair.row.clone());
        self.unwritten.insert(&pair);
        self.metrics.unwritten(self.unwritten.len());
        let engine = Arc::clone(self);
        self.tasks.spawn(async move { engine.write_until_written(&pair).await });
        connection
    }

    async fn write_until_written(self: &Arc<Self>, pair: &Arc<Pair>) {
        let mut pause = PAUSES.0;
        loop {
            // A stop waits for one more write; after that, what is in the journal is safe there.
            let stopping = self.stopping.is_cancelled();
            let wait = tokio::time::sleep(pause.mul_f64(0.5 + self.jitter() / 2.0));
            if pair.is_kept() {
                tokio::select! {
                    () = wait => {}
                    () = self.stopping.cancelled() => {}
                }
            } else {
                wait.await;
                self.keep_in_journal(pair).await;
            }
            pause = (pause * 2).min(PAUSES.1);
            if let Some(committed) = self.write_once(pair).await {
                self.metrics.commit("retried");
                if let Err(failure) = self.settle(pair, committed).await {
                    tracing::info!(connector.id = %pair.key().connector, cause = failure.cause, "a late pair was dropped");
                }
                break;
            }
            if stopping && pair.is_kept() {
                tracing::warn!(connector.id = %pair.key().connector, "a pair waits in the journal for the next start");
                break;
            }
        }
        self.end_unwritten(pair);
    }

    fn end_unwritten(&self, pair: &Pair) {
        if self.unwritten.has(pair.key()) {
            self.unwritten.remove(pair.key());
            self.metrics.unwritten(self.unwritten.len());
        }
    }

    /// What the store says is so; the journal need not keep the pair any longer.
    async fn settle(self: &Arc<Self>, pair: &Arc<Pair>, committed: Committed) -> Landing {
        let landing = match committed {
            Committed::Done(row) => {
                self.metrics.refresh("ok");
                Ok(self.remember(*row))
            }
            Committed::Lost(Some(row)) if pair.is_stored_as(&row) => {
                self.metrics.commit("recognised");
                self.metrics.refresh("ok");
                Ok(self.remember(*row))
            }
            Committed::Lost(Some(row)) if row.generation < pair.parent => {
                // An older copy of the store was put back. The journal has the newer pair; what to do is for a person.
                tracing::error!(
                    connector.id = %row.key.connector, space = %row.key.space,
                    "the store is older than a pair of the rescue journal; the pair stays there"
                );
                return Ok(self.remember(*row));
            }
            Committed::Lost(winner) => {
                self.metrics.refresh("lost_race");
                let in_force = winner.filter(|winner| winner.state != ConnectionState::Disconnected);
                if let Some(winner) = in_force {
                    // A sibling of ours, or a new family: ours is not revoked, because many providers end everything that
                    // came from the same consent with it. What another account's grant has replaced must not live on.
                    if is_other_account(&pair.row, &winner) {
                        self.revoke_pair(pair).await;
                    }
                    Ok(self.remember(*winner))
                } else {
                    // Somebody ended the connection meanwhile; what this refresh brought must not live on.
                    self.connections.remove(pair.key());
                    self.revoke_pair(pair).await;
                    Err(gone())
                }
            }
        };
        self.end_unwritten(pair);
        self.forget_in_journal(pair).await;
        landing
    }

    /// Revokes a pair whose connection was ended. Its connector may be gone as well.
    async fn revoke_pair(&self, pair: &Pair) {
        let key = pair.key();
        let revoked = async {
            let connector = match &pair.connector {
                Some(connector) => Some(Arc::clone(connector)),
                None => self.load_connector(&key.space, &key.connector).await?,
            };
            match connector {
                Some(connector) if connector.row.binding == pair.row.binding => {
                    let tokens = self.tokens_of_pair(pair).await?;
                    self.revoke_tokens(&connector, key, &tokens).await;
                }
                // Tokens go only where they were put for.
                Some(_) => self.record_revocation(key, "connector_changed"),
                None => self.record_revocation(key, "connector_deleted"),
            }
            Result::Ok(())
        };
        if let Err(error) = revoked.await {
            tracing::error!(connector.id = %key.connector, code = %error.code, "a late pair could not be revoked");
        }
    }

    async fn tokens_of_pair(&self, pair: &Pair) -> Result<Tokens> {
        let (token_type, access_token) = self.open_access(&pair.row).await?;
        Ok(Tokens {
            access_token,
            token_type,
            refresh_token: self.open_refresh(&pair.row).await?,
            expires_in: None,
            expires_at: None,
            refresh_expires_in: None,
            scopes: None,
            account_id: None,
            account_label: None,
            metadata: serde_json::Map::new(),
            notes: Vec::new(),
        })
    }
}
