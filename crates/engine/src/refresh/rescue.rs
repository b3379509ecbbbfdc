//! Pairs that are not written yet: in memory, where callers are served from, and in the rescue journal, which a start
//! replays.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use valetkey_core::encode::{base64, from_base64};
use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_seal::Context;
use valetkey_store::rows::{ConnectionRow, ConnectionState, Digest, GrantRow, Sealed};

use super::commit::Pair;
use crate::Engine;
use crate::caller::Audit;
use crate::error::{Error, Result};
use crate::grant::CachedConnection;
use crate::journal::Rescue;

/// The pairs that this process has and the store has not.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    pairs: Mutex<BTreeMap<ConnectionKey, Arc<Pair>>>,
    /// How many there are: nearly always none, and then nobody locks anything.
    count: AtomicUsize,
}

impl Unwritten {
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn has(&self, key: &ConnectionKey) -> bool {
        self.len() > 0 && self.lock().contains_key(key)
    }

    pub(super) fn insert(&self, pair: &Arc<Pair>) {
        let mut pairs = self.lock();
        pairs.insert(pair.key().clone(), Arc::clone(pair));
        self.count.store(pairs.len(), Ordering::Relaxed);
    }

    pub(super) fn remove(&self, key: &ConnectionKey) {
        let mut pairs = self.lock();
        pairs.remove(key);
        self.count.store(pairs.len(), Ordering::Relaxed);
    }

    fn get(&self, key: &ConnectionKey) -> Option<Arc<Pair>> {
        if self.len() == 0 {
            return None;
        }
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionKey, Arc<Pair>>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is sealed in the journal: a row as it will be, without what a connection's key says.
#[derive(Serialize, Deserialize)]
struct Entry {
    at: i64,
    binding: String,
    spec_version: i64,
    account_id: Option<String>,
    account_label: Option<String>,
    connected_at: i64,
    used_at: i64,
    sealed_access: String,
    sealed_refresh: Option<String>,
    expires_at: Option<i64>,
    lifetime_ms: Option<i64>,
    refresh_expires_at: Option<i64>,
    scopes: Vec<String>,
    metadata: Map<String, Value>,
}

impl Engine {
    /// A connection whose newest pair is not written yet, while the store has what that pair came from, or does not say
    /// what it has.
    pub(crate) async fn unwritten_connection(&self, key: &ConnectionKey) -> Option<Arc<CachedConnection>> {
        let pair = self.unwritten.get(key)?;
        let is_current = match self.store.get_connection(key).await {
            Ok(Some(row)) => row.generation == pair.parent && row.state != ConnectionState::Disconnected,
            Ok(None) => false,
            Err(_) => true,
        };
        is_current.then(|| self.in_memory(pair.row.clone()))
    }

    /// Keeps a pair in the journal. A journal that cannot be written is told, and is no reason to stop.
    pub(super) async fn keep_in_journal(&self, pair: &Pair) {
        let kept = match self.seal_pair(pair) {
            Ok(sealed) => self.journal.keep(sealed).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.cause.unwrap_or(error.message)),
        };
        match kept {
            Ok(()) => {
                pair.set_kept();
                self.metrics.rescue("kept");
            }
            Err(cause) => {
                self.metrics.rescue("failed");
                tracing::error!(
                    connector.id = %pair.key().connector, space = %pair.key().space, cause,
                    "a pair that is not written cannot be kept in the rescue journal either"
                );
            }
        }
    }

    pub(super) async fn forget_in_journal(&self, pair: &Pair) {
        if !pair.is_kept() {
            return;
        }
        // One that stays is dropped by the next start, when it finds that a newer pair is stored.
        if let Err(error) = self.journal.forget(pair.key(), pair.parent).await {
            tracing::warn!(connector.id = %pair.key().connector, %error, "an entry of the rescue journal stays behind");
        }
    }

    /// Takes up what an earlier process left in the rescue journal: each pair is served from memory at once and written
    /// as soon as the store takes it. Call this before anybody is served. How many pairs there are.
    pub async fn replay_journal(self: &Arc<Self>) -> Result<usize> {
        let kept = self.journal.kept().await.map_err(Error::internal)?;
        if kept.unreadable > 0 {
            self.metrics.rescue("unreadable");
            tracing::error!(
                entries = kept.unreadable,
                "the rescue journal has entries that cannot be read; they stay"
            );
        }
        let mut taken_up = 0;
        for rescue in kept.pairs {
            let key = rescue.key.clone();
            match self.open_pair(rescue) {
                Ok(pair) => {
                    pair.set_kept();
                    self.metrics.rescue("replayed");
                    tracing::warn!(connector.id = %key.connector, space = %key.space, "a pair of the rescue journal is taken up");
                    self.write_later(Arc::new(pair));
                    taken_up += 1;
                }
                Err(error) => {
                    self.metrics.rescue("unreadable");
                    tracing::error!(
                        connector.id = %key.connector, space = %key.space, code = %error.code,
                        "an entry of the rescue journal does not open; it stays"
                    );
                }
            }
        }
        Ok(taken_up)
    }

    fn seal_pair(&self, pair: &Pair) -> Result<Rescue> {
        let row = &pair.row;
        let grant = row
            .grant
            .as_ref()
            .ok_or_else(|| Error::internal("a pair has no grant"))?;
        let entry = Entry {
            at: pair.at.0,
            binding: base64(&row.binding.0),
            spec_version: row.spec_version,
            account_id: row.account_id.clone(),
            account_label: row.account_label.clone(),
            connected_at: row.connected_at.0,
            used_at: row.used_at.0,
            sealed_access: base64(&grant.sealed_access.0),
            sealed_refresh: grant.sealed_refresh.as_ref().map(|sealed| base64(&sealed.0)),
            expires_at: grant.expires_at.map(|at| at.0),
            lifetime_ms: grant.lifetime_ms,
            refresh_expires_at: grant.refresh_expires_at.map(|at| at.0),
            scopes: grant.scopes.clone(),
            metadata: grant.metadata.clone(),
        };
        let plain = serde_json::to_vec(&entry).map_err(Error::internal)?;
        let vault = self.vault();
        let (name, owner) = (row_name(&row.key), row.key.owner.as_stored());
        let context = context(&row.key, pair.parent, &name, &owner);
        Ok(Rescue {
            key: row.key.clone(),
            parent: pair.parent,
            sealed: Sealed(vault.ring.seal(&context, &plain, vault.rng)?),
        })
    }

    fn open_pair(&self, rescue: Rescue) -> Result<Pair> {
        let Rescue { key, parent, sealed } = rescue;
        let (name, owner) = (row_name(&key), key.owner.as_stored());
        let plain = self
            .vault()
            .ring
            .open_record(&context(&key, parent, &name, &owner), &sealed.0)?;
        let entry: Entry = serde_json::from_slice(&plain).map_err(Error::internal)?;
        let audit = Audit::new("token.refresh", self.clock.now())
            .connection(&key)
            .detail("rescued", true);
        let at = Timestamp(entry.at);
        let row = entry
            .row(key, parent + 1)
            .ok_or_else(|| Error::internal("a kept pair is not well formed"))?;
        Ok(Pair::new(row, at, audit.row()))
    }
}

impl Entry {
    fn row(self, key: ConnectionKey, generation: i64) -> Option<ConnectionRow> {
        let refresh = match self.sealed_refresh {
            Some(text) => Some(Sealed(from_base64(&text)?)),
            None => None,
        };
        Some(ConnectionRow {
            key,
            generation,
            state: ConnectionState::Active,
            grant: Some(GrantRow {
                sealed_access: Sealed(from_base64(&self.sealed_access)?),
                sealed_refresh: refresh,
                expires_at: self.expires_at.map(Timestamp),
                lifetime_ms: self.lifetime_ms,
                refresh_expires_at: self.refresh_expires_at.map(Timestamp),
                scopes: self.scopes,
                metadata: self.metadata,
            }),
            binding: Digest(from_base64(&self.binding)?.try_into().ok()?),
            spec_version: self.spec_version,
            account_id: self.account_id,
            account_label: self.account_label,
            connected_at: Timestamp(self.connected_at),
            refreshed_at: Some(Timestamp(self.at)),
            intent: None,
            // At once: background work looks at it and says when it is due again.
            due_at: Some(Timestamp(self.at)),
            used_at: Timestamp(self.used_at),
            notice: None,
        })
    }
}

/// As connections are named for sealing: connector ids have no `/`.
fn row_name(key: &ConnectionKey) -> String {
    format!("{}/{}", key.connector, key.name)
}

fn context<'a>(key: &'a ConnectionKey, parent: i64, name: &'a str, owner: &'a str) -> Context<'a> {
    Context {
        space: key.space.as_str(),
        table: "connection",
        row: name,
        column: "rescued_pair",
        owner,
        generation: parent,
        // The tokens inside are bound to their addresses by themselves.
        binding: &[],
    }
}
