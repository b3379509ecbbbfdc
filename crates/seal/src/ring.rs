//! The data keys of an installation.

use std::collections::BTreeMap;
use std::fmt;

use valetkey_core::Rng;
use zeroize::Zeroizing;

use crate::context::put;
use crate::derive::{FIXED_SALT, OTHER, RECORD, derive};
use crate::envelope::Envelope;
use crate::format::{self, PREFIX};
use crate::{Context, KeySource, SealError};

/// A data key as it is stored: useless without the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Its number, as the records name it. Counts up from 1.
    pub id: u32,
    /// The name ([`KeySource::id`]) of the master key that wrapped it. Empty if it was stored before names were: then only
    /// trying tells.
    pub master: String,
    /// What [`KeySource::wrap`] made of it.
    pub bytes: Vec<u8>,
}

/// The data keys, open. The last one seals; the others only open what they sealed once.
///
/// A ring does not change. To rotate: store [`KeyRing::next_key`], then open the ring again with it. Others that use the
/// same store learn of it when a record names a key that they do not hold ([`KeyRing::holds_key_of`]).
pub struct KeyRing {
    deployment: String,
    /// Ascending by number, and never empty.
    keys: Vec<DataKey>,
}

struct DataKey {
    id: u32,
    envelope: Envelope,
}

impl KeyRing {
    /// Makes the first data key of a new installation. The wrapped key must be stored before the ring is used.
    pub fn create(source: &dyn KeySource, deployment: &str, rng: &dyn Rng) -> Result<(Self, WrappedKey), SealError> {
        let wrapped = wrap(1, &new_key(rng), source, deployment, rng)?;
        Ok((Self::open(source, deployment, std::slice::from_ref(&wrapped))?, wrapped))
    }

    /// Opens the stored data keys, in any order. While the master key is exchanged each is there once for every master key;
    /// those of this one are taken, and every data key must be among them: [`SealError::WrongMasterKey`] if the master key is
    /// another one, [`SealError::Integrity`] if a key was changed or belongs to another deployment.
    pub fn open(source: &dyn KeySource, deployment: &str, wrapped: &[WrappedKey]) -> Result<Self, SealError> {
        let open = |w: &WrappedKey| {
            let key = source.unwrap(&w.bytes, &wrap_context(deployment, w.id))?;
            Ok(DataKey {
                id: w.id,
                envelope: Envelope::new(key, RECORD),
            })
        };
        let keys = own_wrappings(source.id(), wrapped)?
            .into_values()
            .map(open)
            .collect::<Result<_, SealError>>()?;
        Ok(Self {
            deployment: deployment.to_owned(),
            keys,
        })
    }

    /// Seals a value for its place.
    pub fn seal(&self, context: &Context<'_>, plaintext: &[u8], rng: &dyn Rng) -> Result<Vec<u8>, SealError> {
        let (length, zeros) = format::padding(plaintext)?;
        let key = self.last();
        let context = context.encode(&self.deployment);
        key.envelope
            .seal(&format::prefix(key.id), &context, &[&length, plaintext, zeros], rng)
    }

    /// Opens what was sealed for this very place. Everything else is [`SealError::Integrity`].
    pub fn open_record(&self, context: &Context<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let id = format::key_of(sealed).ok_or(SealError::Integrity)?;
        let key = self
            .keys
            .iter()
            .rev()
            .find(|key| key.id == id)
            .ok_or(SealError::Integrity)?;
        let context = context.encode(&self.deployment);
        let padded = key
            .envelope
            .open(PREFIX, &context, sealed)
            .map_err(|_| SealError::Integrity)?;
        format::unpad(padded).ok_or(SealError::Integrity)
    }

    /// A key for another use (hashes of API keys, signatures of links), one per label.
    ///
    /// It comes from the *first* data key, so that it stays the same when data keys are added and when the master key
    /// is exchanged. For the same reason the first data key is never removed from a ring.
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        derive(self.keys[0].envelope.key(), FIXED_SALT, &[OTHER, label.as_bytes()])
    }

    /// The number of the key that seals now.
    pub fn current(&self) -> u32 {
        self.last().id
    }

    /// Whether the record was sealed under the key that seals now. If not, rotation has to seal it again.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        format::key_of(sealed) == Some(self.last().id)
    }

    /// Whether the ring holds the key that the record names. If not, another replica has added a key since: read the
    /// stored keys and open the ring again, once.
    pub fn holds_key_of(&self, sealed: &[u8]) -> bool {
        format::key_of(sealed).is_some_and(|id| self.keys.iter().any(|key| key.id == id))
    }

    /// Makes the data key that is to seal from now on, once for every master key that has to open it. It has to be stored
    /// before it seals anything, which is why this ring does not take it in.
    pub fn next_key(&self, sources: &[&dyn KeySource], rng: &dyn Rng) -> Result<Vec<WrappedKey>, SealError> {
        let id = self.last().id.checked_add(1).ok_or(SealError::NoKey)?;
        let key = new_key(rng);
        sources
            .iter()
            .map(|source| wrap(id, &key, *source, &self.deployment, rng))
            .collect()
    }

    /// Wraps all data keys again, for another master key. The records stay as they are. Store the result beside the old
    /// wrappings, and take those away when nobody uses the old master key any more.
    pub fn rewrap(&self, source: &dyn KeySource, rng: &dyn Rng) -> Result<Vec<WrappedKey>, SealError> {
        self.keys
            .iter()
            .map(|key| wrap(key.id, key.envelope.key(), source, &self.deployment, rng))
            .collect()
    }

    fn last(&self) -> &DataKey {
        &self.keys[self.keys.len() - 1]
    }
}

/// The wrapping of each data key that the master key of this name opens: the one that has its name, or else one that has
/// none.
fn own_wrappings<'a>(master: &str, wrapped: &'a [WrappedKey]) -> Result<BTreeMap<u32, &'a WrappedKey>, SealError> {
    let mut own = BTreeMap::new();
    for key in wrapped.iter().filter(|key| key.master == master) {
        if own.insert(key.id, key).is_some() {
            return Err(SealError::NoKey);
        }
    }
    for key in wrapped.iter().filter(|key| key.master.is_empty()) {
        own.entry(key.id).or_insert(key);
    }
    if wrapped.is_empty() {
        return Err(SealError::NoKey);
    }
    if wrapped.iter().any(|key| !own.contains_key(&key.id)) {
        return Err(SealError::WrongMasterKey);
    }
    Ok(own)
}

fn new_key(rng: &dyn Rng) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    rng.fill(&mut *key);
    key
}

fn wrap(
    id: u32,
    key: &[u8; 32],
    source: &dyn KeySource,
    deployment: &str,
    rng: &dyn Rng,
) -> Result<WrappedKey, SealError> {
    Ok(WrappedKey {
        id,
        master: source.id().to_owned(),
        bytes: source.wrap(key, &wrap_context(deployment, id), rng)?,
    })
}

/// Binds a wrapped key to its deployment and its number.
fn wrap_context(deployment: &str, id: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + deployment.len() + 4);
    put(&mut out, deployment.as_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    out
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u32> = self.keys.iter().map(|key| key.id).collect();
        f.debug_struct("KeyRing")
            .field("deployment", &self.deployment)
            .field("keys", &ids)
            .finish()
    }
}
