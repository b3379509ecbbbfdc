//! Request bodies: JSON objects only, within the limit, without duplicate or unknown members.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Path, Request};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use valetkey_core::{ConnectionName, ConnectorId, ErrorCode};

use super::error::ApiError;
use super::router::AppState;

/// The most that a request may bring.
const MAX_BODY: usize = 1024 * 1024;

/// How much of a body is read that is refused. Many clients read no answer before they have sent everything, and a connection
/// that is closed on the way takes the answer with it.
const MAX_REFUSED: usize = 8 * MAX_BODY;

/// How long all of it may take.
const BODY_TIME: Duration = Duration::from_secs(20);

/// A JSON body. An empty one counts as `{}`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let is_compressed = parts.headers.get(CONTENT_ENCODING).is_some_and(|v| v != "identity");
        let bytes = tokio::time::timeout(BODY_TIME, receive(body, &parts.headers))
            .await
            .map_err(|_| {
                let seconds = BODY_TIME.as_secs();
                ApiError::new(
                    ErrorCode::BodyTooSlow,
                    format!("the body did not come within {seconds} seconds: send the request again"),
                )
            })??;
        if is_compressed {
            return Err(ApiError::new(
                ErrorCode::UnsupportedMediaType,
                "compressed bodies are not accepted",
            ));
        }
        if bytes.is_empty() {
            return read(b"{}").map(Self);
        }
        let json = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .is_some_and(is_json);
        if !json {
            return Err(ApiError::new(
                ErrorCode::UnsupportedMediaType,
                "send the body as application/json",
            ));
        }
        read(&bytes).map(Self)
    }
}

/// All of a body, or why it is refused.
async fn receive(mut body: Body, headers: &HeaderMap) -> Result<Vec<u8>, ApiError> {
    let too_large = || ApiError::new(ErrorCode::BodyTooLarge, "the body is larger than 1 MiB");
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|n| n > MAX_REFUSED as u64) {
        return Err(too_large());
    }
    let (mut bytes, mut received) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let broken = |_| ApiError::new(ErrorCode::InvalidRequest, "the body broke off: send the request again");
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        received += data.len();
        if received <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
        }
        if received > MAX_REFUSED {
            return Err(too_large());
        }
    }
    if received > MAX_BODY {
        return Err(too_large());
    }
    Ok(bytes)
}

fn is_json(content_type: &str) -> bool {
    let (media, rest) = content_type.split_once(';').unwrap_or((content_type, ""));
    let charset = rest.trim().to_ascii_lowercase();
    media.trim().eq_ignore_ascii_case("application/json") && (charset.is_empty() || charset == "charset=utf-8")
}

/// Reads a JSON object. Nothing of what it holds is repeated in the error: it may be a secret.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let object = valetkey_oauth::json::object(bytes).ok_or_else(|| {
        ApiError::new(
            ErrorCode::InvalidRequest,
            "the body must be one JSON object in UTF-8, without duplicate members and at most 64 levels deep",
        )
    })?;
    serde_path_to_error::deserialize(serde_json::Value::Object(object)).map_err(|error| {
        let path = error.path().to_string();
        let text = error.inner().to_string();
        if let Some(rest) = text.strip_prefix("unknown field `") {
            let field = rest.split('`').next().unwrap_or_default();
            let known = rest.split_once("expected ").map_or("none", |(_, known)| known);
            let field: String = field.chars().filter(|c| !c.is_control()).take(64).collect();
            return ApiError::new(
                ErrorCode::UnknownField,
                format!("there is no field `{field}` here; known: {known}"),
            );
        }
        let place = if path == "." { "the body".to_owned() } else { path };
        ApiError::new(
            ErrorCode::ValidationFailed,
            format!("{place}: {}", without_values(&text)),
        )
    })
}

/// Cuts the value out of `invalid type: string "hunter2", expected u64`.
fn without_values(text: &str) -> String {
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = text.strip_prefix(kind) {
            let expected = rest.rfind(", expected ").map_or("", |at| &rest[at..]);
            let what = rest.split([' ', ',']).next().unwrap_or("value");
            return format!("{kind}{what}{expected}");
        }
    }
    match text
        .strip_prefix("unknown variant `")
        .and_then(|rest| rest.split_once("`, "))
    {
        Some((_, expected)) => format!("unknown value, {expected}"),
        None => text.to_owned(),
    }
}

/// The connector id of a path. An id that cannot exist is an id that does not exist.
pub(crate) fn connector_id(Path(id): Path<String>) -> Result<ConnectorId, ApiError> {
    ConnectorId::new(id).map_err(|_| {
        ApiError::new(
            ErrorCode::ConnectorNotFound,
            "there is no such connector in this space, or you may not see it",
        )
    })
}

/// The optional `connection` of a body.
pub(crate) type Connection = Option<ConnectionName>;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only read by serde")]
        count: u32,
    }

    fn refusal(body: &str) -> (ErrorCode, String) {
        let error = read::<Sample>(body.as_bytes()).expect_err(body).0;
        (error.code, error.message)
    }

    #[test]
    fn d26_unknown_fields_are_named() {
        let (code, message) = refusal(r#"{"count": 1, "tenant_id": "x"}"#);
        assert_eq!(code, ErrorCode::UnknownField);
        assert!(
            message.contains("`tenant_id`") && message.contains("count"),
            "{message}"
        );
    }

    #[test]
    fn d27_odd_json_is_refused() {
        for body in [
            "[]",
            "1",
            "{\"count\":1,\"count\":2}",
            "{\"count\":1} x",
            "{\"count\":NaN}",
            "\u{feff}{}",
            "{",
        ] {
            let (code, _) = refusal(body);
            assert_eq!(code, ErrorCode::InvalidRequest, "{body}");
        }
        assert_eq!(
            refusal(&format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000))).0,
            ErrorCode::InvalidRequest
        );
    }

    #[test]
    fn wrong_types_name_the_field_and_hide_the_value() {
        let (code, message) = refusal(r#"{"count": "hunter2"}"#);
        assert_eq!(code, ErrorCode::ValidationFailed);
        assert!(
            message.starts_with("count: ") && !message.contains("hunter2"),
            "{message}"
        );
        assert_eq!(refusal("{}").1, "the body: missing field `count`");
    }
}
