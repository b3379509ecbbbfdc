//! The words of valetkey, as types: identifiers, owners, principals, secrets, time, randomness and error codes.
//!
//! Nothing here does I/O, and nothing here is async. Every other crate may import this one; it imports none of them.

pub mod code;
pub mod encode;
#[cfg(feature = "fake")]
pub mod fake;
pub mod id;
pub mod message;
pub mod owner;
pub mod principal;
pub mod rng;
pub mod secret;
pub mod time;

pub use code::ErrorCode;
pub use id::{ConnectionName, ConnectorId, ConnectorTypeId, InvalidId, KeyId, ProfileUid, SpaceId};
pub use message::{Request, Response};
pub use owner::{AuthMode, ConnectionKey, Owner};
pub use principal::{KeyGrant, Principal, Privilege, Privileges};
pub use rng::Rng;
pub use secret::Secret;
pub use time::{Clock, Timestamp};
