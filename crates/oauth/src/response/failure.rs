//! What an answer without tokens means (RFC 6749 section 5.2).
//!
//! Only `invalid_grant`, and the codes that a profile maps to it, end a grant. A status alone never does, and neither does
//! a code in an answer of 429 or 5xx: what overloaded servers and the boxes in front of them say is about themselves.

use serde_json::{Map, Value};
use valetkey_core::{ErrorCode, Response};

use super::error::TokenError;
use super::retry::retry_after;
use crate::json;
use crate::profile::{ErrorClass, ErrorProfile, Profile};

/// Reads an answer whose status is not 200 or 201. Its body may or may not have been understood.
pub(crate) fn failure(
    profile: &Profile,
    response: &Response,
    body: Result<Map<String, Value>, TokenError>,
) -> TokenError {
    let error = match (response.status, body) {
        // The body may hold the code or the client secret again: whoever follows a redirect hands them over.
        (300..=399, _) => {
            let sentence = "the provider answered with a redirect, which is never followed";
            TokenError::new(ErrorClass::Transient, ErrorCode::ProviderRedirected, sentence)
        }
        (_, Err(error)) if error.code() == ErrorCode::ProviderResponseTooLarge => error,
        (status, Err(_)) => classify(&profile.errors, status, None),
        (status, Ok(answer)) => described(&profile.errors, status, &answer),
    };
    error.waiting(retry_after(response))
}

/// Reads an answer of 200 or 201 that is an error all the same: GitHub and Zoho answer 200 with `error`, Slack with
/// `ok: false`. `None` if it is a success.
pub(crate) fn refusal(profile: &Profile, response: &Response, answer: &Map<String, Value>) -> Option<TokenError> {
    let success = profile.response.success.as_ref();
    let succeeded = success.is_none_or(|success| json::at(answer, &success.path) == Some(&success.equals));
    // Where the code itself is what says success (`code: 0`), it is no error.
    let says_success = success.is_some_and(|success| success.path == profile.errors.code);
    let has_error = |path: &str| json::at(answer, path).is_some_and(|value| super::is_set(value) && *value != false);
    let failed = !succeeded || (has_error(&profile.errors.code) && !says_success) || has_error("error");
    failed.then(|| described(&profile.errors, response.status, answer).waiting(retry_after(response)))
}

fn described(errors: &ErrorProfile, status: u16, answer: &Map<String, Value>) -> TokenError {
    let code = json::at(answer, &errors.code)
        .filter(|code| super::is_set(code))
        .or_else(|| answer.get("error"))
        .and_then(|code| match code {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
    let description = json::at(answer, &errors.description).and_then(Value::as_str);
    classify(errors, status, code.as_deref()).saying(code.as_deref(), description)
}

fn classify(errors: &ErrorProfile, status: u16, code: Option<&str>) -> TokenError {
    use ErrorClass::{Client, Config, RateLimited, Terminal, Transient};
    let mapped = code.and_then(|code| errors.map.get(code).copied());
    let class = match (status, mapped.or_else(|| code.and_then(standard))) {
        (_, Some(class)) if mapped.is_some() => class,
        (429, _) => RateLimited,
        (500..=599, _) => Transient,
        (_, Some(class)) => class,
        (401, None) => Client,
        (404 | 405, None) => Config,
        _ => return TokenError::bad("the provider refused for a reason that is not known"),
    };
    let (code, sentence) = match class {
        Terminal => (ErrorCode::CodeRejected, "the provider does not honour this grant"),
        Client => (
            ErrorCode::ClientRejected,
            "the provider did not accept the client id or the client secret",
        ),
        Config => (
            ErrorCode::ProviderConfigError,
            "the provider says that the request is configured wrongly",
        ),
        Transient => (ErrorCode::ProviderUnavailable, "the provider is unavailable"),
        RateLimited => (
            ErrorCode::ProviderUnavailable,
            "the provider asks to be left alone for a while",
        ),
    };
    TokenError::new(class, code, sentence)
}

/// The codes of RFC 6749 sections 5.2 and 4.1.2.1, RFC 8707 section 2, and RFC 8628 section 3.5.
fn standard(code: &str) -> Option<ErrorClass> {
    match code {
        "invalid_grant" => Some(ErrorClass::Terminal),
        "invalid_client" => Some(ErrorClass::Client),
        "invalid_request" | "unauthorized_client" | "unsupported_grant_type" | "invalid_scope" | "invalid_target" => {
            Some(ErrorClass::Config)
        }
        "temporarily_unavailable" | "server_error" => Some(ErrorClass::Transient),
        "slow_down" => Some(ErrorClass::RateLimited),
        _ => None,
    }
}
