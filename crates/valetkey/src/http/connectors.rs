//! Connector types and connectors.

use axum::extract::{Path, RawQuery, State};
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use valetkey_core::{AuthMode, ConnectorId, ErrorCode};
use valetkey_engine::{ChangeConnector, ConnectorPage, ConnectorView, FoundConnectors, NewConnector};

use super::body::{Json, connector_id};
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::query;
use super::router::AppState;

/// A JSON object.
type Object = Map<String, Value>;

/// A connector to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateConnector {
    /// For people: 1 to 255 characters.
    name: String,
    /// Its type, such as `.slack2`.
    connector_type_id: String,
    /// Checked against the type's config schema.
    #[serde(default)]
    #[schema(value_type = Object)]
    config: Object,
    /// `authType`, and that auth type's fields. They never come back.
    #[serde(default)]
    #[schema(value_type = Object)]
    secrets: Object,
    /// The auth type's own default if left out.
    #[schema(value_type = Option<String>)]
    auth_mode: Option<AuthMode>,
    /// Accept the callback path without a context, as OAuth apps registered for the older API use it.
    #[serde(default, rename = "legacyRedirectUri")]
    legacy_redirect_uri: bool,
}

/// A change of a connector.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateConnector {
    /// For people: 1 to 255 characters.
    name: String,
    /// Replaces the settings.
    #[serde(default)]
    #[schema(value_type = Object)]
    config: Object,
    /// Kept if left out.
    #[schema(value_type = Option<Object>)]
    secrets: Option<Object>,
}

/// The connector types.
#[utoipa::path(get, path = "/api/actions/connector_types", tag = "connectors",
    responses((status = 200, body = Vec<Value>), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn list_connector_types(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
) -> Result<impl IntoResponse, ApiError> {
    Ok(axum::Json(state.engine.connector_types(&caller)?))
}

/// One connector type: its schemas, auth types and actions.
#[utoipa::path(get, path = "/api/actions/connector_types/{type}", tag = "connectors",
    params(("type" = String, Path, description = "such as `.slack2`")),
    responses((status = 200, body = Value), (status = 404, body = ErrorBody)))]
pub(crate) async fn get_connector_type(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Path(type_id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    Ok(axum::Json(state.engine.connector_type(&caller, &type_id)?))
}

/// Creates a connector with a random id.
#[utoipa::path(post, path = "/api/actions/connector", tag = "connectors", request_body = CreateConnector,
    responses((status = 200, body = ConnectorView), (status = 400, body = ErrorBody)))]
pub(crate) async fn create_connector(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Json(body): Json<CreateConnector>,
) -> Result<impl IntoResponse, ApiError> {
    Ok(axum::Json(
        state.engine.create_connector(&caller, body.with_id(None)).await?,
    ))
}

/// Creates a connector with an id of the caller's choice.
#[utoipa::path(post, path = "/api/actions/connector/{id}", tag = "connectors", request_body = CreateConnector,
    params(("id" = String, Path)),
    responses((status = 200, body = ConnectorView), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(crate) async fn create_connector_with_id(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Path(id): Path<String>,
    Json(body): Json<CreateConnector>,
) -> Result<impl IntoResponse, ApiError> {
    let id = ConnectorId::new(id).map_err(|e| ApiError::new(ErrorCode::ValidationFailed, format!("id: {e}")))?;
    Ok(axum::Json(
        state.engine.create_connector(&caller, body.with_id(Some(id))).await?,
    ))
}

/// Changes a connector. Secrets that are left out are kept.
#[utoipa::path(put, path = "/api/actions/connector/{id}", tag = "connectors", request_body = UpdateConnector,
    params(("id" = String, Path)),
    responses((status = 200, body = ConnectorView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(crate) async fn update_connector(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
    Json(body): Json<UpdateConnector>,
) -> Result<impl IntoResponse, ApiError> {
    let change = ChangeConnector {
        name: body.name,
        config: body.config,
        secrets: body.secrets,
    };
    Ok(axum::Json(
        state
            .engine
            .change_connector(&caller, &connector_id(id)?, change)
            .await?,
    ))
}

/// One connector.
#[utoipa::path(get, path = "/api/actions/connector/{id}", tag = "connectors", params(("id" = String, Path)),
    responses((status = 200, body = ConnectorView), (status = 404, body = ErrorBody)))]
pub(crate) async fn get_connector(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    Ok(axum::Json(
        state.engine.get_connector(&caller, &connector_id(id)?).await?,
    ))
}

/// The connectors of the space, by id.
#[utoipa::path(get, path = "/api/actions/connectors", tag = "connectors",
    params(("after" = Option<String>, Query, description = "the last id of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 500; all of them if left out"),
        ("search" = Option<String>, Query, description = "only those with this in their name or type id, in any case")),
    responses((status = 200, body = Vec<ConnectorView>), (status = 400, body = ErrorBody)))]
pub(crate) async fn list_connectors(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let page = read_page(query.as_deref().unwrap_or_default())?;
    Ok(axum::Json(state.engine.page_connectors(&caller, page).await?))
}

/// A page of the connectors of the space, by id. It can have fewer than asked for, even none, although there are more: go on
/// while there is a `next`.
#[utoipa::path(get, path = "/api/actions/connectors/_search", tag = "connectors",
    params(("search" = Option<String>, Query, description = "only those with this in their name or type id, in any case"),
        ("after" = Option<String>, Query, description = "the `next` of the page before; the search must be the same"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 if left out")),
    responses((status = 200, body = FoundConnectors), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn search_connectors(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let names = ["search", "after", "limit"];
    let page = query::read(query.as_deref(), &names, |page: &mut ConnectorPage, name, value| {
        match name {
            "search" => page.search = Some(value),
            "after" => page.after = Some(ConnectorId::new(value).ok()?),
            "limit" => page.limit = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    })?;
    Ok(axum::Json(state.engine.find_connectors(&caller, page).await?))
}

/// Other parameters are left to whoever sends them: clients of the older API add their own.
fn read_page(query: &str) -> Result<ConnectorPage, ApiError> {
    let mut page = ConnectorPage::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let wrong = |rule: &str| ApiError::new(ErrorCode::ValidationFailed, format!("{name}: {rule}"));
        match name.as_ref() {
            "after" => page.after = Some(ConnectorId::new(value).map_err(|e| wrong(&e.to_string()))?),
            "search" if value.len() > 256 => return Err(wrong("must be at most 256 bytes")),
            "search" => page.search = Some(value.into_owned()),
            "limit" => page.limit = Some(value.parse().map_err(|_| wrong("must be a number"))?),
            _ => {}
        }
    }
    Ok(page)
}

/// Deletes a connector; its connections are revoked at the provider as far as that can be done, and deleted.
#[utoipa::path(delete, path = "/api/actions/connector/{id}", tag = "connectors", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete_connector(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    state.engine.delete_connector(&caller, &connector_id(id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl CreateConnector {
    fn with_id(self, id: Option<ConnectorId>) -> NewConnector {
        NewConnector {
            id,
            name: self.name,
            connector_type_id: self.connector_type_id,
            config: self.config,
            secrets: self.secrets,
            auth_mode: self.auth_mode,
            legacy_redirect_uri: self.legacy_redirect_uri,
        }
    }
}
