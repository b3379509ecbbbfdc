//! What people can connect accounts of their own to. It is for those who may do nothing but that, so a connector says no more
//! here than the connect page would: what it is called, and of which type it is.

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::{AuthMode, ErrorCode, Privilege};

use super::ConnectorPage;
use crate::Engine;
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::list::page_size;
use crate::status::AuthStatus;

/// A connector that the caller can connect an account to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Offer {
    /// Unique within the space.
    pub id: String,
    /// For people.
    pub name: String,
    /// Its type.
    pub connector_type_id: String,
    /// The caller's standing with it.
    #[serde(flatten)]
    pub status: AuthStatus,
}

/// A page of them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OfferPage {
    /// The connectors, by id; there can be fewer than asked for, even none, although there are more.
    pub connectors: Vec<Offer>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Engine {
    /// The connectors that the caller, as a user, can connect an account of their own to. A page costs the same however few
    /// of the connectors are of that kind.
    pub async fn offers(&self, caller: &Caller, page: ConnectorPage) -> Result<OfferPage> {
        caller.need(Privilege::OauthConnect)?;
        let principal = &caller.principal;
        if principal.user.is_none() {
            return Err(Error::new(
                ErrorCode::UserRequired,
                "accounts are connected by users: use a key with a profileUid, or send x-valetkey-user",
            ));
        }
        let limit = page_size(page.limit, None)?;
        let part = ConnectorPage {
            after: page.after,
            limit: u32::try_from(limit).ok(),
            search: None,
        };
        let mut connectors = self.visible_connectors(principal, part).await?;
        let last = connectors.last().filter(|_| connectors.len() == limit);
        let next = last.map(|connector| connector.row.id.to_string());
        connectors.retain(|c| c.has_flow() && c.row.auth_mode == AuthMode::PerUser);
        let statuses = self.statuses(principal, &connectors).await?;
        let offers = connectors.iter().zip(statuses).map(|(connector, status)| Offer {
            id: connector.row.id.to_string(),
            name: connector.row.name.clone(),
            connector_type_id: connector.row.type_id.to_string(),
            status,
        });
        Ok(OfferPage {
            connectors: offers.collect(),
            next,
        })
    }
}
