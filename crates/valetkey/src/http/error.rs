//! Errors on the wire: the one table from code to status, and the body that every error has.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::ErrorCode;
use valetkey_engine::{Authorization, Error};

/// Which status a code has.
pub(crate) fn status(code: ErrorCode) -> StatusCode {
    use ErrorCode as C;
    match code {
        C::CredentialInUrl
        | C::MultipleCredentials
        | C::InvalidRequest
        | C::ValidationFailed
        | C::UnknownField
        | C::InvalidSpace
        | C::PublicBaseUrlMissing
        | C::HostNotAllowed
        | C::ReturnUrlNotAllowed
        | C::AuthTypeNotOauth
        | C::OauthConfigIncomplete
        | C::DiscoveryFailed
        | C::ReservedParameter
        | C::FlowInvalid
        | C::FlowExpired
        | C::ContextMismatch
        | C::DuplicateParameter
        | C::SignInInvalid
        | C::IssuerMissing
        | C::IssuerMismatch
        | C::ProviderRefused
        | C::CodeRejected
        | C::PathInvalid
        | C::HeaderInvalid => StatusCode::BAD_REQUEST,
        C::Unauthenticated | C::KeyExpired | C::SessionRevoked => StatusCode::UNAUTHORIZED,
        C::PrivilegeMissing
        | C::SpaceNotAllowed
        | C::ActionNotAllowed
        | C::UserNotAllowed
        | C::ScopeNotAllowed
        | C::FlowBrowserMismatch
        | C::FlowUserMismatch
        | C::ConnectNotAllowed
        | C::DeniedByUser
        | C::FlowCancelled
        | C::AddressDenied
        | C::OriginNotAllowed
        | C::CrossSiteRequest
        | C::SignInNotAllowed => StatusCode::FORBIDDEN,
        C::RouteNotFound | C::ConnectorNotFound | C::ConnectorTypeNotFound | C::KeyNotFound | C::TicketUnknown => {
            StatusCode::NOT_FOUND
        }
        C::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        C::UserRequired
        | C::ConnectorExists
        | C::ConnectorConflict
        | C::ConnectorSecretsMissing
        | C::RotationUnderWay
        | C::FlowAlreadyUsed
        | C::ProviderChanged
        | C::AccountChanged
        | C::AuthorizationRequired => StatusCode::CONFLICT,
        C::TicketUsed => StatusCode::GONE,
        C::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        C::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
        C::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        C::TooManyFailures | C::RateLimited | C::TooManyFlows | C::TooManyCalls | C::RefreshCooldown => {
            StatusCode::TOO_MANY_REQUESTS
        }
        C::IntegrityError | C::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        C::ProviderUnavailable
        | C::ClientRejected
        | C::ProviderConfigError
        | C::ProviderBadResponse
        | C::ProviderResponseTooLarge
        | C::ProviderRedirected
        | C::TokenUnusable
        | C::IdTokenInvalid
        | C::ResponseTooLarge => StatusCode::BAD_GATEWAY,
        C::StoreUnavailable | C::RefreshBusy | C::SessionUnconfirmed => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorBody {
    /// The HTTP status.
    status_code: u16,
    /// The status in words.
    error: String,
    /// For people: what happened and what to do next.
    message: String,
    /// For machines: stable.
    code: &'static str,
    /// Finds the request in the log.
    request_id: String,
    /// What a person must do first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    authorization: Option<Authorization>,
}

/// A failed request. The body is written by the front, which knows the request's id.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Error);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Error::new(code, message))
    }
}

/// What the front finds in a response that has no body yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending(pub(crate) std::sync::Arc<Error>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = status(self.0.code).into_response();
        response.extensions_mut().insert(Pending(std::sync::Arc::new(self.0)));
        response
    }
}

/// Writes the body of a failed request.
pub(crate) fn write_body(response: &mut Response, error: &Error, request_id: &str) {
    let status = response.status();
    let body = ErrorBody {
        status_code: status.as_u16(),
        error: status.canonical_reason().unwrap_or("Error").to_owned(),
        message: error.message.clone(),
        code: error.code.as_str(),
        request_id: request_id.to_owned(),
        authorization: error.authorization.as_deref().cloned(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(wait) = error.retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey, Bearer"));
    }
    // The body is made of plain texts; it always has a JSON form.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    // The router has announced the empty body that this one replaces.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = body.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error_status() {
        for code in ErrorCode::ALL {
            let status = status(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
        }
    }
}
