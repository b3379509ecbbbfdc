//! The spec format: what may stand in a `spec.yaml`. The doc comments here are the descriptions of the format's JSON
//! Schema; `docs/specs.md` tells how the parts work together.

mod list;
mod request;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use valetkey_core::ConnectorTypeId;
use valetkey_oauth::Profile;

pub(crate) use list::{Named, Source};
pub(crate) use request::{Passthrough, Repeat, Request, ResultKind, Step};

/// A connector type of valetkey.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "spec")]
pub(crate) struct SpecFile {
    /// The id of the connector type: a dot, then A-Z, a-z, 0-9, _ and -, at most 64 characters.
    #[schemars(with = "String", regex(pattern = r"^\.[A-Za-z0-9_-]{1,63}$"))]
    pub(crate) id: ConnectorTypeId,
    /// What people call it.
    pub(crate) name: String,
    /// The version of this definition; raise it when anything changes. Each connection remembers the one it was made
    /// with.
    pub(crate) version: i64,
    /// What it is for, in a sentence or two.
    pub(crate) description: String,
    /// Where its documentation is.
    #[serde(default)]
    pub(crate) docs_url: Option<String>,
    /// Which features may use it.
    #[serde(default)]
    pub(crate) feature_ids: Vec<String>,
    /// Whether it may still change in incompatible ways.
    #[serde(default)]
    pub(crate) technical_preview: bool,
    /// A guide for agents: which action to take when, and what to watch.
    #[serde(default)]
    pub(crate) skill: Option<String>,
    /// JSON Schema of the connector's settings that are not secret. `{name}` refers to a field of it in URLs and hosts.
    #[serde(default)]
    pub(crate) config: Option<Value>,
    /// What the paths of requests are relative to.
    #[serde(default)]
    pub(crate) base_url: Option<String>,
    /// Hosts that the credential may go to besides that of `base_url`: `api.example.com`, `*.example.com` (one label),
    /// `{field}` for the hosts that a field of the config lists.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Headers that accompany the credential wherever it goes (`Notion-Version`), unless the caller sets them.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// How the provider does OAuth, for both OAuth auth types. What is left out is as the RFCs say.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub(crate) oauth: Option<Profile>,
    /// The ways to authenticate, in the order in which they are offered.
    pub(crate) auth: Vec<Auth>,
    /// How the API says that something went wrong.
    #[serde(default)]
    pub(crate) errors: Errors,
    /// What to do when the API says that there were too many requests.
    #[serde(default)]
    pub(crate) rate_limit: RateLimit,
    /// jq functions that every expression of this spec may call: `def name: …;`.
    #[serde(default)]
    pub(crate) functions: Option<String>,
    /// The call that proves that a connection works.
    pub(crate) test: Test,
    /// What the connector can do.
    pub(crate) actions: Named<Action>,
}

/// A way to authenticate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    /// `none`, `bearer`, `basic`, `api_key_header`, `oauth_client_credentials` or `oauth_authorization_code`.
    #[serde(rename = "type")]
    pub(crate) id: String,
    /// What people call it, if not by its usual name.
    #[serde(default)]
    pub(crate) label: Option<String>,
    /// When to choose it, and what to prepare.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// Whether it is the one to choose.
    #[serde(default)]
    pub(crate) recommended: bool,
    /// What this connector type changes about the fields of the auth type.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, Field>,
    /// For OAuth with a person's consent: what each scope allows, in plain words and the language of the spec. The connect
    /// page shows them; a scope that is not named is shown as it is.
    #[serde(default)]
    pub(crate) scope_labels: BTreeMap<String, String>,
    /// Where the credential goes, if not into `Authorization`.
    #[serde(default)]
    pub(crate) inject: Inject,
}

/// What a connector type changes about a field of an auth type. Naming an optional extra (`issuer`, `resource`,
/// `revocationUrl`, `pushedAuthorizationUrl`, `extraParams`, `rotation`) offers it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Field {
    /// The value where none is given. In URLs, `{name}` is a field of the config.
    pub(crate) default: Option<Value>,
    /// What people call it.
    pub(crate) title: Option<String>,
    /// What to fill in.
    pub(crate) help: Option<String>,
    /// An example of a value.
    pub(crate) placeholder: Option<String>,
    /// Whether forms leave it out.
    pub(crate) hidden: Option<bool>,
    /// Whether no other value than the default is accepted.
    pub(crate) locked: bool,
    /// Whether it must be given.
    pub(crate) required: Option<bool>,
    /// For URLs: the only hosts it may name.
    pub(crate) hosts: Vec<String>,
}

/// Where a credential goes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Inject {
    /// The header, if not `Authorization`.
    pub(crate) header: Option<String>,
    /// What stands before the token, with its space: `Token token=`. Empty for nothing.
    pub(crate) prefix: Option<String>,
}

/// How the API says that something went wrong. A status outside 200 to 299 is an error in any case. Paths are members
/// joined by dots; a number is a place in an array.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Errors {
    /// What errors call the service, if not the connector type's name.
    pub(crate) label: Option<String>,
    /// A body that is an error although the status is 200 to 299.
    pub(crate) signal: Option<Signal>,
    /// Path of the error code.
    pub(crate) code: Option<String>,
    /// Paths of the text for people; the first that leads to a text counts.
    pub(crate) message: Vec<String>,
    /// Paths of further texts that help (Slack: `needed`, `provided`).
    pub(crate) details: Vec<String>,
    /// Codes that say that the token was not accepted. Status 401 says so in any case.
    pub(crate) token_rejected: Vec<String>,
    /// Codes of faults that pass by themselves.
    pub(crate) transient: Vec<String>,
}

/// A member of the body, and the value that means failure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    /// Its path.
    pub(crate) path: String,
    /// The value.
    pub(crate) equals: Value,
}

/// What to do when the API says that there were too many requests: wait as long as `Retry-After` says, or 1 s, 2 s, 4 s
/// …, each with up to 250 ms of jitter.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RateLimit {
    /// Error codes that say so. Status 429 says so in any case.
    pub(crate) codes: Vec<String>,
    /// How often a request is repeated.
    pub(crate) retries: u32,
    /// The longest wait, in seconds.
    pub(crate) max_wait_s: u64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            codes: Vec::new(),
            retries: 0,
            max_wait_s: 60,
        }
    }
}

/// The call that proves that a connection works: its success is the proof.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    /// The request.
    pub(crate) request: Request,
}

/// Something that the connector can do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Action {
    /// What it does, for people and for agents.
    pub(crate) description: String,
    /// Whether agents may see it.
    #[serde(default)]
    pub(crate) tool: bool,
    /// What it does to the provider's data.
    pub(crate) effect: crate::Effect,
    /// JSON Schema of its input. Closed: what is not named is refused.
    #[serde(default)]
    pub(crate) input: Option<Value>,
    /// When it cannot work, said before anything is sent.
    #[serde(default)]
    pub(crate) refuse: Vec<Refusal>,
    /// The one request. Short for a single step.
    #[serde(default)]
    pub(crate) request: Option<Request>,
    /// Alternatives: the first whose `when` holds is sent. Short for a single step.
    #[serde(default)]
    pub(crate) requests: Vec<Request>,
    /// Variables taken from the answer. Short for a single step.
    #[serde(default)]
    pub(crate) save: Named<String>,
    /// Paging. Short for a single step.
    #[serde(default)]
    pub(crate) repeat: Option<Repeat>,
    /// Several requests, one after the other.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// jq: the result, made from the last answer. The answer itself where this is left out.
    #[serde(default)]
    pub(crate) output: Option<String>,
}

/// When an action cannot work.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    /// jq: whether it is so.
    pub(crate) when: String,
    /// What to tell the caller, and what to do instead.
    pub(crate) message: String,
}
