//! The authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3, RFC 8707 section 2).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use url::Url;
use valetkey_core::ErrorCode;

use super::endpoint::{EndpointError, check_endpoint};
use crate::form;
use crate::profile::{AuthorizeProfile, Profile};

/// The protocol's own parameters: whoever could set one of them would change what is asked for, or who gets it. Those of
/// the token request stand among them, so that no secret of a client ends up in a browser.
const RESERVED: &str = "response_type response_mode redirect_uri state nonce code_challenge code_challenge_method \
    client_id scope resource request request_uri iss grant_type code code_verifier refresh_token client_secret \
    client_assertion client_assertion_type";

/// Parameters in the order in which they are sent.
pub(crate) type Pairs<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Why an authorization request cannot be made. Never shows a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeError {
    /// An extra parameter, or one in the endpoint's URL, is one of the protocol's own.
    #[error("the parameter {0} cannot be set: it belongs to the protocol")]
    Reserved(String),
    /// An extra parameter has no name, or one with characters that do not belong there.
    #[error("the name of an extra parameter is not valid")]
    Name,
    /// The endpoint's URL cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A scope is empty, or has a separator or a character that does not belong there (RFC 6749 section 3.3).
    #[error("a scope has a character that does not belong there")]
    Scope,
    /// The resource is not an absolute URI without a fragment (RFC 8707 section 2).
    #[error("the resource is not an absolute URI without a fragment")]
    Resource,
    /// The profile wants PKCE, and there is no challenge.
    #[error("the PKCE challenge is missing")]
    ChallengeMissing,
}

impl AuthorizeError {
    /// The code for the API.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Reserved(_) => ErrorCode::ReservedParameter,
            Self::Scope => ErrorCode::ScopeNotAllowed,
            Self::ChallengeMissing => ErrorCode::Internal,
            Self::Name | Self::Endpoint(_) | Self::Resource => ErrorCode::ValidationFailed,
        }
    }
}

/// What the browser is sent to the provider with.
#[derive(Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// How the provider does OAuth.
    pub profile: &'a Profile,
    /// The authorization endpoint; the parameters in its query are kept.
    pub endpoint: &'a Url,
    /// The client.
    pub client_id: &'a str,
    /// Where the answer goes: byte for byte the one of the token request.
    pub redirect_uri: &'a str,
    /// The state.
    pub state: &'a str,
    /// The PKCE challenge. Not sent where the profile has PKCE off.
    pub challenge: Option<&'a str>,
    /// What is asked for; the parameter is left out when there is nothing.
    pub scopes: &'a [String],
    /// The resource (RFC 8707): the same one at the token endpoint.
    pub resource: Option<&'a str>,
    /// What the connector adds; it wins over the profile's parameters of the same name.
    pub extra_params: &'a BTreeMap<String, String>,
}

impl fmt::Debug for AuthorizationRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AuthorizationRequest to {}",
            self.endpoint.origin().ascii_serialization()
        )
    }
}

impl AuthorizationRequest<'_> {
    /// The URL for the browser. It holds the state, and so is a secret until the flow ends.
    pub fn url(&self) -> Result<Url, AuthorizeError> {
        with_query(self.endpoint, &self.profile.authorize.scope_param, &self.params()?)
    }

    /// Everything that is asked, whether it goes through the browser or is pushed (RFC 9126).
    pub(crate) fn params(&self) -> Result<Pairs<'_>, AuthorizeError> {
        let profile = &self.profile.authorize;
        check_profile_params(profile)?;
        check_names(self.extra_params, &profile.scope_param)?;
        let mut params: Pairs<'_> = vec![
            ("response_type", "code".into()),
            ("client_id", self.client_id.into()),
            ("redirect_uri", self.redirect_uri.into()),
            ("state", self.state.into()),
        ];
        if !self.scopes.is_empty() {
            params.push((
                &profile.scope_param,
                join_scopes(self.scopes, &profile.scope_separator)?.into(),
            ));
        }
        if profile.pkce {
            params.push((
                "code_challenge",
                self.challenge.ok_or(AuthorizeError::ChallengeMissing)?.into(),
            ));
            params.push(("code_challenge_method", "S256".into()));
        }
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
        Ok(params)
    }
}

/// Refuses extra parameters that are the protocol's own, however they are spelt.
pub fn check_extra_params(params: &BTreeMap<String, String>) -> Result<(), AuthorizeError> {
    check_names(params, "scope")
}

/// The same for the parameters of a spec, which may say `response_mode=query` (Microsoft): any other mode would bring an
/// answer that the callback cannot read.
pub(crate) fn check_profile_params(profile: &AuthorizeProfile) -> Result<(), AuthorizeError> {
    for (name, value) in &profile.extra_params {
        if name != "response_mode" || value != "query" {
            check_name(name, &profile.scope_param)?;
        }
    }
    match reserved(&profile.scope_param, "scope") {
        Some(name) if name != "scope" => Err(AuthorizeError::Reserved(name)),
        _ => Ok(()),
    }
}

fn check_names(params: &BTreeMap<String, String>, scope_param: &str) -> Result<(), AuthorizeError> {
    params.keys().try_for_each(|name| check_name(name, scope_param))
}

fn check_name(name: &str, scope_param: &str) -> Result<(), AuthorizeError> {
    if let Some(name) = reserved(name, scope_param) {
        return Err(AuthorizeError::Reserved(name));
    }
    let plain = (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if plain { Ok(()) } else { Err(AuthorizeError::Name) }
}

/// The reserved name that a server may take `name` for: case, percent-encoding (once or more), blanks around it and array
/// brackets do not count.
fn reserved(name: &str, scope_param: &str) -> Option<String> {
    let mut plain = name.to_owned();
    while let Cow::Owned(decoded) = percent_encoding::percent_decode_str(&plain).decode_utf8_lossy() {
        if decoded == plain {
            break;
        }
        plain = decoded;
    }
    let plain = plain.split('[').next().unwrap_or_default().replace('+', " ");
    let plain = plain.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let names = RESERVED.split(' ').chain([scope_param]);
    names
        .into_iter()
        .find(|own| own.eq_ignore_ascii_case(plain))
        .map(str::to_owned)
}

/// The reserved name in the query of an endpoint, if there is one.
pub(crate) fn reserved_in(endpoint: &Url, scope_param: &str) -> Option<String> {
    endpoint
        .query_pairs()
        .find_map(|(name, _)| reserved(&name, scope_param))
}

/// Puts the parameters behind those that the endpoint's URL has already. No name is sent twice (RFC 6749 section 3.1).
pub(crate) fn with_query(endpoint: &Url, scope_param: &str, params: &Pairs<'_>) -> Result<Url, AuthorizeError> {
    let mut url = check_endpoint(endpoint.as_str())?;
    if let Some(name) = reserved_in(&url, scope_param) {
        return Err(AuthorizeError::Reserved(name));
    }
    let is_new = |pair: &&str| {
        let name = form::pairs(pair.as_bytes()).flatten().next().map(|(name, _)| name);
        !params.iter().any(|(own, _)| name.as_deref() == Some(own))
    };
    let mut query: Vec<&str> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .collect();
    query.retain(|pair| is_new(pair));
    let own = form::query(params.iter().map(|(name, value)| (*name, value.as_ref())));
    query.push(&own);
    let query = query.join("&");
    url.set_query(Some(&query));
    Ok(url)
}

/// Joins scopes; refuses one that would be read as two (RFC 6749 section 3.3).
pub(crate) fn join_scopes(scopes: &[String], separator: &str) -> Result<String, AuthorizeError> {
    let is_scope = |scope: &String| {
        let chars = !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        chars && !scope.contains(separator)
    };
    if scopes.iter().all(is_scope) {
        Ok(scopes.join(separator))
    } else {
        Err(AuthorizeError::Scope)
    }
}

/// Passes a resource on if it may be one (RFC 8707 section 2).
pub(crate) fn check_resource(resource: &str) -> Result<&str, AuthorizeError> {
    let absolute = Url::parse(resource).is_ok() && !resource.contains('#');
    let plain = resource.bytes().all(|b| b.is_ascii_graphic());
    if absolute && plain {
        Ok(resource)
    } else {
        Err(AuthorizeError::Resource)
    }
}
