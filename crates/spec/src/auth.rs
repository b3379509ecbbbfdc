//! Auth types: what a connector must be given, and how its credential gets into a request.
//!
//! A new auth type is a variant of [`AuthKind`], its fields in `auth/known.rs`, and an arm in `auth/inject.rs`.

mod check;
mod field;
mod inject;
mod known;
mod setup;

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use valetkey_core::AuthMode;
use valetkey_oauth::Profile;

use crate::compile::{Compiler, check_header};
use crate::error::Fault;
use crate::file;
use field::{Field, FieldDefault};
use known::Offer;

pub use inject::{Credential, InjectError};
pub use setup::OauthSetup;

/// How a connector authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// Not at all.
    None,
    /// A fixed token in `Authorization: Bearer`.
    Bearer,
    /// HTTP Basic (RFC 7617).
    Basic,
    /// A key in a header.
    ApiKeyHeader,
    /// OAuth for the connector itself (RFC 6749 section 4.4).
    OauthClientCredentials,
    /// OAuth with a person's consent (RFC 6749 section 4.1).
    OauthAuthorizationCode,
}

impl AuthKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Bearer,
        Self::Basic,
        Self::ApiKeyHeader,
        Self::OauthClientCredentials,
        Self::OauthAuthorizationCode,
    ];

    /// The id used in specs and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::ApiKeyHeader => "api_key_header",
            Self::OauthClientCredentials => "oauth_client_credentials",
            Self::OauthAuthorizationCode => "oauth_authorization_code",
        }
    }

    /// Whether its credential is a token that an authorization server gives.
    pub fn is_oauth(self) -> bool {
        matches!(self, Self::OauthClientCredentials | Self::OauthAuthorizationCode)
    }

    fn default_mode(self) -> AuthMode {
        if self == Self::OauthAuthorizationCode {
            AuthMode::PerUser
        } else {
            AuthMode::Shared
        }
    }
}

/// What a connector was given, checked and complete, split into what may be shown and what may not.
#[derive(Clone, Default)]
pub struct AuthFields {
    /// URLs, ids, scopes, flags, user and header names.
    pub public: Map<String, Value>,
    /// Client secrets, tokens, passwords, keys.
    pub secret: Map<String, Value>,
}

impl std::fmt::Debug for AuthFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.public.keys().chain(self.secret.keys()).collect();
        write!(f, "AuthFields{names:?}")
    }
}

/// One way to authenticate that a connector type offers.
#[derive(Debug)]
pub struct AuthType {
    /// Its id (`oauth_authorization_code`).
    pub id: String,
    /// What it is.
    pub kind: AuthKind,
    /// Whose connection it makes where the connector does not say.
    pub default_mode: AuthMode,
    /// What people call it.
    pub label: String,
    /// When to choose it, and what to prepare.
    pub description: Option<String>,
    /// Whether it is the one to choose.
    pub recommended: bool,
    /// What scopes allow, in plain words.
    pub scope_labels: BTreeMap<String, String>,
    fields: Vec<Field>,
    profile: Profile,
    header: HeaderName,
    /// What stands before the credential, where the spec says it.
    prefix: Option<String>,
    companions: Vec<(HeaderName, HeaderValue)>,
}

impl AuthType {
    /// Whether it cannot work without a secret.
    pub fn needs_secrets(&self) -> bool {
        self.fields.iter().any(|field| field.required && field.known.secret)
    }
}

impl AuthType {
    pub(crate) fn compile(
        field: &str,
        file: file::Auth,
        profile: &Profile,
        companions: &BTreeMap<String, String>,
        compiler: &Compiler,
    ) -> Result<Self, Fault> {
        let kind = AuthKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == file.id)
            .ok_or_else(|| {
                let known: Vec<_> = AuthKind::ALL.iter().map(|kind| kind.as_str()).collect();
                Fault::new(
                    format!("{field}.type"),
                    format!("is not an auth type; there are {}", known.join(", ")),
                )
            })?;
        let known = known::fields(kind);
        if let Some(name) = file
            .fields
            .keys()
            .find(|name| !known.iter().any(|known| known.name == **name))
        {
            return Err(Fault::new(
                format!("{field}.fields.{name}"),
                "is not a field of this auth type",
            ));
        }
        let offered = known
            .iter()
            .filter(|known| known.offer != Offer::Extra || file.fields.contains_key(known.name));
        let empty = file::Field::default();
        let fields = offered.map(|known| {
            let changes = file.fields.get(known.name).unwrap_or(&empty);
            Field::compile(&format!("{field}.fields.{}", known.name), known, changes, compiler)
        });
        check_scope_labels(&format!("{field}.scope_labels"), kind, &file.scope_labels)?;
        let at = format!("{field}.inject");
        let (header, _) = check_header(&at, file.inject.header.as_deref().unwrap_or("authorization"), "x")?;
        check_header(&at, "x", file.inject.prefix.as_deref().unwrap_or_default())?;
        let companions = companions
            .iter()
            .map(|(name, value)| check_header(&format!("headers.{name}"), name, value));
        Ok(Self {
            id: file.id,
            kind,
            default_mode: kind.default_mode(),
            label: file.label.unwrap_or_else(|| known::label(kind).to_owned()),
            description: file.description,
            recommended: file.recommended,
            scope_labels: file.scope_labels,
            fields: fields.collect::<Result<_, _>>()?,
            profile: profile.clone(),
            header,
            prefix: file.inject.prefix,
            companions: companions.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the spec alone says where people consent and codes are redeemed.
    pub(crate) fn fixes_authorization_server(&self) -> bool {
        let fixed = |name: &str| {
            let field = self.fields.iter().find(|field| field.known.name == name);
            field.is_some_and(|f| f.locked && matches!(&f.default, FieldDefault::Url(url, _) if url.is_fixed()))
        };
        fixed("authorizationUrl") && fixed("tokenUrl")
    }

    /// JSON Schema of what a connector must be given.
    pub(crate) fn schema(&self) -> Value {
        let required: Vec<_> = self
            .fields
            .iter()
            .filter(|field| field.must_be_given())
            .map(|f| f.known.name)
            .collect();
        let properties: Map<_, _> = self
            .fields
            .iter()
            .map(|f| (f.known.name.to_owned(), f.schema()))
            .collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }
}

/// The longest label of a scope.
const MAX_LABEL: usize = 160;

fn check_scope_labels(field: &str, kind: AuthKind, labels: &BTreeMap<String, String>) -> Result<(), Fault> {
    if kind != AuthKind::OauthAuthorizationCode && !labels.is_empty() {
        return Err(Fault::new(
            field,
            "is for oauth_authorization_code only: nobody is asked elsewhere",
        ));
    }
    for (scope, label) in labels {
        // RFC 6749 section 3.3, and the comma that some providers separate scopes with.
        let is_scope = !scope.is_empty()
            && scope
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b','));
        if !is_scope {
            return Err(Fault::new(field, "has a name that is no scope"));
        }
        let is_label =
            !label.trim().is_empty() && label.chars().count() <= MAX_LABEL && !label.chars().any(char::is_control);
        if !is_label {
            return Err(Fault::new(
                format!("{field}.{scope}"),
                format!("must be one line of 1 to {MAX_LABEL} characters"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
