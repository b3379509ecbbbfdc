//! What an operation of the engine can fail with.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::{ConnectorId, ErrorCode};
use valetkey_oauth::StepUp;
use valetkey_store::StoreError;

/// A failure: a stable code, a sentence for people that says what to do next, and a private cause for the log.
///
/// `Display` is the sentence. Neither it nor the code ever holds a secret, a token, a code or a state.
#[derive(Debug)]
pub struct Error {
    /// The stable code.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// For the log only.
    pub cause: Option<String>,
    /// When to try again, where that helps.
    pub retry_after: Option<Duration>,
    /// What a person must do, where that is the way out.
    pub authorization: Option<Box<Authorization>>,
}

/// Result of an engine operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            cause: None,
            retry_after: None,
            authorization: None,
        }
    }

    /// Something unforeseen. The caller learns nothing but that; the log gets the cause.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let mut error = Self::new(ErrorCode::Internal, "something went wrong here; the log has the cause");
        error.cause = Some(cause.to_string());
        error
    }

    /// Adds the private cause.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::new(
                ErrorCode::StoreUnavailable,
                "the store cannot be written or read now; try again",
            )
            .retry_after(Duration::from_secs(1))
            .because(error),
            StoreError::Corrupt(_) => Self::internal(error),
        }
    }
}

impl From<valetkey_seal::SealError> for Error {
    fn from(error: valetkey_seal::SealError) -> Self {
        Self::new(
            ErrorCode::IntegrityError,
            "a stored value cannot be opened; see the log",
        )
        .because(error)
    }
}

/// Why a person must connect (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody connected yet, or somebody disconnected.
    NoToken,
    /// The access token ended and there is no refresh token.
    TokenExpired,
    /// The refresh token ended.
    RefreshTokenExpired,
    /// The provider says that the grant is no longer valid.
    TokenRevoked,
    /// The OAuth client or the URLs of the connector were changed since.
    ConnectorChanged,
    /// The answer to a refresh was lost, and the provider no longer takes the refresh token.
    RefreshOutcomeUnknown,
}

impl Reason {
    /// The word used in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::TokenExpired => "token_expired",
            Self::RefreshTokenExpired => "refresh_token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::ConnectorChanged => "connector_changed",
            Self::RefreshOutcomeUnknown => "refresh_outcome_unknown",
        }
    }

    /// Reads the stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::NoToken,
            Self::TokenExpired,
            Self::RefreshTokenExpired,
            Self::TokenRevoked,
            Self::ConnectorChanged,
            Self::RefreshOutcomeUnknown,
        ]
        .into_iter()
        .find(|r| r.as_str() == word)
    }

    /// For people: what happened and what to do.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoToken => "no account is connected; start the OAuth flow to connect one",
            Self::TokenExpired => "the access token has expired and the provider gave no refresh token; connect again",
            Self::RefreshTokenExpired => "the refresh token has expired; connect again",
            Self::TokenRevoked => "the provider no longer accepts this grant; connect again",
            Self::ConnectorChanged => "the OAuth client or the URLs of the connector were changed; connect again",
            Self::RefreshOutcomeUnknown => {
                "the provider's answer to a refresh was lost and the old refresh token is spent; connect again"
            }
        }
    }
}

/// What a person must do before the call can work: the object of that name in the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Authorization {
    /// Why.
    pub reason: Reason,
    /// The auth type of the connector.
    pub auth_method: String,
    /// Where to start the flow.
    pub start: String,
    /// Send this as `acrValues` then: the API wants a stronger sign-in than the token stands for (RFC 9470).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr_values: Option<String>,
    /// Send this as `maxAge` then: the API wants a sign-in that is at most so many seconds old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
}

impl Authorization {
    /// For a connector.
    pub fn new(reason: Reason, auth_type: &str, connector: &ConnectorId) -> Self {
        Self {
            reason,
            auth_method: auth_type.to_owned(),
            start: format!("/api/actions/connector/{connector}/_start_oauth_flow"),
            acr_values: None,
            max_age: None,
        }
    }

    /// For an API that demands another sign-in. Of the reasons there are, a token that the API does not accept and that a
    /// refresh cannot mend comes closest.
    pub fn step_up(demand: &StepUp, auth_type: &str, connector: &ConnectorId) -> Error {
        let mut authorization = Self::new(Reason::TokenRevoked, auth_type, connector);
        authorization.acr_values = demand.acr_values().map(str::to_owned);
        authorization.max_age = demand.max_age();
        let sentence = "the service wants a stronger or a more recent sign-in; start the OAuth flow with the acrValues and the \
                        maxAge that it names";
        let mut error = Error::new(ErrorCode::AuthorizationRequired, sentence);
        error.authorization = Some(Box::new(authorization));
        error
    }
}

impl From<Authorization> for Error {
    fn from(authorization: Authorization) -> Self {
        let mut error = Self::new(ErrorCode::AuthorizationRequired, authorization.reason.sentence());
        error.authorization = Some(Box::new(authorization));
        error
    }
}
