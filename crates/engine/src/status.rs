//! What people and administrators see: standings, and the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use valetkey_core::{
    ConnectionKey, ConnectionName, ConnectorId, ErrorCode, Owner, Principal, Privilege, ProfileUid, Timestamp,
};
use valetkey_store::rows::{AuditEntry, AuditFilter, ConnectionRow, ConnectionState};

use crate::Engine;
use crate::caller::Caller;
use crate::connector::{Connector, ConnectorPage, validation};
use crate::error::{Error, Reason, Result};

/// How many connections one read of the store brings.
const READ: usize = 500;

/// How many connectors one question may name.
const MAX_ASKED: usize = 500;

/// How a caller stands with a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserAuthStatus {
    /// An account is connected.
    Connected,
    /// No account is connected.
    NotConnected,
    /// A person must connect again.
    Reauthorize,
    /// The connector needs no account.
    NotApplicable,
}

/// How a caller stands with a connector, with the reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuthStatus {
    /// The standing.
    pub user_auth_status: UserAuthStatus,
    /// Why it must be connected again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// That the connection ends soon, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<EndNotice>,
}

/// That a connection ends soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndNotice {
    /// Why.
    pub reason: EndReason,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Why a connection ends soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The provider ends the grant then, whatever is done: connect again before.
    Expires,
    /// Nobody uses it: it is disconnected then. Using it is enough to keep it.
    Unused,
}

/// Which records of the audit log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only this type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Only this connector.
    pub connector: Option<ConnectorId>,
    /// Only this user.
    pub user: Option<ProfileUid>,
    /// Only connections of this owner.
    #[serde(skip)]
    pub owner: Option<Owner>,
    /// Only connections with this name.
    pub connection: Option<ConnectionName>,
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
    /// The `next` of the page before.
    pub after: Option<i64>,
    /// How many; 50 unless said otherwise, at most 200.
    pub limit: Option<u32>,
}

/// One page of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditPage {
    /// The records, newest first.
    pub records: Vec<AuditView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// One record of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Rises with every record.
    pub seq: i64,
    /// When; for counted records, the first time.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `ok`, or a code.
    pub outcome: String,
    /// The API key that asked.
    pub key: Option<String>,
    /// The user it was for.
    pub user: Option<String>,
    /// The connector.
    pub connector: Option<String>,
    /// Whose connection: `shared`, or `user:` and the `profile_uid`.
    pub owner: Option<String>,
    /// Which of the owner's connections.
    pub connection: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// The caller's address.
    pub address: Option<String>,
    /// More, by type.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
    /// How many such events the record stands for.
    pub count: i64,
}

impl From<AuditEntry> for AuditView {
    fn from(e: AuditEntry) -> Self {
        Self {
            seq: e.seq,
            at: e.at,
            kind: e.kind,
            outcome: e.outcome,
            key: e.key,
            user: e.user,
            connector: e.connector,
            owner: e.owner,
            connection: e.connection,
            request_id: e.request_id,
            address: e.address,
            details: e.details,
            count: e.count,
        }
    }
}

impl Engine {
    /// How the caller stands with every connector of the space that needs an account or might.
    pub async fn auth_status(&self, caller: &Caller) -> Result<BTreeMap<String, AuthStatus>> {
        caller.need_one_of(&[Privilege::ConnectorsRead, Privilege::OauthConnect])?;
        let whole = ConnectorPage::default();
        let connectors = self.visible_connectors(&caller.principal, whole).await?;
        self.named_statuses(&caller.principal, &connectors).await
    }

    /// How the caller stands with these connectors, as far as there are such.
    pub async fn auth_status_of(
        &self,
        caller: &Caller,
        ids: &BTreeSet<ConnectorId>,
    ) -> Result<BTreeMap<String, AuthStatus>> {
        caller.need_one_of(&[Privilege::ConnectorsRead, Privilege::OauthConnect])?;
        if ids.len() > MAX_ASKED {
            return Err(validation(format!("connectorIds: must be at most {MAX_ASKED} ids")));
        }
        let connectors = self.named_connectors(&caller.principal, ids.iter(), MAX_ASKED).await?;
        self.named_statuses(&caller.principal, &connectors).await
    }

    async fn named_statuses(
        &self,
        principal: &Principal,
        connectors: &[Arc<Connector>],
    ) -> Result<BTreeMap<String, AuthStatus>> {
        let statuses = self.statuses(principal, connectors).await?;
        let named = connectors.iter().zip(statuses);
        Ok(named.map(|(c, status)| (c.row.id.to_string(), status)).collect())
    }

    /// The standing with each of these connectors, in their order, from one read for all of a page.
    pub(crate) async fn statuses(
        &self,
        principal: &Principal,
        connectors: &[Arc<Connector>],
    ) -> Result<Vec<AuthStatus>> {
        let key = |c: &Arc<Connector>| {
            let owner = c.owner_for(principal).ok().filter(|_| c.has_flow())?;
            Some(ConnectionKey {
                space: principal.space.clone(),
                connector: c.row.id.clone(),
                owner,
                name: ConnectionName::default_name(),
            })
        };
        let keys: Vec<_> = connectors.iter().filter_map(key).collect();
        let mut rows = BTreeMap::new();
        for some in keys.chunks(READ) {
            let found = self.store.get_connections(some).await?;
            rows.extend(found.into_iter().map(|row| (row.key.connector.clone(), row)));
        }
        let now = self.clock.now();
        let standing = |c: &Arc<Connector>| self.standing(c, rows.get(&c.row.id), now);
        Ok(connectors.iter().map(standing).collect())
    }

    /// What a stored connection means for its owner, now.
    fn standing(&self, connector: &Connector, row: Option<&ConnectionRow>, now: Timestamp) -> AuthStatus {
        let status = |user_auth_status, reason| AuthStatus {
            user_auth_status,
            reason,
            notice: None,
        };
        let Some(row) = row.filter(|_| connector.has_flow()) else {
            let none = if connector.has_flow() {
                UserAuthStatus::NotConnected
            } else {
                UserAuthStatus::NotApplicable
            };
            return status(none, None);
        };
        match needs_person(connector, row, now) {
            None => AuthStatus {
                notice: self.end_notice(connector, row, now),
                ..status(UserAuthStatus::Connected, None)
            },
            Some(Reason::NoToken) => status(UserAuthStatus::NotConnected, None),
            Some(reason) => status(UserAuthStatus::Reauthorize, Some(reason)),
        }
    }

    /// Reads the audit log of the caller's space. A narrowed key reads what concerns one of its connectors.
    pub async fn audit(&self, caller: &Caller, query: AuditQuery) -> Result<AuditPage> {
        caller.need(Privilege::AuditRead)?;
        let limit = query.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Error::new(ErrorCode::ValidationFailed, "limit: must be 1 to 200"));
        }
        let connector = readable(&caller.principal, query.connector)?;
        self.flush_audit().await?;
        let filter = AuditFilter {
            space: Some(caller.principal.space.clone()),
            kind: query.kind,
            connector,
            user: query.user,
            owner: query.owner,
            connection: query.connection,
            from: query.from,
            to: query.to,
            before: query.after,
            limit: limit + 1,
        };
        let mut entries = self.store.list_audit(&filter).await?;
        let more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        let next = entries.last().filter(|_| more).map(|e| e.seq);
        Ok(AuditPage {
            records: entries.into_iter().map(AuditView::from).collect(),
            next,
        })
    }
}

/// The connector that a reader of the audit log is shown the records of; `None` for all there are.
fn readable(principal: &Principal, asked: Option<ConnectorId>) -> Result<Option<ConnectorId>> {
    let Some(only) = &principal.key.connectors else {
        return Ok(asked);
    };
    match asked.or_else(|| only.first().filter(|_| only.len() == 1).cloned()) {
        Some(id) if principal.sees(&id) => Ok(Some(id)),
        Some(_) => Err(Error::new(
            ErrorCode::ConnectorNotFound,
            "there is no such connector in this space, or you may not see it",
        )),
        None => Err(validation(
            "connector: this key is for some connectors only, name one of them",
        )),
    }
}

/// Why this connection cannot work again without a person; `None` if it can.
pub(crate) fn needs_person(connector: &Connector, row: &ConnectionRow, now: Timestamp) -> Option<Reason> {
    match (&row.state, &row.grant) {
        (ConnectionState::Disconnected, _) | (_, None) => Some(Reason::NoToken),
        _ if row.binding != connector.row.binding => Some(Reason::ConnectorChanged),
        (ConnectionState::Reauthorize(cause), _) => Some(Reason::from_word(cause).unwrap_or(Reason::TokenRevoked)),
        (ConnectionState::Active, Some(grant)) => {
            let access_ended = grant.expires_at.is_some_and(|end| end <= now);
            let refresh_ended = grant.refresh_expires_at.is_some_and(|end| end <= now);
            match &grant.sealed_refresh {
                None if access_ended => Some(Reason::TokenExpired),
                Some(_) if access_ended && refresh_ended => Some(Reason::RefreshTokenExpired),
                _ => None,
            }
        }
    }
}
