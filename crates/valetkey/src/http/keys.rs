//! API keys.

use axum::extract::{Path, RawQuery, State};
use axum::response::IntoResponse;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use valetkey_core::{ConnectorId, ErrorCode, Privilege, ProfileUid, SpaceId, Timestamp};
use valetkey_engine::{FoundKeys, KeyQuery, KeyView, NewKey};

use super::body::Json;
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::query;
use super::router::AppState;

/// How many entries a list of a key may have.
const MAX_ENTRIES: usize = 1_000;

/// An API key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct CreateKey {
    /// For people: 1 to 255 characters.
    name: String,
    /// What it allows: `connectors:read`, `connectors:write`, `connectors:execute`, `oauth:connect`, `tokens:read`,
    /// `users:act_as`, `keys:write`, `audit:read`, `admin`.
    #[schema(value_type = Vec<String>)]
    privileges: Vec<Privilege>,
    /// Where it is valid; the space of the path if left out, `*` for everywhere.
    spaces: Option<Vec<String>>,
    /// The user it is bound to.
    #[schema(value_type = Option<String>)]
    profile_uid: Option<ProfileUid>,
    /// The only connectors it may see.
    #[schema(value_type = Option<Vec<String>>)]
    connectors: Option<Vec<ConnectorId>>,
    /// The only actions it may run.
    actions: Option<Vec<String>>,
    /// When it ends, as an RFC 3339 time.
    #[schema(value_type = Option<String>, format = DateTime)]
    expiration: Option<Timestamp>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    /// Its public id.
    id: String,
    /// For people.
    name: String,
    /// The key itself. It is shown this one time.
    key: String,
}

/// Creates an API key.
#[utoipa::path(post, path = "/api/security/api_keys", tag = "keys", request_body = CreateKey,
    responses((status = 200, body = CreatedKey), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn create_api_key(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Json(body): Json<CreateKey>,
) -> Result<impl IntoResponse, ApiError> {
    let spaces = body
        .spaces
        .clone()
        .unwrap_or_else(|| vec![caller.principal.space.to_string()]);
    check(&body, &spaces)?;
    let new = NewKey {
        name: body.name,
        privileges: body.privileges.into_iter().collect(),
        spaces,
        profile_uid: body.profile_uid,
        connectors: body.connectors,
        actions: body.actions,
        expires_at: body.expiration,
    };
    let (view, key) = state.engine.create_key(&caller, new).await?;
    Ok(axum::Json(CreatedKey {
        id: view.id,
        name: view.name,
        key: key.expose().clone(),
    }))
}

/// The API keys that are valid in the space, without the keys themselves.
#[utoipa::path(get, path = "/api/security/api_keys", tag = "keys", responses((status = 200, body = Vec<KeyView>)))]
pub(crate) async fn list_api_keys(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
) -> Result<impl IntoResponse, ApiError> {
    Ok(axum::Json(state.engine.list_keys(&caller).await?))
}

/// A page of the API keys that are valid in the space, oldest first, without the keys themselves. It can have fewer than asked
/// for, even none, although there are more: go on while there is a `next`.
#[utoipa::path(get, path = "/api/security/api_keys/_search", tag = "keys",
    params(("search" = Option<String>, Query, description = "only those with this in their name, id or user, in any case"),
        ("after" = Option<String>, Query, description = "the `next` of the page before; the search must be the same"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 if left out")),
    responses((status = 200, body = FoundKeys), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn search_api_keys(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let names = ["search", "after", "limit"];
    let query = query::read(query.as_deref(), &names, |query: &mut KeyQuery, name, value| {
        match name {
            "search" => query.search = Some(value),
            "after" => query.after = Some(value),
            "limit" => query.limit = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    })?;
    Ok(axum::Json(state.engine.find_keys(&caller, query).await?))
}

/// Invalidates an API key at once.
#[utoipa::path(delete, path = "/api/security/api_keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete_api_key(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    state.engine.delete_key(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(body: &CreateKey, spaces: &[String]) -> Result<(), ApiError> {
    let refuse = |message: &str| Err(ApiError::new(ErrorCode::ValidationFailed, message));
    let name = body.name.chars().count();
    if !(1..=255).contains(&name) || body.name.chars().any(char::is_control) {
        return refuse("name: must have 1 to 255 characters and no control characters");
    }
    if body.privileges.is_empty() {
        return refuse("privileges: must have at least one");
    }
    if spaces.is_empty()
        || spaces.len() > MAX_ENTRIES
        || !spaces.iter().all(|s| s == "*" || SpaceId::new(s.as_str()).is_ok())
    {
        return refuse("spaces: must be a list of space ids, or [\"*\"]");
    }
    let connectors = body.connectors.as_ref().map_or(0, Vec::len);
    let actions = body.actions.as_deref().unwrap_or_default();
    if connectors > MAX_ENTRIES || actions.len() > MAX_ENTRIES || actions.iter().any(|a| a.is_empty() || a.len() > 128)
    {
        return refuse("connectors, actions: at most 1000 entries each, names of 1 to 128 characters");
    }
    Ok(())
}
