//! The keys that seal what is stored: what they are, and their rotation while the server runs.

use axum::extract::State;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::ToSchema;
use valetkey_core::{ErrorCode, Privilege};
use valetkey_engine::{Error, Exchange, SealingView};
use valetkey_seal::KeySource as _;

use super::body::Json;
use super::error::{ApiError, ErrorBody};
use super::guard::Guarded;
use super::router::AppState;
use crate::system::SystemRng;

/// Which key is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The data key that seals.
    Data,
    /// The master key that wraps the data keys, and the data key that seals with it.
    Master,
}

/// What is to be rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateKey {
    /// Which key.
    key: Kind,
}

/// What was rotated.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotatedKey {
    /// Which key.
    key: Kind,
    /// The data key that seals from now on.
    data_key: u32,
    /// The master key that opens the store from now on beside the one in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_master_key: Option<NewMasterKey>,
}

/// The new master key. Itself it is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewMasterKey {
    /// Its public name.
    name: String,
    /// Its file on the server; absent if the setting `new_master_key` holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// Whether that file was made just now. It is the only copy then.
    made: bool,
}

/// What is to be retired.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetireMasterKey {
    /// Take the exchange back: retire the new master key instead of the old one.
    #[serde(default)]
    undo: bool,
}

/// What was retired.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetiredMasterKeys {
    /// The names of the master keys that do not open the store any more; empty if there was none but the one in use.
    retired: Vec<String>,
}

/// The keys that seal, none of them shown, and how far sealing again has come.
#[utoipa::path(get, path = "/api/security/sealing", tag = "sealing",
    responses((status = 200, body = SealingView), (status = 403, body = ErrorBody)))]
pub(crate) async fn get_sealing(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
) -> Result<impl IntoResponse, ApiError> {
    Ok(axum::Json(state.engine.sealing_view(&caller).await?))
}

/// Makes a new data key that seals from now on; for `master`, the new master key of the settings opens the store from now
/// on too. Everything stored stays readable, and is sealed again in the background.
#[utoipa::path(post, path = "/api/security/sealing/_rotate", tag = "sealing", request_body = RotateKey,
    responses((status = 200, body = RotatedKey), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(crate) async fn rotate_key(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Json(body): Json<RotateKey>,
) -> Result<impl IntoResponse, ApiError> {
    // Before a file is made for somebody who may not.
    caller.need(Privilege::Admin)?;
    let mut rotated = RotatedKey {
        key: body.key,
        data_key: 0,
        new_master_key: None,
    };
    match body.key {
        Kind::Data => rotated.data_key = state.engine.rotate_data_key(&caller).await?,
        Kind::Master => {
            let place = std::sync::Arc::clone(&state.new_master);
            let found = spawn_blocking(move || place.find(&SystemRng))
                .await
                .map_err(Error::internal)?
                .map_err(|text| ApiError::new(ErrorCode::ValidationFailed, text))?;
            rotated.data_key = match state.engine.rotate_master(&caller, &found.key).await? {
                Exchange::Begun(data_key) | Exchange::Prepared(data_key) => data_key,
            };
            rotated.new_master_key = Some(NewMasterKey {
                name: found.key.id().to_owned(),
                file: found.file.map(|file| file.display().to_string()),
                made: found.made,
            });
        }
    }
    Ok(axum::Json(rotated))
}

/// Ends the exchange of the master key: only the one in use opens the store from now on. Refused while the one in use is
/// the older one.
#[utoipa::path(post, path = "/api/security/sealing/_retire", tag = "sealing", request_body = RetireMasterKey,
    responses((status = 200, body = RetiredMasterKeys), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(crate) async fn retire_master_key(
    State(state): State<AppState>,
    Guarded(caller): Guarded,
    Json(body): Json<RetireMasterKey>,
) -> Result<impl IntoResponse, ApiError> {
    let retired = state.engine.retire_master(&caller, body.undo).await?;
    Ok(axum::Json(RetiredMasterKeys { retired }))
}
