//! What is stored, row by row. Fields named `sealed…` are opaque to the store.

mod audit;
mod connection;
mod tally;
mod transfer;
mod walk;

use std::fmt;

use serde_json::{Map, Value};
use valetkey_core::{AuthMode, ConnectionKey, ConnectorId, ConnectorTypeId, KeyId, ProfileUid, SpaceId, Timestamp};

pub use audit::{AuditEntry, AuditFilter, AuditRow};
pub use connection::{Claim, Committed, ConnectionRow, ConnectionState, Due, GrantRow, Intent, Released, Renewed};
pub use tally::{Outcome, Subject, TallyRow};
pub use transfer::{Record, Table};
pub use walk::{Place, Walk};

/// Bytes that only the holder of the key ring can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[sealed, {} bytes]", self.0.len())
    }
}

/// The SHA-256 of something that is looked up but must not be readable: a state, a ticket, a browser's cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Digest(pub [u8; 32]);

/// What a connector is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorName {
    /// Unique within the space.
    pub id: ConnectorId,
    /// Its type.
    pub type_id: ConnectorTypeId,
    /// For people.
    pub name: String,
}

/// One configured instance of a connector type.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorRow {
    /// The tenant.
    pub space: SpaceId,
    /// Unique within the space.
    pub id: ConnectorId,
    /// Its type.
    pub type_id: ConnectorTypeId,
    /// For people.
    pub name: String,
    /// Checked against the type's schema.
    pub config: Map<String, Value>,
    /// Which of the type's auth types.
    pub auth_type: String,
    /// Whether its connections are shared or per user.
    pub auth_mode: AuthMode,
    /// The auth type's fields that are no secrets: URLs, client id, scope.
    pub auth: Map<String, Value>,
    /// The auth type's secret fields, sealed; `None` if there are none.
    pub sealed_secrets: Option<Sealed>,
    /// What a connection made now is bound to: a digest of everything that decides where tokens go.
    pub binding: Digest,
    /// Counts changes; starts at 1.
    pub version: i64,
    /// Whether the bare callback path is accepted for it.
    pub legacy_redirect_uri: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Work that outlives the process: telling a provider that a grant is over.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    /// A random id, unique in the space of the connection.
    pub id: String,
    /// The connection that it is about; it may be gone.
    pub key: ConnectionKey,
    /// What is to be done: `revoke`.
    pub kind: String,
    /// Everything that it needs, sealed: the connector may be gone too.
    pub sealed: Sealed,
    /// When it is to be tried next.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A state of the authorization code flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// Waits for its callback.
    Pending,
    /// A callback took it, or somebody cancelled it; it stays until it expires so that a replay can be told.
    Used,
}

/// One run of the authorization code grant.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRow {
    /// SHA-256 of the state. The key: a callback knows nothing else.
    pub state_hash: Digest,
    /// A public name, for cookies and the audit log.
    pub id: String,
    /// SHA-256 of the connect page's ticket; `None` when the flow needs none.
    pub ticket_hash: Option<Digest>,
    /// SHA-256 of the cookie of the browser that opened the ticket; `None` until one did.
    pub browser_hash: Option<Digest>,
    /// The connection that it will make.
    pub key: ConnectionKey,
    /// The path segment of the redirect URI.
    pub context: String,
    /// Waiting or used.
    pub state: FlowState,
    /// Everything that the exchange needs, the PKCE verifier among it, sealed; empty once used.
    pub sealed: Sealed,
    /// Who started it.
    pub started_by: KeyId,
    /// When it started.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What [`crate::Connectors::delete_connector`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Done,
    /// There is none.
    Missing,
    /// Nothing: it has a connection that has not ended.
    InUse,
}

/// What [`crate::Flows::take_flow`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum TakenFlow {
    /// It was waiting and is now used; this caller, and nobody else, may go on with it.
    Taken(Box<FlowRow>),
    /// Somebody took it before.
    AlreadyUsed,
    /// It is past its time; its row is gone now.
    Expired,
    /// There is none.
    Unknown,
}

/// What [`crate::Flows::bind_browser`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum BoundBrowser {
    /// This browser is the one now.
    Bound(Box<FlowRow>),
    /// A browser was bound before; compare its hash.
    Already(Box<FlowRow>),
    /// There is no waiting flow with this ticket.
    Unknown,
}

/// A browser that is signed in.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// A keyed hash of what the browser's cookie holds.
    pub hash: Digest,
    /// Who: the id of the API key that was presented, or a name of the same form that no key has.
    pub person: KeyId,
    /// For people.
    pub name: String,
    /// The user that the person is.
    pub profile_uid: Option<ProfileUid>,
    /// What it allows; `None` for what the API key of this person allows at the moment.
    pub privileges: Option<Vec<String>>,
    /// Where it is valid; `*` for everywhere. The API key's spaces count instead, if there is one.
    pub spaces: Vec<String>,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When it was last used, to the minute or so.
    pub seen_at: Timestamp,
    /// When it ends, whatever happens.
    pub expires_at: Timestamp,
    /// How the identity provider is asked again, if one signed the person in and can be asked.
    pub standing: Option<Standing>,
}

/// What keeps a session in step with the identity provider that signed the person in.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What the provider is asked with, sealed.
    pub sealed: Sealed,
    /// When the provider last said what the person may do.
    pub confirmed_at: Timestamp,
    /// How often it was asked since the person signed in. Whoever asked writes only if nobody asked after that.
    pub asks: i64,
    /// Before this, nobody else asks.
    pub asked_until: Timestamp,
}

/// An API key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRow {
    /// The public part.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// A keyed hash of the secret part.
    pub hash: Digest,
    /// The privileges' names.
    pub privileges: Vec<String>,
    /// The spaces it is valid in; `*` for all.
    pub spaces: Vec<String>,
    /// The user it is bound to.
    pub profile_uid: Option<ProfileUid>,
    /// The only connectors it may see.
    pub connectors: Option<Vec<String>>,
    /// The only actions it may run.
    pub actions: Option<Vec<String>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The key that made it; `None` for the first one.
    pub created_by: Option<KeyId>,
}

/// A data key of the key ring, wrapped by the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealingKeyRow {
    /// Its number, as records name it.
    pub id: u32,
    /// The public name of the master key that wrapped it; empty where that was not noted. While the master key is
    /// exchanged, a data key is there once for each.
    pub master: String,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What identifies an installation, and how its key ring opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRow {
    /// A random id of the installation.
    pub deployment: String,
    /// Its data keys, oldest first, those with the same number by `master`. The one with the highest number seals.
    pub keys: Vec<SealingKeyRow>,
    /// When it was last put back from a backup, if ever.
    pub restored_at: Option<Timestamp>,
}
