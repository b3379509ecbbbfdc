//! What is stored, row by row. Fields named `sealed…` are opaque to the store.

mod walk;

use std::fmt;

use serde_json::{Map, Value};
use valetkey_core::{
    AuthMode, ConnectionKey, ConnectionName, ConnectorId, ConnectorTypeId, KeyId, Owner, ProfileUid, SpaceId, Timestamp,
};

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
    /// The [`ConnectorRow::binding`] that it was made under.
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

/// A table, as [`crate::Transfer`] names them. Counted attempts and tallies are not moved: they begin anew. Sessions and
/// sign-in links are not moved either: people sign in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The installation and its wrapped keys: one record.
    Vault,
    /// API keys.
    Key,
    /// Connectors.
    Connector,
    /// Connections and tombstones.
    Connection,
    /// Flows.
    Flow,
    /// Jobs.
    Job,
    /// The audit log.
    Audit,
}

impl Table {
    /// All of them, in the order in which they are moved.
    pub const ALL: [Self; 7] = [
        Self::Vault,
        Self::Key,
        Self::Connector,
        Self::Connection,
        Self::Flow,
        Self::Job,
        Self::Audit,
    ];
}

/// One record of a table, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The installation.
    Vault(VaultRow),
    /// An API key.
    Key(KeyRow),
    /// A connector.
    Connector(ConnectorRow),
    /// A connection or a tombstone.
    Connection(Box<ConnectionRow>),
    /// A flow.
    Flow(FlowRow),
    /// A job.
    Job(JobRow),
    /// A record of the audit log.
    Audit(AuditEntry),
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

/// One record of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// When; for counted records, the first time.
    pub at: Timestamp,
    /// The space; `None` for what concerns the installation.
    pub space: Option<SpaceId>,
    /// The type: `flow.start`, `token.refresh` …
    pub kind: &'static str,
    /// What came of it: `ok`, or a code.
    pub outcome: String,
    /// The key that asked, if any.
    pub key: Option<KeyId>,
    /// The user it was for, if any.
    pub user: Option<ProfileUid>,
    /// The connector, if any.
    pub connector: Option<ConnectorId>,
    /// Whose connection and which, if any.
    pub connection: Option<(Owner, ConnectionName)>,
    /// The request that caused it, if any.
    pub request_id: Option<String>,
    /// The caller's address, if any.
    pub address: Option<String>,
    /// More, by type. Never a secret.
    pub details: Map<String, Value>,
    /// How many such events the record stands for.
    pub count: i64,
}

/// A record of the audit log as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Rises with every record.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// The space, if any.
    pub space: Option<String>,
    /// The type.
    pub kind: String,
    /// What came of it.
    pub outcome: String,
    /// The key that asked.
    pub key: Option<String>,
    /// The user it was for.
    pub user: Option<String>,
    /// The connector.
    pub connector: Option<String>,
    /// The stored form of the owner.
    pub owner: Option<String>,
    /// The connection's name.
    pub connection: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// The caller's address.
    pub address: Option<String>,
    /// More, by type.
    pub details: Map<String, Value>,
    /// How many events it stands for.
    pub count: i64,
}

/// Which records of the audit log to read, newest first.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only this space.
    pub space: Option<SpaceId>,
    /// Only this type.
    pub kind: Option<String>,
    /// Only this connector.
    pub connector: Option<ConnectorId>,
    /// Only this user.
    pub user: Option<ProfileUid>,
    /// Only connections of this owner.
    pub owner: Option<Owner>,
    /// Only connections with this name.
    pub connection: Option<ConnectionName>,
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
    /// Only records with a smaller `seq` than this: the next page.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// What a [`TallyRow`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Ends of authorization code flows.
    Flow,
    /// Ends of refreshes.
    Refresh,
    /// Uses of a connection.
    Use,
}

impl Subject {
    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Refresh => "refresh",
            Self::Use => "use",
        }
    }

    /// Reads the stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Flow, Self::Refresh, Self::Use]
            .into_iter()
            .find(|subject| subject.word() == word)
    }
}

/// What came of what a [`TallyRow`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It went well.
    Ok,
    /// It did not.
    Failed,
}

impl Outcome {
    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }

    /// Reads the stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Ok, Self::Failed]
            .into_iter()
            .find(|outcome| outcome.word() == word)
    }
}

/// How often something happened in a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TallyRow {
    /// The tenant.
    pub space: SpaceId,
    /// When the span begins.
    pub at: Timestamp,
    /// What.
    pub subject: Subject,
    /// What came of it.
    pub outcome: Outcome,
    /// The type of the connector.
    pub connector_type: ConnectorTypeId,
    /// How often.
    pub count: i64,
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
