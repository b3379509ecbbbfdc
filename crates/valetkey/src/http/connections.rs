//! Connections: lists of them, and the end of any.

use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use valetkey_core::{ConnectorId, ErrorCode, Owner, ProfileUid};
use valetkey_engine::{ConnectionPage, ConnectionQuery, ConnectorPage, ListedState, OfferPage};

use super::body::{Connection, Json, connector_id};
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::query;
use super::router::AppState;

/// Which connection to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisconnectOwner {
    /// Its connector.
    connector_id: String,
    /// Whose it is: `shared` or a `profile_uid`.
    owner: String,
    /// Which of the owner's connections; `default` if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    connection: Connection,
}

/// The connections of the space, of all owners: with `connectors:write` or `audit:read`. A page can have fewer than asked for, even none, although there are more:
/// go on while there is a `next`.
#[utoipa::path(get, path = "/api/actions/connections", tag = "connect",
    params(
        ("connector" = Option<String>, Query, description = "only those of this connector"),
        ("state" = Option<ListedState>, Query, description = "only those in this state. `reauthorize` finds those that \
            became so by a refusal or an end; those whose connector was changed only together with `connector`"),
        ("owner" = Option<String>, Query, description = "only those of this owner: `shared` or a `profile_uid`"),
        ("search" = Option<String>, Query, description = "only those whose owner begins so, or, in any case, whose \
            account's label"),
        ("after" = Option<String>, Query, description = "the `next` of the page before; the filters must be the same"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 if left out")),
    responses((status = 200, body = ConnectionPage), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn list_connections(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let query = read(query.as_deref(), &FILTERS)?;
    Ok(axum::Json(state.engine.connections(&caller, query).await?))
}

/// The caller's own connections.
#[utoipa::path(get, path = "/api/actions/connections/_me", tag = "connect",
    params(
        ("connector" = Option<String>, Query, description = "only those of this connector"),
        ("state" = Option<ListedState>, Query, description = "only those in this state"),
        ("search" = Option<String>, Query, description = "only those whose account's label begins so, in any case"),
        ("after" = Option<String>, Query, description = "the `next` of the page before; the filters must be the same"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 if left out")),
    responses((status = 200, body = ConnectionPage), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(crate) async fn own_connections(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let query = read(query.as_deref(), &FILTERS[..5])?;
    Ok(axum::Json(state.engine.own_connections(&caller, query).await?))
}

/// The connectors that the caller, as a user, can connect an account of their own to, by id, with the caller's standing; what
/// is needed for that is `oauth:connect` alone. A page can have fewer than asked for, even none, although there are more: go
/// on while there is a `next`.
#[utoipa::path(get, path = "/api/actions/connectors/_me", tag = "connect",
    params(
        ("after" = Option<String>, Query, description = "the `next` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 if left out")),
    responses((status = 200, body = OfferPage), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(crate) async fn offers(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let page = query::read(
        query.as_deref(),
        &["after", "limit"],
        |page: &mut ConnectorPage, name, value| {
            match name {
                "after" => page.after = Some(ConnectorId::new(value).ok()?),
                "limit" => page.limit = Some(value.parse().ok()?),
                _ => return None,
            }
            Some(())
        },
    )?;
    Ok(axum::Json(state.engine.offers(&caller, page).await?))
}

/// Ends a connection of whichever owner: at once here, and at the provider as far as that can be done. Also 204 when there
/// is none.
#[utoipa::path(post, path = "/api/actions/connections/_disconnect", tag = "connect", request_body = DisconnectOwner,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(crate) async fn disconnect_owner(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Json(body): Json<DisconnectOwner>,
) -> Result<impl IntoResponse, ApiError> {
    let id = connector_id(axum::extract::Path(body.connector_id))?;
    let owner = owner(&body.owner).ok_or_else(|| {
        ApiError::new(
            ErrorCode::ValidationFailed,
            "owner: must be `shared` or the profile_uid of a user",
        )
    })?;
    state
        .engine
        .disconnect_owner(&caller, &id, owner, body.connection)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An owner as it is named in requests. The audit log's `user:` in front of a `profile_uid` is understood as well; it is
/// also the way to name a user who is called `shared`.
pub(crate) fn owner(text: &str) -> Option<Owner> {
    Owner::from_stored(text).or_else(|| ProfileUid::new(text).ok().map(Owner::User))
}

/// The parameters of a list of connections; those of one's own have no owner.
const FILTERS: [&str; 6] = ["connector", "state", "search", "after", "limit", "owner"];

fn read(text: Option<&str>, names: &[&str]) -> Result<ConnectionQuery, ApiError> {
    query::read(text, names, |query: &mut ConnectionQuery, name, value| {
        match name {
            "connector" => query.connector = Some(ConnectorId::new(value).ok()?),
            "state" => {
                query.state = Some(match value.as_str() {
                    "active" => ListedState::Active,
                    "reauthorize" => ListedState::Reauthorize,
                    _ => return None,
                });
            }
            "owner" => query.owner = Some(owner(&value)?),
            "search" => query.search = Some(value),
            "after" => query.after = Some(value),
            "limit" => query.limit = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    })
}
