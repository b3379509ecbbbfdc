//! The authorization code flow, up to the provider: start, connect page, pushed requests, cancel.
//!
//! A flow is identified by its `state` alone; the store knows only the hash of it. Everything that the exchange will need
//! is sealed into the flow at start, so that an edit in between cannot redirect a code.

mod connect;
mod push;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;
use valetkey_core::encode::base64url;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, ErrorCode, Owner, Privilege, Secret, Timestamp};
use valetkey_oauth::{AuthorizationRequest, StepUp};
use valetkey_spec::OauthSetup;
use valetkey_store::rows::{FlowRow, FlowState};

use crate::Engine;
use crate::caller::Caller;
use crate::connector::{Connector, validation};
use crate::error::{Error, Result};
use crate::settings::RateLimit;
use crate::vault::digest_of;
use crate::wire::WireError;

pub(crate) use connect::same_browser;
pub use connect::{AskedScope, ConnectPage};
use push::Push;

/// What a flow is started with.
#[derive(Debug, Default)]
pub struct StartFlow {
    /// Where the browser goes when the flow is over; a page of ours if left out.
    pub return_url: Option<String>,
    /// Whether the connect page asks before it leaves for the provider; yes if left out.
    pub confirm: Option<bool>,
    /// A part of the connector's scopes; all of them if left out.
    pub scopes: Option<Vec<String>>,
    /// Which of the owner's accounts.
    pub connection: Option<ConnectionName>,
    /// Whether another account may take the place of the one that is connected.
    pub allow_account_change: bool,
    /// What an API demanded of the sign-in: authentication contexts, the preferred one first.
    pub acr_values: Option<String>,
    /// How old the sign-in may be, in seconds.
    pub max_age: Option<u64>,
}

/// A flow that was started.
#[derive(Debug)]
pub struct StartedFlow {
    /// Where the browser must go: our own connect page, or the provider if it is signed in here.
    pub authorization_url: Url,
    /// What identifies the flow; needed to cancel it.
    pub state: Secret<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What the exchange needs, sealed into the flow.
#[derive(Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) verifier: Option<String>,
    /// Where the browser goes, with everything that is asked; the bare endpoint where that is pushed.
    pub(crate) authorization_url: String,
    pub(crate) redirect_uri: String,
    pub(crate) token_url: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) return_url: Option<String>,
    pub(crate) confirm: bool,
    /// The connector's version at start.
    pub(crate) version: i64,
    /// The issuer that the callback's `iss` must name, if it is known.
    pub(crate) issuer: Option<String>,
    /// Whether the provider announces that it sends `iss`.
    pub(crate) sends_iss: bool,
    /// Whether another account may take the place of the one that is connected.
    #[serde(default)]
    pub(crate) allow_account_change: bool,
    /// What is pushed when the browser is sent on, where the provider demands that.
    #[serde(default)]
    pub(crate) push: Option<Push>,
}

impl Drop for Payload {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.verifier.zeroize();
        self.authorization_url.zeroize();
    }
}

impl Engine {
    /// Starts a flow for the caller; for a connection that is shared, it takes the right to change the connector too.
    pub async fn start_flow(&self, caller: &Caller, id: &ConnectorId, start: StartFlow) -> Result<StartedFlow> {
        caller.need(Privilege::OauthConnect)?;
        let connector = self.connector(&caller.principal, id).await?;
        if !connector.has_flow() {
            connector.oauth()?;
            return Err(Error::new(
                ErrorCode::AuthTypeNotOauth,
                "this connector gets its tokens with the client's own credentials; there is no account to connect",
            ));
        }
        let owner = connector.owner_for(&caller.principal)?;
        if owner == Owner::Shared {
            // Whoever connects it chooses the account that everybody uses, as whoever ends it takes it from everybody.
            caller.need(Privilege::ConnectorsWrite)?;
        }
        self.take_limit("authorize", &caller.limit_subject(), self.settings.authorize_limit)
            .await?;
        let base = self.public_base_url()?;
        let return_url = start
            .return_url
            .as_deref()
            .map(|u| self.check_return_url(u, &base))
            .transpose()?;
        let key = ConnectionKey {
            space: caller.principal.space.clone(),
            connector: id.clone(),
            owner,
            name: start.connection.unwrap_or_else(ConnectionName::default_name),
        };

        let state = valetkey_oauth::new_state(&*self.rng);
        let step_up = step_up(start.acr_values.as_deref(), start.max_age)?;
        let mut payload = self.prepare(&connector, &base, start.scopes, &step_up, &state)?;
        payload.return_url = return_url;
        payload.confirm = start.confirm.unwrap_or(true);
        payload.allow_account_change = start.allow_account_change;

        // The session says who the person is; without one, a page of ours binds the browser.
        let ticket = (!caller.principal.in_session).then(|| Secret::new(base64url(&self.rng.bytes::<32>())));
        let authorization_url = match &ticket {
            Some(ticket) => self.connect_url(&[ticket.expose()])?,
            None => self.departure(&connector, &mut payload).await?,
        };
        let now = self.clock.now();
        let state_hash = digest_of(state.expose());
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&payload).map_err(Error::internal)?);
        let row = FlowRow {
            state_hash,
            id: base64url(&self.rng.bytes::<9>()),
            ticket_hash: ticket.as_ref().map(|ticket| digest_of(ticket.expose())),
            browser_hash: None,
            sealed: self.vault().seal_flow(&key, &state_hash, &plain)?,
            context: connector.context(),
            key,
            state: FlowState::Pending,
            started_by: caller.principal.key.id.clone(),
            created_at: now,
            expires_at: now.plus(self.settings.flow_ttl),
        };
        let expires_at = row.expires_at;
        let audit = caller
            .audit("flow.start", now)
            .connection(&row.key)
            .detail("flow", row.id.as_str());
        if !self
            .store
            .put_flow(row, self.settings.max_pending_flows, audit.row())
            .await?
        {
            return Err(Error::new(
                ErrorCode::TooManyFlows,
                "too many flows of this user are waiting; finish or cancel one, or wait until they expire",
            )
            .retry_after(self.settings.flow_ttl));
        }
        self.metrics.flow("started");
        Ok(StartedFlow {
            authorization_url,
            state,
            expires_at,
        })
    }

    /// Builds the authorization request, and what its exchange will need.
    fn prepare(
        &self,
        connector: &Connector,
        base: &Url,
        scopes: Option<Vec<String>>,
        step_up: &StepUp,
        state: &Secret<String>,
    ) -> Result<Payload> {
        let setup = connector.oauth()?;
        let authorization_url = self.endpoint("authorizationUrl", setup.authorization_url.as_deref())?;
        let token_url = self.endpoint("tokenUrl", setup.token_url.as_deref())?;
        if setup.client_id.is_empty() {
            return Err(Error::new(
                ErrorCode::OauthConfigIncomplete,
                "secrets.clientId is missing; set it first",
            ));
        }
        let scopes = allowed_scopes(&setup.scopes, scopes)?;
        let redirect_uri = connector.callback_url(base.as_str());
        let pkce = setup
            .profile
            .authorize
            .pkce
            .then(|| valetkey_oauth::new_pkce(&*self.rng));
        let extra_params = step_up.params();
        check_step_up(&extra_params, setup, &authorization_url)?;
        let url = AuthorizationRequest {
            profile: &setup.profile,
            endpoint: &authorization_url,
            client_id: &setup.client_id,
            redirect_uri: &redirect_uri,
            state: state.expose(),
            challenge: pkce.as_ref().map(|p| p.challenge.as_str()),
            scopes: &scopes,
            resource: setup.resource.as_deref(),
            extra_params: &extra_params,
        }
        .url()
        .map_err(|e| Error::new(ErrorCode::ReservedParameter, e.to_string()))?;
        let pushed = setup.pushed_authorization_url.as_deref();
        let push = pushed
            .map(|url| self.endpoint("pushedAuthorizationUrl", Some(url)))
            .transpose()?
            .map(|endpoint| Push {
                endpoint: endpoint.into(),
                state: state.expose().clone(),
                extra_params,
            });
        let browser_url = if push.is_some() { authorization_url } else { url };
        Ok(Payload {
            verifier: pkce.map(|p| p.verifier.expose().clone()),
            authorization_url: browser_url.into(),
            redirect_uri,
            token_url: token_url.into(),
            scopes,
            return_url: None,
            confirm: true,
            version: connector.row.version,
            issuer: setup.issuer.clone().or_else(|| setup.profile.issuer.clone()),
            sends_iss: setup.profile.sends_iss,
            allow_account_change: false,
            push,
        })
    }

    /// Ends a waiting flow of the caller's. Unknown ones are no error: there is nothing left to do.
    pub async fn cancel_flow(&self, caller: &Caller, id: &ConnectorId, state: &str) -> Result<()> {
        caller.need(Privilege::OauthConnect)?;
        self.connector(&caller.principal, id).await?;
        let hash = digest_of(state);
        let Some(flow) = self.store.get_flow(&hash).await? else {
            return Ok(());
        };
        let here = flow.key.space == caller.principal.space && flow.key.connector == *id;
        let own = match &flow.key.owner {
            Owner::User(user) => caller.principal.user.as_ref() == Some(user),
            Owner::Shared => {
                flow.started_by == caller.principal.key.id || caller.principal.may(Privilege::ConnectorsWrite)
            }
        };
        if !here || !own {
            return Err(Error::new(
                ErrorCode::FlowUserMismatch,
                "this flow belongs to somebody else",
            ));
        }
        let now = self.clock.now();
        if let valetkey_store::rows::TakenFlow::Taken(flow) = self.store.take_flow(&hash, now).await? {
            let audit = caller
                .audit("flow.reject", now)
                .connection(&flow.key)
                .outcome("cancelled");
            self.end_with(&hash, audit.detail("flow", flow.id.as_str()).row()).await;
            self.metrics.flow("cancelled");
        }
        Ok(())
    }

    pub(crate) async fn open_payload(&self, flow: &FlowRow) -> Result<Payload> {
        let plain = self
            .vault_for(&flow.sealed)
            .await?
            .open_flow(&flow.key, &flow.state_hash, &flow.sealed)?;
        serde_json::from_slice(&plain).map_err(Error::internal)
    }

    pub(crate) async fn take_limit(&self, bucket: &'static str, subject: &str, limit: RateLimit) -> Result<()> {
        let taken = self
            .store
            .take_limit(bucket, subject, limit.limit, limit.window, self.clock.now())
            .await?;
        taken.map_err(|wait| {
            Error::new(
                ErrorCode::RateLimited,
                "too many attempts; wait as long as Retry-After says",
            )
            .retry_after(wait)
        })
    }

    pub(crate) fn public_base_url(&self) -> Result<Url> {
        self.settings.public_base_url.clone().ok_or_else(|| {
            Error::new(
                ErrorCode::PublicBaseUrlMissing,
                "set public_base_url (VALETKEY_PUBLIC_BASE_URL) to the address at which browsers reach valetkey",
            )
        })
    }

    /// A return URL is ours, or its origin is in the list, or it is one that an app registered; nothing else is ever followed.
    fn check_return_url(&self, text: &str, base: &Url) -> Result<String> {
        if self.settings.allowed_return_urls.iter().any(|url| url == text) {
            return Ok(text.to_owned());
        }
        let refused = || {
            Error::new(
                ErrorCode::ReturnUrlNotAllowed,
                "returnUrl must be an absolute http(s) URL whose origin is ours or in allowed_return_origins, or one of \
                 allowed_return_urls",
            )
        };
        if text.len() > 2048 || !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('\\') {
            return Err(refused());
        }
        let url = valetkey_oauth::check_endpoint(text)
            .or_else(|_| without_fragment(text))
            .map_err(|()| refused())?;
        let origin = url.origin().ascii_serialization();
        let ours = origin == base.origin().ascii_serialization();
        if ours || self.settings.allowed_return_origins.contains(&origin) {
            Ok(url.into())
        } else {
            Err(refused())
        }
    }

    /// An endpoint of the connector's, checked before anybody is sent there.
    fn endpoint(&self, field: &str, url: Option<&str>) -> Result<Url> {
        let url = url.filter(|u| !u.is_empty()).ok_or_else(|| {
            Error::new(
                ErrorCode::OauthConfigIncomplete,
                format!("secrets.{field} is missing; set it first"),
            )
        })?;
        let url = valetkey_oauth::check_endpoint(url).map_err(|e| validation(format!("secrets.{field}: {e}")))?;
        self.wire.check(&url).map_err(|error| match error {
            WireError::HostNotAllowed => Error::new(
                ErrorCode::HostNotAllowed,
                format!("the host of secrets.{field} is not in allowed_hosts; ask the operator to add it"),
            ),
            WireError::AddressDenied => Error::new(
                ErrorCode::AddressDenied,
                format!("secrets.{field} is an address that is not public; ask the operator for allow_networks"),
            ),
            _ => validation(format!(
                "secrets.{field}: must be https, unless the operator lists the host in allow_insecure_http"
            )),
        })?;
        Ok(url)
    }
}

/// A return URL may have a fragment, unlike an endpoint.
fn without_fragment(text: &str) -> std::result::Result<Url, ()> {
    let (rest, _) = text.split_once('#').ok_or(())?;
    valetkey_oauth::check_endpoint(rest).map_err(|_| ())?;
    Url::parse(text).map_err(|_| ())
}

/// What the caller demands of the sign-in.
fn step_up(acr_values: Option<&str>, max_age: Option<u64>) -> Result<StepUp> {
    let mut demand = StepUp::default();
    if let Some(text) = acr_values {
        demand = demand.with_acr_values(text).ok_or_else(|| {
            validation("acrValues: must be words of visible ASCII separated by single spaces, at most 1024 characters")
        })?;
    }
    if let Some(seconds) = max_age {
        demand = demand
            .with_max_age(seconds)
            .ok_or_else(|| validation("maxAge: must be a number of seconds, at most ten years"))?;
    }
    Ok(demand)
}

/// What the connector itself demands of a sign-in is not for callers to weaken.
fn check_step_up(wanted: &BTreeMap<String, String>, setup: &OauthSetup, endpoint: &Url) -> Result<()> {
    let own = &setup.profile.authorize.extra_params;
    let fixed = |name: &str| own.contains_key(name) || endpoint.query_pairs().any(|(own, _)| own == name);
    match wanted.keys().find(|name| fixed(name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(
            ErrorCode::ReservedParameter,
            format!("the connector sets {name} itself, so a flow cannot; an administrator can change it there"),
        )),
    }
}

/// The scopes to ask for: the connector's, or the part of them that the caller wants.
fn allowed_scopes(configured: &[String], wanted: Option<Vec<String>>) -> Result<Vec<String>> {
    let Some(wanted) = wanted else {
        return Ok(configured.to_vec());
    };
    if wanted.is_empty() || wanted.len() > configured.len() {
        return Err(validation(
            "scopes: must be a part of the connector's scopes, each named once; leave it out for all",
        ));
    }
    if let Some(position) = wanted.iter().position(|s| !configured.contains(s)) {
        return Err(Error::new(
            ErrorCode::ScopeNotAllowed,
            format!("scopes[{position}] is not one of the connector's scopes; an administrator can add it there"),
        ));
    }
    Ok(wanted)
}
