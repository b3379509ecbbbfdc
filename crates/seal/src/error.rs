//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// Why a value is not sealed, not opened, or a key not accepted. None of them holds key or plaintext.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The sealed value was changed, moved, cut, planted, or sealed under a key that is not in the ring. One text for
    /// all of them, so that whoever tampers learns nothing.
    #[error("a sealed value does not open")]
    Integrity,
    /// A data key was not wrapped by this master key.
    #[error("the master key does not open this store")]
    WrongMasterKey,
    /// The text or the bytes are not fit to be a master key. Says the rule, never the key.
    #[error("the master key {0}")]
    WeakKey(&'static str),
    /// A key ring without a key, with a key twice, or with no number left for another one.
    #[error("the key ring has no usable key")]
    NoKey,
    /// The value is longer than [`MAX_PLAINTEXT`](crate::format::MAX_PLAINTEXT).
    #[error("the value is too long to be sealed")]
    TooLong,
    /// The key file can be read by others than its owner.
    #[error("the key file can be read by other users: run `chmod 600 {}`", .0.display())]
    KeyFileOpen(PathBuf),
    /// The key file cannot be read or made.
    #[error("the key file {} cannot be used", path.display())]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key source of another kind (an HSM, a KMS) cannot do its work now.
    #[error("the key source cannot be used")]
    KeySource(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cryptographic library refused to work.
    #[error("the cryptographic library failed")]
    Library,
}
