//! The data keys in use, and how a process that runs learns of others.
//!
//! A key ring never changes; the one in use is swapped for another. That happens in two places: in the background, every
//! [`REREAD_KEYS_EVERY`], and at once when a value names a data key that this process has not seen, because another process
//! added it a moment ago. So a new data key may seal from the moment it is stored, and no process has to be told.
//!
//! Reading the ring costs an atomic load: no lock, and nothing that grows with the number of keys.

mod view;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use valetkey_core::{ErrorCode, Timestamp};
use valetkey_seal::{KeyRing, KeySource, SealError};
use valetkey_store::StoreError;
use valetkey_store::rows::{Sealed, SealingKeyRow, VaultRow};

use crate::Engine;
use crate::error::{Error, Result};
use crate::reseal::Progress;
use crate::vault::{OpenVault, Vault, open_ring};

pub use view::{DataKeyView, MasterKeyView, SealingView};

/// How often the stored data keys are read again. A data key that seals is known to every process after that long.
pub const REREAD_KEYS_EVERY: Duration = Duration::from_secs(10);

/// What stands for "never" where a time is kept in an atomic.
const NEVER: i64 = i64::MIN;

/// The master key, and what it opened.
#[derive(Debug)]
pub(crate) struct Sealing {
    pub(crate) master: Arc<dyn KeySource>,
    held: ArcSwap<Held>,
    /// Only one task at a time reads the keys again; the others find what it brought.
    reading: tokio::sync::Mutex<()>,
    restored_at: AtomicI64,
    progress: Mutex<Progress>,
}

/// A ring, and the rows that it was opened from.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) ring: KeyRing,
    pub(crate) keys: Vec<SealingKeyRow>,
}

impl Sealing {
    pub(crate) fn new(vault: OpenVault) -> Self {
        let sealing = Self {
            master: vault.master,
            held: ArcSwap::from_pointee(Held {
                ring: vault.ring,
                keys: vault.row.keys,
            }),
            reading: tokio::sync::Mutex::default(),
            restored_at: AtomicI64::new(NEVER),
            progress: Mutex::default(),
        };
        sealing.note_restored(vault.row.restored_at);
        sealing
    }

    pub(crate) fn held(&self) -> Guard<Arc<Held>> {
        self.held.load()
    }

    pub(crate) fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the store was put back from a backup, if ever.
    pub(crate) fn restored_at(&self) -> Option<Timestamp> {
        Some(self.restored_at.load(Ordering::Relaxed))
            .filter(|at| *at != NEVER)
            .map(Timestamp)
    }

    pub(crate) fn note_restored(&self, at: Option<Timestamp>) {
        self.restored_at
            .fetch_max(at.map_or(NEVER, |at| at.0), Ordering::Relaxed);
    }

    /// Takes in what is stored, if it is something else than what is held.
    fn take_in(&self, vault: VaultRow) -> Result<()> {
        self.note_restored(vault.restored_at);
        let held = self.held();
        if held.keys == vault.keys {
            return Ok(());
        }
        let ring = open_ring(&*self.master, &vault).map_err(|error| self.does_not_open(error))?;
        if ring.current() < held.ring.current() {
            return Err(Error::new(
                ErrorCode::IntegrityError,
                "a stored value cannot be opened; see the log",
            )
            .because("a data key that seals is no longer in the store"));
        }
        tracing::info!(data_key = ring.current(), "the data keys were read again");
        self.held.store(Arc::new(Held { ring, keys: vault.keys }));
        Ok(())
    }

    /// This process goes on with the ring that it has, but it cannot learn of new keys any more.
    fn does_not_open(&self, error: SealError) -> Error {
        match error {
            SealError::WrongMasterKey => Error::from(error).because(format_args!(
                "the master key of this process ({}) was retired: start it again with the new one",
                self.master.id()
            )),
            other => other.into(),
        }
    }
}

impl Engine {
    /// What seals, and opens what this process sealed.
    pub(crate) fn vault(&self) -> Vault<'_> {
        Vault {
            held: self.sealing.held(),
            rng: &*self.rng,
        }
    }

    /// What opens this value: if another process added its data key meanwhile, that key is here afterwards.
    pub(crate) async fn vault_for(&self, sealed: &Sealed) -> Result<Vault<'_>> {
        let vault = self.vault();
        if vault.holds_key_of(sealed) {
            return Ok(vault);
        }
        drop(vault);
        // Rare, and out of the way of the futures that never come here.
        Box::pin(self.reread_keys_for(sealed)).await?;
        Ok(self.vault())
    }

    async fn reread_keys_for(&self, sealed: &Sealed) -> Result<()> {
        let _one = self.sealing.reading.lock().await;
        if self.vault().holds_key_of(sealed) {
            return Ok(());
        }
        self.sealing.take_in(self.stored_vault().await?)
    }

    /// Reads the stored data keys, and takes them in if others were added or the master key is being exchanged.
    pub async fn reread_keys(&self) -> Result<()> {
        let _one = self.sealing.reading.lock().await;
        self.sealing.take_in(self.stored_vault().await?)
    }

    pub(crate) async fn stored_vault(&self) -> Result<VaultRow> {
        let missing = || StoreError::Corrupt("the vault is gone".to_owned());
        Ok(self.store.vault().await?.ok_or_else(missing)?)
    }
}

/// When a data key was made: when its first wrapping was, because exchanging the master key only adds some.
pub(crate) fn made_at(keys: &[SealingKeyRow], id: u32) -> Option<Timestamp> {
    keys.iter().filter(|key| key.id == id).map(|key| key.created_at).min()
}
