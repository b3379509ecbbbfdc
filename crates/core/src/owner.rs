//! Whose connection it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ConnectionName, ConnectorId, ProfileUid, SpaceId};

/// The owner of a connection: everybody who may use the connector, or one user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// One connection for everybody.
    Shared,
    /// This user's own.
    User(ProfileUid),
}

impl Owner {
    /// The form that is stored: `shared`, or `user:` and the `profile_uid`. The two cannot collide.
    pub fn as_stored(&self) -> String {
        match self {
            Self::Shared => "shared".to_owned(),
            Self::User(uid) => format!("user:{uid}"),
        }
    }

    /// Reads the stored form; `None` for anything else.
    pub fn from_stored(text: &str) -> Option<Self> {
        match text.strip_prefix("user:") {
            Some(uid) => ProfileUid::new(uid).ok().map(Self::User),
            None => (text == "shared").then_some(Self::Shared),
        }
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<&ProfileUid> {
        match self {
            Self::Shared => None,
            Self::User(uid) => Some(uid),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared"),
            Self::User(uid) => write!(f, "user {uid}"),
        }
    }
}

/// Whether a connector has one connection for everybody, or one for each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    /// One connection for everybody.
    Shared,
    /// One connection for each user.
    PerUser,
}

impl AuthMode {
    /// The word used in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::PerUser => "per-user",
        }
    }
}

/// Names one connection: nothing less than all four parts does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    /// The tenant.
    pub space: SpaceId,
    /// The connector, unique within the space.
    pub connector: ConnectorId,
    /// Whose it is.
    pub owner: Owner,
    /// Which of the owner's accounts.
    pub name: ConnectionName,
}
