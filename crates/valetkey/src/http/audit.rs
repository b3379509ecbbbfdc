//! The audit log.

use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use valetkey_core::{ConnectionName, ConnectorId, ProfileUid, Timestamp};
use valetkey_engine::{AuditPage, AuditQuery};

use super::connections::owner;
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::query;
use super::router::AppState;

/// Who did what, newest first.
#[utoipa::path(get, path = "/api/audit", tag = "operation",
    params(
        ("type" = Option<String>, Query, description = "only this type, such as `token.refresh`"),
        ("connector" = Option<String>, Query, description = "only this connector"),
        ("user" = Option<String>, Query, description = "only this user"),
        ("owner" = Option<String>, Query, description = "only connections of this owner: `shared` or a `profile_uid`"),
        ("connection" = Option<String>, Query, description = "only connections with this name"),
        ("from" = Option<String>, Query, description = "not before this RFC 3339 time"),
        ("to" = Option<String>, Query, description = "before this RFC 3339 time"),
        ("after" = Option<i64>, Query, description = "the `next` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 if left out")),
    responses((status = 200, body = AuditPage), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn list_audit(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let query = read(query.as_deref())?;
    Ok(axum::Json(state.engine.audit(&caller, query).await?))
}

const FILTERS: [&str; 9] = [
    "type",
    "connector",
    "user",
    "owner",
    "connection",
    "from",
    "to",
    "after",
    "limit",
];

fn read(text: Option<&str>) -> Result<AuditQuery, ApiError> {
    query::read(text, &FILTERS, |query: &mut AuditQuery, name, value| {
        match name {
            "type" => query.kind = Some(value),
            "connector" => query.connector = Some(ConnectorId::new(value).ok()?),
            "user" => query.user = Some(ProfileUid::new(value).ok()?),
            "owner" => query.owner = Some(owner(&value)?),
            "connection" => query.connection = Some(ConnectionName::new(value).ok()?),
            "from" => query.from = Some(Timestamp::parse(&value)?),
            "to" => query.to = Some(Timestamp::parse(&value)?),
            "after" => query.after = Some(value.parse().ok()?),
            "limit" => query.limit = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    })
}
