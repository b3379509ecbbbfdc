//! Revocation (RFC 7009).

use std::borrow::Cow;

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::Value;
use url::Url;
use valetkey_core::{Request, Response, Secret};

use crate::flow::AuthorizeError;
use crate::message;
use crate::profile::{BodyFormat, Profile, RevokeMethod, RevokeStyle};
use crate::token::{Client, TokenRequestError};
use crate::{apply, json};

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token is dead, now or already before.
    Done,
    /// The provider cannot revoke this, or not here.
    Unsupported,
    /// It did not work.
    Failed {
        /// Whether it may work later.
        retry: bool,
    },
}

/// A request that revokes a token. `hint` is `refresh_token` or `access_token` (RFC 7009 section 2.1).
pub fn revocation_request(
    profile: &Profile,
    endpoint: &Url,
    client: &Client,
    token: &Secret<String>,
    hint: &str,
) -> Result<Request, TokenRequestError> {
    let revoke = profile.revoke.clone().unwrap_or_default();
    let value: Cow<'_, str> = token.expose().into();
    let mut request = match revoke.style {
        RevokeStyle::Rfc7009 => {
            let params = vec![(revoke.token_param.as_str(), value), ("token_type_hint", hint.into())];
            message::post(&profile.token, BodyFormat::Form, endpoint, client, params)?
        }
        RevokeStyle::Json => {
            let params = vec![(revoke.token_param.as_str(), value)];
            message::post(&profile.token, BodyFormat::Json, endpoint, client, params)?
        }
        RevokeStyle::Bearer => {
            let mut request = message::plain(Method::POST, endpoint).map_err(AuthorizeError::from)?;
            let header = apply::authorization_header("Bearer", token);
            let header = header.ok_or_else(|| TokenRequestError::Header(AUTHORIZATION.to_string()))?;
            request.headers.insert(AUTHORIZATION, header);
            request
        }
    };
    if revoke.method == RevokeMethod::Delete {
        request.method = Method::DELETE;
    }
    Ok(request)
}

/// What says that the token is dead already. By RFC 7009 section 2.2 that is a plain 200, but not by every provider.
const DEAD: [&str; 6] = [
    "invalid_token",
    "invalid_grant",
    "token_revoked",
    "token_expired",
    "invalid_auth",
    "account_inactive",
];

/// Reads the answer (RFC 7009 sections 2.2 and 2.2.1). A 200 that has an `error` (Slack) did not revoke anything.
pub fn read_revocation(response: &Response) -> Revocation {
    let body = json::object(&response.body).unwrap_or_default();
    let error = body
        .get("error")
        .and_then(Value::as_str)
        .filter(|error| !error.is_empty());
    match (response.status, error) {
        (200..=299, None) => Revocation::Done,
        (200..=499, Some(error)) if DEAD.contains(&error) => Revocation::Done,
        (200..=499, Some("unsupported_token_type")) | (404 | 405 | 501, _) => Revocation::Unsupported,
        (408 | 425 | 429, _) => Revocation::Failed { retry: true },
        (200..=499, _) => Revocation::Failed { retry: false },
        _ => Revocation::Failed { retry: true },
    }
}
