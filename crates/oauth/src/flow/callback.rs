//! The authorization response, as the browser brings it back (RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use valetkey_core::{ErrorCode, Secret};

use crate::form;
use crate::text;

/// The longest query: 16 KiB. Real codes exceed 2 KiB, and nothing real comes near this.
const MAX_QUERY: usize = 16 << 10;
/// The longest code: 8 KiB.
const MAX_CODE: usize = 8 << 10;

/// The parameters with a meaning of their own.
const KNOWN: [&str; 6] = ["state", "code", "error", "error_description", "error_uri", "iss"];
/// What only the implicit grant would bring (RFC 9700 section 2.1.2).
const IMPLICIT: [&str; 3] = ["access_token", "refresh_token", "id_token"];

/// A well-formed answer: it has either a code or an error.
pub struct Callback {
    /// The state that the flow was started with.
    pub state: Secret<String>,
    /// The code.
    pub code: Option<Secret<String>>,
    /// Why there is none.
    pub error: Option<ProviderError>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
    /// Everything else (`realmId`).
    pub extra: BTreeMap<String, String>,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.code.is_some() { "code" } else { "error" };
        write!(
            f,
            "Callback with {kind}, iss: {}, extra: {}",
            self.iss.is_some(),
            self.extra.len()
        )
    }
}

impl Callback {
    /// Compares `iss` with the issuer that the flow was started with, byte for byte (RFC 9207 section 2.4). It must be
    /// there where the provider announces it, and must be right wherever it is; `issuer` is `None` where nobody knows it.
    pub fn check_issuer(&self, issuer: Option<&str>, announced: bool) -> Result<(), IssuerError> {
        match (&self.iss, issuer) {
            (None, _) if announced => Err(IssuerError::Missing),
            (Some(iss), Some(issuer)) if iss != issuer => Err(IssuerError::Mismatch),
            _ => Ok(()),
        }
    }
}

/// Why `iss` is wrong (RFC 9207 section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The provider announces it and did not send it.
    #[error("the answer does not say who it is from")]
    Missing,
    /// It is another authorization server's.
    #[error("the answer is from another authorization server")]
    Mismatch,
}

impl IssuerError {
    /// The code for the API.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::IssuerMissing,
            Self::Mismatch => ErrorCode::IssuerMismatch,
        }
    }
}

/// What the provider says instead of a code (RFC 6749 section 4.1.2.1), made harmless. `Debug` shows the code only.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderError {
    error: String,
    description: Option<String>,
}

impl ProviderError {
    fn new(error: &str, description: Option<&String>) -> Self {
        let description = description
            .map(|text| text::clean(text))
            .filter(|text| !text.is_empty());
        Self {
            error: text::clean_code(error),
            description,
        }
    }

    /// The provider's code: visible ASCII, at most 64 characters.
    pub fn error(&self) -> &str {
        text::cut_code(&self.error)
    }

    /// The provider's text: at most 256 characters, without controls. Still a stranger's words: escape it, and show it
    /// only to whoever started the flow.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref().map(|text| text::cut(text, text::MAX_TEXT))
    }

    /// What it means, in our words.
    pub fn code(&self) -> ErrorCode {
        match self.error.as_str() {
            "access_denied" => ErrorCode::DeniedByUser,
            "server_error" | "temporarily_unavailable" => ErrorCode::ProviderUnavailable,
            "invalid_request"
            | "unauthorized_client"
            | "unsupported_response_type"
            | "invalid_scope"
            | "invalid_target" => ErrorCode::ProviderConfigError,
            _ => ErrorCode::ProviderRefused,
        }
    }
}

impl fmt::Debug for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderError {}", self.error())
    }
}

/// Why a query is not an answer. Where the state is known it comes along: it must be used up all the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallbackError {
    /// No state, or an empty one.
    #[error("the state is missing")]
    MissingState,
    /// Malformed, or neither one thing nor the other.
    #[error("the answer is malformed")]
    Invalid(Option<Secret<String>>),
    /// A parameter came twice, or as an array (RFC 6749 section 3.1).
    #[error("a parameter came twice")]
    Duplicate(Option<Secret<String>>),
    /// The query or the code is longer than anything real; nothing was looked at.
    #[error("the answer is too long")]
    TooLarge,
}

impl CallbackError {
    /// The state, if there is exactly one.
    pub fn state(&self) -> Option<&Secret<String>> {
        match self {
            Self::Invalid(state) | Self::Duplicate(state) => state.as_ref(),
            Self::MissingState | Self::TooLarge => None,
        }
    }

    /// The code for the API.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Duplicate(_) => ErrorCode::DuplicateParameter,
            Self::MissingState | Self::Invalid(_) | Self::TooLarge => ErrorCode::FlowInvalid,
        }
    }
}

/// Reads the query of a callback.
pub fn read_callback(query: &str) -> Result<Callback, CallbackError> {
    if query.len() > MAX_QUERY {
        return Err(CallbackError::TooLarge);
    }
    let (mut params, mut repeated, mut malformed) = (BTreeMap::new(), BTreeSet::new(), false);
    for pair in form::pairs(query.as_bytes()) {
        let Some((name, value)) = pair.filter(|(name, value)| is_plain(name) && is_fit(name, value)) else {
            malformed = true;
            continue;
        };
        // `state[]=` and `state[x]=` are one more `state` to a reader that knows arrays.
        let base = name
            .split('[')
            .next()
            .filter(|base| KNOWN.contains(base))
            .unwrap_or(&name)
            .to_owned();
        if base != name || params.insert(name, value).is_some() {
            repeated.insert(base);
        }
    }
    // RFC 6749 section 3.1: a parameter without a value counts as left out.
    let mut take = |name: &str| params.remove(name).filter(|value| !value.is_empty());
    let state = take("state").filter(|_| !repeated.contains("state")).map(Secret::new);
    let code = take("code").map(Secret::new);
    let (error, description, iss) = (take("error"), take("error_description"), take("iss"));
    take("error_uri");
    let implicit = IMPLICIT.iter().any(|name| params.contains_key(*name));

    if code.as_ref().is_some_and(|code| code.expose().len() > MAX_CODE) {
        return Err(CallbackError::TooLarge);
    }
    if !repeated.is_empty() {
        return Err(CallbackError::Duplicate(state));
    }
    if malformed {
        return Err(CallbackError::Invalid(state));
    }
    let state = state.ok_or(CallbackError::MissingState)?;
    if error.is_none() && description.as_ref().is_some_and(|text| !is_plain(text)) {
        return Err(CallbackError::Invalid(Some(state)));
    }
    if implicit || code.is_some() == error.is_some() {
        return Err(CallbackError::Invalid(Some(state)));
    }
    let error = error.map(|error| ProviderError::new(&error, description.as_ref()));
    Ok(Callback {
        state,
        code,
        error,
        iss,
        extra: params,
    })
}

/// Line breaks, NUL and their like have no place in a parameter. Microsoft breaks the lines of `error_description` all the
/// same: to refuse that would turn a person's "no" into a malformed answer, so there they are let in, and cleaned away.
fn is_fit(name: &str, value: &str) -> bool {
    is_plain(value) || (name == "error_description" && is_plain(&value.replace(['\r', '\n', '\t'], " ")))
}

fn is_plain(text: &str) -> bool {
    !text.contains(char::is_control)
}
