//! The token request (RFC 6749 sections 4.1.3, 4.4.2 and 6).

use std::collections::BTreeMap;
use std::fmt;

use url::Url;
use valetkey_core::{Request, Secret};

use crate::flow::{AuthorizeError, Pairs, check_extra_params, check_resource, join_scopes};
use crate::message;
use crate::profile::Profile;

/// The client, as it is registered with the provider. Without a secret it is a public one (RFC 6749 section 2.1).
#[derive(Clone, Debug)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`.
    pub secret: Option<Secret<String>>,
}

impl Client {
    /// The secret; an empty one is none (RFC 6749 section 2.3.1).
    pub(crate) fn secret(&self) -> Option<&str> {
        self.secret
            .as_ref()
            .map(|secret| secret.expose().as_str())
            .filter(|secret| !secret.is_empty())
    }
}

/// What is traded for tokens.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// The code that a callback brought (RFC 6749 section 4.1.3).
    AuthorizationCode {
        /// The code.
        code: &'a Secret<String>,
        /// Byte for byte the one of the authorization request.
        redirect_uri: &'a str,
        /// The PKCE verifier (RFC 7636 section 4.5). Not sent where the profile has PKCE off.
        verifier: Option<&'a Secret<String>>,
    },
    /// A refresh token (RFC 6749 section 6).
    RefreshToken(&'a Secret<String>),
    /// The client's own credentials (RFC 6749 section 4.4.2).
    ClientCredentials,
}

/// A request to the token endpoint.
#[derive(Clone, Copy)]
pub struct TokenRequest<'a> {
    /// How the provider does OAuth.
    pub profile: &'a Profile,
    /// The token endpoint.
    pub endpoint: &'a Url,
    /// The client.
    pub client: &'a Client,
    /// What is traded.
    pub grant: Grant<'a>,
    /// What is asked for: sent with client credentials, and with a refresh token if the profile says so.
    pub scopes: &'a [String],
    /// The resource (RFC 8707): the same one as at the authorization endpoint.
    pub resource: Option<&'a str>,
    /// What the connector adds; it wins over the profile's parameters of the same name.
    pub extra_params: &'a BTreeMap<String, String>,
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenRequest to {}", self.endpoint.origin().ascii_serialization())
    }
}

/// Why a request to the token endpoint (or to one like it) cannot be made. Never shows a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    /// The endpoint, a parameter, a scope or the resource cannot be used.
    #[error(transparent)]
    Parameter(#[from] AuthorizeError),
    /// Client credentials without a client secret (RFC 6749 section 4.4).
    #[error("the client secret is missing")]
    SecretMissing,
    /// The client id has a colon, which HTTP Basic cannot carry unencoded (RFC 7617 section 2).
    #[error("the client id has a colon")]
    ClientId,
    /// The profile wants PKCE, and there is no verifier.
    #[error("the PKCE verifier is missing")]
    VerifierMissing,
    /// A header may not be set, or cannot have this value.
    #[error("the header {0} cannot be set")]
    Header(String),
    /// The body cannot be written.
    #[error("the body cannot be written")]
    Body,
}

impl TokenRequest<'_> {
    /// The request, ready to be sent. Whatever is secret is in its body or in a header that is marked sensitive.
    pub fn request(&self) -> Result<Request, TokenRequestError> {
        let profile = &self.profile.token;
        check_extra_params(&profile.extra_params)?;
        check_extra_params(self.extra_params)?;
        let mut params = self.grant_params()?;
        if let Some(resource) = self.resource {
            params.push(("resource", check_resource(resource)?.into()));
        }
        let ours = profile
            .extra_params
            .iter()
            .filter(|(name, _)| !self.extra_params.contains_key(*name));
        params.extend(
            ours.chain(self.extra_params)
                .map(|(name, value)| (name.as_str(), value.into())),
        );
        message::post(profile, profile.body, self.endpoint, self.client, params)
    }

    fn grant_params(&self) -> Result<Pairs<'_>, TokenRequestError> {
        let mut params: Pairs<'_> = Vec::new();
        let with_scopes = match self.grant {
            Grant::AuthorizationCode {
                code,
                redirect_uri,
                verifier,
            } => {
                params.push(("grant_type", "authorization_code".into()));
                params.push(("code", code.expose().into()));
                if self.profile.token.send_redirect_uri {
                    params.push(("redirect_uri", redirect_uri.into()));
                }
                if self.profile.authorize.pkce {
                    let verifier = verifier.ok_or(TokenRequestError::VerifierMissing)?;
                    params.push(("code_verifier", verifier.expose().into()));
                }
                false
            }
            Grant::RefreshToken(token) => {
                params.push(("grant_type", "refresh_token".into()));
                params.push(("refresh_token", token.expose().into()));
                self.profile.token.send_scope_at_refresh
            }
            Grant::ClientCredentials => {
                self.client.secret().ok_or(TokenRequestError::SecretMissing)?;
                params.push(("grant_type", "client_credentials".into()));
                true
            }
        };
        if with_scopes && !self.scopes.is_empty() {
            let joined = join_scopes(self.scopes, &self.profile.authorize.scope_separator)?;
            params.push(("scope", joined.into()));
        }
        Ok(params)
    }
}
