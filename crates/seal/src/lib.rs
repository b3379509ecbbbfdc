//! Sealed records: a key per record, key commitment, and a binding to the place where the record is stored.
//!
//! ```
//! use valetkey_core::fake::FakeRng; // in a program: the operating system's generator
//! use valetkey_seal::{Context, KeyRing, MasterKey, SealError};
//!
//! # fn main() -> Result<(), SealError> {
//! let rng = FakeRng::seeded(1);
//! let master = MasterKey::parse("pkL3tfcvZ3qHqMK8b7+0nXw1oJmS0eYhVg5cRz9xTDE=")?;
//! // Once per installation: store `wrapped`; later starts call `KeyRing::open` with it.
//! let (ring, wrapped) = KeyRing::create(&master, "installation-1", &rng)?;
//! let ring = KeyRing::open(&master, "installation-1", &[wrapped])?;
//!
//! let place = Context {
//!     space: "default", table: "connections", row: "slack/shared", column: "access_token",
//!     owner: "shared", generation: 1, binding: b"digest of the addresses it may be sent to",
//! };
//! let sealed = ring.seal(&place, b"xoxb-1", &rng)?;
//! assert_eq!(ring.open_record(&place, &sealed)?.as_slice(), b"xoxb-1");
//!
//! // Anywhere else it does not open.
//! let elsewhere = Context { column: "refresh_token", ..place };
//! assert!(matches!(ring.open_record(&elsewhere, &sealed), Err(SealError::Integrity)));
//! # Ok(())
//! # }
//! ```
//!
//! Three layers: a *master key* (a [`KeySource`]: a file, later an HSM or a KMS) wraps the *data keys* of a
//! [`KeyRing`]; a data key is never used on a record either, each record has its own key, derived with the record's
//! salt. The bytes are described in [`mod@format`], and in `docs/sealing.md` with test vectors.
//!
//! # What it does not do
//! - A whole row that is put back together with everything it is bound to (its generation too) opens: no encryption can
//!   see that.
//! - Keys and plaintexts are wiped when dropped, as far as this crate holds them. The AES key schedules of single
//!   records are not: the cryptographic library leaves them in memory that it has freed.

mod context;
mod derive;
mod envelope;
mod error;
#[cfg(unix)]
mod file;
pub mod format;
mod master;
mod ring;
mod source;

pub use context::Context;
pub use error::SealError;
pub use master::MasterKey;
pub use ring::{KeyRing, WrappedKey};
pub use source::KeySource;
