//! Rotation: a new data key that seals from now on, and the exchange of the master key.
//!
//! | step | what is written | who goes on |
//! | --- | --- | --- |
//! | [`Engine::rotate_data_key`], or [`Engine::keep_keys`] when the sealing key is too old | one more data key | everybody |
//! | [`Engine::rotate_master`] | every data key once more, for the new master key; one more data key, for both | everybody |
//! | all processes are started with the new master key, one after the other | nothing | those with either |
//! | [`Engine::retire_master`] | the wrappings of the old master key go | those with the new one |
//!
//! Each step is one compare-and-set on the whole list of wrapped keys, so that it happened or did not, whatever ends the
//! process. Before it is written, the list is opened with every master key that is to open it.
//!
//! While two master keys are in use, no process can add a data key: none has both.

use std::collections::BTreeMap;
use std::time::Duration;

use valetkey_core::{ErrorCode, Privilege, Timestamp};
use valetkey_seal::{KeyRing, KeySource, WrappedKey};
use valetkey_store::rows::{AuditRow, SealingKeyRow, VaultRow};

use crate::Engine;
use crate::caller::{Audit, Caller};
use crate::error::{Error, Result};
use crate::sealing::made_at;
use crate::vault::open_ring;

/// What an exchange of the master key has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Both master keys open the store from now on, and this data key seals.
    Begun(u32),
    /// They did before already.
    Prepared(u32),
}

/// What is to be written instead of what is there.
struct Change {
    keys: Vec<SealingKeyRow>,
    audit: AuditRow,
}

impl Engine {
    /// Adds a data key that seals from now on. Its number.
    pub async fn rotate_data_key(&self, caller: &Caller) -> Result<u32> {
        caller.need(Privilege::Admin)?;
        self.change_keys(|vault, ring| {
            let change = self.one_more_key(vault, ring, caller.audit("key.rotate", self.clock.now()))?;
            Ok(Some(change))
        })
        .await?;
        Ok(self.sealing.held().ring.current())
    }

    /// Wraps the data keys for `new` too, and adds one that seals from now on.
    pub async fn rotate_master(&self, caller: &Caller, new: &dyn KeySource) -> Result<Exchange> {
        caller.need(Privilege::Admin)?;
        let old = &*self.sealing.master;
        if new.id() == old.id() {
            return Err(Error::new(
                ErrorCode::ValidationFailed,
                format!("the new master key is the one in use ({})", old.id()),
            ));
        }
        let begun = self
            .change_keys(|vault, ring| {
                let others = others(old.id(), &vault.keys);
                match others.as_slice() {
                    [] => {}
                    [other] if other == new.id() => return Ok(None),
                    _ => return Err(under_way(&others)),
                }
                let at = self.after_all(&vault.keys);
                let mut keys = own_rows(old.id(), &vault.keys);
                keys.extend(rows(ring.rewrap(new, &*self.rng)?, at));
                keys.extend(rows(ring.next_key(&[old, new], &*self.rng)?, at));
                let audit = caller
                    .audit("key.rotate", self.clock.now())
                    .detail("step", "new_master_key")
                    .detail("from", old.id())
                    .detail("to", new.id())
                    .detail("data_key", ring.current() + 1);
                must_open(new, vault, &keys)?;
                Ok(Some(Change {
                    keys,
                    audit: audit.row(),
                }))
            })
            .await?;
        let data_key = self.sealing.held().ring.current();
        Ok(if begun {
            Exchange::Begun(data_key)
        } else {
            Exchange::Prepared(data_key)
        })
    }

    /// Takes the wrappings of every other master key away; the names of those. Refused if one of them is newer than the one
    /// in use, which then is the one to be retired, unless that exchange is to be undone.
    pub async fn retire_master(&self, caller: &Caller, undo: bool) -> Result<Vec<String>> {
        caller.need(Privilege::Admin)?;
        let own = self.sealing.master.id();
        let mut retired = Vec::new();
        self.change_keys(|vault, _| {
            retired = others(own, &vault.keys);
            if retired.is_empty() {
                return Ok(None);
            }
            if let Some(newer) = newest(&vault.keys).filter(|newest| *newest != own && !undo) {
                return Err(Error::new(
                    ErrorCode::RotationUnderWay,
                    format!(
                        "{newer} is newer than the master key in use here ({own}): start with it first; or undo the exchange"
                    ),
                ));
            }
            let audit = caller
                .audit("key.rotate", self.clock.now())
                .detail("step", if undo { "exchange_undone" } else { "master_keys_retired" })
                .detail("master_key", own)
                .detail("retired", retired.clone());
            Ok(Some(Change {
                keys: own_rows(own, &vault.keys),
                audit: audit.row(),
            }))
        })
        .await?;
        Ok(retired)
    }

    /// What background work does about keys now and then: learns of those that others added, and adds one when the one that
    /// seals is too old.
    pub async fn keep_keys(&self) -> Result<()> {
        self.reread_keys().await?;
        if self.key_age() >= self.settings.max_key_age {
            self.replace_old_key().await?;
        }
        self.measure_keys();
        Ok(())
    }

    async fn replace_old_key(&self) -> Result<()> {
        let old = self.sealing.held().ring.current();
        let added = self
            .change_keys(|vault, ring| {
                if !others(self.sealing.master.id(), &vault.keys).is_empty() {
                    tracing::warn!(
                        "the data key is too old, and none can be added until the old master key is retired"
                    );
                    return Ok(None);
                }
                // Another process may have been first.
                if ring.current() != old {
                    return Ok(None);
                }
                let audit = Audit::new("key.rotate", self.clock.now()).detail("reason", "age");
                self.one_more_key(vault, ring, audit).map(Some)
            })
            .await?;
        if added {
            tracing::info!(data_key = old + 1, "the data key was too old; there is a new one");
        }
        Ok(())
    }

    /// The age of the data key that seals.
    pub(crate) fn key_age(&self) -> Duration {
        let held = self.sealing.held();
        let made = made_at(&held.keys, held.ring.current());
        made.map_or(Duration::ZERO, |made| self.clock.now().since(made))
    }

    fn measure_keys(&self) {
        let held = self.sealing.held();
        let masters = 1 + others(self.sealing.master.id(), &held.keys).len();
        self.metrics.keys(held.ring.current(), masters, self.key_age());
        self.metrics.reseal_pending(self.is_behind());
    }

    fn one_more_key(&self, vault: &VaultRow, ring: &KeyRing, audit: Audit) -> Result<Change> {
        let own = &*self.sealing.master;
        let others = others(own.id(), &vault.keys);
        if !others.is_empty() {
            return Err(under_way(&others));
        }
        let mut keys = own_rows(own.id(), &vault.keys);
        keys.extend(rows(ring.next_key(&[own], &*self.rng)?, self.clock.now()));
        let audit = audit
            .detail("step", "new_data_key")
            .detail("data_key", ring.current() + 1);
        Ok(Change {
            keys,
            audit: audit.row(),
        })
    }

    /// Replaces the stored keys by what `plan` makes of them; it is asked again when somebody else was faster. Whether it
    /// wanted a change.
    async fn change_keys(&self, mut plan: impl FnMut(&VaultRow, &KeyRing) -> Result<Option<Change>>) -> Result<bool> {
        loop {
            let vault = self.stored_vault().await?;
            let ring = open_ring(&*self.sealing.master, &vault)?;
            let Some(Change { keys, audit }) = plan(&vault, &ring)? else {
                return Ok(false);
            };
            must_open(&*self.sealing.master, &vault, &keys)?;
            if self.store.replace_keys(&vault.keys, keys, audit).await? {
                self.reread_keys().await?;
                self.measure_keys();
                return Ok(true);
            }
        }
    }

    /// A time after every wrapping that there is, so that the newest master key can be told, whatever the clock did.
    fn after_all(&self, keys: &[SealingKeyRow]) -> Timestamp {
        let last = keys.iter().map(|key| key.created_at.0).max();
        Timestamp(self.clock.now().0.max(last.map_or(i64::MIN, |at| at.saturating_add(1))))
    }
}

/// Refuses to write what would not open again.
fn must_open(master: &dyn KeySource, vault: &VaultRow, keys: &[SealingKeyRow]) -> Result<()> {
    let after = VaultRow {
        keys: keys.to_vec(),
        ..vault.clone()
    };
    open_ring(master, &after)?;
    Ok(())
}

fn under_way(others: &[String]) -> Error {
    Error::new(
        ErrorCode::RotationUnderWay,
        format!(
            "the master key is being exchanged: {} opens the store too. Finish that first, by retiring the old one",
            others.join(" and ")
        ),
    )
}

fn rows(wrapped: Vec<WrappedKey>, at: Timestamp) -> impl Iterator<Item = SealingKeyRow> {
    wrapped.into_iter().map(move |key| SealingKeyRow {
        id: key.id,
        master: key.master,
        wrapped: key.bytes,
        created_at: at,
    })
}

/// The wrappings of the master key of this name, one of each data key and all of them with its name: those that have none
/// are its own, or its ring would not have opened. Each is as old as its data key.
fn own_rows(own: &str, keys: &[SealingKeyRow]) -> Vec<SealingKeyRow> {
    let mut rows: BTreeMap<u32, SealingKeyRow> = BTreeMap::new();
    for key in keys.iter().filter(|key| key.master.is_empty() || key.master == own) {
        // Those with a name come after those without, and win: that is how the ring chooses too.
        let named = SealingKeyRow {
            master: own.to_owned(),
            created_at: made_at(keys, key.id).unwrap_or(key.created_at),
            ..key.clone()
        };
        if key.master == own || !rows.contains_key(&key.id) {
            rows.insert(key.id, named);
        }
    }
    rows.into_values().collect()
}

/// The names of the other master keys that open the store.
fn others(own: &str, keys: &[SealingKeyRow]) -> Vec<String> {
    let mut names: Vec<_> = keys
        .iter()
        .map(|key| key.master.clone())
        .filter(|name| !name.is_empty() && name != own)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The master key that came last: it wrapped the first data key last.
fn newest(keys: &[SealingKeyRow]) -> Option<&str> {
    let first = keys.iter().map(|key| key.id).min()?;
    let of_first = keys.iter().filter(|key| key.id == first);
    of_first.max_by_key(|key| key.created_at).map(|key| key.master.as_str())
}
