//! What a request carries.

use http::HeaderValue;
use serde_json::Value;

use super::{Body, Failure, Maker};
use crate::path::scalar;

/// Bytes, and what they are.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) content_type: Option<HeaderValue>,
    pub(super) bytes: Vec<u8>,
}

impl Content {
    pub(super) fn new(content_type: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            content_type: Some(HeaderValue::from_static(content_type)),
            bytes,
        }
    }

    pub(super) fn none() -> Self {
        Self {
            content_type: None,
            bytes: Vec::new(),
        }
    }
}

impl Maker<'_> {
    pub(super) fn body(self, body: &Body) -> Result<Content, Failure> {
        Ok(match body {
            Body::None => Content::none(),
            Body::Json(source) => {
                let mut json = self.json(source)?;
                if let Value::Object(members) = &mut json {
                    members.retain(|_, value| !value.is_null());
                }
                Content::new("application/json", json.to_string().into_bytes())
            }
            Body::Form(source) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in super::members(&self.json(source)?, "form")?.filter(|(_, value)| !value.is_null())
                {
                    form.append_pair(name, &scalar(value).unwrap_or_else(|| value.to_string()));
                }
                Content::new("application/x-www-form-urlencoded", form.finish().into_bytes())
            }
            Body::Content(expr) => {
                let bytes = bytes(&self.run(*expr)?).ok_or_else(|| Failure::of_caller(NOT_BYTES))?;
                Content::new("application/octet-stream", bytes)
            }
            Body::Multipart(expr) => self.multipart(&self.run(*expr)?)?,
        })
    }

    fn multipart(self, parts: &Value) -> Result<Content, Failure> {
        let boundary = format!("valetkey-{:016x}", self.seed);
        let mut out = Vec::new();
        for part in parts.as_array().into_iter().flatten() {
            let text = |member: &str| part[member].as_str().map(quoted);
            let content = bytes(&part["content"]).ok_or_else(|| Failure::of_caller(NOT_BYTES))?;
            let filename = text("filename")
                .map(|name| format!("; filename=\"{name}\""))
                .unwrap_or_default();
            let media_type = text("type")
                .map(|t| format!("\r\nContent-Type: {t}"))
                .unwrap_or_default();
            let name = text("name").unwrap_or_default();
            let head = format!("Content-Disposition: form-data; name=\"{name}\"{filename}{media_type}");
            out.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
            out.extend_from_slice(&content);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}")).ok();
        Ok(Content {
            content_type,
            bytes: out,
        })
    }
}

const NOT_BYTES: &str = "the content must be a text or base64";

/// A text, or `{base64: …}`.
pub(super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(object) if object.len() == 1 => {
            valetkey_core::encode::from_base64(object.get("base64")?.as_str()?)
        }
        _ => None,
    }
}

/// As browsers write it: nothing can end the quotes or the line (WHATWG HTML, multipart/form-data encoding).
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
