//! The keys of an installation, as an administrator sees them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::{Privilege, Timestamp};

use crate::Engine;
use crate::caller::Caller;
use crate::error::Result;
use crate::reseal::Resealing;

/// A master key that opens the store.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MasterKeyView {
    /// Its public name.
    pub name: String,
    /// Whether the process that answers uses it.
    pub in_use: bool,
    /// Since when it opens the store.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A data key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DataKeyView {
    /// Its number.
    pub id: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Whether it seals; the others only open what they sealed.
    pub seals: bool,
}

/// The keys of the installation, none of them shown, and how far sealing again has come.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SealingView {
    /// The master keys that open the store, the oldest first: more than one while the master key is exchanged.
    pub master_keys: Vec<MasterKeyView>,
    /// The data keys, the oldest first.
    pub data_keys: Vec<DataKeyView>,
    /// How far sealing again has come, in the process that answers.
    pub reseal: Resealing,
    /// When the store was last put back from a backup, if ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub restored_at: Option<Timestamp>,
}

impl Engine {
    /// The keys of the installation.
    pub async fn sealing_view(&self, caller: &Caller) -> Result<SealingView> {
        caller.need(Privilege::Admin)?;
        self.reread_keys().await?;
        let (held, own) = (self.sealing.held(), self.sealing.master.id());
        let current = held.ring.current();
        let mut masters: BTreeMap<&str, Timestamp> = BTreeMap::new();
        let mut data_keys: BTreeMap<u32, Timestamp> = BTreeMap::new();
        for key in &held.keys {
            let name = if key.master.is_empty() { own } else { &key.master };
            let since = masters.entry(name).or_insert(key.created_at);
            *since = key.created_at.min(*since);
            let made = data_keys.entry(key.id).or_insert(key.created_at);
            *made = key.created_at.min(*made);
        }
        let mut master_keys: Vec<_> = masters
            .into_iter()
            .map(|(name, since)| MasterKeyView {
                name: name.to_owned(),
                in_use: name == own,
                since,
            })
            .collect();
        master_keys.sort_by_key(|key| key.since);
        let data_keys = data_keys.into_iter().map(|(id, created_at)| DataKeyView {
            id,
            created_at,
            seals: id == current,
        });
        Ok(SealingView {
            master_keys,
            data_keys: data_keys.collect(),
            reseal: self.resealing(),
            restored_at: self.restored(),
        })
    }
}
