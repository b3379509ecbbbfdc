//! What is done about one due connection.

use std::sync::Arc;
use std::time::Duration;

use valetkey_core::Timestamp;
use valetkey_store::rows::{Claim, Committed, ConnectionRow, ConnectionState, Due, Released};

use super::jitter;
use crate::Engine;
use crate::caller::Audit;
use crate::connector::{Connector, not_found};
use crate::due::{self, Ending, Facts, Notices, Step};
use crate::error::{Error, Reason, Result};
use crate::grant::is_client_credentials;
use crate::restored::CANARY_WINDOW;

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// After how many failures in a row somebody should look: what passes by itself has passed by then.
const TOLD_AFTER: u32 = 5;

impl Engine {
    /// Does what is due, and puts the connection off if that fails. On a task of its own: a connection whose work panics
    /// is put off like any other. `row` is the connection if it was read already.
    pub(super) async fn attend(self: &Arc<Self>, due: &Due, row: Option<ConnectionRow>) {
        let (engine, own) = (Arc::clone(self), due.clone());
        let work = self.tasks.spawn(async move { engine.look_at(&own, row).await });
        let error = match work.await {
            Ok(Ok(())) => {
                self.stumbles.remove(&due.key);
                return;
            }
            Ok(Err(error)) => error,
            Err(panic) => Error::internal(panic),
        };
        tracing::debug!(
            connector.id = %due.key.connector, space = %due.key.space, code = %error.code, cause = error.cause.as_deref(),
            "background work on a connection failed"
        );
        if let Err(error) = self.put_off(due, &error).await {
            tracing::warn!(code = %error.code, cause = error.cause.as_deref(), "a connection cannot be put off; it is due again at once");
        }
    }

    /// Puts off a connection whose work failed: longer each time. One that another replica is at is left to it.
    async fn put_off(&self, due: &Due, error: &Error) -> Result<()> {
        let now = self.clock.now();
        let Some(row) = self.store.get_connection(&due.key).await? else {
            return Ok(());
        };
        let elsewhere = row
            .intent
            .as_ref()
            .is_some_and(|intent| intent.lease_until > now && intent.holder != self.holder);
        if elsewhere {
            return Ok(());
        }
        let failures = self.stumbles.get(&due.key).map_or(1, |n| n.saturating_add(1));
        self.stumbles.insert(due.key.clone(), failures);
        self.metrics.background("failed");
        if failures == TOLD_AFTER {
            tracing::warn!(
                connector.id = %due.key.connector, space = %due.key.space, code = %error.code,
                cause = error.cause.as_deref(), failures, "background work on a connection fails again and again"
            );
        }
        let pause = due::pause_after(FIRST_PAUSE, failures, jitter(&*self.rng));
        let pause = pause.max(error.retry_after.unwrap_or_default());
        let at = now.plus(pause).max(row.due_at.unwrap_or(now));
        let notices = Notices::read(row.notice.as_deref());
        self.postpone(&row, due.generation, Some(at), notices, None).await
    }

    async fn look_at(self: &Arc<Self>, due: &Due, row: Option<ConnectionRow>) -> Result<()> {
        let now = self.clock.now();
        let row = match row {
            Some(row) => Some(row),
            None => self.store.get_connection(&due.key).await?,
        };
        let is_due = |row: &ConnectionRow| {
            row.generation == due.generation
                && row.state == ConnectionState::Active
                && row.due_at.is_some_and(|at| at <= now)
                && row.intent.as_ref().is_none_or(|intent| intent.lease_until <= now)
        };
        // Somebody else may have done it since it was listed.
        let Some(row) = row.filter(is_due) else {
            return Ok(());
        };
        let connector = self.load_connector(&row.key.space, &row.key.connector).await?;
        let connector = connector.ok_or_else(not_found)?;
        if is_client_credentials(&connector) {
            return self
                .postpone(&row, row.generation, None, Notices::default(), None)
                .await;
        }
        // An intent whose lease is over: the outcome of a refresh is not known, and nothing else can settle it.
        if let Some(end) = self.waits_until(&connector, &row) {
            let notices = Notices::read(row.notice.as_deref());
            return self.postpone(&row, row.generation, Some(end), notices, None).await;
        }
        if row.intent.is_some() {
            return self.refresh_ahead(&row, &connector).await;
        }
        let rules = self.due_rules(&connector, &row);
        let facts = Facts::of(&row).ok_or_else(|| Error::internal("an active connection has no grant"))?;
        match due::judge(&facts, &rules, now) {
            Step::Wait(notices) => {
                self.metrics.background("waits");
                let next = self.next_look(&row, &connector, notices, now);
                self.postpone(&row, row.generation, next, notices, None).await
            }
            Step::Announce(notices, ending) => self.announce(&row, &connector, notices, Some(ending), now).await,
            Step::Refresh => self.refresh_ahead(&row, &connector).await,
            Step::Disconnect => self.end_unused(&row, &connector).await,
            Step::Ended(reason) => self.note_end(&row, reason, now).await,
        }
    }

    fn next_look(
        &self,
        row: &ConnectionRow,
        connector: &Connector,
        notices: Notices,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let rules = self.due_rules(connector, row);
        let facts = Facts {
            notices,
            ..Facts::of(row)?
        };
        Some(due::next(&facts, &rules, jitter(&*self.rng), now))
    }

    /// Puts off a connection out of a backup whose refresh token nobody should try yet: until its access token ends, or else
    /// for as long as it takes until the next canaries go.
    async fn wait_for_canaries(&self, row: &ConnectionRow) -> Result<()> {
        self.metrics.background("restored");
        let now = self.clock.now();
        let end = row.grant.as_ref().and_then(|grant| grant.expires_at);
        let at = end.filter(|end| *end > now).unwrap_or_else(|| now.plus(CANARY_WINDOW));
        let notices = Notices::read(row.notice.as_deref());
        self.postpone(row, row.generation, Some(at), notices, None).await
    }

    /// Renews a connection ahead of time, through the same flight as every caller.
    async fn refresh_ahead(self: &Arc<Self>, row: &ConnectionRow, connector: &Arc<Connector>) -> Result<()> {
        if !self.may_renew_ahead(connector, row) {
            return self.wait_for_canaries(row).await;
        }
        let renewed = self.renew_ahead(connector, &row.key, row.generation).await?;
        self.metrics.background("refreshed");
        let after = &renewed.row;
        let (Some(before), Some(facts)) = (Facts::of(row), Facts::of(after)) else {
            return Ok(());
        };
        if after.generation <= row.generation || after.state != ConnectionState::Active {
            return Ok(());
        }
        let now = self.clock.now();
        let (notices, ending) = due::after_refresh(&before, &facts, &self.due_rules(connector, after), now);
        if notices == facts.notices && ending.is_none() {
            return Ok(());
        }
        self.announce(after, connector, notices, ending, now).await
    }

    /// Writes the notices that hold from now on, with the record of the one that is new.
    async fn announce(
        &self,
        row: &ConnectionRow,
        connector: &Connector,
        notices: Notices,
        ending: Option<Ending>,
        now: Timestamp,
    ) -> Result<()> {
        let audit = ending.map(|ending| {
            let (outcome, end) = match ending {
                Ending::Expires(end) => ("expires", end),
                Ending::Unused(end) => ("unused", end),
            };
            self.metrics.notice(outcome);
            tracing::info!(connector.id = %row.key.connector, space = %row.key.space, outcome, %end, "a connection ends soon");
            Audit::new("connection.expiring", now)
                .connection(&row.key)
                .outcome(outcome)
                .detail("at", end.to_string())
        });
        let next = self.next_look(row, connector, notices, now);
        self.postpone(row, row.generation, next, notices, audit).await
    }

    async fn postpone(
        &self,
        row: &ConnectionRow,
        generation: i64,
        due_at: Option<Timestamp>,
        notices: Notices,
        audit: Option<Audit>,
    ) -> Result<()> {
        // `false` says that somebody changed the connection; whoever did also wrote when it is due.
        self.store
            .postpone(&row.key, generation, due_at, notices.stored(), audit.map(Audit::row))
            .await?;
        Ok(())
    }

    /// Ends a connection that nobody uses, and its grant at the provider. Uses that wait to be written count.
    async fn end_unused(self: &Arc<Self>, row: &ConnectionRow, connector: &Arc<Connector>) -> Result<()> {
        self.flush_audit().await?;
        let now = self.clock.now();
        let Some(row) = self.store.get_connection(&row.key).await? else {
            return Ok(());
        };
        let rules = self.due_rules(connector, &row);
        let is_unused = Facts::of(&row).is_some_and(|facts| due::judge(&facts, &rules, now) == Step::Disconnect);
        if !is_unused || row.state != ConnectionState::Active {
            return Ok(());
        }
        let audit = Audit::new("connection.state", now)
            .connection(&row.key)
            .outcome("disconnected")
            .detail("from", "active")
            .detail("to", "disconnected")
            .detail("cause", "unused");
        self.metrics.background("disconnected");
        self.end_row(connector, &row, audit.row()).await
    }

    /// Notes that a connection ended by itself, so that everybody is told the same.
    async fn note_end(&self, row: &ConnectionRow, reason: Reason, now: Timestamp) -> Result<()> {
        let lease = self.settings.refresh_lease;
        let claim = self
            .store
            .claim_refresh(&row.key, row.generation, &self.holder, now, lease)
            .await?;
        let Claim::Held { row, .. } = claim else {
            return Ok(());
        };
        let audit = Audit::new("connection.state", now)
            .connection(&row.key)
            .outcome(reason.as_str())
            .detail("from", "active")
            .detail("to", "reauthorize");
        let released = Released {
            state: Some(ConnectionState::Reauthorize(reason.as_str().to_owned())),
            due_at: None,
        };
        let released = self
            .store
            .release_refresh(&row.key, row.generation, &self.holder, released, Some(audit.row()));
        if let Committed::Done(row) = released.await? {
            self.metrics.background("ended");
            // Its generation is still the same, so what is remembered would not be seen to be older.
            self.connections.remove(&row.key);
        }
        Ok(())
    }
}
