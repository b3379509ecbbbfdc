//! Pushed authorization requests (RFC 9126): the parameters go to the provider directly, and the browser carries a
//! reference only. There is no way back to plain parameters: a provider that demands this has a reason.

use std::time::Duration;

use url::Url;
use valetkey_core::{ErrorCode, Request, Response};

use crate::flow::{AuthorizationRequest, AuthorizeError, with_query};
use crate::message;
use crate::profile::{BodyFormat, ErrorClass, Profile};
use crate::response::{TokenError, failure, read_body, refusal};
use crate::token::{Client, TokenRequestError};

/// The longest reference.
const MAX_URI: usize = 2048;
/// The longest time for which a reference is believed to be good: a day.
const MAX_LIFETIME_S: u64 = 86_400;

/// Pushes an authorization request (section 2.1). The client authenticates as at the token endpoint.
pub fn par_request(
    request: &AuthorizationRequest<'_>,
    endpoint: &Url,
    client: &Client,
) -> Result<Request, TokenRequestError> {
    message::post(
        &request.profile.token,
        BodyFormat::Form,
        endpoint,
        client,
        request.params()?,
    )
}

/// Reads the answer: the reference, to be used once, and how long it lives from when the request was sent (section 2.2).
pub fn read_par_response(response: &Response) -> Result<(String, Duration), TokenError> {
    let profile = Profile::default();
    if response.status == 413 {
        // Section 2.3. The same request will be as large the next time.
        let sentence = "the provider says that the authorization request is too large";
        return Err(TokenError::new(
            ErrorClass::Config,
            ErrorCode::ProviderConfigError,
            sentence,
        ));
    }
    let answer = read_body(&profile.response, response);
    if !matches!(response.status, 200 | 201) {
        return Err(failure(&profile, response, answer));
    }
    let answer = answer?;
    if let Some(error) = refusal(&profile, response, &answer) {
        return Err(error);
    }
    let uri = answer.get("request_uri").and_then(|uri| uri.as_str());
    let uri = uri.filter(|uri| (1..=MAX_URI).contains(&uri.len()) && uri.bytes().all(|b| b.is_ascii_graphic()));
    let lifetime = answer
        .get("expires_in")
        .and_then(serde_json::Value::as_u64)
        .filter(|s| *s > 0);
    match (uri, lifetime) {
        (Some(uri), Some(seconds)) => Ok((uri.to_owned(), Duration::from_secs(seconds.min(MAX_LIFETIME_S)))),
        _ => Err(TokenError::bad(
            "the provider's answer has no valid request_uri or expires_in",
        )),
    }
}

/// The URL for the browser after a request was pushed (section 4): the client and the reference, nothing else.
pub fn pushed_url(endpoint: &Url, client_id: &str, request_uri: &str) -> Result<Url, AuthorizeError> {
    with_query(
        endpoint,
        "scope",
        &vec![("client_id", client_id.into()), ("request_uri", request_uri.into())],
    )
}
