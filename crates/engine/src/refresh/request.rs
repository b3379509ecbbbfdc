//! The token request, built from the connector.

use std::collections::BTreeMap;

use url::Url;
use valetkey_core::{ErrorCode, Request, Secret};
use valetkey_oauth::{Client, Grant, TokenError, TokenRequest};
use valetkey_store::rows::ConnectionRow;

use crate::connector::Connector;
use crate::error::{Error, Result};

/// Takes the secrets that were sent out of what the provider answered.
pub(crate) fn masked(error: TokenError, client: &Client, sent: &Secret<String>) -> TokenError {
    let secret = client.secret.as_ref().map(|s| s.expose().as_str()).unwrap_or_default();
    error.masked(&[secret, sent.expose()])
}

/// A request for a stored grant.
pub(super) fn token_request(
    connector: &Connector,
    client: &Client,
    grant: Grant<'_>,
    row: &ConnectionRow,
) -> Result<Request> {
    let scopes = row.grant.as_ref().map(|g| g.scopes.clone()).unwrap_or_default();
    request_for(connector, client, grant, &scopes)
}

/// A request for scopes.
pub(super) fn request_for(
    connector: &Connector,
    client: &Client,
    grant: Grant<'_>,
    scopes: &[String],
) -> Result<Request> {
    let setup = connector.oauth()?;
    let incomplete = |what: &str| {
        Error::new(
            ErrorCode::OauthConfigIncomplete,
            format!("secrets.{what} is missing or wrong"),
        )
    };
    let endpoint = setup
        .token_url
        .as_deref()
        .and_then(|u| Url::parse(u).ok())
        .ok_or_else(|| incomplete("tokenUrl"))?;
    TokenRequest {
        profile: &setup.profile,
        endpoint: &endpoint,
        client,
        grant,
        scopes,
        resource: setup.resource.as_deref(),
        extra_params: &BTreeMap::new(),
    }
    .request()
    .map_err(|e| incomplete("clientId").because(e))
}
