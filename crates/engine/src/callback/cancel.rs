//! The way out: the person says no on the connect page, before the provider was asked anything.

use std::collections::BTreeMap;

use url::Url;
use valetkey_core::ErrorCode;
use valetkey_core::encode::base64url;
use valetkey_store::rows::TakenFlow;

use super::{CallbackPage, FINGERPRINT_BYTES};
use crate::Engine;
use crate::caller::Audit;
use crate::error::{Error, Result};
use crate::flow::same_browser;
use crate::vault::digest_of;

/// What a browser brings that wants to end the flow of its connect page.
pub struct CancelRequest {
    /// The last segment of the connect link.
    pub ticket: String,
    /// The cookies that the browser sent.
    pub cookies: BTreeMap<String, String>,
    /// The browser's address.
    pub address: String,
    /// The request's id.
    pub request_id: String,
}

impl std::fmt::Debug for CancelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelRequest").finish_non_exhaustive()
    }
}

impl Engine {
    /// Ends the flow of a ticket, in the browser that opened it only. What to show then; its result is that nothing was
    /// connected.
    pub async fn cancel_ticket(&self, request: CancelRequest) -> Result<CallbackPage> {
        let flow = self.waiting_flow(&digest_of(&request.ticket)).await?;
        let cookie = self.cookie_name(&flow.id);
        if !same_browser(&flow, request.cookies.get(&cookie).map(String::as_str)) {
            return Err(Error::new(
                ErrorCode::FlowBrowserMismatch,
                "this link was not opened in this browser, so it cannot be ended here. Go back and start again",
            ));
        }
        let payload = self.open_payload(&flow).await?;
        let now = self.clock.now();
        // A double click cancels once, and a callback that was quicker is not undone.
        let TakenFlow::Taken(flow) = self.store.take_flow(&flow.state_hash, now).await? else {
            return Err(Error::new(
                ErrorCode::FlowAlreadyUsed,
                "this was finished before. If the account is not connected, go back and start again",
            ));
        };
        let mut audit = Audit::new("flow.reject", now)
            .connection(&flow.key)
            .outcome("cancelled")
            .detail("flow", flow.id.as_str())
            .row();
        audit.key = Some(flow.started_by.clone());
        audit.address = Some(request.address);
        audit.request_id = Some(request.request_id);
        self.end_with(&flow.state_hash, audit).await;
        self.metrics.flow("cancelled");
        let connector = self.load_connector(&flow.key.space, &flow.key.connector).await?;
        Ok(CallbackPage {
            connector: Some(flow.key.connector.clone()),
            connector_name: connector.map(|c| c.row.name.clone()),
            return_url: payload.return_url.as_deref().and_then(|u| Url::parse(u).ok()),
            fingerprint: Some(base64url(&flow.state_hash.0[..FINGERPRINT_BYTES])),
            in_session: false,
            expired_cookie: Some(cookie),
            account: None,
            result: Err(Error::new(
                ErrorCode::FlowCancelled,
                "the person ended this on the connect page; nothing was connected",
            )),
            flow: None,
            taken: None,
            details: Vec::new(),
        })
    }
}
