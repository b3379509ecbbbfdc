//! Walks along connections, in the order of an index.

use valetkey_core::{ConnectionName, ConnectorId, Owner};

use super::ConnectionRow;

/// Which connections of a space [`crate::Connections::walk_connections`] leads past, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walk {
    /// All, by connector, owner and name.
    All,
    /// Those of a connector, by owner and name.
    Connector(ConnectorId),
    /// Those of an owner, by connector and name.
    Owner(Owner),
    /// Those of an owner at a connector, by name.
    OwnerOf(ConnectorId, Owner),
    /// Those that are stored as waiting for a person, by connector, owner and name.
    Broken,
    /// The same of a connector.
    BrokenOf(ConnectorId),
    /// Those of users whose `profile_uid` begins so, by owner, connector and name.
    Users(String),
    /// The same of a connector, by owner and name.
    UsersOf(ConnectorId, String),
    /// Those with accounts whose label begins so, ASCII letters of either case being equal, by label, connector, owner and
    /// name.
    Labels(String),
}

/// Where a walk stands: behind this row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The row's connector.
    pub connector: ConnectorId,
    /// Its owner.
    pub owner: Owner,
    /// Its name.
    pub name: ConnectionName,
    /// The label of its account; empty for none.
    pub label: String,
}

impl Place {
    /// Behind this row.
    pub fn behind(row: &ConnectionRow) -> Self {
        Self {
            connector: row.key.connector.clone(),
            owner: row.key.owner.clone(),
            name: row.key.name.clone(),
            label: row.account_label.clone().unwrap_or_default(),
        }
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Walk {
    /// The texts between which the rows behind `after` are, in the order of the walk's statement. Every text is greater than
    /// the empty one.
    pub(crate) fn bounds(&self, after: Option<&Place>) -> Vec<String> {
        let connector = || after.map(|place| place.connector.to_string()).unwrap_or_default();
        let owner = || after.map(|place| place.owner.as_stored()).unwrap_or_default();
        let name = || after.map(|place| place.name.to_string()).unwrap_or_default();
        match self {
            Self::All | Self::Broken => vec![connector(), owner(), name()],
            Self::Connector(id) | Self::BrokenOf(id) => vec![id.to_string(), owner(), name()],
            Self::Owner(of) => vec![of.as_stored(), connector(), name()],
            Self::OwnerOf(id, of) => vec![id.to_string(), of.as_stored(), name()],
            Self::Users(uid) => {
                let begin = after.map_or_else(|| user(uid), |place| place.owner.as_stored());
                vec![begin, connector(), name(), end_of(&user(uid))]
            }
            Self::UsersOf(id, uid) => {
                let begin = after.map_or_else(|| user(uid), |place| place.owner.as_stored());
                vec![id.to_string(), begin, name(), end_of(&user(uid))]
            }
            Self::Labels(label) => {
                let label = label.to_ascii_lowercase();
                let begin = after.map_or_else(|| label.clone(), |place| place.label.to_ascii_lowercase());
                vec![begin, connector(), owner(), name(), end_of(&label)]
            }
        }
    }
}

/// Greater than every text that begins so.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn end_of(beginning: &str) -> String {
    format!("{beginning}\u{10ffff}")
}

/// The stored form of the owner that a user with a `profile_uid` is.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn user(uid: &str) -> String {
    format!("user:{uid}")
}
