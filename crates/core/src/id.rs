//! Identifiers. Each is checked when it is made, so that one that exists is valid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier. Says the rule, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

fn all(text: &str, max: usize, ok: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(ok)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text and takes it.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidId { what: $what, rule: $rule }) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

id!(
    /// A space: a tenant inside one installation.
    SpaceId, "space id", "1 to 64 characters of a-z, 0-9, _ and -",
    |t| all(t, 64, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
);

id!(
    /// A connector, unique within its space. It never starts with `_`, where the API has routes, and has no dot, so
    /// that a redirect URI can join space and connector with one.
    ConnectorId, "connector id", "1 to 64 characters of A-Z, a-z, 0-9, _ and -, starting with a letter or a digit",
    |t| all(t, 64, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') && t.as_bytes()[0].is_ascii_alphanumeric()
);

id!(
    /// A connector type: `.slack2`.
    ConnectorTypeId, "connector type id", "a dot followed by 1 to 63 characters of A-Z, a-z, 0-9, _ and -",
    |t| t.strip_prefix('.').is_some_and(|rest| all(rest, 63, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'))
);

id!(
    /// Which of an owner's accounts at one connector; `default` unless somebody says otherwise.
    ConnectionName, "connection", "1 to 64 characters without control characters or surrounding spaces",
    |t| !t.is_empty() && t.chars().count() <= 64 && t.trim() == t && !t.chars().any(char::is_control)
);

id!(
    /// A user, as the application knows them: opaque, compared byte by byte. Texts that a faulty client sends for "no
    /// user" are refused, so that they never become somebody.
    ProfileUid, "profile_uid", "1 to 128 visible ASCII characters, and not null, undefined or *",
    |t| all(t, 128, |b| b.is_ascii_graphic()) && !matches!(t, "null" | "undefined" | "None" | "*")
);

id!(
    /// The public part of an API key.
    KeyId, "key id", "1 to 64 characters of A-Z, a-z, 0-9 and -",
    |t| all(t, 64, |b| b.is_ascii_alphanumeric() || b == b'-')
);

impl SpaceId {
    /// The space of a path without the `/s/{space}` prefix.
    pub fn default_space() -> Self {
        Self("default".to_owned())
    }
}

impl ConnectionName {
    /// The name of a connection when nobody says which: `default`.
    pub fn default_name() -> Self {
        Self("default".to_owned())
    }
}

impl KeyId {
    /// Who works at the command line of the machine.
    pub fn operator() -> Self {
        Self("operator".to_owned())
    }
}

impl ConnectorTypeId {
    /// The id without its leading dot, as redirect URIs show it.
    pub fn without_dot(&self) -> &str {
        &self.0[1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_ids_are_taken() {
        assert!(SpaceId::new("team-1_x").is_ok());
        assert!(ConnectorId::new("0b8f").is_ok());
        assert!(ConnectorTypeId::new(".sharepoint-online").is_ok());
        assert!(ConnectionName::new("Zweitkonto für Köln").is_ok());
        assert!(ProfileUid::new("u_mGBROF_q5bmFCATbLXAcCwKa0k8JvONAwSruelyKA5E_0").is_ok());
    }

    #[test]
    fn others_are_refused() {
        for bad in ["", "Team", "a/b", "ä", &"x".repeat(65)] {
            assert!(SpaceId::new(bad).is_err(), "{bad}");
        }
        for bad in ["", "_execute", "-x", "a.b", "a b", "../x"] {
            assert!(ConnectorId::new(bad).is_err(), "{bad}");
        }
        for bad in ["", ".", "slack", "..", ".a/b"] {
            assert!(ConnectorTypeId::new(bad).is_err(), "{bad}");
        }
        for bad in ["", " x", "a\u{0}b", &"x".repeat(65)] {
            assert!(ConnectionName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn d19_words_for_nobody_are_not_users() {
        for bad in ["", "null", "undefined", "None", "*", " ", "a b", "é", &"x".repeat(129)] {
            assert!(ProfileUid::new(bad).is_err(), "{bad}");
        }
    }
}
