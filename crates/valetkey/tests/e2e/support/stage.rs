//! The usual stage: valetkey, a scripted provider, and connectors between them.

use serde_json::{Value, json};

use super::api::{Api, Started};
use super::browser::{Browser, Page};
use super::fake::{CLIENT_ID, Fake};
use super::patch;
use super::valetkey::{Setup, Valetkey};

/// valetkey and a scripted provider.
pub(crate) struct Stage {
    pub(crate) valetkey: Valetkey,
    pub(crate) fake: Fake,
    /// The admin key, for nobody.
    pub(crate) admin: Api,
    /// The admin key, for the user `u1`.
    pub(crate) user: Api,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::new()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let (valetkey, fake) = tokio::join!(setup.start(), Fake::start());
        let admin = valetkey.admin();
        Self {
            user: admin.for_user("u1"),
            valetkey,
            fake,
            admin,
        }
    }

    /// A stage on which the connector `api` exists, with one connection for each user.
    pub(crate) async fn per_user() -> Self {
        Self::per_user_with(Setup::new()).await
    }

    pub(crate) async fn per_user_with(setup: Setup) -> Self {
        let stage = Self::with(setup).await;
        stage.admin.create("api", &stage.connector()).await;
        stage
    }

    /// An `.http` connector for the provider's API.
    pub(crate) fn connector(&self) -> Value {
        self.connector_with(&json!({}), &json!({}))
    }

    /// The same with changes, also of its secrets; `null` takes a member away.
    pub(crate) fn connector_with(&self, changes: &Value, secrets: &Value) -> Value {
        connector_for(&self.fake, changes, secrets)
    }

    /// Lets a person connect an account, and makes sure that it worked.
    pub(crate) async fn connect(&self, api: &Api, id: &str) {
        self.finish(&api.start(id, json!({})).await).await.connected();
    }

    /// Lets a person with a browser of their own finish a flow.
    pub(crate) async fn finish(&self, flow: &Started) -> Page {
        Browser::new().connect(&flow.url).await
    }
}

/// An `.http` connector for a provider's API, with changes.
pub(crate) fn connector_for(fake: &Fake, changes: &Value, secrets: &Value) -> Value {
    let mut body = json!({
        "name": "An account", "connector_type_id": ".http", "config": {"baseUrl": fake.url},
        "secrets": {
            "authType": "oauth_authorization_code",
            "authorizationUrl": format!("{}/authorize", fake.url),
            "tokenUrl": format!("{}/token", fake.url),
            "revocationUrl": format!("{}/revoke", fake.url),
            "clientId": CLIENT_ID,
            "clientSecret": fake.client_secret(),
            "scope": "read write",
        },
    });
    patch(&mut body["secrets"], secrets);
    patch(&mut body, changes);
    body
}
