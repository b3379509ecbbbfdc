//! A flow that was started in a session belongs to the person of the session: whoever else completes it, with a session of
//! their own or without one, would connect their account for somebody else.

use valetkey_core::{ErrorCode, Privilege};
use valetkey_store::rows::FlowRow;

use super::{CallbackPage, CallbackRequest};
use crate::Engine;
use crate::error::{Error, Result};
use crate::session::{Live, Visitor};

/// Whether a session started this flow: it has no ticket, because the session is what binds it.
pub(super) fn in_session(flow: &FlowRow) -> bool {
    flow.ticket_hash.is_none()
}

impl Engine {
    /// Who is signed in in the browser that comes back, where the flow asks for that.
    pub(super) async fn person_of(&self, flow: Option<&FlowRow>, request: &CallbackRequest) -> Result<Option<Live>> {
        let Some(flow) = flow.filter(|flow| in_session(flow)) else {
            return Ok(None);
        };
        let Some(secret) = request.cookies.get(self.session_cookie()) else {
            return Ok(None);
        };
        let visitor = Visitor {
            space: flow.key.space.clone(),
            address: request.address.as_str().into(),
            request_id: request.request_id.as_str().into(),
        };
        self.person_in_session(secret, &visitor).await
    }
}

/// Makes sure that the person who started the flow finishes it, in whichever session, and may still do so.
pub(super) fn check_person(flow: &FlowRow, person: Option<&Live>, page: &mut CallbackPage) -> Result<()> {
    let Some(person) = person else {
        return Err(Error::new(
            ErrorCode::FlowBrowserMismatch,
            "nobody is signed in here any more, or this was started in another browser. Sign in and connect again",
        ));
    };
    if person.row.person != flow.started_by {
        page.details = vec![("signed_in", person.row.person.to_string())];
        return Err(Error::new(
            ErrorCode::FlowUserMismatch,
            "this was started by somebody else than the person who is signed in here. Go back and connect again",
        ));
    }
    let may_connect =
        person.grant.valid_in(flow.key.space.as_str()) && person.grant.privileges.allow(Privilege::OauthConnect);
    if may_connect {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::ConnectNotAllowed,
        "you may no longer connect accounts here; ask an administrator",
    ))
}
