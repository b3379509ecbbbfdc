//! Access tokens for callers that talk to an API themselves.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use valetkey_core::{ErrorCode, Secret, Timestamp};
use valetkey_engine::{AccessTokenRequest, Account};

use super::body::{Connection, Json, connector_id};
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::router::AppState;

/// The longest validity that may be asked for: a day.
const MAX_VALIDITY: u64 = 86_400;

/// What the token must be good for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct AccessTokenBody {
    /// How long it must last at least, in seconds.
    minimum_validity_seconds: Option<u64>,
    /// A token that an API rejected; another one is wanted.
    #[schema(value_type = Option<String>)]
    rejected_token: Option<Secret<String>>,
    /// Which of the owner's accounts; `default` if left out.
    #[schema(value_type = Option<String>)]
    connection: Connection,
}

/// An access token.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccessTokenAnswer<'a> {
    /// The token itself.
    access_token: &'a str,
    /// What to put in front of it: `Bearer`.
    token_type: &'a str,
    /// When it ends, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// What it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The account at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Account>,
}

/// Hands out an access token that works, refreshed where that is needed.
#[utoipa::path(post, path = "/api/actions/connector/{id}/_oauth_access_token", tag = "use",
    request_body = AccessTokenBody, params(("id" = String, Path)),
    responses((status = 200, body = AccessTokenAnswer), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 429, body = ErrorBody)))]
pub(crate) async fn oauth_access_token(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
    Json(body): Json<AccessTokenBody>,
) -> Result<impl IntoResponse, ApiError> {
    let too_long = body.minimum_validity_seconds.is_some_and(|s| s > MAX_VALIDITY)
        || body
            .rejected_token
            .as_ref()
            .is_some_and(|t| t.expose().len() > 16 * 1024);
    if too_long {
        return Err(ApiError::new(
            ErrorCode::ValidationFailed,
            "minimumValiditySeconds may be 86400 at most, and rejectedToken 16 KiB at most",
        ));
    }
    let request = AccessTokenRequest {
        minimum_validity: body.minimum_validity_seconds.map(Duration::from_secs),
        rejected_token: body.rejected_token,
        connection: body.connection,
    };
    let token = state.engine.access_token(&caller, &connector_id(id)?, request).await?;
    state.settle_audit().await?;
    Ok(axum::Json(AccessTokenAnswer {
        access_token: token.access_token.expose(),
        token_type: &token.token_type,
        expires_at: token.expires_at,
        scope: token.scope,
        account: token.account,
    })
    .into_response())
}
