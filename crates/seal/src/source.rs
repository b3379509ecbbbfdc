//! Where the master key is.

use std::fmt;

use valetkey_core::Rng;
use zeroize::Zeroizing;

use crate::SealError;

/// Holds a master key, or talks to what holds it, and uses it for one thing: to wrap data keys.
pub trait KeySource: Send + Sync + fmt::Debug {
    /// A public name of the master key: the same for the same key, another for every other one, never empty, and no help to
    /// whoever wants the key. It is stored beside what the key wrapped, and may be shown and logged.
    fn id(&self) -> &str;

    /// Encrypts and authenticates the key, and authenticates the context.
    fn wrap(&self, key: &[u8; 32], context: &[u8], rng: &dyn Rng) -> Result<Vec<u8>, SealError>;

    /// The key again, if it was wrapped by the same master key with the same context.
    /// [`SealError::WrongMasterKey`] if it was another master key.
    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError>;
}
