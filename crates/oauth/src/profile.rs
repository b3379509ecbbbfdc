//! How one provider does OAuth, as data: what a connector's spec says about it.
//!
//! The default of every field is what the RFCs ask for, so that a spec names deviations only. A profile is written by
//! whoever writes the spec and is trusted more than what a caller sends, but not blindly: see [`Profile::check`].

mod check;
mod response;
mod rotation;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use check::ProfileError;
pub use response::{ExpiresAt, ResponseFormat, ResponseProfile, Success, TimeUnit};
pub use rotation::{Recovery, Rotation};

/// How one provider does OAuth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The authorization request (RFC 6749 section 4.1.1).
    pub authorize: AuthorizeProfile,
    /// The token request (RFC 6749 sections 4.1.3, 4.4.2 and 6).
    pub token: TokenProfile,
    /// A good answer of the token endpoint (RFC 6749 section 5.1).
    pub response: ResponseProfile,
    /// An error of the token endpoint (RFC 6749 section 5.2).
    pub errors: ErrorProfile,
    /// What becomes of a refresh token that was used (RFC 9700 section 4.14.2).
    pub rotation: Rotation,
    /// The old access token stops working as soon as a refresh was sent.
    pub old_access_token_dies: bool,
    /// How tokens are revoked; `None` where the provider has no way.
    pub revoke: Option<RevokeProfile>,
    /// The provider's issuer identifier (RFC 8414 section 2).
    pub issuer: Option<String>,
    /// The provider sends `iss` with every authorization response (RFC 9207 section 3).
    pub sends_iss: bool,
    /// A grant that is not used for so many seconds dies: it is refreshed before.
    pub keep_alive_s: Option<u64>,
    /// A grant dies so many seconds after consent, whatever is done.
    pub refresh_absolute_s: Option<u64>,
}

/// The authorization request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizeProfile {
    /// The parameter that holds the scopes.
    pub scope_param: String,
    /// What stands between two scopes.
    pub scope_separator: String,
    /// Parameters that the provider wants besides (`access_type=offline`). Of the reserved names only `response_mode`
    /// may be set, and only to `query`.
    pub extra_params: BTreeMap<String, String>,
    /// Whether PKCE is used (RFC 7636).
    pub pkce: bool,
    /// Why not; must be given where `pkce` is false.
    pub pkce_off_reason: Option<String>,
}

impl Default for AuthorizeProfile {
    fn default() -> Self {
        Self {
            scope_param: "scope".to_owned(),
            scope_separator: " ".to_owned(),
            extra_params: BTreeMap::new(),
            pkce: true,
            pkce_off_reason: None,
        }
    }
}

/// The token request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenProfile {
    /// How the client proves who it is.
    pub client_auth: ClientAuth,
    /// The provider wants id and secret as they are in HTTP Basic, not form-encoded first (RFC 6749 section 2.3.1).
    pub basic_raw: bool,
    /// What the body looks like.
    pub body: BodyFormat,
    /// Parameters that the provider wants besides.
    pub extra_params: BTreeMap<String, String>,
    /// Headers that the provider wants besides (`Notion-Version`).
    pub extra_headers: BTreeMap<String, String>,
    /// Whether `redirect_uri` is repeated when a code is exchanged (RFC 6749 section 4.1.3).
    pub send_redirect_uri: bool,
    /// Whether the scopes are repeated at a refresh (RFC 6749 section 6).
    pub send_scope_at_refresh: bool,
}

impl Default for TokenProfile {
    fn default() -> Self {
        Self {
            client_auth: ClientAuth::default(),
            basic_raw: false,
            body: BodyFormat::default(),
            extra_params: BTreeMap::new(),
            extra_headers: BTreeMap::new(),
            send_redirect_uri: true,
            send_scope_at_refresh: false,
        }
    }
}

/// How the client authenticates (the registered names of RFC 7591 section 2). A client without a secret sends its
/// `client_id` only, whatever stands here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// HTTP Basic (RFC 6749 section 2.3.1).
    #[default]
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the body (RFC 6749 section 2.3.1).
    ClientSecretPost,
    /// HTTP Basic with the secret as the user and an empty password (Stripe).
    SecretAsUser,
    /// Not at all: only `client_id` (RFC 6749 section 3.2.1).
    None,
}

/// What a request's body looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// `application/x-www-form-urlencoded` (RFC 6749 section 4.1.3).
    #[default]
    Form,
    /// A JSON object with the same members (Notion, Atlassian).
    Json,
}

/// An error of the token endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorProfile {
    /// Path of the error code: members joined by dots.
    pub code: String,
    /// Path of the text for people.
    pub description: String,
    /// What the provider's codes mean, where they are not those of the RFCs or mean something else.
    pub map: BTreeMap<String, ErrorClass>,
}

impl Default for ErrorProfile {
    fn default() -> Self {
        Self {
            code: "error".to_owned(),
            description: "error_description".to_owned(),
            map: BTreeMap::new(),
        }
    }
}

/// What an error means for the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The grant is dead: a person must connect again.
    Terminal,
    /// The client's own credentials are wrong: the grant is untouched, and so are all others of this client.
    Client,
    /// The request is configured wrongly: the grant is untouched, and trying soon again is useless.
    Config,
    /// It may work later.
    Transient,
    /// It will work later, and not before.
    RateLimited,
}

/// How tokens are revoked. The client authenticates as at the token endpoint, unless the style says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevokeProfile {
    /// How the token is presented.
    pub style: RevokeStyle,
    /// The method: `POST`, or `DELETE` (GitHub).
    pub method: RevokeMethod,
    /// The member that holds the token.
    pub token_param: String,
    /// Revoking one token ends the whole grant, other connections that share it included.
    pub kills_grant: bool,
}

impl Default for RevokeProfile {
    fn default() -> Self {
        Self {
            style: RevokeStyle::default(),
            method: RevokeMethod::default(),
            token_param: "token".to_owned(),
            kills_grant: false,
        }
    }
}

/// How the token is presented for revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokeStyle {
    /// A form with `token` and `token_type_hint` (RFC 7009 section 2.1).
    #[default]
    Rfc7009,
    /// A JSON object with the token (GitHub, Notion).
    Json,
    /// No body: the access token itself authorizes the call (Slack, Dropbox).
    Bearer,
}

/// The method of a revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RevokeMethod {
    /// POST (RFC 7009 section 2.1).
    #[default]
    Post,
    /// DELETE.
    Delete,
}
