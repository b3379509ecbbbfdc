//! The callback: where the browser comes back from the provider.
//!
//! The checks are made in a fixed order, and the flow is taken before any of them can fail: a state works once, whatever
//! follows. The code is exchanged with what was sealed into the flow at start, and only stored if the connector is still
//! the one that the flow was started for.

mod cancel;
mod end;
mod keep;
mod person;
mod stranger;

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;
use valetkey_core::encode::base64url;
use valetkey_core::{ConnectionKey, ConnectorId, ErrorCode, KeyId, Secret, SpaceId};
use valetkey_oauth::{Callback, Grant, ProviderError, TokenError, TokenRequest};
use valetkey_store::rows::{Digest, FlowRow, Subject, TakenFlow};

use crate::Engine;
use crate::caller::Audit;
use crate::connector::Connector;
use crate::error::{Error, Result};
use crate::flow::{Payload, same_browser};
use crate::grant::{Minted, NewGrant};
use crate::vault::digest_of;
use crate::wire::{Outcome, WireError};

pub use cancel::CancelRequest;
use person::{check_person, in_session};
pub(crate) use stranger::Strangers;

/// How much of a state's hash names a flow in messages between tabs.
const FINGERPRINT_BYTES: usize = 16;

/// What a browser brings back.
pub struct CallbackRequest {
    /// The last segment of the path; `None` for the bare path.
    pub context: Option<String>,
    /// The query, as sent.
    pub query: String,
    /// The cookies that the browser sent.
    pub cookies: BTreeMap<String, String>,
    /// The browser's address.
    pub address: String,
    /// The request's id.
    pub request_id: String,
}

impl std::fmt::Debug for CallbackRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallbackRequest")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// What to tell the browser.
#[derive(Debug)]
pub struct CallbackPage {
    /// The connector, once the flow is known.
    pub connector: Option<ConnectorId>,
    /// Its name, for people.
    pub connector_name: Option<String>,
    /// Where the browser goes on, if the flow said so. Only set when this browser is the flow's own.
    pub return_url: Option<Url>,
    /// Tells whoever started the flow which one it was, and nobody else anything: the first 128 bits of the hash of its state.
    /// Only set when this browser is the flow's own.
    pub fingerprint: Option<String>,
    /// Whether it was begun in a session, where the console is. Only set where somebody brings a flow, not a guess.
    pub in_session: bool,
    /// The cookie that is no longer needed.
    pub expired_cookie: Option<String>,
    /// The account that was connected, as the provider names it.
    pub account: Option<String>,
    /// What came of it.
    pub result: Result<()>,
    /// The flow that was taken here, whose end is to be noted.
    taken: Option<Digest>,
    /// Which flow it was, for the audit log.
    flow: Option<(ConnectionKey, KeyId, String)>,
    /// What else the audit log says of a refusal.
    details: Vec<(&'static str, String)>,
}

/// A flow that this browser may finish.
struct Taken {
    flow: Box<FlowRow>,
    payload: Payload,
}

impl Engine {
    /// Finishes a flow, on a task of its own: a browser that goes away between the provider's answer and the write cannot
    /// lose a grant that the provider has given.
    pub async fn callback(self: &Arc<Self>, request: CallbackRequest) -> Result<CallbackPage> {
        let engine = Arc::clone(self);
        self.tasks
            .spawn(async move { engine.finish_flow(request).await })
            .await
            .map_err(Error::internal)
    }

    async fn finish_flow(&self, request: CallbackRequest) -> CallbackPage {
        let mut page = CallbackPage {
            connector: None,
            connector_name: None,
            return_url: None,
            fingerprint: None,
            in_session: false,
            expired_cookie: None,
            account: None,
            result: Ok(()),
            taken: None,
            flow: None,
            details: Vec::new(),
        };
        page.result = self.finish(&request, &mut page).await;
        self.tally_flow(&page).await;
        match &page.result {
            Ok(()) => {
                self.metrics.flow("completed");
                if let Some(taken) = &page.taken {
                    self.end_completed(taken).await;
                }
            }
            Err(error) => {
                self.metrics.flow("rejected");
                let mut audit = Audit::new("flow.reject", self.clock.now()).outcome(error.code.as_str());
                if let Some((key, _, flow)) = &page.flow {
                    audit = audit.connection(key).detail("flow", flow.as_str());
                }
                for (name, value) in &page.details {
                    audit = audit.detail(name, value.as_str());
                }
                let mut record = audit.row();
                // A flow that nobody knows belongs to the space of the path, which is the default one.
                record.space.get_or_insert_with(SpaceId::default_space);
                record.key = page.flow.as_ref().map(|(_, started_by, _)| started_by.clone());
                record.address = Some(request.address.clone());
                record.request_id = Some(request.request_id.clone());
                match &page.taken {
                    Some(taken) => self.end_with(taken, record).await,
                    None => self.audit_later(record),
                }
            }
        }
        page
    }

    /// Counts a flow that came to its end in the browser that began it. Whatever else comes is no flow of anybody's.
    async fn tally_flow(&self, page: &CallbackPage) {
        let Some((key, ..)) = page.flow.as_ref().filter(|_| page.connector.is_some()) else {
            return;
        };
        match self.load_connector(&key.space, &key.connector).await {
            Ok(Some(connector)) => self.count_end(&connector, Subject::Flow, page.result.is_ok()),
            // Of a connector that is gone the type is not known.
            Ok(None) => {}
            Err(error) => tracing::debug!(code = %error.code, "the end of a flow is not in the tally"),
        }
    }

    async fn finish(&self, request: &CallbackRequest, page: &mut CallbackPage) -> Result<()> {
        let read = valetkey_oauth::read_callback(&request.query);
        let state = match &read {
            Ok(callback) => Some(callback.state.clone()),
            Err(error) => error.state().cloned(),
        };
        let Some(state) = state else {
            self.take_callback_limit(None, request).await?;
            return Err(read.err().map_or_else(unknown_flow, |e| malformed(&e)));
        };
        let taken = self.take(&state, request, page).await?;
        let callback = read.map_err(|e| malformed(&e))?;
        check_context(&taken, request.context.as_deref(), page)?;
        check_issuer(&taken.payload, &callback)?;
        if let Some(error) = &callback.error {
            return Err(refused(error));
        }
        let connector = self.unchanged_connector(&taken.flow, &taken.payload).await?;
        page.connector_name = Some(connector.row.name.clone());
        self.exchange(&connector, &taken, &callback, request, page).await
    }

    /// Takes the flow of a state, whoever is first, and makes sure that this is the browser that began it.
    async fn take(&self, state: &Secret<String>, request: &CallbackRequest, page: &mut CallbackPage) -> Result<Taken> {
        let hash = digest_of(state.expose());
        let known = self.store.get_flow(&hash).await?;
        page.flow = known
            .as_ref()
            .map(|f| (f.key.clone(), f.started_by.clone(), f.id.clone()));
        let person = self.person_of(known.as_ref(), request).await?;
        let stranger = known
            .as_ref()
            .is_none_or(|flow| self.is_stranger(flow, person.as_ref(), request));
        page.in_session = !stranger && known.as_ref().is_some_and(in_session);
        if stranger {
            self.count_stranger(&request.address)?;
        }
        self.take_callback_limit(known.as_ref().filter(|_| !stranger), request)
            .await?;
        let found = self.store.take_flow(&hash, self.clock.now()).await?;
        page.taken = matches!(found, TakenFlow::Taken(_)).then_some(hash);
        let flow = match found {
            // The state is used up, because it is in hands that it was not meant for; whoever has it learns nothing.
            _ if stranger => return Err(unknown_flow()),
            TakenFlow::Taken(flow) => flow,
            TakenFlow::Unknown => return Err(unknown_flow()),
            TakenFlow::Expired => {
                return Err(Error::new(
                    ErrorCode::FlowExpired,
                    "this took too long; go back and connect again",
                ));
            }
            TakenFlow::AlreadyUsed => {
                return Err(Error::new(
                    ErrorCode::FlowAlreadyUsed,
                    "this was finished before. If the account is not connected, go back and connect again",
                ));
            }
        };
        let cookie = self.cookie_name(&flow.id);
        if in_session(&flow) {
            check_person(&flow, person.as_ref(), page)?;
        } else if !same_browser(&flow, request.cookies.get(&cookie).map(String::as_str)) {
            return Err(Error::new(
                ErrorCode::FlowBrowserMismatch,
                "this was started in another browser, so it cannot be finished here. Go back and connect again",
            ));
        }
        let payload = self.open_payload(&flow).await?;
        page.expired_cookie = Some(cookie).filter(|_| !in_session(&flow));
        page.fingerprint = Some(base64url(&flow.state_hash.0[..FINGERPRINT_BYTES]));
        page.connector = Some(flow.key.connector.clone());
        page.return_url = payload.return_url.as_deref().and_then(|u| Url::parse(u).ok());
        Ok(Taken { flow, payload })
    }

    async fn take_callback_limit(&self, flow: Option<&FlowRow>, request: &CallbackRequest) -> Result<()> {
        let subject = match flow.and_then(|f| f.key.owner.user().map(|u| (&f.key.space, u))) {
            Some((space, user)) => format!("user:{space}:{user}"),
            None => format!("address:{}", request.address),
        };
        self.take_limit("callback", &subject, self.settings.callback_limit)
            .await
    }

    /// The connector, if it is still the one that the flow was started for, by somebody who may still do so.
    pub(crate) async fn unchanged_connector(&self, flow: &FlowRow, payload: &Payload) -> Result<Arc<Connector>> {
        let connector = self.load_connector(&flow.key.space, &flow.key.connector).await?;
        let connector = connector
            .filter(|c| c.row.version == payload.version)
            .ok_or_else(connector_changed)?;
        // Decisions are made at use time: a key that was invalidated in between finishes nothing.
        // Of a session that is looked at when the browser is.
        if !in_session(flow) && self.store.get_key(&flow.started_by).await?.is_none() {
            return Err(Error::new(
                ErrorCode::ConnectNotAllowed,
                "whoever started this may no longer connect accounts; ask an administrator",
            ));
        }
        Ok(connector)
    }

    async fn exchange(
        &self,
        connector: &Arc<Connector>,
        taken: &Taken,
        callback: &Callback,
        request: &CallbackRequest,
        page: &mut CallbackPage,
    ) -> Result<()> {
        let setup = connector.oauth()?;
        let code = callback.code.as_ref().ok_or_else(unknown_flow)?;
        let client = self.client(connector).await?;
        let verifier = taken.payload.verifier.clone().map(Secret::new);
        let endpoint = Url::parse(&taken.payload.token_url).map_err(Error::internal)?;
        let token_request = TokenRequest {
            profile: &setup.profile,
            endpoint: &endpoint,
            client: &client,
            grant: Grant::AuthorizationCode {
                code,
                redirect_uri: &taken.payload.redirect_uri,
                verifier: verifier.as_ref(),
            },
            scopes: &taken.payload.scopes,
            resource: setup.resource.as_deref(),
            extra_params: &BTreeMap::new(),
        }
        .request()
        .map_err(|e| Error::new(ErrorCode::OauthConfigIncomplete, e.to_string()))?;
        let sent_at = self.clock.now();
        let response = match self.wire.send_token(token_request, self.settings.token_timeout).await {
            Outcome::Answered(response) => response,
            Outcome::NotSent(error) | Outcome::Uncertain(error) => return Err(no_answer(error, "token URL")),
        };
        let tokens = valetkey_oauth::read_token_response(&setup.profile, &response)
            .map_err(|e| exchange_error(&crate::refresh::masked(e, &client, code)))?;
        page.account.clone_from(&tokens.account_label);
        let minted = Minted {
            tokens,
            sent_at,
            asked: taken.payload.scopes.clone(),
        };
        let mut audit = Audit::new("flow.complete", self.clock.now())
            .connection(&taken.flow.key)
            .detail("flow", taken.flow.id.as_str())
            .row();
        audit.key = Some(taken.flow.started_by.clone());
        audit.address = Some(request.address.clone());
        audit.request_id = Some(request.request_id.clone());
        let key = &taken.flow.key;
        let any_account = taken.payload.allow_account_change;
        let (stored, replaced) = match self.keep_grant(connector, key, &minted, any_account, audit).await? {
            NewGrant::Stored { connection, replaced } => (connection, replaced),
            NewGrant::OtherAccount(known) => {
                let new = minted.tokens.account_id.clone().unwrap_or_default();
                page.details = vec![("account", known), ("other_account", new)];
                // Nobody keeps what came, so it must not live on.
                self.revoke_tokens(connector, key, &minted.tokens).await;
                return Err(account_changed());
            }
        };
        if self.store.get_connector(&key.space, &key.connector).await?.is_none() {
            // Somebody deleted the connector while the code was exchanged: what came must not live on.
            self.end_orphan(connector, &stored.row).await?;
            return Err(connector_changed());
        }
        if let Some(row) = replaced {
            self.revoke_row(connector, &row).await;
        }
        Ok(())
    }
}

/// Why the provider was not reached at the address that the connector calls `place`.
pub(crate) fn no_answer(error: WireError, place: &str) -> Error {
    let (code, message) = match error {
        WireError::TooLarge => (
            ErrorCode::ProviderResponseTooLarge,
            "the provider's answer is larger than allowed; nothing was stored. An administrator should check the connector"
                .to_owned(),
        ),
        WireError::HostNotAllowed => (
            ErrorCode::HostNotAllowed,
            format!("the host of the {place} is not in allowed_hosts; an operator can add it"),
        ),
        WireError::AddressDenied | WireError::Insecure => (
            ErrorCode::AddressDenied,
            format!("the address of the {place} is not allowed here; an operator can allow it"),
        ),
        _ => (
            ErrorCode::ProviderUnavailable,
            "the provider cannot be reached now; go back and connect again".to_owned(),
        ),
    };
    Error::new(code, message).because(error)
}

fn connector_changed() -> Error {
    Error::new(
        ErrorCode::ProviderChanged,
        "the connector was changed or deleted in between; go back and connect again",
    )
}

fn account_changed() -> Error {
    Error::new(
        ErrorCode::AccountChanged,
        "another account is connected here, and it stays connected. Go back and connect again, and sign in at the \
         provider with that account; or disconnect it first",
    )
}

fn unknown_flow() -> Error {
    Error::new(
        ErrorCode::FlowInvalid,
        "this is not a callback of a flow that is under way; go back and connect again",
    )
}

fn malformed(error: &valetkey_oauth::CallbackError) -> Error {
    Error::new(
        error.code(),
        "the provider's answer is malformed; go back and connect again",
    )
    .because(error)
}

/// A code meant for one authorization server can never be taken to another (RFC 9700 section 4.4).
fn check_context(taken: &Taken, context: Option<&str>, page: &mut CallbackPage) -> Result<()> {
    let fits = match context {
        Some(context) => context == taken.flow.context,
        // The flow knows best which redirect URI it sent: the bare one only for connectors that ask for it.
        None => taken.payload.redirect_uri.ends_with("/_oauth_callback"),
    };
    if fits {
        return Ok(());
    }
    page.return_url = None;
    Err(Error::new(
        ErrorCode::ContextMismatch,
        "the answer came to the redirect URI of another connector; go back and connect again",
    ))
}

/// RFC 9207 section 2.4: compared as strings, without normalisation.
fn check_issuer(payload: &Payload, callback: &Callback) -> Result<()> {
    callback
        .check_issuer(payload.issuer.as_deref(), payload.sends_iss)
        .map_err(|error| {
            Error::new(
                error.code(),
                "the answer does not come from the authorization server that was asked; go back and connect again",
            )
            .because(error)
        })
}

/// The provider's `error` (RFC 6749 section 4.1.2.1), in words of our own.
fn refused(error: &ProviderError) -> Error {
    let message = match error.code() {
        ErrorCode::DeniedByUser => "access was not granted at the provider; connect again if that was a mistake",
        ErrorCode::ProviderUnavailable => "the provider has a problem now; connect again later",
        _ => {
            "the provider refused the request; an administrator should check the connector's client id, scopes and \
             redirect URI"
        }
    };
    Error::new(error.code(), message).because(error.error())
}

/// What a failed exchange means for the person in front of the browser.
fn exchange_error(error: &TokenError) -> Error {
    let code = error.code();
    let message = match code {
        ErrorCode::CodeRejected => "the provider did not accept the authorization code; go back and connect again",
        ErrorCode::ClientRejected => {
            "the provider did not accept the client id or the client secret; an administrator should check them"
        }
        ErrorCode::ProviderConfigError => {
            "the provider says that the request is configured wrongly; an administrator should check the connector"
        }
        ErrorCode::ProviderUnavailable | ErrorCode::RateLimited => {
            "the provider has a problem now; connect again later"
        }
        _ => "the provider's answer cannot be used; nothing was stored. An administrator finds the reason in the log",
    };
    let code = if code == ErrorCode::RateLimited {
        ErrorCode::ProviderUnavailable
    } else {
        code
    };
    Error::new(code, message).because(error)
}
