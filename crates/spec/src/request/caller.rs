//! What a caller may say about a request of their own.

use http::Method;
use serde_json::Value;
use valetkey_core::ErrorCode;

use super::body::{Content, bytes};
use crate::failure::Failure;

/// Headers that are the transport's, the credential's, or about who asks: never the caller's (E19, RFC 9110 section
/// 7.6.1).
const RESERVED: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
const RESERVED_PREFIXES: &[&str] = &["proxy-", "x-forwarded-", "x-valetkey-"];

pub(super) fn method(input: &Value, allowed: &[Method]) -> Result<Method, Failure> {
    let name = input["method"].as_str().unwrap_or("GET");
    allowed
        .iter()
        .find(|method| method.as_str() == name)
        .cloned()
        .ok_or_else(|| {
            let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
            Failure::of_caller(format!("input.method must be one of {}", names.join(", ")))
        })
}

pub(super) fn check_headers(headers: &Value) -> Result<(), Failure> {
    for name in headers.as_object().into_iter().flat_map(|headers| headers.keys()) {
        let name = name.to_ascii_lowercase();
        if RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(Failure::refused(
                ErrorCode::HeaderInvalid,
                format!("input.headers: {name} may not be set"),
            ));
        }
    }
    Ok(())
}

/// A text goes as it is, `{base64: …}` as its bytes, anything else as JSON.
pub(super) fn content(body: &Value) -> Result<Content, Failure> {
    Ok(match body {
        Value::Null => Content::none(),
        Value::String(text) => Content::new("text/plain; charset=utf-8", text.clone().into_bytes()),
        Value::Object(object) if object.len() == 1 && object.contains_key("base64") => {
            let bytes = bytes(body).ok_or_else(|| Failure::of_caller("input.body.base64 is not base64"))?;
            Content::new("application/octet-stream", bytes)
        }
        json => Content::new("application/json", json.to_string().into_bytes()),
    })
}
