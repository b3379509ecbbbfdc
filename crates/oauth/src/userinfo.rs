//! The `UserInfo` endpoint (`OpenID` Connect Core 1.0 section 5.3): what an issuer knows of the person of an access token.

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};
use url::Url;
use valetkey_core::{Request, Response, Secret};

use crate::apply::authorization_header;
use crate::{MAX_BODY, json, message};

/// What an issuer says of a person.
#[derive(Clone, Debug)]
pub struct UserInfo {
    /// The person. Whoever asks must make sure that it is the one of the ID token (section 5.3.2).
    pub subject: String,
    /// Everything that it says.
    pub claims: Map<String, Value>,
}

/// Why an answer says nothing. Never shows what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserInfoError {
    /// The access token ended or was revoked (RFC 6750 section 3.1).
    #[error("the issuer no longer takes the access token")]
    Rejected,
    /// Another status than 200.
    #[error("the UserInfo endpoint answered with status {0}")]
    Status(u16),
    /// Not JSON, or without a subject. Signed and encrypted answers are not read.
    #[error("the UserInfo answer is not a JSON object with a subject")]
    Malformed,
}

/// The request for an access token; `None` if the token cannot be sent.
pub fn userinfo_request(endpoint: &Url, token: &Secret<String>) -> Option<Request> {
    let mut request = message::plain(Method::GET, endpoint).ok()?;
    request
        .headers
        .insert(AUTHORIZATION, authorization_header("Bearer", token)?);
    Some(request)
}

/// Reads the answer.
pub fn read_userinfo(response: &Response) -> Result<UserInfo, UserInfoError> {
    match response.status {
        200 => {}
        401 => return Err(UserInfoError::Rejected),
        other => return Err(UserInfoError::Status(other)),
    }
    let is_json = response.media_type().is_some_and(|kind| kind == "application/json");
    if !is_json || response.body.len() > MAX_BODY {
        return Err(UserInfoError::Malformed);
    }
    let claims = json::object(&response.body).ok_or(UserInfoError::Malformed)?;
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    if subject.is_empty() {
        return Err(UserInfoError::Malformed);
    }
    Ok(UserInfo {
        subject: subject.to_owned(),
        claims,
    })
}
