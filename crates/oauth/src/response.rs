//! The answer of the token endpoint (RFC 6749 sections 5.1 and 5.2).
//!
//! What could be used by mistake is refused: another media type, a member that occurs twice, tokens next to an error, a
//! token that could split a header, a type that is not usable. What is only inconvenient is not: a bad lifetime or scope
//! never costs anybody a new refresh token; it counts as unknown, and is noted.

mod error;
mod failure;
mod field;
mod retry;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use valetkey_core::{ErrorCode, Response, Secret, Timestamp};

use crate::profile::{ErrorClass, Profile, ResponseFormat, ResponseProfile};
use crate::{MAX_BODY, form, json};

pub use error::TokenError;
pub(crate) use failure::{failure, refusal};
use field::Fields;

/// The longest token: 16 KiB. Tokens with many group claims exceed 8 KiB.
const MAX_TOKEN: usize = 16 << 10;

/// What a token endpoint granted.
#[derive(Clone)]
pub struct Tokens {
    /// The access token: visible ASCII, 1 byte to 16 KiB.
    pub access_token: Secret<String>,
    /// How to present it: `Bearer` (RFC 6750), unless the profile names another type.
    pub token_type: String,
    /// The refresh token, if the answer has one; otherwise the old one stays good (RFC 6749 section 6).
    pub refresh_token: Option<Secret<String>>,
    /// How long the access token lives, counted from when the request was sent; `None` is unknown, not for ever.
    pub expires_in: Option<Duration>,
    /// When the access token ends, where the provider says it that way and gives no lifetime.
    pub expires_at: Option<Timestamp>,
    /// How long this refresh token lives; `None` is unknown, whatever was known of the old one.
    pub refresh_expires_in: Option<Duration>,
    /// What was granted; `None` is what was asked for (RFC 6749 section 5.1).
    pub scopes: Option<Vec<String>>,
    /// The account's stable id.
    pub account_id: Option<String>,
    /// The account's name for people, made harmless.
    pub account_label: Option<String>,
    /// What the profile keeps besides.
    pub metadata: Map<String, Value>,
    /// The fields that were there and were ignored because they make no sense.
    pub notes: Vec<&'static str>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("token_type", &self.token_type)
            .field("refresh_token", &self.refresh_token)
            .field("expires_in", &self.expires_in)
            .field("scopes", &self.scopes)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// Reads the answer to a code or to client credentials.
pub fn read_token_response(profile: &Profile, response: &Response) -> Result<Tokens, TokenError> {
    read(profile, response, &profile.response.access_token)
}

/// Reads the answer to a refresh, which with some providers has another shape.
pub fn read_refresh_response(profile: &Profile, response: &Response) -> Result<Tokens, TokenError> {
    let path = profile
        .response
        .access_token_at_refresh
        .as_ref()
        .unwrap_or(&profile.response.access_token);
    read(profile, response, path)
}

fn read(profile: &Profile, response: &Response, access_token: &str) -> Result<Tokens, TokenError> {
    let answer = read_body(&profile.response, response);
    if !matches!(response.status, 200 | 201) {
        return Err(failure(profile, response, answer));
    }
    let answer = answer?;
    let has_token = [access_token, "access_token"]
        .iter()
        .any(|path| json::at(&answer, path).is_some_and(is_set));
    match refusal(profile, response, &answer) {
        // Neither is believed: the error must not end the grant, and the token must not be stored.
        Some(_) if has_token => Err(TokenError::bad("the answer has both a token and an error")),
        Some(error) => Err(error),
        None => read_tokens(&profile.response, &answer, access_token),
    }
}

/// The members of a body, whether it is JSON or a form. The media type decides; nothing is sniffed.
pub(crate) fn read_body(profile: &ResponseProfile, response: &Response) -> Result<Map<String, Value>, TokenError> {
    if response.body.len() > MAX_BODY {
        let sentence = "the provider's answer is larger than allowed";
        return Err(TokenError::new(
            ErrorClass::Transient,
            ErrorCode::ProviderResponseTooLarge,
            sentence,
        ));
    }
    let media_type = response.media_type().unwrap_or_default();
    let is_form = media_type == "application/x-www-form-urlencoded";
    if media_type == "application/json" || profile.allow_media_types.contains(&media_type) {
        json::object(&response.body).ok_or_else(|| TokenError::bad("the provider's answer is not one JSON object"))
    } else if is_form && profile.format == ResponseFormat::JsonOrForm {
        form_object(&response.body).ok_or_else(|| TokenError::bad("the provider's answer is not a valid form"))
    } else {
        Err(TokenError::bad("the provider's answer is not JSON"))
    }
}

fn form_object(body: &[u8]) -> Option<Map<String, Value>> {
    let mut members = Map::new();
    for pair in form::pairs(body) {
        let (name, value) = pair?;
        if members.insert(name, value.into()).is_some() {
            return None;
        }
    }
    Some(members)
}

fn read_tokens(profile: &ResponseProfile, answer: &Map<String, Value>, path: &str) -> Result<Tokens, TokenError> {
    let mut fields = Fields::new(answer, path);
    let access_token = match json::at(answer, path).filter(|value| is_set(value)) {
        Some(value) => usable_token(value, "the access token cannot be used")?,
        None => return Err(TokenError::bad("the provider's answer has no access token")),
    };
    let refresh_token = fields.get(&profile.refresh_token).filter(|value| is_set(value));
    let refresh_token = refresh_token
        .map(|v| usable_token(v, "the refresh token cannot be used"))
        .transpose()?;
    let token_type = token_type(profile, fields.get(&profile.token_type_path))?;
    let expires_at = fields.instant(profile.expires_at.as_ref());
    let expires_in = match fields.lifetime("expires_in", &[&profile.expires_in]) {
        // A field that is there and makes no sense is unknown; the default is for providers that say nothing.
        None if expires_at.is_none() && fields.get(&profile.expires_in).is_none() => {
            profile.default_lifetime_s.map(Duration::from_secs)
        }
        known => known,
    };
    Ok(Tokens {
        access_token,
        token_type,
        refresh_token,
        expires_at: expires_at.filter(|_| expires_in.is_none()),
        expires_in,
        refresh_expires_in: fields.lifetime(
            "refresh_expires_in",
            &[&profile.refresh_expires_in, "refresh_expires_in"],
        ),
        scopes: fields.scopes(&profile.scope, &profile.scope_separators),
        account_id: fields.account_id(profile.account_id.as_deref()),
        account_label: fields.account_label(profile.account_label.as_deref()),
        metadata: fields.metadata(&profile.metadata),
        notes: fields.notes,
    })
}

/// Null and the empty text are how some providers say "none".
pub(crate) fn is_set(value: &Value) -> bool {
    !value.is_null() && value != ""
}

/// Both kinds of token are visible ASCII here: RFC 6749 appendix A would allow spaces, which no header does.
fn usable_token(value: &Value, sentence: &'static str) -> Result<Secret<String>, TokenError> {
    let token = value
        .as_str()
        .filter(|token| token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_graphic()));
    token.map(Secret::from).ok_or_else(|| unusable(sentence))
}

fn unusable(sentence: &'static str) -> TokenError {
    TokenError::new(ErrorClass::Config, ErrorCode::TokenUnusable, sentence)
}

/// RFC 6749 section 7.1: a client must not use a token whose type it does not know. One that is missing is `Bearer`,
/// because so many providers leave it out.
fn token_type(profile: &ResponseProfile, value: Option<&Value>) -> Result<String, TokenError> {
    let bearer = |text: &str| text.eq_ignore_ascii_case("bearer");
    // The profile's own words are used as they stand: whoever wrote them knows what this API wants.
    let literal = |text: &String| {
        if bearer(text) {
            "Bearer".to_owned()
        } else {
            text.clone()
        }
    };
    match (&profile.token_type, value.filter(|value| is_set(value))) {
        (Some(fixed), _) => Ok(literal(fixed)),
        (None, Some(Value::String(text))) if bearer(text) => Ok("Bearer".to_owned()),
        (None, Some(_)) => Err(unusable("the token is of a type that cannot be used")),
        (None, None) => Ok(profile
            .token_type_default
            .as_ref()
            .map_or_else(|| "Bearer".to_owned(), literal)),
    }
}
