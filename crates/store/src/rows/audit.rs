//! The audit log.

use serde_json::{Map, Value};
use valetkey_core::{ConnectionName, ConnectorId, KeyId, Owner, ProfileUid, SpaceId, Timestamp};

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
