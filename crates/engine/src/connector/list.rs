//! Lists of connectors: whole, in pages, and searches.
//!
//! A search has no index that it could choose by, so it looks at what connectors are called, which is a small part of
//! them. A page of [`Engine::find_connectors`] looks at so many names and says where to go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::{ConnectorId, Principal, Privilege, SpaceId};
use valetkey_store::StoreError;
use valetkey_store::rows::{ConnectorName, ConnectorRow};

use super::{Connector, ConnectorView, validation};
use crate::Engine;
use crate::caller::Caller;
use crate::error::Result;
use crate::list::{BUDGET, page_size};
use crate::outage::Recalled;

/// How many connectors one read of the store brings.
const PAGE: u32 = 500;

/// Which part of the connectors of a space.
#[derive(Clone, Debug, Default)]
pub struct ConnectorPage {
    /// Only those whose id comes after this one: the last of the page before.
    pub after: Option<ConnectorId>,
    /// Only those with this in their name or type id, whatever its case.
    pub search: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A page of a search for connectors.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundConnectors {
    /// The connectors, by id; there can be fewer than asked for, even none, although there are more.
    pub connectors: Vec<ConnectorView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a search of names found, and behind which connector it may go on.
type Found = (Vec<ConnectorId>, Option<ConnectorId>);

impl Engine {
    /// The connectors of the caller's space that the caller may see, by id.
    pub async fn list_connectors(&self, caller: &Caller) -> Result<Vec<ConnectorView>> {
        self.page_connectors(caller, ConnectorPage::default()).await
    }

    /// A part of them; all that there is behind `after` if there is no limit.
    pub async fn page_connectors(&self, caller: &Caller, page: ConnectorPage) -> Result<Vec<ConnectorView>> {
        caller.need(Privilege::ConnectorsRead)?;
        if page.limit.is_some_and(|limit| !(1..=PAGE).contains(&limit)) {
            return Err(validation(format!("limit: must be 1 to {PAGE}")));
        }
        let connectors = self.visible_connectors(&caller.principal, page).await?;
        self.views(&caller.principal, &connectors).await
    }

    /// A page of a search, which costs the same however many connectors there are.
    pub async fn find_connectors(&self, caller: &Caller, page: ConnectorPage) -> Result<FoundConnectors> {
        caller.need(Privilege::ConnectorsRead)?;
        let limit = page_size(page.limit, page.search.as_deref())?;
        let principal = &caller.principal;
        let (ids, next) = self.look_through(principal, page, limit, BUDGET).await?;
        let connectors = self.read_connectors(&principal.space, &ids).await?;
        Ok(FoundConnectors {
            connectors: self.views(principal, &connectors).await?,
            next: next.map(String::from),
        })
    }

    async fn views(&self, principal: &Principal, connectors: &[Arc<Connector>]) -> Result<Vec<ConnectorView>> {
        let statuses = self.statuses(principal, connectors).await?;
        Ok(connectors
            .iter()
            .zip(statuses)
            .map(|(c, s)| self.view_with(principal, c, s.user_auth_status))
            .collect())
    }

    /// The connectors the caller may see, by id.
    pub(crate) async fn visible_connectors(
        &self,
        principal: &Principal,
        page: ConnectorPage,
    ) -> Result<Vec<Arc<Connector>>> {
        let limit = page.limit.map_or(usize::MAX, |limit| limit as usize);
        let is_search = page.search.as_ref().is_some_and(|search| !search.is_empty());
        if is_search {
            let (ids, _) = self.look_through(principal, page, limit, usize::MAX).await?;
            return self.read_connectors(&principal.space, &ids).await;
        }
        if let Some(only) = &principal.key.connectors {
            let after = page.after.as_ref();
            let rest = only.iter().filter(|id| after.is_none_or(|after| *id > after));
            return self.named_connectors(principal, rest, limit).await;
        }
        let mut found = Vec::new();
        let mut after = page.after;
        loop {
            let wanted = PAGE.min(u32::try_from(limit - found.len()).unwrap_or(PAGE));
            let rows = self
                .store
                .list_connectors(&principal.space, after.as_ref(), wanted)
                .await?;
            let more = rows.len() == wanted as usize;
            after = rows.last().map(|r| r.id.clone());
            for row in rows {
                found.push(Arc::new(self.read_connector(row)?));
            }
            if !more || found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// Looks at `budget` names, more or less, for at most `limit` connectors that are searched for.
    async fn look_through(
        &self,
        principal: &Principal,
        page: ConnectorPage,
        limit: usize,
        budget: usize,
    ) -> Result<Found> {
        let search = page.search.unwrap_or_default().to_lowercase();
        // Without a search each name is found: one more than wanted tells whether there are more.
        let size = match search.as_str() {
            "" => PAGE.min(u32::try_from(limit.saturating_add(1)).unwrap_or(PAGE)),
            _ => PAGE,
        };
        let (mut found, mut after, mut looked_at) = (Vec::new(), page.after, 0);
        loop {
            let (names, rest) = self.names(principal, after.as_ref(), size).await?;
            looked_at += names.len();
            for row in names.into_iter().filter(|row| has(row, &search)) {
                if found.len() == limit {
                    let next = found.last().cloned();
                    return Ok((found, next));
                }
                found.push(row.id);
            }
            after = rest;
            if after.is_none() || looked_at >= budget {
                return Ok((found, after));
            }
        }
    }

    /// What the next connectors that the caller may see are called, and the last that was looked at if there may be more.
    async fn names(
        &self,
        principal: &Principal,
        after: Option<&ConnectorId>,
        size: u32,
    ) -> Result<(Vec<ConnectorName>, Option<ConnectorId>)> {
        let Some(only) = &principal.key.connectors else {
            let names = self.store.walk_connectors(&principal.space, after, size).await?;
            let last = names.last().filter(|_| names.len() == size as usize);
            let last = last.map(|row| row.id.clone());
            return Ok((names, last));
        };
        let rest = only.iter().filter(|id| after.is_none_or(|after| *id > after));
        let ids: Vec<_> = rest.take(size as usize).collect();
        let last = ids.last().filter(|_| ids.len() == size as usize).copied().cloned();
        let connectors = self.named_connectors(principal, ids.into_iter(), usize::MAX).await?;
        let name = |row: &ConnectorRow| ConnectorName {
            id: row.id.clone(),
            type_id: row.type_id.clone(),
            name: row.name.clone(),
        };
        Ok((connectors.iter().map(|c| name(&c.row)).collect(), last))
    }

    /// Those of these connectors that exist and that the caller may see, at most so many, in their order.
    pub(crate) async fn named_connectors(
        &self,
        principal: &Principal,
        ids: impl Iterator<Item = &ConnectorId> + Send,
        limit: usize,
    ) -> Result<Vec<Arc<Connector>>> {
        let ids: Vec<_> = ids.filter(|id| principal.sees(id)).cloned().collect();
        let mut found = Vec::new();
        for some in ids.chunks(PAGE as usize) {
            found.extend(self.load_connectors(&principal.space, some).await?);
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Those of these connectors that exist, in their order: from memory, as far as it has them, and from one read.
    async fn load_connectors(&self, space: &SpaceId, ids: &[ConnectorId]) -> Result<Vec<Arc<Connector>>> {
        let mut known = BTreeMap::new();
        let mut missing = Vec::new();
        for id in ids {
            let key = (space.clone(), id.clone());
            match self.recall(self.connectors.get(&key), |c| c.read_at) {
                Recalled::Recent(connector) => {
                    known.insert(id.clone(), connector);
                }
                Recalled::Old(_) => missing.push(id.clone()),
            }
        }
        if !missing.is_empty() {
            match self.store.get_connectors(space, &missing).await {
                Ok(rows) => {
                    for row in rows {
                        let connector = Arc::new(self.read_connector(row)?);
                        let id = connector.row.id.clone();
                        self.connectors
                            .insert((space.clone(), id.clone()), Arc::clone(&connector));
                        known.insert(id, connector);
                    }
                }
                Err(error @ StoreError::Unavailable(_)) => {
                    tracing::debug!(%error, "connectors are looked for in memory");
                    self.note_outage();
                    for id in missing {
                        let connector = self.load_connector(space, &id).await?;
                        known.extend(connector.map(|connector| (id, connector)));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ids.iter().filter_map(|id| known.remove(id)).collect())
    }

    /// Those of these connectors that are stored now, in their order.
    async fn read_connectors(&self, space: &SpaceId, ids: &[ConnectorId]) -> Result<Vec<Arc<Connector>>> {
        let mut found = Vec::new();
        for some in ids.chunks(PAGE as usize) {
            let mut rows = self.store.get_connectors(space, some).await?;
            // The ids are in this order themselves.
            rows.sort_unstable_by(|a, b| a.id.cmp(&b.id));
            for row in rows {
                found.push(Arc::new(self.read_connector(row)?));
            }
        }
        Ok(found)
    }
}

/// Whether a connector's name or type id has this in it. It is lower case.
fn has(row: &ConnectorName, search: &str) -> bool {
    search.is_empty()
        || row.name.to_lowercase().contains(search)
        || row.type_id.as_str().to_lowercase().contains(search)
}
