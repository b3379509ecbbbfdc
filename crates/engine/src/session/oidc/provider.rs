//! What the identity provider publishes: its endpoints and keys, read when they are needed and kept for an hour.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use url::Url;
use valetkey_core::{ErrorCode, Response};
use valetkey_oauth::id_token::{SigningKeys, read_signing_keys};
use valetkey_oauth::profile::ClientAuth;
use valetkey_oauth::{Client, Metadata, Profile};

use crate::Engine;
use crate::error::{Error, Result};
use crate::settings::OidcSettings;
use crate::wire::Outcome;

/// How long what was read is good for.
const KEPT: Duration = Duration::from_secs(3600);

/// How soon it is read again when a key is missing: tokens with made-up keys must not make us ask without end.
const AGAIN: Duration = Duration::from_secs(60);

/// How long the provider may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The provider.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(super) metadata: Metadata,
    pub(super) keys: SigningKeys,
    pub(super) profile: Profile,
    pub(super) client: Client,
    read_at: Duration,
}

/// What is known of it. The lock is held while it is read, so that it is read once for everybody who waits.
#[derive(Debug, Default)]
pub(crate) struct Providers(Mutex<Option<Arc<Provider>>>);

impl Engine {
    /// What the provider publishes; `again` for somebody who misses something in it.
    pub(super) async fn provider(&self, oidc: &OidcSettings, again: bool) -> Result<Arc<Provider>> {
        let mut known = self.providers.0.lock().await;
        let enough = if again { AGAIN } else { KEPT };
        let is_good = |p: &&Arc<Provider>| self.clock.monotonic().saturating_sub(p.read_at) < enough;
        if let Some(provider) = known.as_ref().filter(is_good) {
            return Ok(Arc::clone(provider));
        }
        let provider = Arc::new(self.read_provider(oidc).await?);
        *known = Some(Arc::clone(&provider));
        Ok(provider)
    }

    async fn read_provider(&self, oidc: &OidcSettings) -> Result<Provider> {
        // OpenID Connect Discovery section 4 has one place.
        let places = valetkey_oauth::metadata_urls(&oidc.issuer).map_err(unusable)?;
        let place = places.last().ok_or_else(|| unusable("no place"))?;
        let response = self.fetch_published(place).await?;
        let metadata = valetkey_oauth::read_metadata(&oidc.issuer, &response).map_err(unusable)?;
        let keys_url = metadata.jwks_uri.as_ref().ok_or_else(|| unusable("no jwks_uri"))?;
        let keys = read_signing_keys(&self.fetch_published(keys_url).await?).map_err(unusable)?;
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        let knows = |method: &str| methods.is_some_and(|all| all.iter().any(|m| m == method));
        let mut profile = Profile::default();
        if knows("client_secret_post") && !knows("client_secret_basic") {
            profile.token.client_auth = ClientAuth::ClientSecretPost;
        }
        Ok(Provider {
            metadata,
            keys,
            profile,
            client: Client {
                id: oidc.client_id.clone(),
                secret: oidc.client_secret.clone(),
            },
            read_at: self.clock.monotonic(),
        })
    }

    async fn fetch_published(&self, url: &Url) -> Result<Response> {
        let request = valetkey_oauth::metadata_request(url).map_err(unusable)?;
        match self.wire.send_token(request, TIMEOUT).await {
            Outcome::Answered(response) => Ok(response),
            Outcome::NotSent(error) | Outcome::Uncertain(error) => {
                Err(unavailable("the identity provider cannot be reached now", error))
            }
        }
    }
}

fn unusable(cause: impl Display) -> Error {
    unavailable("what the identity provider publishes cannot be used", cause)
}

pub(super) fn unavailable(what: &str, cause: impl Display) -> Error {
    let message = format!("{what}; try again later, or sign in with an API key");
    Error::new(ErrorCode::ProviderUnavailable, message).because(cause)
}
