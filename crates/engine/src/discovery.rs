//! An issuer alone is enough to configure a connector: its published metadata (RFC 8414, `OpenID` Connect Discovery) says
//! where the endpoints are.
//!
//! The metadata is read when the connector is saved and kept with it. A provider that publishes something else later
//! changes nothing here until an administrator saves the connector again: endpoints never move silently.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use valetkey_core::ErrorCode;
use valetkey_oauth::Metadata;
use valetkey_spec::OauthSetup;

use crate::Engine;
use crate::error::{Error, Result};
use crate::wire::Outcome;

/// The field of a connector's stored auth settings that holds what was discovered.
pub(crate) const DISCOVERED: &str = "discovered";

/// How long a provider may take to publish its metadata.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is kept of a provider's metadata.
#[derive(Debug, Serialize, Deserialize)]
struct Discovered {
    authorization_url: String,
    token_url: String,
    revocation_url: Option<String>,
    /// Where requests are pushed; kept only where the provider demands it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pushed_authorization_url: Option<String>,
    sends_iss: bool,
}

impl From<Metadata> for Discovered {
    fn from(metadata: Metadata) -> Self {
        Self {
            authorization_url: metadata.authorization_endpoint.into(),
            token_url: metadata.token_endpoint.into(),
            revocation_url: metadata.revocation_endpoint.map(String::from),
            pushed_authorization_url: metadata
                .pushed_authorization_request_endpoint
                .filter(|_| metadata.require_pushed_authorization_requests)
                .map(String::from),
            sends_iss: metadata.authorization_response_iss_parameter_supported,
        }
    }
}

impl Engine {
    /// Adds what the issuer publishes, where the connector names an issuer and leaves its URLs out.
    pub(crate) async fn discover(&self, setup: Option<&OauthSetup>, auth: &mut Map<String, Value>) -> Result<()> {
        let Some(setup) = setup.filter(|s| s.token_url.is_none()) else {
            return Ok(());
        };
        let Some(issuer) = &setup.issuer else { return Ok(()) };
        let metadata = self.read_metadata(issuer).await?;
        let must_push = metadata.require_pushed_authorization_requests;
        if must_push && metadata.pushed_authorization_request_endpoint.is_none() {
            return Err(failed(
                "the provider demands pushed authorization requests and does not say where they go",
            ));
        }
        let kept = serde_json::to_value(Discovered::from(metadata)).map_err(Error::internal)?;
        auth.insert(DISCOVERED.to_owned(), kept);
        Ok(())
    }

    async fn read_metadata(&self, issuer: &str) -> Result<Metadata> {
        let mut reason = "the issuer is not a URL".to_owned();
        for url in valetkey_oauth::metadata_urls(issuer).map_err(|e| failed(&e.to_string()))? {
            let request = valetkey_oauth::metadata_request(&url).map_err(|e| failed(&e.to_string()))?;
            match self.wire.send_token(request, DISCOVERY_TIMEOUT).await {
                Outcome::Answered(response) => match valetkey_oauth::read_metadata(issuer, &response) {
                    Ok(metadata) => return Ok(metadata),
                    Err(error) => reason = error.to_string(),
                },
                Outcome::NotSent(error) | Outcome::Uncertain(error) => reason = error.to_string(),
            }
        }
        Err(failed(&reason))
    }
}

/// Puts what was discovered into the places that were left out.
pub(crate) fn apply(auth: &Map<String, Value>, setup: &mut OauthSetup) -> Result<()> {
    let Some(kept) = auth.get(DISCOVERED) else {
        return Ok(());
    };
    let kept: Discovered = serde_json::from_value(kept.clone()).map_err(Error::internal)?;
    setup.authorization_url.get_or_insert(kept.authorization_url);
    setup.token_url.get_or_insert(kept.token_url);
    if setup.revocation_url.is_none() {
        setup.revocation_url = kept.revocation_url;
    }
    if setup.pushed_authorization_url.is_none() {
        setup.pushed_authorization_url = kept.pushed_authorization_url;
    }
    setup.profile.sends_iss |= kept.sends_iss;
    Ok(())
}

fn failed(reason: &str) -> Error {
    Error::new(
        ErrorCode::DiscoveryFailed,
        format!("secrets.issuer: its published metadata cannot be used ({reason}); check it, or give the URLs instead"),
    )
}
