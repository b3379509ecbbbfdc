//! Running the service: is it alive, is it ready, what does it count, what does its API look like.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use valetkey_core::{ErrorCode, Privilege};
use valetkey_engine::Health;

use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::router::AppState;

/// How the service is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// `ok`, or `degraded`.
    #[serde(rename = "status")]
    health: &'static str,
    /// The version of the program.
    version: &'static str,
    /// More, for administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
}

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, content_type = "text/plain")))]
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// The process can serve: the store answers and can be written, and no stop is under way.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, content_type = "text/plain"), (status = 503, body = ErrorBody)))]
pub(crate) async fn readyz(State(state): State<AppState>) -> Result<Response, ApiError> {
    if state.stopping.is_cancelled() {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response());
    }
    state.engine.ready().await?;
    Ok("ready".into_response())
}

/// How the service is; more for callers with `admin`.
#[utoipa::path(get, path = "/api/status", tag = "operation", responses((status = 200, body = Status)))]
pub(crate) async fn get_status(
    State(state): State<AppState>,
    headers: HeaderMap,
    guarded: Result<Guarded, ApiError>,
) -> Result<impl IntoResponse, ApiError> {
    let ready = state.engine.ready().await.is_ok();
    let details = match guarded {
        Ok(Guarded(caller)) if caller.principal.may(Privilege::Admin) => Some(json!({
            "store": { "kind": state.store_kind, "writable": ready },
            "connector_types": state.engine.catalogue().iter().count(),
            "public_base_url": state.public_base_url.as_deref(),
        })),
        Err(error) if headers.contains_key(header::AUTHORIZATION) => return Err(error),
        Ok(_) | Err(_) => None,
    };
    let health = if ready { "ok" } else { "degraded" };
    Ok(axum::Json(Status {
        health,
        version: env!("CARGO_PKG_VERSION"),
        details,
    }))
}

/// What the service counts, in the `OpenMetrics` text format.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let text = state
        .metrics_text()
        .map_err(|e| ApiError(valetkey_engine::Error::internal(e)))?;
    Ok((
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response())
}

/// How flows, refreshes and uses of the space went, in all processes together.
#[utoipa::path(get, path = "/api/health", tag = "operation",
    params(("hours" = Option<u32>, Query, description = "how far back: 1 to 720; 24 if left out")),
    responses((status = 200, body = Health), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn get_health(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let mut hours = None;
    for (name, value) in url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes()) {
        if name != "hours" {
            return Err(ApiError::new(ErrorCode::UnknownField, "there is the parameter hours"));
        }
        let wrong = |_| ApiError::new(ErrorCode::ValidationFailed, "hours: must be a number");
        hours = Some(value.parse().map_err(wrong)?);
    }
    Ok(axum::Json(state.engine.health(&caller, hours).await?))
}

/// This API, described.
#[utoipa::path(get, path = "/api/openapi.json", tag = "operation", responses((status = 200, body = Value)))]
pub(crate) async fn get_openapi(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], state.openapi.clone()).into_response()
}
