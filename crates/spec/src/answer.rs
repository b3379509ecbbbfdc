//! Answers, read into results.

use http::header::{HeaderMap, SET_COOKIE};
use serde_json::{Map, Value, json};
use valetkey_core::Response;
use valetkey_core::encode::base64;

use crate::failure::{Errors, Failure, Verdict, reason};
use crate::file::ResultKind;
use crate::program::Plan;

/// Reads an answer as the plan says.
pub(crate) fn read(errors: &Errors, action: &str, plan: &Plan, response: &Response) -> Result<Value, Verdict> {
    let status = response.status;
    let full = plan.result == ResultKind::Full;
    // a whole answer is shown as it is: a redirect, which nobody followed, is a result too
    let good = response.is_success() || plan.accept.contains(&status) || full && (300..400).contains(&status);
    let wanted = match plan.result {
        ResultKind::Json => true,
        ResultKind::Full => looks_like_json(response),
        ResultKind::Text | ResultKind::Base64 => !good && looks_like_json(response),
    };
    let body = wanted
        .then(|| serde_json::from_slice::<Value>(&response.body).ok())
        .flatten();
    if let Some(mut verdict) = errors.judge(action, good, response, body.as_ref()) {
        verdict.failure.data = full.then(|| whole(response, body));
        return Err(verdict);
    }
    match plan.result {
        ResultKind::Full => Ok(whole(response, body)),
        ResultKind::Json if response.body.is_empty() => Ok(Value::Null),
        ResultKind::Json => body.ok_or_else(|| {
            let failure = Failure::of_answer("the answer is not JSON", status);
            Verdict {
                failure,
                rate_limited: false,
            }
        }),
        ResultKind::Text => Ok(content(
            response,
            "text",
            String::from_utf8_lossy(&response.body).into_owned(),
        )),
        ResultKind::Base64 => Ok(content(response, "base64", base64(&response.body))),
    }
}

/// What expressions see of an answer besides its body.
pub(crate) fn about(response: &Response) -> Value {
    json!({
        "status": response.status,
        "status_text": reason(response.status).unwrap_or_default(),
        "headers": headers(&response.headers),
    })
}

/// The media type says so, or does not speak against it: many APIs send JSON as plain text.
fn looks_like_json(response: &Response) -> bool {
    let starts = || matches!(response.body.trim_ascii_start().first(), Some(b'{' | b'['));
    response
        .media_type()
        .map_or_else(starts, |t| is_json(&t) || is_textual(&t) && starts())
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.ends_with("+json")
}

fn is_textual(media_type: &str) -> bool {
    let more = [
        "application/xml",
        "application/javascript",
        "application/x-www-form-urlencoded",
        "application/graphql",
    ];
    media_type.starts_with("text/") || is_json(media_type) || media_type.ends_with("+xml") || more.contains(&media_type)
}

fn whole(response: &Response, body: Option<Value>) -> Value {
    let textual = response.media_type().is_none_or(|t| is_textual(&t));
    let data = match (body, std::str::from_utf8(&response.body)) {
        _ if response.body.is_empty() => Value::Null,
        (Some(json), _) => json,
        (None, Ok(text)) if textual => text.into(),
        (None, _) => json!({"base64": base64(&response.body)}),
    };
    json!({"status": response.status, "headers": headers(&response.headers), "data": data})
}

fn content(response: &Response, member: &str, value: String) -> Value {
    let mut out = Map::new();
    if let Some(content_type) = response.header("content-type") {
        out.insert("contentType".to_owned(), content_type.into());
    }
    if let Some(length) = response.header("content-length") {
        out.insert("contentLength".to_owned(), length.into());
    }
    out.insert(member.to_owned(), value.into());
    Value::Object(out)
}

/// The headers in lower case, several of one name joined. Cookies are credentials and stay out.
fn headers(headers: &HeaderMap) -> Value {
    let mut out = Map::new();
    for name in headers.keys().filter(|name| **name != SET_COOKIE) {
        let values = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        out.insert(name.as_str().to_owned(), values.collect::<Vec<_>>().join(", ").into());
    }
    Value::Object(out)
}
