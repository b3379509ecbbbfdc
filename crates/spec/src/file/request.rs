//! The part of the format that says what is sent and what is made of the answer.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Named, Source};

/// A request, or one of several alternatives, and what is made of the answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// jq: whether the step is taken. Left out: always.
    #[serde(default)]
    pub(crate) when: Option<String>,
    /// The one request.
    #[serde(default)]
    pub(crate) request: Option<Request>,
    /// Alternatives: the first whose `when` holds is sent.
    #[serde(default)]
    pub(crate) requests: Vec<Request>,
    /// Variables taken from the answer, each a jq expression; later ones are `$vars.name`.
    #[serde(default)]
    pub(crate) save: Named<String>,
    /// Whether and how the request is sent again for the next page.
    #[serde(default)]
    pub(crate) repeat: Option<Repeat>,
}

/// Paging: after each answer and its `save`, `until` ends it, and so does a `next` that is null or empty.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    /// jq: whether enough was read.
    #[serde(default)]
    pub(crate) until: Option<String>,
    /// Variables of the next request, each a jq expression over the answer; when all are null or empty, it was the last
    /// page.
    pub(crate) next: Named<String>,
    /// The most requests, as a number or a jq expression; never more than 1000.
    pub(crate) max: Source,
}

/// A request. In expressions, `.` is the action's input, `$vars` the variables, `$config`, `$metadata` and `$auth` the
/// connector's config, what the connection keeps, and the id of the auth type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// jq: whether this alternative is the one. Left out: it is.
    #[serde(default)]
    pub(crate) when: Option<String>,
    /// Variables made before the request, each a jq expression.
    #[serde(default, rename = "let")]
    pub(crate) lets: Named<String>,
    /// The method; GET where it is left out.
    #[serde(default)]
    pub(crate) method: Option<String>,
    /// The path below the base URL: `/pages/{pageId}`, `/root:{/path*}:/children`. Variables are fields of the input,
    /// or variables; what they insert is percent-encoded and never leaves its segment.
    #[serde(default)]
    pub(crate) path: Option<String>,
    /// What the path is relative to, if not the spec's `base_url`. Its host must be one of the spec's.
    #[serde(default)]
    pub(crate) base_url: Option<String>,
    /// jq: a whole URL, from the input or an earlier answer. Its host must be one of the spec's or of `url_hosts`.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// Hosts that `url` may name besides the spec's. They never get the credential.
    #[serde(default)]
    pub(crate) url_hosts: Vec<String>,
    /// The caller makes the request: `method`, `path`, `query`, `headers` and `body` are taken from the input.
    #[serde(default)]
    pub(crate) passthrough: Option<Passthrough>,
    /// Query parameters. Null ones are left out, a list repeats its parameter.
    #[serde(default)]
    pub(crate) query: Option<Source>,
    /// Headers. Null ones are left out.
    #[serde(default)]
    pub(crate) headers: Option<Source>,
    /// A JSON body. Members of it that are null are left out.
    #[serde(default)]
    pub(crate) body: Option<Source>,
    /// A form. Null members are left out.
    #[serde(default)]
    pub(crate) form: Option<Source>,
    /// jq: a body of bytes: a text, or `{base64: …}`.
    #[serde(default)]
    pub(crate) content: Option<String>,
    /// jq: a multipart form: a list of `{name, content, filename, type}`, where the content is a text or `{base64: …}`.
    #[serde(default)]
    pub(crate) multipart: Option<String>,
    /// What becomes of the answer.
    #[serde(default)]
    pub(crate) result: ResultKind,
    /// Whether the credential is sent along; never to a host that is not the spec's.
    #[serde(default = "yes")]
    pub(crate) credential: bool,
    /// Whether it changes nothing, although its method is not GET.
    #[serde(default)]
    pub(crate) safe: bool,
    /// Statuses that are no errors, besides 200 to 299.
    #[serde(default)]
    pub(crate) accept: Vec<u16>,
    /// The largest answer in bytes, if less than the operator allows.
    #[serde(default)]
    pub(crate) max_bytes: Option<usize>,
}

fn yes() -> bool {
    true
}

/// What the caller may make of a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passthrough {
    /// The methods.
    pub(crate) methods: Vec<String>,
    /// What the path must start with.
    #[serde(default)]
    pub(crate) prefix: Option<String>,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResultKind {
    /// The body, read as JSON; null when it is empty.
    #[default]
    Json,
    /// `{contentType, contentLength, text}`: the body as text.
    Text,
    /// `{contentType, contentLength, base64}`: the body as bytes.
    Base64,
    /// `{status, headers, data}`: data is parsed when it is JSON, text when it is text, and `{base64}` otherwise.
    Full,
}
