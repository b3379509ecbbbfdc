//! The OAuth flow over the API: start, cancel, disconnect, standing. The pages that browsers see are in `pages`.

use std::collections::BTreeSet;

use axum::extract::{Path, RawQuery, State};
use axum::response::IntoResponse;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use valetkey_core::{ConnectionName, ConnectorId, ErrorCode, Secret, Timestamp};
use valetkey_engine::AuthStatus;
use valetkey_engine::flow::StartFlow;

use super::body::{Connection, Json, connector_id};
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::router::AppState;

/// A flow to be started.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct StartBody {
    /// Where the browser goes when the flow is over.
    return_url: Option<String>,
    /// Whether our page asks before it leaves for the provider; yes if left out.
    confirm: Option<bool>,
    /// A part of the connector's scopes; all of them if left out.
    scopes: Option<Vec<String>>,
    /// Which of the owner's accounts; `default` if left out.
    #[schema(value_type = Option<String>)]
    connection: Connection,
    /// Whether another account of the provider may take the place of the one that is connected; no if left out.
    #[serde(default)]
    allow_account_change: bool,
    /// Authentication contexts that the sign-in must have, separated by spaces: `acr_values` of an `authorization`.
    acr_values: Option<String>,
    /// How many seconds old the sign-in may be: `max_age` of an `authorization`.
    max_age: Option<u64>,
}

/// A flow that was started.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartAnswer {
    /// Where the browser must go.
    authorization_url: String,
    /// Identifies the flow, to cancel it.
    state: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A flow to be cancelled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelBody {
    /// What start answered.
    #[schema(value_type = String)]
    state: Secret<String>,
}

/// A connection to be ended.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisconnectBody {
    /// Which of the owner's accounts; `default` if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    connection: Connection,
}

/// Which connectors are asked about.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct StatusBody {
    /// Only these, at most 500; those that do not exist are left out of the answer. All of the space if left out.
    #[schema(value_type = Option<Vec<String>>)]
    connector_ids: Option<BTreeSet<ConnectorId>>,
}

/// Starts the authorization code flow for the caller, who needs `oauth:connect`, and for an account that is shared `connectors:write`
/// too.
#[utoipa::path(post, path = "/api/actions/connector/{id}/_start_oauth_flow", tag = "connect", request_body = StartBody,
    params(("id" = String, Path)),
    responses((status = 200, body = StartAnswer), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(crate) async fn start_oauth_flow(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
    Json(body): Json<StartBody>,
) -> Result<impl IntoResponse, ApiError> {
    let start = StartFlow {
        return_url: body.return_url,
        confirm: body.confirm,
        scopes: body.scopes,
        connection: body.connection,
        allow_account_change: body.allow_account_change,
        acr_values: body.acr_values,
        max_age: body.max_age,
    };
    let started = state.engine.start_flow(&caller, &connector_id(id)?, start).await?;
    Ok(axum::Json(StartAnswer {
        authorization_url: started.authorization_url.into(),
        state: started.state.expose().clone(),
        expires_at: started.expires_at,
    }))
}

/// Starts the flow and sends the browser on its way.
#[utoipa::path(get, path = "/api/actions/connector/{id}/oauth/start", tag = "connect",
    params(("id" = String, Path), ("returnUrl" = Option<String>, Query), ("confirm" = Option<bool>, Query),
        ("connection" = Option<String>, Query)),
    responses((status = 302), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(crate) async fn oauth_start(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    // A link on any page makes a browser send this with its cookie.
    if caller.principal.in_session {
        return Err(ApiError::new(
            ErrorCode::CrossSiteRequest,
            "with a session a flow is started by `POST …/_start_oauth_flow`",
        ));
    }
    let start = read_start(query.as_deref().unwrap_or_default())?;
    let started = state.engine.start_flow(&caller, &connector_id(id)?, start).await?;
    let location = HeaderValue::from_str(started.authorization_url.as_str())
        .map_err(|e| ApiError(valetkey_engine::Error::internal(e)))?;
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]))
}

fn read_start(query: &str) -> Result<StartFlow, ApiError> {
    let mut start = StartFlow::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let wrong = || {
            ApiError::new(
                ErrorCode::ValidationFailed,
                format!("{name}: is not a value that can be taken"),
            )
        };
        match name.as_ref() {
            "returnUrl" => start.return_url = Some(value.into_owned()),
            "confirm" => start.confirm = Some(value.parse().map_err(|_| wrong())?),
            "connection" => start.connection = Some(ConnectionName::new(value).map_err(|_| wrong())?),
            _ => {
                return Err(ApiError::new(
                    ErrorCode::UnknownField,
                    "there are the parameters returnUrl, confirm and connection",
                ));
            }
        }
    }
    Ok(start)
}

/// Ends a waiting flow of the caller's. Also 204 when there is none.
#[utoipa::path(post, path = "/api/actions/connector/{id}/_oauth_cancel", tag = "connect", request_body = CancelBody,
    params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn oauth_cancel(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
    Json(body): Json<CancelBody>,
) -> Result<impl IntoResponse, ApiError> {
    state
        .engine
        .cancel_flow(&caller, &connector_id(id)?, body.state.expose())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the caller's connection: at once here, and at the provider as far as that can be done.
#[utoipa::path(post, path = "/api/actions/connector/{id}/_oauth_disconnect", tag = "connect",
    request_body = DisconnectBody, params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn oauth_disconnect(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
    Json(body): Json<DisconnectBody>,
) -> Result<impl IntoResponse, ApiError> {
    state
        .engine
        .disconnect(&caller, &connector_id(id)?, body.connection)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How the caller stands with every connector, or with some.
#[utoipa::path(post, path = "/api/actions/connectors/_me/auth_status", tag = "connect", request_body = StatusBody,
    responses((status = 200, body = std::collections::BTreeMap<String, AuthStatus>), (status = 400, body = ErrorBody)))]
pub(crate) async fn auth_status(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Json(body): Json<StatusBody>,
) -> Result<impl IntoResponse, ApiError> {
    Ok(axum::Json(match &body.connector_ids {
        Some(ids) => state.engine.auth_status_of(&caller, ids).await?,
        None => state.engine.auth_status(&caller).await?,
    }))
}
