//! Errors: what went wrong with an action, and how an answer says so.

use http::StatusCode;
use serde_json::Value;
use valetkey_core::{ErrorCode, Response};

use crate::expr::ExprError;
use crate::file;

/// The longest text that is taken from a provider's error.
const MAX_TEXT: usize = 500;

/// Where errors have their text where a spec says nothing: what the usual formats use (RFC 9457, OAuth, Google,
/// GitHub).
const USUAL_MESSAGES: [&str; 7] = [
    "error.message",
    "error_description",
    "message",
    "detail",
    "errors.0.message",
    "error",
    "title",
];

/// Why an action gave no result.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What happened, for the caller. Never a secret.
    pub message: String,
    /// What the provider says about it.
    pub service_message: Option<String>,
    /// Whether trying later may help.
    pub retry: bool,
    /// Whether the caller's input is to blame, or the connector's settings.
    pub user_error: bool,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The answer, where the action shows whole answers.
    pub data: Option<Value>,
    /// The code for machines, where it is one of ours.
    pub code: Option<ErrorCode>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            service_message: None,
            retry: false,
            user_error: false,
            status: None,
            data: None,
            code: None,
        }
    }

    /// The caller asked for something that cannot be done.
    pub(crate) fn of_caller(message: impl Into<String>) -> Self {
        Self {
            user_error: true,
            ..Self::new(message)
        }
    }

    /// As [`Failure::of_caller`], with the code that other parts of the API use for it.
    pub(crate) fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            ..Self::of_caller(message)
        }
    }

    /// The answer is not what the spec expects.
    pub(crate) fn of_answer(message: impl Into<String>, status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::new(message)
        }
    }

    /// An expression of the spec gave no value. `error({message, retry})` is the spec's own word; anything else is a
    /// fault that the caller cannot mend.
    pub(crate) fn of_expression(error: ExprError, status: Option<u16>) -> Self {
        let failure = match error {
            ExprError::Raised(raised) => {
                let message = raised
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or("the action failed");
                let retry = raised.get("retry").and_then(Value::as_bool).unwrap_or(false);
                Self {
                    retry,
                    user_error: !retry,
                    ..Self::new(clean(message))
                }
            }
            ExprError::Failed(text) => Self::new(format!("does not fit what the spec expects: {}", clean(&text))),
        };
        Self { status, ..failure }
    }
}

/// How an API says that something went wrong.
#[derive(Debug)]
pub(crate) struct Errors {
    label: String,
    file: file::Errors,
    rate_limit_codes: Vec<String>,
}

/// What is wrong with an answer.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) failure: Failure,
    /// There were too many requests: the same may work soon.
    pub(crate) rate_limited: bool,
}

impl Errors {
    pub(crate) fn new(name: &str, file: file::Errors, rate_limit: &file::RateLimit) -> Self {
        let label = file.label.clone().unwrap_or_else(|| name.to_owned());
        Self {
            label,
            file,
            rate_limit_codes: rate_limit.codes.clone(),
        }
    }

    /// Whether a body is an error whatever the status says.
    fn signals(&self, body: Option<&Value>) -> bool {
        let Some((signal, body)) = self.file.signal.as_ref().zip(body) else {
            return false;
        };
        at(body, &signal.path) == Some(&signal.equals)
    }

    fn code<'a>(&self, body: Option<&'a Value>) -> Option<&'a str> {
        at(body?, self.file.code.as_ref()?)?.as_str()
    }

    /// Whether the answer says that the token was not accepted.
    pub(crate) fn rejects_token(&self, response: &Response) -> bool {
        if response.status == 401 || self.file.token_rejected.is_empty() {
            return response.status == 401;
        }
        let body = serde_json::from_slice(&response.body).ok();
        let failed = !response.is_success() || self.signals(body.as_ref());
        failed
            && self
                .code(body.as_ref())
                .is_some_and(|code| self.file.token_rejected.iter().any(|c| c == code))
    }

    /// What is wrong with an answer; `None` if nothing is. `good` says whether its status is one of success.
    pub(crate) fn judge(&self, action: &str, good: bool, response: &Response, body: Option<&Value>) -> Option<Verdict> {
        let signalled = self.signals(body);
        if good && !signalled {
            return None;
        }
        let status = response.status;
        let code = self.code(body);
        let listed = |codes: &[String]| code.is_some_and(|code| codes.iter().any(|c| c == code));
        let rate_limited = status == 429 || listed(&self.rate_limit_codes);
        let passing = rate_limited || matches!(status, 408 | 425 | 500..) || listed(&self.file.transient);
        let reason = code.map_or_else(|| status_text(status), clean);
        let details = self.details(body);
        let message = format!("{} {action} error: {reason}{details}", self.label);
        let failure = Failure {
            service_message: self.service_message(response, body).or_else(|| code.map(clean)),
            retry: passing,
            user_error: !passing && (signalled || status >= 400),
            status: Some(status),
            ..Failure::new(message)
        };
        Some(Verdict { failure, rate_limited })
    }

    fn details(&self, body: Option<&Value>) -> String {
        let found = self.file.details.iter().filter_map(|path| {
            let text = at(body?, path)?.as_str()?;
            Some(format!("{}={}", path.rsplit('.').next().unwrap_or(path), clean(text)))
        });
        let found = found.collect::<Vec<_>>().join(", ");
        if found.is_empty() { found } else { format!(" ({found})") }
    }

    fn service_message(&self, response: &Response, body: Option<&Value>) -> Option<String> {
        let own = self.file.message.iter().map(String::as_str);
        let usual = if self.file.message.is_empty() {
            &USUAL_MESSAGES[..]
        } else {
            &[]
        };
        let found = body.and_then(|body| {
            own.chain(usual.iter().copied())
                .find_map(|path| at(body, path)?.as_str())
        });
        let plain = || {
            let text = response
                .media_type()
                .is_some_and(|t| t == "text/plain")
                .then(|| std::str::from_utf8(&response.body));
            text.and_then(Result::ok).filter(|text| !text.trim().is_empty())
        };
        found.or_else(plain).map(clean)
    }
}

/// `HTTP 404 Not Found`.
fn status_text(status: u16) -> String {
    match reason(status) {
        Some(reason) => format!("HTTP {status} {reason}"),
        None => format!("HTTP {status}"),
    }
}

/// The standard's words for a status.
pub(crate) fn reason(status: u16) -> Option<&'static str> {
    StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason())
}

/// The value at a path: members joined by dots, numbers for places in arrays.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, segment| match value {
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
        other => other.get(segment),
    })
}

/// What a provider wrote, without what could forge a line of a log, and not endlessly.
pub(crate) fn clean(text: &str) -> String {
    let blank = |c: char| if c.is_whitespace() { ' ' } else { c };
    let hidden = |c: &char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.trim()
        .chars()
        .map(blank)
        .filter(|c| !hidden(c))
        .take(MAX_TEXT)
        .collect()
}
