//! Lists of connections.
//!
//! Each list is a sequence of walks along indexes of the store. What the indexes do not choose by is chosen here, and only
//! so many rows are looked at for one page: a page can be shorter than asked for, and its cost does not grow with what is
//! stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use valetkey_core::encode::{base64url, from_base64url};
use valetkey_core::{ConnectionName, ConnectorId, ErrorCode, Owner, Principal, Privilege, Timestamp};
use valetkey_store::rows::{ConnectionRow, ConnectionState, Place, Walk};

use crate::Engine;
use crate::caller::Caller;
use crate::connector::{Connector, validation};
use crate::error::{Error, Reason, Result};
use crate::grant::Account;
use crate::status::{EndNotice, needs_person};

/// How many rows are looked at for one page, more or less.
pub(crate) const BUDGET: usize = 2_000;

/// How many rows of that one read counts at least.
const READ: usize = 10;

/// How many rows are read at once when few of them are wanted.
const CHUNK: usize = 500;

/// How many items a page has at most, and how many unless said otherwise.
const LIMITS: (u32, u32) = (200, 50);

/// How long a search may be.
const MAX_SEARCH: usize = 256;

/// Which connections to list.
#[derive(Clone, Debug, Default)]
pub struct ConnectionQuery {
    /// Only those of this connector.
    pub connector: Option<ConnectorId>,
    /// Only those in this state.
    pub state: Option<ListedState>,
    /// Only those of this owner.
    pub owner: Option<Owner>,
    /// Only those whose owner or account label begins so.
    pub search: Option<String>,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// How many.
    pub limit: Option<u32>,
}

/// The state of a connection in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListedState {
    /// It works, or can be made to.
    Active,
    /// A person must connect again.
    Reauthorize,
}

/// A page of connections.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConnectionPage {
    /// The connections; there can be fewer than asked for, even none, although there are more.
    pub connections: Vec<ConnectionView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A connection as lists show it. Tokens are not part of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConnectionView {
    /// Its connector.
    pub connector_id: String,
    /// The connector's name.
    pub connector_name: String,
    /// The connector's type.
    pub connector_type_id: String,
    /// `shared`, or the `profile_uid` of the user.
    pub owner: String,
    /// Which of the owner's connections.
    pub connection: String,
    /// Whether it works.
    pub state: ListedState,
    /// Why it must be connected again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Reason>,
    /// The account, as far as the provider told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// What the provider granted.
    pub scopes: Vec<String>,
    /// When it was connected (again).
    #[schema(value_type = String, format = DateTime)]
    pub connected_at: Timestamp,
    /// When its tokens were last renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub refreshed_at: Option<Timestamp>,
    /// When the access token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When the refresh token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub refresh_expires_at: Option<Timestamp>,
    /// When it was last used, to the hour or so.
    #[schema(value_type = String, format = DateTime)]
    pub used_at: Timestamp,
    /// That it ends soon, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<EndNotice>,
}

/// Where a list stands: in which of its walks, and behind which row.
#[derive(Default)]
struct Cursor {
    walk: usize,
    behind: Option<Place>,
}

/// The connectors of a page: each is looked up once.
type Known = BTreeMap<ConnectorId, Option<Arc<Connector>>>;

impl Engine {
    /// The connections of the caller's space, of all owners, as far as the caller may see their connectors. Who uses which
    /// account is for those who manage connectors or read the audit log.
    pub async fn connections(&self, caller: &Caller, query: ConnectionQuery) -> Result<ConnectionPage> {
        caller.need_one_of(&[Privilege::ConnectorsWrite, Privilege::AuditRead])?;
        self.list(&caller.principal, query).await
    }

    /// The caller's own connections: those of the user that the caller is or acts for.
    pub async fn own_connections(&self, caller: &Caller, query: ConnectionQuery) -> Result<ConnectionPage> {
        caller.need_one_of(&[Privilege::ConnectorsRead, Privilege::OauthConnect])?;
        let user = caller.principal.user.clone().ok_or_else(|| {
            Error::new(
                ErrorCode::UserRequired,
                "these are the connections of a user: use a key with a profileUid, or send x-valetkey-user",
            )
        })?;
        let owner = Some(Owner::User(user));
        self.list(&caller.principal, ConnectionQuery { owner, ..query }).await
    }

    async fn list(&self, principal: &Principal, query: ConnectionQuery) -> Result<ConnectionPage> {
        let limit = page_size(query.limit, query.search.as_deref())?;
        let walks = walks(&query, principal);
        let mut at = query.after.as_deref().map_or(Ok(Cursor::default()), Cursor::read)?;
        let (mut connections, mut known) = (Vec::new(), Known::new());
        let mut looked_at = 0;
        while let Some(walk) = walks.get(at.walk) {
            if looked_at >= BUDGET {
                return Ok(page(connections, Some(&at)));
            }
            // One more than wanted, to know whether there are more.
            let size = if looked_at == 0 { limit + 1 } else { CHUNK };
            let rows = self
                .store
                .walk_connections(
                    &principal.space,
                    walk,
                    at.behind.as_ref(),
                    u32::try_from(size).unwrap_or(u32::MAX),
                )
                .await?;
            looked_at += rows.len().max(READ);
            let is_over = rows.len() < size;
            for row in rows {
                if connections.len() == limit {
                    return Ok(page(connections, Some(&at)));
                }
                at.behind = Some(Place::behind(&row));
                connections.extend(self.listed(principal, &query, walk, row, &mut known).await?);
            }
            if is_over {
                at = Cursor {
                    walk: at.walk + 1,
                    behind: None,
                };
            }
        }
        Ok(page(connections, None))
    }

    /// A row as the list shows it, if it is wanted.
    async fn listed(
        &self,
        principal: &Principal,
        query: &ConnectionQuery,
        walk: &Walk,
        row: ConnectionRow,
        known: &mut Known,
    ) -> Result<Option<ConnectionView>> {
        let key = &row.key;
        let of_connector = query.connector.as_ref().is_none_or(|id| *id == key.connector);
        let ended = row.state == ConnectionState::Disconnected;
        if ended || !of_connector || !principal.sees(&key.connector) || !is_found(query, walk, &row) {
            return Ok(None);
        }
        if !known.contains_key(&key.connector) {
            let connector = self.load_connector(&principal.space, &key.connector).await?;
            known.insert(key.connector.clone(), connector);
        }
        let Some(Some(connector)) = known.get(&key.connector) else {
            return Ok(None);
        };
        let view = self.connection_view(connector, row);
        Ok(Some(view).filter(|view| query.state.is_none_or(|state| state == view.state)))
    }

    fn connection_view(&self, connector: &Connector, row: ConnectionRow) -> ConnectionView {
        let now = self.clock.now();
        let cause = needs_person(connector, &row, now);
        let notice = if cause.is_none() {
            self.end_notice(connector, &row, now)
        } else {
            None
        };
        let account = (row.account_id.is_some() || row.account_label.is_some()).then_some(Account {
            id: row.account_id,
            label: row.account_label,
        });
        let grant = row.grant;
        ConnectionView {
            connector_id: row.key.connector.to_string(),
            connector_name: connector.row.name.clone(),
            connector_type_id: connector.row.type_id.to_string(),
            owner: shown(&row.key.owner).to_owned(),
            connection: row.key.name.to_string(),
            state: cause.map_or(ListedState::Active, |_| ListedState::Reauthorize),
            cause,
            account,
            connected_at: row.connected_at,
            refreshed_at: row.refreshed_at,
            expires_at: grant.as_ref().and_then(|grant| grant.expires_at),
            refresh_expires_at: grant.as_ref().and_then(|grant| grant.refresh_expires_at),
            scopes: grant.map(|grant| grant.scopes).unwrap_or_default(),
            used_at: row.used_at,
            notice,
        }
    }
}

/// How many items a page is to have at most, if what is asked for can be.
pub(crate) fn page_size(limit: Option<u32>, search: Option<&str>) -> Result<usize> {
    let limit = limit.unwrap_or(LIMITS.1);
    if !(1..=LIMITS.0).contains(&limit) {
        return Err(validation(format!("limit: must be 1 to {}", LIMITS.0)));
    }
    if search.is_some_and(|search| search.len() > MAX_SEARCH) {
        return Err(validation(format!("search: must be at most {MAX_SEARCH} bytes")));
    }
    Ok(limit as usize)
}

/// The walks that lead past everything that is asked for, one after the other.
fn walks(query: &ConnectionQuery, principal: &Principal) -> Vec<Walk> {
    let only = principal.key.connectors.as_ref();
    let connectors: Vec<_> = match (&query.connector, only) {
        (Some(id), _) if !principal.sees(id) => return Vec::new(),
        (Some(id), _) => vec![Some(id.clone())],
        (None, Some(only)) => only.iter().cloned().map(Some).collect(),
        (None, None) => vec![None],
    };
    let search = query.search.as_ref().filter(|search| !search.is_empty());
    let mut walks = Vec::new();
    for connector in connectors {
        match (&query.owner, search, query.state, connector) {
            (Some(owner), _, _, None) => walks.push(Walk::Owner(owner.clone())),
            (Some(owner), _, _, Some(id)) => walks.push(Walk::OwnerOf(id, owner.clone())),
            (None, Some(search), _, None) => walks.push(Walk::Users(search.clone())),
            (None, Some(search), _, Some(id)) => walks.push(Walk::UsersOf(id, search.clone())),
            (None, None, Some(ListedState::Reauthorize), None) => walks.push(Walk::Broken),
            (None, None, Some(ListedState::Reauthorize), Some(id)) => {
                walks.push(Walk::BrokenOf(id.clone()));
                // Those that nothing is stored of: their connector was changed, or their tokens have just ended.
                walks.push(Walk::Connector(id));
            }
            (None, None, _, None) => walks.push(Walk::All),
            (None, None, _, Some(id)) => walks.push(Walk::Connector(id)),
        }
    }
    if let (None, Some(search)) = (&query.owner, search) {
        if shown(&Owner::Shared).starts_with(search.as_str()) {
            walks.push(Walk::Owner(Owner::Shared));
        }
        walks.push(Walk::Labels(search.clone()));
    }
    walks
}

/// Whether a row is what is searched for, and comes in no other walk of the list.
fn is_found(query: &ConnectionQuery, walk: &Walk, row: &ConnectionRow) -> bool {
    let broken = matches!(row.state, ConnectionState::Reauthorize(_));
    if let (Walk::Connector(_), Some(ListedState::Reauthorize)) = (walk, query.state) {
        return !broken;
    }
    let Some(search) = query.search.as_ref().filter(|search| !search.is_empty()) else {
        return true;
    };
    let by_owner = shown(&row.key.owner).starts_with(search.as_str());
    let by_label = || {
        let label = row.account_label.as_deref().map(str::to_ascii_lowercase);
        label.is_some_and(|label| label.starts_with(&search.to_ascii_lowercase()))
    };
    match walk {
        Walk::Labels(_) => !by_owner,
        _ => by_owner || by_label(),
    }
}

/// An owner as the API names it.
fn shown(owner: &Owner) -> &str {
    owner.user().map_or("shared", |user| user.as_str())
}

fn page(connections: Vec<ConnectionView>, next: Option<&Cursor>) -> ConnectionPage {
    ConnectionPage {
        connections,
        next: next.map(Cursor::written),
    }
}

impl Cursor {
    fn written(&self) -> String {
        let behind = self.behind.as_ref().map(|place| {
            let owner = place.owner.as_stored();
            (&place.connector, owner, &place.name, &place.label)
        });
        base64url(serde_json::json!([self.walk, behind]).to_string().as_bytes())
    }

    fn read(text: &str) -> Result<Self> {
        type Written = (usize, Option<(ConnectorId, String, ConnectionName, String)>);
        let wrong = || validation("after: is no `next` of an answer");
        let bytes = from_base64url(text).ok_or_else(wrong)?;
        let (walk, behind): Written = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        let behind = match behind {
            Some((connector, owner, name, label)) => Some(Place {
                connector,
                owner: Owner::from_stored(&owner).ok_or_else(wrong)?,
                name,
                label,
            }),
            None => None,
        };
        Ok(Self { walk, behind })
    }
}
