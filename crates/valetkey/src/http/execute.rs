//! Running actions and tests.

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use valetkey_engine::{Execute, ExecuteResult, TestResult};

use super::body::{Connection, Json, connector_id};
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::router::AppState;

/// An action to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecuteBody {
    /// Which action, and its input.
    params: ExecuteParams,
    /// Which of the owner's accounts; `default` if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    connection: Connection,
}

/// Which action, and its input.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecuteParams {
    /// The action's name.
    #[serde(rename = "subAction")]
    sub_action: String,
    /// Checked against the action's input schema.
    #[serde(default, rename = "subActionParams")]
    #[schema(value_type = Object)]
    sub_action_params: Map<String, Value>,
}

/// A test of a connector.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestBody {
    /// Which of the owner's accounts; `default` if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    connection: Connection,
}

/// Runs an action with the caller's connection.
#[utoipa::path(post, path = "/api/actions/connector/{id}/_execute", tag = "use", request_body = ExecuteBody,
    params(("id" = String, Path)),
    responses((status = 200, body = ExecuteResult), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(crate) async fn execute(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
    Json(body): Json<ExecuteBody>,
) -> Result<impl IntoResponse, ApiError> {
    let execute = Execute {
        sub_action: body.params.sub_action,
        params: Value::Object(body.params.sub_action_params),
        connection: body.connection,
    };
    let result = state.engine.execute(&caller, &connector_id(id)?, execute).await?;
    state.settle_audit().await?;
    Ok(axum::Json(result))
}

/// Runs the type's own test call with the caller's connection.
#[utoipa::path(post, path = "/api/actions/connector/{id}/_test", tag = "use", request_body = TestBody,
    params(("id" = String, Path)),
    responses((status = 200, body = TestResult), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(crate) async fn test_connector(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    id: Path<String>,
    Json(body): Json<TestBody>,
) -> Result<impl IntoResponse, ApiError> {
    Ok(axum::Json(
        state.engine.test(&caller, &connector_id(id)?, body.connection).await?,
    ))
}
