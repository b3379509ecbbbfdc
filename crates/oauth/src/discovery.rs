//! Discovery: from an issuer to its endpoints (RFC 8414, `OpenID Connect` Discovery 1.0).

use http::Method;
use serde_json::{Map, Value};
use url::Url;
use valetkey_core::{ErrorCode, Request, Response};

use crate::flow::{EndpointError, check_endpoint};
use crate::{MAX_BODY, json, message};

/// The most entries that a list in the metadata may have.
const MAX_LIST: usize = 4096;

/// What an authorization server says about itself (RFC 8414 section 2). What it does not say is `None` or `false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The issuer, identical to the one that was asked for.
    pub issuer: String,
    /// Where the browser goes.
    pub authorization_endpoint: Url,
    /// Where codes and refresh tokens go.
    pub token_endpoint: Url,
    /// Where the keys are that it signs with (RFC 7517).
    pub jwks_uri: Option<Url>,
    /// Where an access token is traded for what is known of its person (`OpenID Connect` Core section 5.3).
    pub userinfo_endpoint: Option<Url>,
    /// Where tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// Where authorization requests are pushed (RFC 9126).
    pub pushed_authorization_request_endpoint: Option<Url>,
    /// They must be pushed (RFC 9126 section 5).
    pub require_pushed_authorization_requests: bool,
    /// `iss` comes with every authorization response (RFC 9207 section 3).
    pub authorization_response_iss_parameter_supported: bool,
    /// The PKCE methods.
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// The ways in which a client may authenticate.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// The scopes, or some of them.
    pub scopes_supported: Option<Vec<String>>,
}

/// Why a provider's metadata cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The issuer is not a URL that can be one (RFC 8414 section 2).
    #[error("the issuer is not a URL without query and fragment")]
    Issuer,
    /// There is nothing at this place: the next one may have it.
    #[error("the provider publishes no metadata here")]
    Missing,
    /// Too long, not JSON, or not an object.
    #[error("the provider's metadata is not a JSON object of at most 1 MiB")]
    Malformed,
    /// The metadata is that of another issuer (RFC 8414 section 3.3).
    #[error("the provider's metadata names another issuer")]
    IssuerMismatch,
    /// A member is missing or of the wrong type.
    #[error("the provider's metadata has no valid {0}")]
    Member(&'static str),
    /// An endpoint is not https although the issuer is.
    #[error("the {0} of the provider's metadata is not https")]
    Insecure(&'static str),
}

impl DiscoveryError {
    /// The code for the API.
    pub fn code(self) -> ErrorCode {
        if self == Self::IssuerMismatch {
            ErrorCode::IssuerMismatch
        } else {
            ErrorCode::DiscoveryFailed
        }
    }
}

/// Where an issuer's metadata may be, to be tried in this order: with the well-known part before the issuer's path (RFC
/// 8414 section 3), then after it (`OpenID Connect` Discovery section 4).
pub fn metadata_urls(issuer: &str) -> Result<Vec<Url>, DiscoveryError> {
    let base = check_issuer(issuer)?;
    let path = base.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = base.clone();
        url.set_path(&path);
        url
    };
    Ok(vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ])
}

/// A request for metadata.
pub fn metadata_request(url: &Url) -> Result<Request, EndpointError> {
    message::plain(Method::GET, url)
}

/// Reads the metadata of `issuer`. It counts only if it names exactly that issuer, and only with endpoints that are as
/// safe as the issuer itself: otherwise whoever can answer for a moment could have every code sent elsewhere.
pub fn read_metadata(issuer: &str, response: &Response) -> Result<Metadata, DiscoveryError> {
    let insecure = check_issuer(issuer)?.scheme() == "http";
    if response.status != 200 {
        return Err(DiscoveryError::Missing);
    }
    let json = response
        .media_type()
        .is_some_and(|media_type| media_type == "application/json");
    if !json || response.body.len() > MAX_BODY {
        return Err(DiscoveryError::Malformed);
    }
    let document = json::object(&response.body).ok_or(DiscoveryError::Malformed)?;
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(DiscoveryError::IssuerMismatch);
    }
    let endpoint = |name| endpoint(&document, name, insecure);
    let required = |name| endpoint(name)?.ok_or(DiscoveryError::Member(name));
    Ok(Metadata {
        issuer: issuer.to_owned(),
        authorization_endpoint: required("authorization_endpoint")?,
        token_endpoint: required("token_endpoint")?,
        jwks_uri: endpoint("jwks_uri")?,
        userinfo_endpoint: endpoint("userinfo_endpoint")?,
        revocation_endpoint: endpoint("revocation_endpoint")?,
        pushed_authorization_request_endpoint: endpoint("pushed_authorization_request_endpoint")?,
        require_pushed_authorization_requests: flag(&document, "require_pushed_authorization_requests")?,
        authorization_response_iss_parameter_supported: flag(
            &document,
            "authorization_response_iss_parameter_supported",
        )?,
        code_challenge_methods_supported: list(&document, "code_challenge_methods_supported")?,
        token_endpoint_auth_methods_supported: list(&document, "token_endpoint_auth_methods_supported")?,
        scopes_supported: list(&document, "scopes_supported")?,
    })
}

fn check_issuer(issuer: &str) -> Result<Url, DiscoveryError> {
    check_endpoint(issuer)
        .ok()
        .filter(|url| url.query().is_none())
        .ok_or(DiscoveryError::Issuer)
}

fn member<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    document.get(name).filter(|value| !value.is_null())
}

fn endpoint(document: &Map<String, Value>, name: &'static str, insecure: bool) -> Result<Option<Url>, DiscoveryError> {
    let Some(value) = member(document, name) else {
        return Ok(None);
    };
    let url = value
        .as_str()
        .and_then(|text| check_endpoint(text).ok())
        .ok_or(DiscoveryError::Member(name))?;
    if url.scheme() == "https" || insecure {
        Ok(Some(url))
    } else {
        Err(DiscoveryError::Insecure(name))
    }
}

fn flag(document: &Map<String, Value>, name: &'static str) -> Result<bool, DiscoveryError> {
    member(document, name).map_or(Ok(false), |value| value.as_bool().ok_or(DiscoveryError::Member(name)))
}

fn list(document: &Map<String, Value>, name: &'static str) -> Result<Option<Vec<String>>, DiscoveryError> {
    let Some(value) = member(document, name) else {
        return Ok(None);
    };
    let entries = value.as_array().filter(|entries| entries.len() <= MAX_LIST);
    let texts = entries.and_then(|entries| entries.iter().map(|e| e.as_str().map(str::to_owned)).collect());
    texts.map(Some).ok_or(DiscoveryError::Member(name))
}
