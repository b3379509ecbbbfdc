//! How a credential gets into a request.

use http::header::AUTHORIZATION;
use serde_json::{Map, Value};
use valetkey_core::encode::base64;
use valetkey_core::{Request, Secret};

use super::{AuthKind, AuthType};

/// What a connector proves itself with.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// Nothing.
    None,
    /// A token that an authorization server gave.
    Token {
        /// What the server calls it; `Bearer` in whatever case is sent as `Bearer`.
        token_type: &'a str,
        /// The token.
        access_token: &'a Secret<String>,
    },
    /// What somebody filled in, as [`AuthType::check_secrets`] gave it.
    Fields {
        /// What may be shown.
        public: &'a Map<String, Value>,
        /// What may not.
        secret: &'a Map<String, Value>,
    },
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "Credential::None",
            Self::Token { .. } => "Credential::Token",
            Self::Fields { .. } => "Credential::Fields",
        })
    }
}

/// Why a credential cannot be sent. Never shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The auth type wants another kind of credential.
    #[error("the credential is not one of this auth type")]
    WrongKind,
    /// A part of the credential is not there.
    #[error("the credential lacks a part: its secrets must be entered again")]
    Missing,
    /// The credential has a character that cannot be in a header.
    #[error("the credential has a character that cannot be sent")]
    Unusable,
}

impl AuthType {
    /// Puts the credential into a request, in place of whatever a caller had put there, and adds the headers that the
    /// spec wants beside it, unless the caller set them.
    pub fn inject(&self, request: &mut Request, credential: &Credential<'_>) -> Result<(), InjectError> {
        match (self.kind, credential) {
            (AuthKind::None, _) => {}
            // a request that goes elsewhere gets nothing of this connector
            (_, Credential::None) => return Ok(()),
            (AuthKind::OauthClientCredentials | AuthKind::OauthAuthorizationCode, Credential::Token { .. }) => {
                self.inject_token(request, credential)?;
            }
            (AuthKind::Bearer, Credential::Fields { secret, .. }) => {
                let token = text(secret, "token")?;
                self.set(request, self.prefix.as_deref().unwrap_or("Bearer "), token)?;
            }
            (AuthKind::Basic, Credential::Fields { public, secret }) => {
                let password = secret.get("password").and_then(Value::as_str).unwrap_or_default();
                let pair = Secret::new(format!("{}:{password}", text(public, "username")?));
                let encoded = Secret::new(base64(pair.expose().as_bytes()));
                self.set(request, self.prefix.as_deref().unwrap_or("Basic "), encoded.expose())?;
            }
            (AuthKind::ApiKeyHeader, Credential::Fields { public, secret }) => {
                let header = text(public, "headerField")?
                    .parse()
                    .map_err(|_| InjectError::Unusable)?;
                let value = joined(self.prefix.as_deref().unwrap_or_default(), text(secret, "apiKey")?)?;
                put(request, header, &value)?;
            }
            _ => return Err(InjectError::WrongKind),
        }
        for (name, value) in &self.companions {
            if !request.headers.contains_key(name) {
                request.headers.insert(name, value.clone());
            }
        }
        Ok(())
    }

    fn inject_token(&self, request: &mut Request, credential: &Credential<'_>) -> Result<(), InjectError> {
        let Credential::Token {
            token_type,
            access_token,
        } = credential
        else {
            return Err(InjectError::WrongKind);
        };
        let token_type = if token_type.eq_ignore_ascii_case("bearer") {
            "Bearer"
        } else {
            token_type
        };
        let name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        match &self.prefix {
            Some(prefix) => self.set(request, prefix, access_token.expose()),
            None if self.header != AUTHORIZATION => self.set(request, "", access_token.expose()),
            None if !token_type.is_empty() && token_type.bytes().all(name) => {
                self.set(request, &format!("{token_type} "), access_token.expose())
            }
            None => Err(InjectError::Unusable),
        }
    }

    fn set(&self, request: &mut Request, prefix: &str, credential: &str) -> Result<(), InjectError> {
        put(request, self.header.clone(), &joined(prefix, credential)?)
    }
}

fn put(request: &mut Request, header: http::HeaderName, value: &Secret<String>) -> Result<(), InjectError> {
    if request.set_secret_header(header, value.expose()) {
        Ok(())
    } else {
        Err(InjectError::Unusable)
    }
}

/// Visible ASCII only: nothing else can be a credential in a header, and nothing else can split one (B16, E21).
fn joined(prefix: &str, credential: &str) -> Result<Secret<String>, InjectError> {
    match credential {
        "" => Err(InjectError::Missing),
        _ if credential.bytes().all(|b| b.is_ascii_graphic()) => Ok(Secret::new(format!("{prefix}{credential}"))),
        _ => Err(InjectError::Unusable),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, InjectError> {
    fields.get(name).and_then(Value::as_str).ok_or(InjectError::Missing)
}
