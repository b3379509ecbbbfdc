//! Pushed authorization requests (RFC 9126): what is asked goes to the provider directly, at the moment when the browser is
//! sent on, and the browser carries a reference only.
//!
//! A reference is made for one departure and kept nowhere: a reload pushes again, so that none is used twice or late.
//! There is no way back to plain parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use valetkey_core::{ErrorCode, Secret};
use valetkey_oauth::{AuthorizationRequest, TokenError};

use super::{Payload, same_browser};
use crate::Engine;
use crate::connector::Connector;
use crate::error::{Error, Result};
use crate::refresh::masked;
use crate::settings::RateLimit;
use crate::vault::digest_of;
use crate::wire::Outcome;

/// How often one flow may be pushed: a person who reloads needs a few, and a script must not make us call the provider
/// without end.
const MAX_PUSHES: u32 = 10;

/// What is pushed, besides what the exchange needs anyway.
#[derive(Serialize, Deserialize)]
pub(crate) struct Push {
    /// Where to.
    pub(super) endpoint: String,
    /// The state itself; the store knows its hash only.
    pub(super) state: String,
    /// What the start added to the request.
    pub(super) extra_params: BTreeMap<String, String>,
}

impl Drop for Push {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.state.zeroize();
    }
}

impl Engine {
    /// Where the browser that opened a ticket goes on: to the provider, with a request that was pushed for this departure.
    pub async fn continue_ticket(&self, ticket: &str, cookie: impl Fn(&str) -> Option<String> + Send) -> Result<Url> {
        let flow = self.waiting_flow(&digest_of(ticket)).await?;
        let sent = cookie(&self.cookie_name(&flow.id));
        if !same_browser(&flow, sent.as_deref()) {
            return Err(Error::new(
                ErrorCode::FlowBrowserMismatch,
                "this link was not opened in this browser, so it cannot go on here. Go back and start again",
            ));
        }
        let payload = self.open_payload(&flow).await?;
        let Some(push) = &payload.push else {
            return Url::parse(&payload.authorization_url).map_err(Error::internal);
        };
        let connector = self.unchanged_connector(&flow, &payload).await?;
        let limit = RateLimit {
            limit: MAX_PUSHES,
            window: self.settings.flow_ttl,
        };
        self.take_limit("push", &flow.id, limit).await?;
        self.push(&connector, &payload, push).await
    }

    /// Where a browser goes at once: to the provider, with a request that was pushed where the provider demands that.
    pub(super) async fn departure(&self, connector: &Connector, payload: &mut Payload) -> Result<Url> {
        match payload.push.take() {
            Some(push) => self.push(connector, payload, &push).await,
            None => Url::parse(&payload.authorization_url).map_err(Error::internal),
        }
    }

    async fn push(&self, connector: &Connector, payload: &Payload, push: &Push) -> Result<Url> {
        let setup = connector.oauth()?;
        let client = self.client(connector).await?;
        let incomplete = |e: &dyn std::fmt::Display| Error::new(ErrorCode::OauthConfigIncomplete, e.to_string());
        let endpoint = Url::parse(&push.endpoint).map_err(Error::internal)?;
        let authorize = Url::parse(&payload.authorization_url).map_err(Error::internal)?;
        let challenge = payload.verifier.as_deref().map(valetkey_oauth::challenge_of);
        let request = AuthorizationRequest {
            profile: &setup.profile,
            endpoint: &authorize,
            client_id: &setup.client_id,
            redirect_uri: &payload.redirect_uri,
            state: &push.state,
            challenge: challenge.as_deref(),
            scopes: &payload.scopes,
            resource: setup.resource.as_deref(),
            extra_params: &push.extra_params,
        };
        let request = valetkey_oauth::par_request(&request, &endpoint, &client).map_err(|e| incomplete(&e))?;
        let sent_at = self.clock.monotonic();
        let response = match self.wire.send_token(request, self.settings.token_timeout).await {
            Outcome::Answered(response) => response,
            Outcome::NotSent(error) | Outcome::Uncertain(error) => {
                return Err(crate::callback::no_answer(error, "pushed authorization URL"));
            }
        };
        let (request_uri, lifetime) = valetkey_oauth::read_par_response(&response)
            .map_err(|e| refused(&masked(e, &client, &Secret::from(push.state.as_str()))))?;
        if self.clock.monotonic().saturating_sub(sent_at) >= lifetime {
            return Err(Error::new(
                ErrorCode::ProviderUnavailable,
                "the provider answered too late; reload this page to try again",
            )
            .retry_after(Duration::from_secs(1)));
        }
        valetkey_oauth::pushed_url(&authorize, &setup.client_id, &request_uri).map_err(|e| incomplete(&e))
    }
}

/// What a refused push means for the person in front of the browser (RFC 9126 section 2.3). The flow still waits.
fn refused(error: &TokenError) -> Error {
    let (code, message) = match error.code() {
        ErrorCode::ClientRejected => (
            ErrorCode::ClientRejected,
            "the provider did not accept the client id or the client secret; an administrator should check them",
        ),
        ErrorCode::ProviderUnavailable => (
            ErrorCode::ProviderUnavailable,
            "the provider has a problem now; reload this page later, or go back and connect again",
        ),
        ErrorCode::ProviderConfigError | ErrorCode::CodeRejected => (
            ErrorCode::ProviderConfigError,
            "the provider refused the request; an administrator should check the connector's client id, scopes and \
             redirect URI",
        ),
        code => (
            code,
            "the provider's answer to the pushed request cannot be used; an administrator finds the reason in the log",
        ),
    };
    let cause = format!("{error} ({})", error.provider_error().unwrap_or("no code"));
    let refusal = Error::new(code, message).because(cause);
    match error.retry_after() {
        Some(wait) => refusal.retry_after(wait),
        None => refusal,
    }
}
