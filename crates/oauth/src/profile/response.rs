//! Where things are in the answer of the token endpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where things are in a good answer (RFC 6749 section 5.1).
///
/// A path is the names of members joined by dots (`authed_user.access_token`); a number is a place in an array. When the
/// access token is nested, its companions are looked up beside it first and at the top second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseProfile {
    /// Path of the access token.
    pub access_token: String,
    /// Path of the access token in the answer to a refresh, where that is another one: Slack nests a user's token under
    /// `authed_user` when a code is exchanged, and has it at the top when it is refreshed.
    pub access_token_at_refresh: Option<String>,
    /// Path of the refresh token.
    pub refresh_token: String,
    /// Path of the access token's lifetime in seconds.
    pub expires_in: String,
    /// Path of the refresh token's lifetime in seconds; `refresh_expires_in` (Keycloak) is read besides.
    pub refresh_expires_in: String,
    /// Path of the granted scopes.
    pub scope: String,
    /// Path of the token type.
    pub token_type_path: String,
    /// The token type itself, whatever the answer says (Slack answers `user` or `bot`). Not a path.
    pub token_type: Option<String>,
    /// The token type where the answer has none; `Bearer` when this is absent. Not a path.
    pub token_type_default: Option<String>,
    /// What the body may be.
    pub format: ResponseFormat,
    /// What must be true besides the status (Slack: `ok` is true).
    pub success: Option<Success>,
    /// The characters that stand between two granted scopes.
    pub scope_separators: String,
    /// The access token's lifetime where the answer says nothing (Salesforce).
    pub default_lifetime_s: Option<u64>,
    /// An absolute expiry, where the provider gives one instead of a lifetime.
    pub expires_at: Option<ExpiresAt>,
    /// Path of the account's stable id, from the top.
    pub account_id: Option<String>,
    /// Path of the account's name for people, from the top.
    pub account_label: Option<String>,
    /// What else is kept: our name for it, and its path from the top. Nothing else of the answer is.
    pub metadata: BTreeMap<String, String>,
    /// Media types besides `application/json` under which the provider sends JSON.
    pub allow_media_types: Vec<String>,
}

impl Default for ResponseProfile {
    fn default() -> Self {
        Self {
            access_token: "access_token".to_owned(),
            access_token_at_refresh: None,
            refresh_token: "refresh_token".to_owned(),
            expires_in: "expires_in".to_owned(),
            refresh_expires_in: "refresh_token_expires_in".to_owned(),
            scope: "scope".to_owned(),
            token_type_path: "token_type".to_owned(),
            token_type: None,
            token_type_default: None,
            format: ResponseFormat::default(),
            success: None,
            scope_separators: " ,".to_owned(),
            default_lifetime_s: None,
            expires_at: None,
            account_id: None,
            account_label: None,
            metadata: BTreeMap::new(),
            allow_media_types: Vec::new(),
        }
    }
}

/// What the body of an answer may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// JSON only (RFC 6749 section 5.1).
    #[default]
    Json,
    /// JSON, or a form if the media type says so (GitHub).
    JsonOrForm,
}

/// A member of the answer, and the value that means success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Success {
    /// Its path, from the top.
    pub path: String,
    /// The value.
    pub equals: Value,
}

/// An absolute expiry. Both parts must be given: a wrong guess would be off by a factor of a thousand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpiresAt {
    /// Its path.
    pub path: String,
    /// What it is written in.
    pub unit: TimeUnit,
}

/// What a time is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds since the Unix epoch.
    Seconds,
    /// Milliseconds since the Unix epoch.
    Milliseconds,
    /// A text such as `2026-11-23T20:00:00Z`.
    Rfc3339,
}
