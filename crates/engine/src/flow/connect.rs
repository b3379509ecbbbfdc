//! The hosted connect page: it binds the browser, says what is about to happen, and sends the person on.

use subtle::ConstantTimeEq as _;
use url::Url;
use valetkey_core::encode::base64url;
use valetkey_core::{ErrorCode, ProfileUid, Secret};
use valetkey_store::rows::{BoundBrowser, Digest, FlowRow, FlowState};

use crate::Engine;
use crate::error::{Error, Result};
use crate::vault::digest_of;

/// What the connect page shows, and the cookie that binds the browser.
#[derive(Debug)]
pub struct ConnectPage {
    /// The connector's name.
    pub connector: String,
    /// The name of its type.
    pub connector_type: String,
    /// Whose account is being connected; `None` for a shared connection.
    pub user: Option<ProfileUid>,
    /// What is asked for.
    pub scopes: Vec<AskedScope>,
    /// Where the person will say yes or no.
    pub provider_host: String,
    /// Where the browser goes on: the provider's authorization URL, or a page of ours that pushes the request first.
    pub continue_url: Url,
    /// Where the browser goes to end this: a page of ours.
    pub cancel_url: Url,
    /// Whether to ask first.
    pub confirm: bool,
    /// The name of the cookie.
    pub cookie_name: String,
    /// The cookie to set; `None` if the browser has it already.
    pub cookie: Option<Secret<String>>,
    /// How long it is needed, in seconds.
    pub cookie_seconds: u64,
}

/// A permission that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedScope {
    /// The provider's name of it.
    pub name: String,
    /// What it allows, in plain words, if the connector type says so.
    pub label: Option<String>,
}

impl Engine {
    /// Opens the connect page of a ticket in a browser. `cookie` looks up a cookie that the browser sent.
    pub async fn open_ticket(
        &self,
        ticket: &str,
        cookie: impl Fn(&str) -> Option<String> + Send,
    ) -> Result<ConnectPage> {
        let hash = digest_of(ticket);
        let waiting = self.waiting_flow(&hash).await?;
        let name = self.cookie_name(&waiting.id);
        let sent = cookie(&name);
        let secret = Secret::new(base64url(&self.rng.bytes::<32>()));
        let (flow, cookie) = match self.store.bind_browser(&hash, digest_of(secret.expose())).await? {
            BoundBrowser::Bound(flow) => (flow, Some(secret)),
            BoundBrowser::Already(flow) if same_browser(&flow, sent.as_deref()) => (flow, None),
            BoundBrowser::Already(_) => {
                return Err(Error::new(
                    ErrorCode::TicketUsed,
                    "this link was opened in another browser; only that one can go on. Go back and start again",
                ));
            }
            BoundBrowser::Unknown => return Err(used()),
        };
        let connector = self
            .load_connector(&flow.key.space, &flow.key.connector)
            .await?
            .ok_or_else(unknown)?;
        let labels = &connector.auth()?.scope_labels;
        let payload = self.open_payload(&flow).await?;
        let authorization_url = Url::parse(&payload.authorization_url).map_err(Error::internal)?;
        let provider_host = host_and_port(&authorization_url);
        let continue_url = match &payload.push {
            Some(_) => self.connect_url(&[ticket, "continue"])?,
            None => authorization_url,
        };
        Ok(ConnectPage {
            connector: connector.row.name.clone(),
            connector_type: connector.spec.name.clone(),
            user: flow.key.owner.user().cloned(),
            scopes: payload
                .scopes
                .iter()
                .map(|name| AskedScope {
                    name: name.clone(),
                    label: labels.get(name).cloned(),
                })
                .collect(),
            provider_host,
            continue_url,
            cancel_url: self.connect_url(&[ticket, "cancel"])?,
            confirm: payload.confirm,
            cookie_name: name,
            cookie,
            cookie_seconds: flow.expires_at.since(self.clock.now()).as_secs().max(1),
        })
    }

    /// The flow that waits behind a ticket.
    pub(crate) async fn waiting_flow(&self, ticket: &Digest) -> Result<FlowRow> {
        let flow = self.store.get_flow_by_ticket(ticket).await?.ok_or_else(unknown)?;
        if flow.expires_at <= self.clock.now() {
            return Err(Error::new(
                ErrorCode::FlowExpired,
                "this link is too old; go back and start again",
            ));
        }
        if flow.state == FlowState::Used {
            return Err(used());
        }
        Ok(flow)
    }

    /// A page of ours below `/connect`.
    pub(super) fn connect_url(&self, path: &[&str]) -> Result<Url> {
        let mut url = self.public_base_url()?;
        url.path_segments_mut()
            .map_err(|()| Error::internal("public_base_url cannot have paths"))?
            .pop_if_empty()
            .push("connect")
            .extend(path);
        Ok(url)
    }

    /// The name of the cookie that binds a flow to its browser. The prefix makes browsers refuse one that a sibling domain
    /// sets (RFC 6265bis section 4.1.3.2); it exists on https only.
    pub(crate) fn cookie_name(&self, flow: &str) -> String {
        if self.is_https() {
            format!("__Host-valetkey-flow-{flow}")
        } else {
            format!("valetkey-flow-{flow}")
        }
    }

    /// Whether browsers reach us over https.
    pub fn is_https(&self) -> bool {
        self.settings
            .public_base_url
            .as_ref()
            .is_some_and(|u| u.scheme() == "https")
    }
}

/// There is no flow behind a ticket.
fn unknown() -> Error {
    Error::new(
        ErrorCode::TicketUnknown,
        "there is no such link, or it is too old; go back and start again",
    )
}

/// The flow behind a ticket is over.
fn used() -> Error {
    Error::new(
        ErrorCode::FlowAlreadyUsed,
        "this link was used before. If the account is not connected, go back and start again",
    )
}

/// The host as a person sees it in the address bar: with its port, unless that is the scheme's own.
fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether the browser that sent this cookie is the one that opened the ticket.
pub(crate) fn same_browser(flow: &FlowRow, cookie: Option<&str>) -> bool {
    let (Some(bound), Some(sent)) = (flow.browser_hash, cookie) else {
        return false;
    };
    let Digest(sent) = digest_of(sent);
    bound.0.ct_eq(&sent).into()
}
