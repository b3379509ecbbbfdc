//! Why there are no tokens.

use std::fmt;
use std::time::Duration;

use valetkey_core::ErrorCode;

use crate::form;
use crate::profile::ErrorClass;
use crate::text;

/// Why a token endpoint granted nothing.
///
/// `Display` is a sentence of ours; what the provider wrote is reachable only through the methods, made harmless. Neither
/// `Display` nor `Debug` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenError {
    class: ErrorClass,
    code: ErrorCode,
    sentence: &'static str,
    // Kept whole until they are shown: a secret must not escape `masked` because half of it was cut off.
    provider_error: Option<String>,
    description: Option<String>,
    retry_after: Option<Duration>,
}

impl TokenError {
    pub(crate) fn new(class: ErrorClass, code: ErrorCode, sentence: &'static str) -> Self {
        Self {
            class,
            code,
            sentence,
            provider_error: None,
            description: None,
            retry_after: None,
        }
    }

    /// An answer that cannot be understood says nothing about the grant.
    pub(crate) fn bad(sentence: &'static str) -> Self {
        Self::new(ErrorClass::Transient, ErrorCode::ProviderBadResponse, sentence)
    }

    pub(crate) fn saying(mut self, error: Option<&str>, description: Option<&str>) -> Self {
        self.provider_error = error.map(text::clean_code).filter(|error| !error.is_empty());
        self.description = description
            .map(text::clean)
            .filter(|description| !description.is_empty());
        self
    }

    pub(crate) fn waiting(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// What it means for the grant.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// What it is called in the API.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The provider's own code: visible ASCII, at most 64 characters. Mask first.
    pub fn provider_error(&self) -> Option<&str> {
        self.provider_error.as_deref().map(text::cut_code)
    }

    /// The provider's own text: at most 256 characters, without controls. Mask first.
    pub fn description(&self) -> Option<&str> {
        self.description
            .as_deref()
            .map(|description| text::cut(description, text::MAX_TEXT))
    }

    /// How long the provider wants to be left alone: a second to an hour (RFC 9110 section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Takes out secrets that the provider echoed, as they are and form-encoded as they were sent.
    #[must_use]
    pub fn masked(mut self, secrets: &[&str]) -> Self {
        for field in [&mut self.provider_error, &mut self.description].into_iter().flatten() {
            for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
                *field = field.replace(form::encode(secret).as_str(), "…").replace(secret, "…");
            }
        }
        self
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence)
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenError({:?}, {}: {})", self.class, self.code, self.sentence)
    }
}

impl std::error::Error for TokenError {}
