//! What the OAuth client needs to know about one connector.

use serde_json::{Map, Value};
use valetkey_oauth::Profile;
use valetkey_oauth::apply::scopes_of;
use valetkey_oauth::profile::ClientAuth;

use super::{AuthKind, AuthType};

/// The OAuth client of one connector: how its provider does OAuth, with what the connector itself says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct OauthSetup {
    /// How the provider does OAuth.
    pub profile: Profile,
    /// Where people consent. Absent for client credentials, and where the issuer says it.
    pub authorization_url: Option<String>,
    /// Where tokens come from. Absent where the issuer says it.
    pub token_url: Option<String>,
    /// Where tokens are revoked.
    pub revocation_url: Option<String>,
    /// Where authorization requests are pushed before the browser leaves (RFC 9126). Absent where it carries them itself.
    pub pushed_authorization_url: Option<String>,
    /// Whose published metadata has the endpoints that are absent here.
    pub issuer: Option<String>,
    /// The resource that tokens are for (RFC 8707).
    pub resource: Option<String>,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
    /// The client.
    pub client_id: String,
}

impl AuthType {
    /// The OAuth client that these fields make; `None` if this is no OAuth auth type, or they are not complete.
    pub fn oauth(&self, public: &Map<String, Value>) -> Option<OauthSetup> {
        if !self.kind.is_oauth() {
            return None;
        }
        let text = |name: &str| public.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let issuer = text("issuer").or_else(|| self.profile.issuer.clone());
        Some(OauthSetup {
            profile: self.profile_of(public),
            authorization_url: text("authorizationUrl"),
            token_url: text("tokenUrl"),
            revocation_url: text("revocationUrl"),
            pushed_authorization_url: text("pushedAuthorizationUrl"),
            issuer,
            resource: text("resource"),
            scopes: scopes_of(&text("scope").unwrap_or_default()),
            client_id: text("clientId")?,
        })
    }

    /// The spec's profile, with the connector's own fields on top.
    fn profile_of(&self, public: &Map<String, Value>) -> Profile {
        let mut profile = self.profile.clone();
        let text = |name: &str| public.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let params = |name: &str| {
            let members = public.get(name).and_then(Value::as_object).into_iter().flatten();
            members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        };
        if self.kind == AuthKind::OauthClientCredentials {
            if let Some(method) = public.get("tokenEndpointAuthMethod").cloned().and_then(from_value) {
                profile.token.client_auth = method;
            }
            profile.token.extra_params.extend(params("additionalFields"));
            return profile;
        }
        match public.get("useBasicAuth").and_then(Value::as_bool) {
            Some(true) => profile.token.client_auth = ClientAuth::ClientSecretBasic,
            Some(false) => profile.token.client_auth = ClientAuth::ClientSecretPost,
            None => {}
        }
        let response = &mut profile.response;
        replace(&mut profile.authorize.scope_param, text("scopeParamName"));
        replace(&mut response.access_token, text("accessTokenPath"));
        replace(&mut response.token_type_path, text("tokenTypePath"));
        response.token_type = text("tokenType").or_else(|| response.token_type.take());
        profile.authorize.extra_params.extend(params("extraParams"));
        if let Some(rotation) = public.get("rotation").cloned().and_then(from_value) {
            profile.rotation = rotation;
        }
        if let Some(issuer) = text("issuer") {
            profile.issuer = Some(issuer);
        }
        profile
    }
}

fn from_value<T: serde::de::DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

fn replace(target: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *target = value;
    }
}
