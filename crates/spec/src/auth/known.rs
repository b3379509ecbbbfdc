//! The fields that each auth type has. Ids and names are part of the API.

use std::collections::BTreeMap;

use http::HeaderName;
use serde_json::{Value, json};
use valetkey_oauth::{Rotation, check_endpoint, check_extra_params};

use super::AuthKind;

/// No field is longer: large group claims make tokens of more than 8 KiB.
const MAX_LENGTH: usize = 16 << 10;

/// A field, before a connector type changes anything about it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) shape: Shape,
    pub(super) secret: bool,
    pub(super) required: bool,
    pub(super) offer: Offer,
    pub(super) default: Option<&'static str>,
    pub(super) help: Option<&'static str>,
}

/// To whom a field is offered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Offer {
    /// To everybody.
    Shown,
    /// To callers of the API; forms leave it out.
    Hidden,
    /// To nobody, unless a spec names it.
    Extra,
}

const fn text(name: &'static str, title: &'static str) -> Known {
    Known {
        name,
        title,
        shape: Shape::Text,
        secret: false,
        required: false,
        offer: Offer::Shown,
        default: None,
        help: None,
    }
}

const fn required(name: &'static str, title: &'static str) -> Known {
    Known {
        required: true,
        ..text(name, title)
    }
}

const fn secret(name: &'static str, title: &'static str) -> Known {
    Known {
        secret: true,
        ..required(name, title)
    }
}

const fn url(name: &'static str, title: &'static str) -> Known {
    Known {
        shape: Shape::Url,
        ..required(name, title)
    }
}

const fn hidden(name: &'static str, title: &'static str, shape: Shape) -> Known {
    Known {
        shape,
        offer: Offer::Hidden,
        ..text(name, title)
    }
}

const fn extra(name: &'static str, title: &'static str, shape: Shape) -> Known {
    Known {
        shape,
        offer: Offer::Extra,
        ..text(name, title)
    }
}

const BEARER: &[Known] = &[secret("token", "Token")];
const BASIC: &[Known] = &[required("username", "Username"), secret("password", "Password")];
const API_KEY_HEADER: &[Known] = &[
    Known {
        shape: Shape::Header,
        default: Some("Api-Key"),
        ..text("headerField", "Header")
    },
    secret("apiKey", "API key"),
];
const CLIENT_CREDENTIALS: &[Known] = &[
    url("tokenUrl", "Token URL"),
    required("clientId", "Client ID"),
    secret("clientSecret", "Client secret"),
    text("scope", "Scope"),
    hidden(
        "additionalFields",
        "Additional parameters of the token request",
        Shape::Params,
    ),
    hidden(
        "tokenEndpointAuthMethod",
        "Client authentication",
        Shape::Choice(&["client_secret_basic", "client_secret_post", "none"]),
    ),
    extra("issuer", "Issuer", Shape::Url),
    extra("resource", "Resource", Shape::Url),
];
const AUTHORIZATION_CODE: &[Known] = &[
    url("authorizationUrl", "Authorization URL"),
    url("tokenUrl", "Token URL"),
    required("clientId", "Client ID"),
    secret("clientSecret", "Client secret"),
    text("scope", "Scope"),
    hidden("useBasicAuth", "Client authentication by HTTP Basic", Shape::Flag),
    hidden("scopeParamName", "Name of the scope parameter", Shape::Text),
    hidden("accessTokenPath", "Path of the access token", Shape::Text),
    hidden("tokenTypePath", "Path of the token type", Shape::Text),
    hidden("tokenType", "Token type", Shape::Text),
    extra("revocationUrl", "Revocation URL", Shape::Url),
    extra("pushedAuthorizationUrl", "Pushed authorization URL", Shape::Url),
    extra("issuer", "Issuer", Shape::Url),
    extra("resource", "Resource", Shape::Url),
    extra(
        "extraParams",
        "Further parameters of the authorization request",
        Shape::Params,
    ),
    extra("rotation", "Rotation of refresh tokens", Shape::Rotation),
];

/// The fields of an auth type.
pub(super) fn fields(kind: AuthKind) -> &'static [Known] {
    match kind {
        AuthKind::None => &[],
        AuthKind::Bearer => BEARER,
        AuthKind::Basic => BASIC,
        AuthKind::ApiKeyHeader => API_KEY_HEADER,
        AuthKind::OauthClientCredentials => CLIENT_CREDENTIALS,
        AuthKind::OauthAuthorizationCode => AUTHORIZATION_CODE,
    }
}

/// What people call an auth type.
pub(super) fn label(kind: AuthKind) -> &'static str {
    match kind {
        AuthKind::None => "No authentication",
        AuthKind::Bearer => "Bearer token",
        AuthKind::Basic => "Username and password",
        AuthKind::ApiKeyHeader => "API key in a header",
        AuthKind::OauthClientCredentials => "OAuth client credentials",
        AuthKind::OauthAuthorizationCode => "OAuth authorization code",
    }
}

/// How providers rotate refresh tokens, as far as that is one word.
const ROTATIONS: [&str; 5] = [
    "none",
    "overlap",
    "idempotent",
    "single_use",
    "single_use_revokes_family",
];

/// What a field may hold.
#[derive(Debug)]
pub(super) enum Shape {
    Text,
    Url,
    Flag,
    /// The name of a header.
    Header,
    /// Names and texts; also as a text that is such a JSON object.
    Params,
    Choice(&'static [&'static str]),
    Rotation,
}

impl Shape {
    /// Checks a value and brings it into its one form. The message says the rule, never the value.
    pub(super) fn check(&self, value: &Value) -> Result<Value, String> {
        let refuse = |rule: &str| Err(rule.to_owned());
        match self {
            Self::Flag if value.is_boolean() => Ok(value.clone()),
            Self::Flag => refuse("must be true or false"),
            Self::Params => params(value),
            Self::Rotation => match serde_json::from_value::<Rotation>(value.clone()) {
                Ok(_) => Ok(value.clone()),
                Err(_) => refuse(
                    "must be none, overlap, {\"leeway_s\": 600}, idempotent, single_use or single_use_revokes_family",
                ),
            },
            Self::Text | Self::Url | Self::Header | Self::Choice(_) => {
                let Some(text) = value.as_str() else {
                    return refuse("must be a string");
                };
                if text.len() > MAX_LENGTH {
                    return refuse("must be at most 16 KiB long");
                }
                if text.chars().any(char::is_control) {
                    return refuse("must not have line breaks or other control characters");
                }
                self.check_text(text)?;
                Ok(value.clone())
            }
        }
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        match self {
            Self::Url if text.contains(['{', '}']) => {
                Err("has a placeholder: leave it out, and fill in the config field instead".to_owned())
            }
            Self::Url => check_endpoint(text).map(drop).map_err(|e| e.to_string()),
            Self::Header => {
                let reserved = ["host", "content-length", "transfer-encoding", "connection", "cookie"];
                let name = text
                    .parse::<HeaderName>()
                    .ok()
                    .filter(|name| !reserved.contains(&name.as_str()));
                name.map(drop)
                    .ok_or_else(|| "must be the name of a header that a credential may be in".to_owned())
            }
            Self::Choice(choices) if !choices.contains(&text) => Err(format!("must be one of {}", choices.join(", "))),
            _ => Ok(()),
        }
    }

    pub(super) fn schema(&self) -> Value {
        match self {
            Self::Text | Self::Header => json!({"type": "string"}),
            Self::Url => json!({"type": "string", "format": "uri"}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Params => json!({"type": ["object", "string"], "additionalProperties": {"type": "string"}}),
            Self::Choice(choices) => json!({"type": "string", "enum": choices}),
            Self::Rotation => json!({"oneOf": [
                {"type": "string", "enum": ROTATIONS},
                {"type": "object", "properties": {"leeway_s": {"type": "integer", "minimum": 0}}},
            ]}),
        }
    }
}

fn params(value: &Value) -> Result<Value, String> {
    let rule = || "must be an object whose values are strings".to_owned();
    let parsed = match value {
        Value::String(text) => serde_json::from_str(text).map_err(|_| rule())?,
        other => other.clone(),
    };
    let params: BTreeMap<String, String> = serde_json::from_value(parsed.clone()).map_err(|_| rule())?;
    check_extra_params(&params).map_err(|e| e.to_string())?;
    Ok(parsed)
}
