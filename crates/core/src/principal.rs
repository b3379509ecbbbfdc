//! Who calls, and what they may do.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{ConnectorId, KeyId, ProfileUid, SpaceId};

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Privilege {
    /// See connector types and connectors.
    #[serde(rename = "connectors:read")]
    ConnectorsRead,
    /// Create, change and delete connectors; connect and disconnect shared ones.
    #[serde(rename = "connectors:write")]
    ConnectorsWrite,
    /// Run actions and tests.
    #[serde(rename = "connectors:execute")]
    ConnectorsExecute,
    /// Start, cancel and end connections.
    #[serde(rename = "oauth:connect")]
    OauthConnect,
    /// Read access tokens.
    #[serde(rename = "tokens:read")]
    TokensRead,
    /// Act for any user with the header `x-valetkey-user`.
    #[serde(rename = "users:act_as")]
    UsersActAs,
    /// Create, list and invalidate API keys.
    #[serde(rename = "keys:write")]
    KeysWrite,
    /// Read the audit log.
    #[serde(rename = "audit:read")]
    AuditRead,
    /// All of them.
    #[serde(rename = "admin")]
    Admin,
}

impl Privilege {
    /// Every privilege, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::ConnectorsRead,
        Self::ConnectorsWrite,
        Self::ConnectorsExecute,
        Self::OauthConnect,
        Self::TokensRead,
        Self::UsersActAs,
        Self::KeysWrite,
        Self::AuditRead,
        Self::Admin,
    ];

    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectorsRead => "connectors:read",
            Self::ConnectorsWrite => "connectors:write",
            Self::ConnectorsExecute => "connectors:execute",
            Self::OauthConnect => "oauth:connect",
            Self::TokensRead => "tokens:read",
            Self::UsersActAs => "users:act_as",
            Self::KeysWrite => "keys:write",
            Self::AuditRead => "audit:read",
            Self::Admin => "admin",
        }
    }
}

/// A set of privileges. `admin` contains all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Privileges(BTreeSet<Privilege>);

impl Privileges {
    /// Whether the set contains the privilege, by itself or through `admin`.
    pub fn allow(&self, privilege: Privilege) -> bool {
        self.0.contains(&privilege) || self.0.contains(&Privilege::Admin)
    }

    /// Whether everything in `other` is in this set too: nobody hands out more than they have.
    pub fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|p| self.allow(*p))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The privileges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Privilege> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Privilege> for Privileges {
    fn from_iter<I: IntoIterator<Item = Privilege>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// What an API key allows, and where.
#[derive(Clone, Debug)]
pub struct KeyGrant {
    /// The public part of the key.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// The spaces it is valid in; `*` for all.
    pub spaces: BTreeSet<String>,
    /// The user it is bound to.
    pub profile_uid: Option<ProfileUid>,
    /// What it allows.
    pub privileges: Privileges,
    /// The only connectors it may see, if it is narrowed.
    pub connectors: Option<BTreeSet<ConnectorId>>,
    /// The only actions it may run, if it is narrowed.
    pub actions: Option<BTreeSet<String>>,
}

impl KeyGrant {
    /// Whether the key is valid in this space.
    pub fn valid_in(&self, space: &str) -> bool {
        self.spaces.contains("*") || self.spaces.contains(space)
    }

    /// Whether everything that `other` reaches is within the reach of this key too: spaces, user, privileges, connectors
    /// and actions.
    pub fn covers(&self, other: &Self) -> bool {
        fn within<T: Ord>(only: Option<&BTreeSet<T>>, wanted: Option<&BTreeSet<T>>) -> bool {
            only.is_none_or(|only| wanted.is_some_and(|wanted| wanted.is_subset(only)))
        }
        let user = match (&self.profile_uid, &other.profile_uid) {
            (Some(own), other) => other.as_ref() == Some(own),
            (None, Some(_)) => self.privileges.allow(Privilege::UsersActAs),
            (None, None) => true,
        };
        user && (self.spaces.contains("*") || other.spaces.is_subset(&self.spaces))
            && self.privileges.cover(&other.privileges)
            && within(self.connectors.as_ref(), other.connectors.as_ref())
            && within(self.actions.as_ref(), other.actions.as_ref())
    }
}

/// Who makes a request: a key or a person who is signed in, in a space, possibly for a user.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The API key that was presented; of a person who is signed in, what a key of theirs would say.
    pub key: Arc<KeyGrant>,
    /// The user the request is made for, if any.
    pub user: Option<ProfileUid>,
    /// The space of this request.
    pub space: SpaceId,
    /// Whether it is a browser that is signed in.
    pub in_session: bool,
}

impl Principal {
    /// Whether the key allows this.
    pub fn may(&self, privilege: Privilege) -> bool {
        self.key.privileges.allow(privilege)
    }

    /// Whether the key may see this connector at all.
    pub fn sees(&self, connector: &ConnectorId) -> bool {
        self.key.connectors.as_ref().is_none_or(|only| only.contains(connector))
    }

    /// Whether the key may run this action.
    pub fn runs(&self, action: &str) -> bool {
        self.key.actions.as_ref().is_none_or(|only| only.contains(action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_is_every_privilege() {
        let admin: Privileges = [Privilege::Admin].into_iter().collect();
        assert!(Privilege::ALL.into_iter().all(|p| admin.allow(p)));
        let reader: Privileges = [Privilege::ConnectorsRead].into_iter().collect();
        assert!(!reader.allow(Privilege::Admin));
        assert!(admin.cover(&reader));
        assert!(!reader.cover(&admin));
    }

    #[test]
    fn names_are_what_serde_reads() {
        for p in Privilege::ALL {
            assert_eq!(
                serde_json::to_value(p).expect("a name"),
                serde_json::Value::from(p.as_str())
            );
        }
    }
}
