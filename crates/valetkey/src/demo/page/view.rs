//! What the page shows.

use askama::Template;
use serde_json::Value;

use super::watch::Standing;
use crate::demo::client::Answer;

/// The page.
#[derive(Template)]
#[template(path = "demo_page.html")]
pub(super) struct PageTemplate {
    pub(super) user: &'static str,
    pub(super) standing: Standing,
    pub(super) banner: Option<Banner>,
    pub(super) run: Option<RunView>,
    pub(super) sandbox: String,
}

/// One sentence above everything else.
pub(super) struct Banner {
    pub(super) good: bool,
    pub(super) text: String,
}

impl Banner {
    pub(super) fn good(text: &str) -> Self {
        Self {
            good: true,
            text: text.to_owned(),
        }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self {
            good: false,
            text: text.into(),
        }
    }
}

/// An action that was run: what was sent and what came back.
#[derive(Clone)]
pub(super) struct RunView {
    pub(super) request: String,
    /// The HTTP status, and the `status` of the answer.
    pub(super) outcome: String,
    pub(super) good: bool,
    pub(super) answer: String,
    /// Why a person must act first, if that is so: the `authorization` object of the answer.
    pub(super) reason: Option<String>,
    /// What went wrong, in words.
    pub(super) message: Option<String>,
}

impl RunView {
    pub(super) fn new(request: &Value, answer: &Answer) -> Self {
        let body = &answer.body;
        let good = answer.is_ok() && body["status"] == "ok";
        Self {
            request: pretty(request),
            outcome: format!("{} {}", answer.status, body["status"].as_str().unwrap_or_default()),
            good,
            answer: pretty(body),
            reason: body["authorization"]["reason"].as_str().map(str::to_owned),
            message: (!good).then(|| answer.message()),
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
