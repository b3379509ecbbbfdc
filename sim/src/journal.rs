//! The disk of one replica: its rescue journal survives the process, and nothing else does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use valetkey_core::ConnectionKey;
use valetkey_engine::journal::{Journal, JournalError, Kept, Rescue};

use crate::process::Process;
use crate::sabotage::Flaw;
use crate::world::World;

/// What is on the disk.
#[derive(Debug, Default)]
pub struct Disk(Mutex<BTreeMap<(ConnectionKey, i64), Rescue>>);

impl Disk {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ConnectionKey, i64), Rescue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many pairs are kept.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One process's way to its disk.
#[derive(Debug)]
pub struct DiskJournal {
    world: Arc<World>,
    process: Arc<Process>,
    disk: Arc<Disk>,
}

impl DiskJournal {
    /// The way of a process to the disk of its replica.
    pub fn new(world: Arc<World>, process: Arc<Process>, disk: Arc<Disk>) -> Self {
        Self { world, process, disk }
    }

    /// A sync takes its time, before or after the bytes are safe.
    async fn sync(&self) {
        let span = self.world.store_dice.millis(0, 20);
        tokio::time::sleep(span).await;
        self.process.pass().await;
    }
}

#[async_trait]
impl Journal for DiskJournal {
    async fn keep(&self, pair: Rescue) -> Result<(), JournalError> {
        self.sync().await;
        let dice = &self.world.store_dice;
        if dice.happens(self.world.weather().chances.disk_full) {
            self.world
                .trace
                .line(format_args!("{:?} has a full disk", self.process));
            return Err(JournalError::Full);
        }
        let (key, parent) = (pair.key.clone(), pair.parent);
        if self.world.flaw != Some(Flaw::ForgetfulJournal) {
            self.disk.lock().insert((key.clone(), parent), pair);
        }
        self.world.ledger.keeps(&self.process, &key, parent);
        self.sync().await;
        Ok(())
    }

    async fn forget(&self, key: &ConnectionKey, parent: i64) -> Result<(), JournalError> {
        self.sync().await;
        self.disk.lock().remove(&(key.clone(), parent));
        self.world.ledger.forgets(&self.process, key, parent);
        Ok(())
    }

    async fn kept(&self) -> Result<Kept, JournalError> {
        Ok(Kept {
            pairs: self.disk.lock().values().cloned().collect(),
            unreadable: 0,
        })
    }
}
