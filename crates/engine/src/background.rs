//! Background work on connections: refreshes ahead of time, notices, and the end of what nobody uses.
//!
//! Every active connection says when it is due next ([`crate::due`]), so a round costs what is due and not what is stored.
//! Each replica asks for itself, about every second, and shuffles what it gets, so that two of them seldom take the same;
//! where they do, the lease of the refresh decides. A connection whose work fails is put off, longer each time, so that one
//! that always fails costs a request an hour and holds nobody up.

mod adopt;
mod attend;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use valetkey_core::{ConnectionKey, ConnectorId, Rng, SpaceId, Timestamp};
use valetkey_store::rows::{ConnectionRow, ConnectionState, Due, GrantRow};

use crate::Engine;
use crate::connector::Connector;
use crate::due::{self, Ending, Facts, Rules};
use crate::error::Result;
use crate::grant::is_client_credentials;
use crate::status::{EndNotice, EndReason};

pub(crate) use slots::Slots;
use slots::{Refused, Slot};

/// How many due connections one read brings, and how many if none of those can be begun.
const PAGE: u32 = 256;
const DEEP_PAGE: u32 = 4_096;

/// Where on-demand refreshes leave a connection that they could not renew: background work looks again after this.
const AFTER_SETBACK: Duration = Duration::from_secs(60);

/// Connections that wait for a busy token host are set aside for so long, and up to twice as much longer, when they are so
/// many that nothing else is in sight.
const SET_ASIDE: Duration = Duration::from_secs(60);

/// What a round began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// How many connections are being looked at because of it.
    pub begun: usize,
    /// Whether more is due: go on as soon as [`Engine::background_freed`] returns.
    pub more: bool,
}

impl Engine {
    /// Looks at what is due and begins what may begin now. Nobody waits for a provider.
    pub async fn refresh_due(self: &Arc<Self>) -> Result<Round> {
        let mut round = Round::default();
        if self.slots.is_off() {
            return Ok(round);
        }
        let mut hosts = Hosts::default();
        let now = self.clock.now();
        let oldest = self.store.list_due(now, &[], 1).await?;
        self.metrics
            .overdue(oldest.first().map_or(Duration::ZERO, |due| now.since(due.due_at)));
        if oldest.is_empty() {
            return Ok(round);
        }
        let mut limit = PAGE;
        loop {
            let sated = self.slots.sated(self.flights.count());
            let looked = self.clock.monotonic();
            if !sated.is_empty() && self.slots.others_are_idle(&sated, looked) {
                break;
            }
            let page = self.store.list_due(now, &sated, limit).await?;
            if !sated.is_empty() && page.is_empty() {
                self.slots.note_others_idle(sated, looked);
                break;
            }
            let tried = self.begin_page(&page, &mut hosts, false).await;
            round.begun += tried.begun;
            round.more |= tried.full;
            if tried.full || page.len() < limit as usize {
                break;
            }
            limit = match (tried.begun, limit) {
                (0, DEEP_PAGE) => {
                    self.set_aside(&page, now).await?;
                    break;
                }
                (0, _) => DEEP_PAGE,
                _ => PAGE,
            };
        }
        // What is left is for spaces of which nothing is due now: of a page nothing could begin.
        round.more |= self.slots.are_kept(self.flights.count());
        if !round.more {
            // Nobody else wants what is left: spaces may go beyond their share.
            let page = self.store.list_due(now, &[], PAGE).await?;
            let tried = self.begin_page(&page, &mut hosts, true).await;
            round.begun += tried.begun;
            round.more = tried.full || tried.waiting;
        }
        Ok(round)
    }

    /// Returns when something that a round began has ended since the last time.
    pub async fn background_freed(&self) {
        self.slots.freed().await;
    }

    /// Begins what may begin of a page, in an order of its own.
    async fn begin_page(self: &Arc<Self>, page: &[Due], hosts: &mut Hosts, beyond_share: bool) -> Tried {
        let mut tried = Tried::default();
        let mut begun = Vec::new();
        for due in shuffled(page, &*self.rng) {
            let host = hosts.of(self, due).await;
            let flights = self.flights.count();
            match self.slots.take(&due.key, host.as_deref(), flights, beyond_share) {
                Ok(slot) => begun.push((due.clone(), slot)),
                Err(Refused::Full) => {
                    tried.full = true;
                    break;
                }
                Err(Refused::Host | Refused::Share) => tried.waiting = true,
                Err(Refused::UnderWay) => {}
            }
        }
        tried.begun = begun.len();
        let mut rows = self.rows_of(&begun).await;
        for (due, slot) in begun {
            let (engine, row) = (Arc::clone(self), rows.remove(&due.key));
            self.tasks.spawn(async move {
                engine.attend(&due, row).await;
                drop(slot);
            });
        }
        tried
    }

    /// The connections of a page, from one read. Where that fails, one row may be why: then each is read by itself.
    async fn rows_of(&self, begun: &[(Due, Slot)]) -> BTreeMap<ConnectionKey, ConnectionRow> {
        let keys: Vec<_> = begun.iter().map(|(due, _)| due.key.clone()).collect();
        if keys.is_empty() {
            return BTreeMap::new();
        }
        match self.store.get_connections(&keys).await {
            Ok(rows) => rows.into_iter().map(|row| (row.key.clone(), row)).collect(),
            Err(error) => {
                tracing::debug!(%error, "due connections cannot be read together");
                BTreeMap::new()
            }
        }
    }

    /// Puts off connections that wait for a busy token host: behind them may be others whose host is idle.
    async fn set_aside(&self, page: &[Due], now: Timestamp) -> Result<()> {
        for due in page.iter().take(PAGE as usize) {
            let at = now.plus(SET_ASIDE + (SET_ASIDE * 2).mul_f64(jitter(&*self.rng)));
            let Some(row) = self.store.get_connection(&due.key).await? else {
                continue;
            };
            if row.due_at == Some(due.due_at) {
                let notice = row.notice;
                self.store
                    .postpone(&due.key, due.generation, Some(at), notice, None)
                    .await?;
            }
        }
        Ok(())
    }

    /// When a connection is due whose grant is made or renewed now. One that the client's own credentials bring has no
    /// need of it: it is made anew when somebody asks.
    pub(crate) fn due_after(&self, connector: &Connector, row: &ConnectionRow, grant: &GrantRow) -> Option<Timestamp> {
        if is_client_credentials(connector) {
            return None;
        }
        let now = self.clock.now();
        let rules = self.due_rules(connector, row);
        let facts = Facts::renewed(row, grant, now);
        Some(due::next(&facts, &rules, jitter(&*self.rng), now))
    }

    /// When a connection is due whose refresh brought no new grant; never, if it needs a person now.
    pub(crate) fn due_after_release(&self, state: Option<&ConnectionState>) -> Option<Timestamp> {
        state.is_none().then(|| self.clock.now().plus(AFTER_SETBACK))
    }

    /// The nearest end that was announced and still holds.
    pub(crate) fn end_notice(&self, connector: &Connector, row: &ConnectionRow, now: Timestamp) -> Option<EndNotice> {
        let ending = due::announced(&Facts::of(row)?, &self.due_rules(connector, row), now)?;
        let (reason, expires_at) = match ending {
            Ending::Expires(end) => (EndReason::Expires, end),
            Ending::Unused(end) => (EndReason::Unused, end),
        };
        Some(EndNotice { reason, expires_at })
    }

    fn due_rules(&self, connector: &Connector, row: &ConnectionRow) -> Rules {
        let profile = connector.oauth.as_ref().map(|setup| &setup.profile);
        let limit = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        Rules {
            margin: self.settings.refresh_margin,
            idle_limit: limit(profile.and_then(|p| p.keep_alive_s)),
            absolute_limit: limit(profile.and_then(|p| p.refresh_absolute_s)),
            unused_after: self.settings.unused_after,
            changed: row.binding != connector.row.binding,
        }
    }
}

/// What became of a page.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    begun: usize,
    /// No slot was left.
    full: bool,
    /// Something waits for its host or for its space's share.
    waiting: bool,
}

/// The token hosts of connectors, looked up once a round.
#[derive(Default)]
struct Hosts(BTreeMap<(SpaceId, ConnectorId), Option<String>>);

impl Hosts {
    /// The host that a refresh would go to; `None` if that cannot be told, which the refresh itself will say.
    async fn of(&mut self, engine: &Engine, due: &Due) -> Option<String> {
        let key = (due.key.space.clone(), due.key.connector.clone());
        if let Some(host) = self.0.get(&key) {
            return host.clone();
        }
        let connector = engine.load_connector(&key.0, &key.1).await.ok().flatten();
        let host = connector.as_deref().and_then(token_host);
        self.0.insert(key, host.clone());
        host
    }
}

fn token_host(connector: &Connector) -> Option<String> {
    let url = Url::parse(connector.oauth.as_ref()?.token_url.as_deref()?).ok()?;
    url.host_str().map(str::to_owned)
}

/// A number from 0 to 1.
pub(crate) fn jitter(rng: &dyn Rng) -> f64 {
    f64::from(u32::from_le_bytes(rng.bytes())) / f64::from(u32::MAX)
}

fn shuffled<'a>(page: &'a [Due], rng: &dyn Rng) -> Vec<&'a Due> {
    let mut order: Vec<_> = page.iter().collect();
    for last in (1..order.len()).rev() {
        // The bias of a remainder is far below anything that spreading needs.
        let other = u64::from_le_bytes(rng.bytes()) % (last as u64 + 1);
        order.swap(last, usize::try_from(other).unwrap_or(last));
    }
    order
}
