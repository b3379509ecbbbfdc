//! How a flight can fail, in a form that many callers may share.

use std::time::Duration;

use valetkey_core::ErrorCode;
use valetkey_oauth::{ErrorClass, TokenError};

use crate::error::Error;
use crate::wire::WireError;

/// The pause when trying again will tell at once.
const SHORT_PAUSE: Duration = Duration::from_millis(250);

/// The pause where the connector must be mended first: asking again soon changes nothing.
const MENDING_PAUSE: Duration = Duration::from_secs(10 * 60);

/// What a failure means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// A pause that grows with every failure in a row.
    Pause,
    /// As [`After::Pause`], but whoever had the access token rejected need not wait for it.
    PauseUnlessRejected,
    /// The pause was taken already.
    Paused,
    /// Nothing was tried: the next attempt may be made as soon as it is told to.
    Nothing,
}

/// A failure of a flight.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(super) code: ErrorCode,
    pub(super) message: &'static str,
    pub(super) cause: String,
    pub(super) retry_after: Option<Duration>,
    pub(super) after: After,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: &'static str, cause: impl Into<String>) -> Self {
        Self {
            code,
            message,
            cause: cause.into(),
            retry_after: None,
            after: After::Pause,
        }
    }

    #[must_use]
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    #[must_use]
    pub(super) fn then(mut self, after: After) -> Self {
        self.after = after;
        self
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = Self::new(failure.code, failure.message).because(failure.cause);
        match failure.retry_after {
            Some(wait) => error.retry_after(wait),
            None => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = match error.code {
            ErrorCode::StoreUnavailable => "the store cannot be written or read now; try again",
            ErrorCode::IntegrityError => "a stored value cannot be opened; see the log",
            ErrorCode::OauthConfigIncomplete => {
                "the connector's OAuth settings are incomplete; an administrator can mend them"
            }
            _ => "something went wrong here; the log has the cause",
        };
        Self {
            retry_after: error.retry_after,
            ..Self::new(error.code, message, error.cause.unwrap_or(error.message))
        }
    }
}

/// The connection is not there any more.
pub(super) fn gone() -> Failure {
    Failure::new(
        ErrorCode::ProviderUnavailable,
        "the connection was ended in between",
        "gone",
    )
    .retry_after(SHORT_PAUSE)
    .then(After::Nothing)
}

/// Somebody else renews the connection, and it takes longer than can be waited for.
pub(super) fn busy(cause: &'static str) -> Failure {
    Failure::new(
        ErrorCode::RefreshBusy,
        "the connection is being renewed, and that takes long; try again",
        cause,
    )
    .retry_after(Duration::from_secs(1))
    .then(After::Nothing)
}

/// A new pair waits to be written; nothing may be spent before it is.
pub(super) fn unwritten() -> Failure {
    Failure::new(
        ErrorCode::StoreUnavailable,
        "a new token could not be stored yet, and no other one is asked for before it is; try again",
        "a pair is not written yet",
    )
    .retry_after(Duration::from_secs(1))
    .then(After::Nothing)
}

/// The family that a reused token would end is not risked.
pub(super) fn waits_for_expiry(left: Duration) -> Failure {
    Failure::new(
        ErrorCode::ProviderUnavailable,
        "the answer to an earlier refresh was lost; it is repeated when the access token has ended",
        "a family is not risked while its access token works",
    )
    .retry_after(left.max(SHORT_PAUSE))
    .then(After::PauseUnlessRejected)
}

/// The provider refuses so many grants at once that it is not believed.
pub(super) fn doubted() -> Failure {
    Failure::new(
        ErrorCode::ProviderUnavailable,
        "the provider refuses unusually many grants at once; the grant is kept and tried again",
        "a refusal for good that is doubted",
    )
}

/// No answer came.
pub(super) fn unreachable(error: WireError) -> Failure {
    let message = match error {
        WireError::HostNotAllowed | WireError::AddressDenied | WireError::Insecure => {
            "the token endpoint's address is not allowed here; an operator can allow it"
        }
        _ => "the provider's token endpoint cannot be reached now; the grant is kept and tried again",
    };
    Failure::new(ErrorCode::ProviderUnavailable, message, error.to_string())
}

/// A refusal that does not end the grant.
pub(super) fn refusal(error: &TokenError) -> Failure {
    let (code, message) = match error.class() {
        ErrorClass::Client => (
            ErrorCode::ClientRejected,
            "the provider does not accept the connector's client id or secret; an administrator should check them",
        ),
        ErrorClass::Config => (
            ErrorCode::ProviderConfigError,
            "the provider says that the token request is configured wrongly; an administrator should check the connector",
        ),
        ErrorClass::Transient | ErrorClass::RateLimited | ErrorClass::Terminal => (
            ErrorCode::ProviderUnavailable,
            "the provider cannot renew the token now; the grant is kept and tried again",
        ),
    };
    let mends = (error.class() == ErrorClass::Config).then_some(MENDING_PAUSE);
    Failure {
        retry_after: error.retry_after().or(mends),
        ..Failure::new(code, message, error.to_string())
    }
}
