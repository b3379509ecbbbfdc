//! Connections, and how a refresh changes them.

use serde_json::{Map, Value};
use valetkey_core::{ConnectionKey, Timestamp};

use super::{Digest, Sealed};

/// What state a connection is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Usable.
    Active,
    /// A person must connect again; the word says why (`token_revoked`, `refresh_token_expired`, …).
    Reauthorize(String),
    /// Ended. The row stays as a tombstone, so that nothing under way can bring the connection back.
    Disconnected,
}

impl ConnectionState {
    /// The stored word of the state, without its cause.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reauthorize(_) => "reauthorize",
            Self::Disconnected => "disconnected",
        }
    }

    /// The cause, if the state has one.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Reauthorize(cause) => Some(cause),
            Self::Active | Self::Disconnected => None,
        }
    }
}

/// The grant itself, as one refresh or one connect replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantRow {
    /// The access token and its type, sealed.
    pub sealed_access: Sealed,
    /// The refresh token, sealed; `None` if the provider gave none.
    pub sealed_refresh: Option<Sealed>,
    /// When the access token ends; `None` if unknown.
    pub expires_at: Option<Timestamp>,
    /// How long the access token lived when it was minted, in milliseconds; `None` if unknown.
    pub lifetime_ms: Option<i64>,
    /// When the refresh token ends; `None` if unknown.
    pub refresh_expires_at: Option<Timestamp>,
    /// What the provider granted.
    pub scopes: Vec<String>,
    /// What the spec keeps of token answers, for URLs and requests: `instance_url`, `team.id` … Never a secret.
    pub metadata: Map<String, Value>,
}

/// The stored grant of a connector for its owner.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionRow {
    /// Its four-part name.
    pub key: ConnectionKey,
    /// Raised by every change of the grant or of the state; never goes back, not even over a disconnect.
    pub generation: i64,
    /// Whether it can be used.
    pub state: ConnectionState,
    /// The grant; `None` once disconnected.
    pub grant: Option<GrantRow>,
    /// The [`super::ConnectorRow::binding`] that it was made under.
    pub binding: Digest,
    /// The version of the spec that minted it.
    pub spec_version: i64,
    /// The provider's stable id of the account, if known.
    pub account_id: Option<String>,
    /// The account as a person knows it, if known.
    pub account_label: Option<String>,
    /// When it was connected (again).
    pub connected_at: Timestamp,
    /// When the grant was last renewed.
    pub refreshed_at: Option<Timestamp>,
    /// A refresh that was begun and whose end was not recorded.
    pub intent: Option<Intent>,
    /// When background work looks at it next, if ever; of a tombstone, when it may be removed.
    pub due_at: Option<Timestamp>,
    /// When it was last used, to the hour or so: uses are noted late and together.
    pub used_at: Timestamp,
    /// The notices that were given ahead of ends, so that each is given once.
    pub notice: Option<String>,
}

/// What a refresh brought, for [`crate::Refreshes::finish_refresh`].
#[derive(Clone, Debug, PartialEq)]
pub struct Renewed {
    /// The new grant.
    pub grant: GrantRow,
    /// When it was written.
    pub at: Timestamp,
    /// When background work looks at it next.
    pub due_at: Option<Timestamp>,
}

/// How an intent ends without a new pair, for [`crate::Refreshes::release_refresh`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Released {
    /// What the connection changes to, if it changes.
    pub state: Option<ConnectionState>,
    /// When background work looks at it next.
    pub due_at: Option<Timestamp>,
}

/// A connection that background work should look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Which.
    pub key: ConnectionKey,
    /// Its generation when it was listed.
    pub generation: i64,
    /// Since when it is due.
    pub due_at: Timestamp,
}

/// The durable note that a refresh token is about to be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Which process.
    pub holder: String,
    /// Until when the holder may write.
    pub lease_until: Timestamp,
    /// When it was written.
    pub at: Timestamp,
    /// How many times in a row an intent was taken over from a holder that vanished; 0 for the first.
    pub attempt: i64,
}

/// What [`crate::Refreshes::claim_refresh`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// The lease and the intent are written. `previous` is the intent of a holder that vanished, if there was one.
    Held {
        /// The row as it is now, with the new intent.
        row: Box<ConnectionRow>,
        /// The intent that was taken over.
        previous: Option<Intent>,
    },
    /// Somebody else holds the lease until then.
    Busy(Timestamp),
    /// The generation is another one: somebody else was faster. The row as it is now.
    Moved(Box<ConnectionRow>),
    /// There is no such connection.
    Gone,
}

/// What a compare-and-set came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Committed {
    /// It is written; the row as it is now.
    Done(Box<ConnectionRow>),
    /// The generation is another one, and nothing was written; the row as it is now, if there is one.
    Lost(Option<Box<ConnectionRow>>),
}
