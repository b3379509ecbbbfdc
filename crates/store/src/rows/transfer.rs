//! What an installation consists of, for moving it.

use super::{AuditEntry, ConnectionRow, ConnectorRow, FlowRow, JobRow, KeyRow, VaultRow};

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
