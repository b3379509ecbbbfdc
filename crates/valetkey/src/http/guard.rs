//! Who calls: the API key or the session of a request, the space of its path, and the user it is for.

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method};
use valetkey_core::{ErrorCode, Secret};
use valetkey_engine::Caller;

use super::error::ApiError;
use super::front::Meta;
use super::pages::cookies;
use super::router::AppState;
use super::session::visitor;

/// Query parameters in which people send credentials by mistake.
const CREDENTIAL_PARAMETERS: [&str; 5] = ["api_key", "apikey", "access_token", "token", "key"];

/// An authenticated request. Taking it before the body means that nothing is read from strangers.
pub(crate) struct Guarded(pub(crate) Caller);

impl FromRequestParts<AppState> for Guarded {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let meta = parts
            .extensions
            .get::<Meta>()
            .cloned()
            .ok_or_else(|| ApiError(valetkey_engine::Error::internal("a request without meta data")))?;
        refuse_credentials_in_url(parts)?;
        let session = session_secret(&parts.headers, state);
        let act_as = match parts.headers.get("x-valetkey-user") {
            None => None,
            Some(value) => Some(value.to_str().map_err(|_| {
                ApiError::new(
                    ErrorCode::InvalidRequest,
                    "the header x-valetkey-user is not visible ASCII",
                )
            })?),
        };
        let engine = &state.engine;
        let principal = match &session {
            Some(secret) if !parts.headers.contains_key(AUTHORIZATION) => {
                refuse_other_sites(&parts.method, &parts.headers, true)?;
                engine
                    .authenticate_session(secret.expose(), &visitor(&meta), act_as)
                    .await?
            }
            session => {
                let key = presented_key(parts, session.is_some())?;
                engine.authenticate(key, &meta.space, act_as, &meta.address).await?
            }
        };
        let known = meta.caller;
        let caller = Caller {
            principal,
            request_id: meta.request_id,
            address: meta.address,
        };
        // For the audit log, should the request be refused. A second extractor of the same request finds it set.
        drop(known.set(caller.clone()));
        Ok(Self(caller))
    }
}

/// A key in a URL ends up in logs and histories; it is refused, so that nobody gets used to it.
fn refuse_credentials_in_url(parts: &Parts) -> Result<(), ApiError> {
    let Some(query) = parts.uri.query() else { return Ok(()) };
    let found = url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
        CREDENTIAL_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) || value.starts_with("vk_")
    });
    if found {
        return Err(ApiError::new(
            ErrorCode::CredentialInUrl,
            "credentials do not belong in a URL; send `Authorization: ApiKey <key>` and replace the key that was sent",
        ));
    }
    Ok(())
}

fn presented_key(parts: &Parts, in_session: bool) -> Result<&str, ApiError> {
    let unauthenticated = || {
        ApiError::new(
            ErrorCode::Unauthenticated,
            "the API key is missing or unknown; send it as `Authorization: ApiKey <key>` or `Bearer <key>`",
        )
    };
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or_else(unauthenticated)?;
    if values.next().is_some() || in_session {
        return Err(ApiError::new(
            ErrorCode::MultipleCredentials,
            "send one credential, not several",
        ));
    }
    let (scheme, key) = value
        .to_str()
        .ok()
        .and_then(|v| v.split_once(' '))
        .ok_or_else(unauthenticated)?;
    let known = scheme.eq_ignore_ascii_case("ApiKey") || scheme.eq_ignore_ascii_case("Bearer");
    if known && !key.contains(' ') {
        Ok(key)
    } else {
        Err(unauthenticated())
    }
}

/// What the session cookie of a request holds. Of two with one name neither counts.
pub(crate) fn session_secret(headers: &HeaderMap, state: &AppState) -> Option<Secret<String>> {
    cookies(headers)
        .remove(state.engine.session_cookie())
        .filter(|secret| !secret.is_empty())
        .map(Secret::new)
}

/// Refuses what a page of another site may have made a browser send. Browsers say so themselves where they can; a header
/// of one's own needs the permission of this site, which nobody has; and a method that is safe changes nothing.
pub(crate) fn refuse_other_sites(method: &Method, headers: &HeaderMap, needs_header: bool) -> Result<(), ApiError> {
    let is_safe = method == Method::GET || method == Method::HEAD;
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    let ours = match site {
        None | Some(b"same-origin") => true,
        // A person opened it: from the address bar or a bookmark.
        Some(b"none") => is_safe,
        Some(_) => false,
    };
    if !ours {
        return Err(ApiError::new(
            ErrorCode::CrossSiteRequest,
            "a session can only be used by pages of this server itself",
        ));
    }
    if needs_header && !is_safe && !headers.contains_key("kbn-xsrf") {
        return Err(ApiError::new(
            ErrorCode::CrossSiteRequest,
            "with a session this method needs the header `kbn-xsrf: true`",
        ));
    }
    Ok(())
}
