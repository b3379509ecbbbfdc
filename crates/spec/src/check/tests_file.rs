//! The format of `tests.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// A sentence of behaviour.
    pub(super) name: String,
    /// The action; the spec's own test call where it is left out.
    #[serde(default)]
    pub(super) action: String,
    /// The auth type; the first of the spec where it is left out.
    #[serde(default)]
    pub(super) auth_type: Option<String>,
    #[serde(default)]
    pub(super) config: Map<String, Value>,
    #[serde(default)]
    pub(super) metadata: Map<String, Value>,
    #[serde(default)]
    pub(super) input: Map<String, Value>,
    /// The requests and waits, in order.
    #[serde(default)]
    pub(super) exchanges: Vec<Exchange>,
    /// Short for a single exchange.
    #[serde(default)]
    pub(super) expect_request: Option<ExpectedRequest>,
    /// Short for a single exchange.
    #[serde(default)]
    pub(super) answer: Option<Answer>,
    #[serde(default, deserialize_with = "present")]
    pub(super) expect_output: Option<Value>,
    /// The members of the failure that are expected, of those it has.
    #[serde(default)]
    pub(super) expect_failure: Option<Map<String, Value>>,
    /// The errors of the input, as `path: message`.
    #[serde(default)]
    pub(super) expect_refusal: Option<Vec<String>>,
}

impl Case {
    /// Whether it gets further than its input.
    pub(super) fn ran(&self) -> bool {
        self.expect_refusal.is_none()
    }
}

/// A request and its answer, or a wait.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    #[serde(default)]
    pub(super) expect_request: Option<ExpectedRequest>,
    #[serde(default)]
    pub(super) answer: Option<Answer>,
    /// The least and the most seconds.
    #[serde(default)]
    pub(super) expect_wait_s: Option<(f64, f64)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedRequest {
    #[serde(default = "get")]
    pub(super) method: String,
    pub(super) url: String,
    /// Those that are named must be there.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// A text is compared with the bytes, anything else with the JSON; none where it is left out.
    #[serde(default)]
    pub(super) body: Option<Value>,
    /// Whether the credential goes with it.
    #[serde(default = "yes")]
    pub(super) credential: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    #[serde(default = "ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// A text as it is, `{base64: …}` as bytes, anything else as JSON.
    #[serde(default, deserialize_with = "present")]
    pub(super) body: Option<Value>,
}

/// An expected null is not the same as no expectation.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn get() -> String {
    "GET".to_owned()
}

fn yes() -> bool {
    true
}

fn ok() -> u16 {
    200
}
