//! What an administrator does once, over the HTTP API: a connector, its redirect URI at the provider, a key for the
//! application.

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::json;
use valetkey_core::Secret;

use super::client::Api;
use super::sandbox::{self, Sandbox};

/// The id of the connector.
pub(super) const CONNECTOR: &str = "demo-notes";

/// The name of the application's key.
const KEY_NAME: &str = "demo application";

/// Sets everything up and returns the application's key.
pub(super) async fn connect_everything(
    server: &str,
    admin_key: &Secret<String>,
    sandbox: &Sandbox,
) -> Result<Secret<String>> {
    let api = Api::new(server, admin_key.clone(), None);
    create_connector(&api, sandbox)
        .await
        .context("the connector cannot be made")?;
    create_key(&api).await.context("the application's key cannot be made")
}

async fn create_connector(api: &Api, sandbox: &Sandbox) -> Result<()> {
    let origin = sandbox.origin();
    let mut connector = json!({
        "name": "Sandbox notes",
        "connector_type_id": ".http",
        "config": { "baseUrl": format!("{origin}/api") },
        "secrets": {
            "authType": "oauth_authorization_code",
            "authorizationUrl": format!("{origin}/authorize"),
            "tokenUrl": format!("{origin}/token"),
            "revocationUrl": format!("{origin}/revoke"),
            "issuer": origin,
            "clientId": sandbox::CLIENT_ID,
            "clientSecret": sandbox.client_secret().expose(),
            "scope": sandbox::every_scope(),
            "rotation": "single_use_revokes_family",
        },
    });
    let path = format!("/api/actions/connector/{CONNECTOR}");
    let mut answer = api.post(&path, Some(&connector)).await?;
    if answer.body["code"] == "connector_exists" {
        // A kept data directory has it already, with the addresses of the last run.
        if let Some(fields) = connector.as_object_mut() {
            fields.remove("connector_type_id");
        }
        answer = api.call(Method::PUT, &path, Some(&connector)).await?;
    }
    let made = answer.success()?;
    let redirect_uri = made["redirect_uri"]
        .as_str()
        .context("the connector has no redirect URI")?;
    sandbox.register_redirect_uri(redirect_uri);
    Ok(())
}

/// A key that can do what the application does, with this connector and with nothing else.
async fn create_key(api: &Api) -> Result<Secret<String>> {
    let path = "/api/security/api_keys";
    let keys = api.call(Method::GET, path, None).await?.success()?;
    let left = keys
        .as_array()
        .into_iter()
        .flatten()
        .filter(|key| key["name"] == KEY_NAME);
    for id in left.filter_map(|key| key["id"].as_str()) {
        api.call(Method::DELETE, &format!("{path}/{id}"), None)
            .await?
            .success()?;
    }
    let wanted = json!({
        "name": KEY_NAME,
        "privileges": ["connectors:read", "connectors:execute", "oauth:connect", "tokens:read", "users:act_as"],
        "connectors": [CONNECTOR],
    });
    let made = api.post(path, Some(&wanted)).await?.success()?;
    Ok(made["key"].as_str().context("the API returned no key")?.into())
}
