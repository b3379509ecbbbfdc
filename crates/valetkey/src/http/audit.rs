//! The audit log.

use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use valetkey_core::{ConnectionName, ConnectorId, ErrorCode, ProfileUid, Timestamp};
use valetkey_engine::{AuditPage, AuditQuery};

use super::connections::owner;
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
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
    Ok(axum::Json(
        state
            .engine
            .audit(&caller, read(query.as_deref().unwrap_or_default())?)
            .await?,
    ))
}

fn read(text: &str) -> Result<AuditQuery, ApiError> {
    let mut query = AuditQuery::default();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let wrong = || {
            ApiError::new(
                ErrorCode::ValidationFailed,
                format!("{name}: is not a value that this filter takes"),
            )
        };
        let value = value.into_owned();
        match name.as_ref() {
            "type" => query.kind = Some(value),
            "connector" => query.connector = Some(ConnectorId::new(value).map_err(|_| wrong())?),
            "user" => query.user = Some(ProfileUid::new(value).map_err(|_| wrong())?),
            "owner" => query.owner = Some(owner(&value).ok_or_else(wrong)?),
            "connection" => query.connection = Some(ConnectionName::new(value).map_err(|_| wrong())?),
            "from" => query.from = Some(Timestamp::parse(&value).ok_or_else(wrong)?),
            "to" => query.to = Some(Timestamp::parse(&value).ok_or_else(wrong)?),
            "after" => query.after = Some(value.parse().map_err(|_| wrong())?),
            "limit" => query.limit = Some(value.parse().map_err(|_| wrong())?),
            _ => {
                return Err(ApiError::new(
                    ErrorCode::UnknownField,
                    "there are the filters type, connector, user, owner, connection, from, to, after and limit",
                ));
            }
        }
    }
    Ok(query)
}
