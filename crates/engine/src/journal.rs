//! The rescue journal, as the engine sees it: where a token pair waits that the store could not take yet.
//!
//! One implementation keeps it on this machine's own disk, so that it works when the store does not. What it is given is
//! sealed and bound to its connection and generation; the journal can neither read it nor put it elsewhere.

use std::fmt;

use async_trait::async_trait;
use valetkey_core::ConnectionKey;
use valetkey_store::rows::Sealed;

/// A pair that waits to be written, by the connection and the generation that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescue {
    /// Whose it is.
    pub key: ConnectionKey,
    /// The generation whose refresh token brought it.
    pub parent: i64,
    /// Everything else, sealed.
    pub sealed: Sealed,
}

/// Why the journal did not do what it was asked to. None of them holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// There is no room left, and the reserve is used up too.
    #[error("no space is left for the rescue journal")]
    Full,
    /// Anything else.
    #[error("the rescue journal cannot be used: {0}")]
    Unusable(String),
}

/// What was found in the journal.
#[derive(Debug, Default)]
pub struct Kept {
    /// The pairs.
    pub pairs: Vec<Rescue>,
    /// How many entries cannot be read at all; they stay where they are.
    pub unreadable: u64,
}

/// Keeps pairs until they are written.
#[async_trait]
pub trait Journal: Send + Sync + fmt::Debug {
    /// Keeps a pair, durably; in the place of an earlier one of the same connection and generation.
    async fn keep(&self, pair: Rescue) -> Result<(), JournalError>;

    /// Forgets a pair. One that is not there counts as forgotten.
    async fn forget(&self, key: &ConnectionKey, parent: i64) -> Result<(), JournalError>;

    /// What is kept.
    async fn kept(&self) -> Result<Kept, JournalError>;
}

/// A journal that keeps nothing: for a process that makes no refreshes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn keep(&self, _pair: Rescue) -> Result<(), JournalError> {
        Err(JournalError::Unusable("there is none".to_owned()))
    }

    async fn forget(&self, _key: &ConnectionKey, _parent: i64) -> Result<(), JournalError> {
        Ok(())
    }

    async fn kept(&self) -> Result<Kept, JournalError> {
        Ok(Kept::default())
    }
}
