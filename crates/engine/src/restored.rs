//! A store that was put back from a backup.
//!
//! Its refresh tokens are those of then. Where they rotated since, the provider has seen their successors, and may take the
//! use of an old one for theft and end the whole grant. So valetkey has to notice, and to be careful with what is older.
//!
//! What tells it is a *high-water mark* outside the store: the newest record of the audit log that was seen, its number and
//! its time. Every change of a connection writes such a record in the same transaction, so a store that lacks the record, or
//! has another one in its place, has lost changes: it was put back, or a standby took over that had not got everything.
//!
//! Nothing ends this state for the store; each connection leaves it by being renewed or connected again. Until then:
//! - its access token is used for as long as it lives, and nobody renews it ahead of time, but for a few *canaries* of each
//!   provider; when the provider takes the refresh token of one, the others follow ([`Engine::may_renew_ahead`]);
//! - a caller who needs a token gets it renewed all the same: what the provider would say is better known than not;
//! - a refusal that ends the grant is told as [`Reason::Restored`](crate::Reason::Restored).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_store::rows::{AuditEntry, AuditFilter, ConnectionRow, ConnectionState};

use crate::Engine;
use crate::caller::Audit;
use crate::connector::Connector;
use crate::error::Result;

/// How many connections one read of the store brings.
const PAGE: u32 = 500;

/// How many canaries a provider gets in a while, as long as none came back.
const CANARIES: usize = 3;

/// How long that while is: a provider that was down meanwhile is asked again.
pub(crate) const CANARY_WINDOW: Duration = Duration::from_secs(60 * 60);

/// What is known of the providers' minds, by token endpoint.
#[derive(Debug, Default)]
pub(crate) struct Canaries(Mutex<BTreeMap<String, Canary>>);

#[derive(Debug, Default)]
struct Canary {
    /// The provider took a refresh token out of the backup.
    returned: bool,
    since: Duration,
    sent: Vec<ConnectionKey>,
}

impl Canaries {
    /// Whether this connection may go now. If so, it is one of those that went.
    fn send(&self, provider: &str, key: &ConnectionKey, now: Duration) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let canary = known.entry(provider.to_owned()).or_default();
        if canary.sent.is_empty() || now.saturating_sub(canary.since) >= CANARY_WINDOW {
            canary.since = now;
            canary.sent.clear();
        }
        if canary.returned || canary.sent.contains(key) {
            return true;
        }
        let may = canary.sent.len() < CANARIES;
        if may {
            canary.sent.push(key.clone());
        }
        may
    }

    fn came_back(&self, provider: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(provider.to_owned()).or_default().returned = true;
    }
}

/// The newest that was seen of a store's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWater {
    /// Which installation.
    pub deployment: String,
    /// The number of its newest audit record.
    pub seq: i64,
    /// The time of that record, in milliseconds.
    pub at: i64,
}

/// What was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is older than this was in the backup.
    pub at: Timestamp,
    /// How many connections have a refresh token of then.
    pub connections: u64,
}

impl Engine {
    /// When the store was last put back from a backup, if ever.
    pub fn restored(&self) -> Option<Timestamp> {
        self.sealing.restored_at()
    }

    /// Whether the tokens of this connection come out of a backup: it was not renewed and not connected since.
    pub fn is_from_backup(&self, row: &ConnectionRow) -> bool {
        let written = row.refreshed_at.unwrap_or(row.connected_at).max(row.connected_at);
        self.restored().is_some_and(|at| written < at)
    }

    /// Whether a connection may be renewed before anybody needs it to be. Not if its refresh token comes out of a backup and
    /// may be spent: only a few of those are tried with each provider until one is taken.
    pub(crate) fn may_renew_ahead(&self, connector: &Connector, row: &ConnectionRow) -> bool {
        !self.is_from_backup(row)
            || self
                .canaries
                .send(provider(connector), &row.key, self.clock.monotonic())
    }

    /// A connection was renewed; `before` is its row as it was.
    pub(crate) fn note_renewed(&self, connector: &Connector, before: &ConnectionRow) {
        if self.is_from_backup(before) {
            self.canaries.came_back(provider(connector));
        }
    }

    /// The mark of the store as it is now; `None` as long as nothing happened in it.
    pub async fn high_water(&self) -> Result<Option<HighWater>> {
        let deployment = self.stored_vault().await?.deployment;
        let newest = self.newest_record(None).await?;
        Ok(newest.map(|record| HighWater {
            deployment,
            seq: record.seq,
            at: record.at.0,
        }))
    }

    /// Whether the store lacks what the mark was made of. A mark of another installation says nothing, and neither does one
    /// from before a restore that is noted already: another process has noticed.
    pub async fn is_older_than(&self, mark: &HighWater) -> Result<bool> {
        let vault = self.stored_vault().await?;
        if vault.deployment != mark.deployment || vault.restored_at.is_some_and(|at| at.0 > mark.at) {
            return Ok(false);
        }
        if let Some(record) = self.newest_record(Some(mark.seq)).await? {
            return Ok((record.seq, record.at.0) != (mark.seq, mark.at));
        }
        // Nothing as old as the mark: a log whose beginning was taken away goes on after it, an older one does not.
        Ok(self.newest_record(None).await?.is_none())
    }

    /// Notes that the store was put back from a backup just now. Everything that is in it counts as old.
    pub async fn mark_restored(&self) -> Result<Restored> {
        let connections = self.count_renewable().await?;
        let at = self.clock.now();
        let audit = Audit::new("backup.restore", at).detail("connections", connections);
        self.store.mark_restored(at, audit.row()).await?;
        self.sealing.note_restored(Some(at));
        Ok(Restored { at, connections })
    }

    /// The newest record up to this number.
    async fn newest_record(&self, up_to: Option<i64>) -> Result<Option<AuditEntry>> {
        let filter = AuditFilter {
            before: up_to.map(|seq| seq.saturating_add(1)),
            limit: 1,
            ..AuditFilter::default()
        };
        Ok(self.store.list_audit(&filter).await?.pop())
    }

    async fn count_renewable(&self) -> Result<u64> {
        let (mut count, mut after) = (0, None);
        loop {
            let rows = self.store.scan_connections(after.as_ref(), PAGE).await?;
            let renewable = |row: &&ConnectionRow| {
                row.state == ConnectionState::Active && row.grant.as_ref().is_some_and(|g| g.sealed_refresh.is_some())
            };
            count += rows.iter().filter(renewable).count() as u64;
            if rows.len() < PAGE as usize {
                return Ok(count);
            }
            after = rows.last().map(|row| row.key.clone());
        }
    }
}

/// Whose mind it is: the token endpoint's.
fn provider(connector: &Connector) -> &str {
    let endpoint = connector.oauth.as_ref().and_then(|setup| setup.token_url.as_deref());
    endpoint.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use valetkey_core::{ConnectionName, ConnectorId, Owner, SpaceId};

    use super::*;

    #[test]
    fn a_few_canaries_go_first_and_the_others_when_one_came_back() {
        let (canaries, minute) = (Canaries::default(), Duration::from_secs(60));
        let key = |number: usize| ConnectionKey {
            space: SpaceId::default_space(),
            connector: ConnectorId::new("crm").expect("an id"),
            owner: Owner::Shared,
            name: ConnectionName::new(format!("n{number}")).expect("a name"),
        };
        let sent = |provider: &str, at: Duration| {
            let may = |number: &usize| canaries.send(provider, &key(*number), at);
            (0..10).filter(may).count()
        };
        assert_eq!(
            (sent("a", minute), sent("b", minute)),
            (3, 3),
            "each provider has its own"
        );
        assert_eq!(sent("a", minute * 60), 3, "the same ones");
        assert!(!canaries.send("a", &key(3), minute * 60));
        assert_eq!(sent("a", minute * 61), 3, "a provider that was down is asked again");
        canaries.came_back("a");
        assert_eq!((sent("a", minute * 61), sent("b", minute * 60)), (10, 3));
    }
}
