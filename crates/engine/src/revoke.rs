//! The end of a connection: here at once, and at the provider as soon as it listens.
//!
//! The tombstone and the *job* that tells the provider are one write, so that neither is there without the other. Whoever
//! wrote the job does it at once, under a lease; should that fail, or the process end, it is done again until the provider
//! has heard, by whichever replica comes first.

mod delete;
mod job;
mod run;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use valetkey_core::{AuthMode, ConnectionKey, ConnectionName, ConnectorId, Owner, Privilege};
use valetkey_oauth::Tokens;
use valetkey_store::rows::{AuditRow, Committed, ConnectionRow, ConnectionState, JobRow};

use crate::Engine;
use crate::caller::{Audit, Caller};
use crate::connector::Connector;
use crate::error::Result;

use job::Doomed;

/// How long a caller waits for revocations; they go on without the caller.
const CALLER_PATIENCE: Duration = Duration::from_secs(10);

/// How long a tombstone stays: longer than anything that could bring the connection back is under way.
const TOMBSTONE_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many revocations run at once.
pub(crate) const CONCURRENCY: usize = 8;

/// How long a job belongs to whoever does it: longer than an attempt takes.
const LEASE: Duration = Duration::from_secs(120);

/// A connection that was ended, with what is left to do.
struct Ended {
    key: ConnectionKey,
    job: std::result::Result<JobRow, &'static str>,
}

impl Engine {
    /// Ends the caller's connection.
    pub async fn disconnect(
        self: &Arc<Self>,
        caller: &Caller,
        id: &ConnectorId,
        name: Option<ConnectionName>,
    ) -> Result<()> {
        let connector = self.connector(&caller.principal, id).await?;
        match connector.row.auth_mode {
            AuthMode::Shared => caller.need(Privilege::ConnectorsWrite)?,
            AuthMode::PerUser => caller.need(Privilege::OauthConnect)?,
        }
        connector.oauth()?;
        let key = ConnectionKey {
            space: caller.principal.space.clone(),
            connector: id.clone(),
            owner: connector.owner_for(&caller.principal)?,
            name: name.unwrap_or_else(ConnectionName::default_name),
        };
        self.disconnect_key(caller, &connector, &key).await
    }

    /// Ends the connection of whichever owner.
    pub async fn disconnect_owner(
        self: &Arc<Self>,
        caller: &Caller,
        id: &ConnectorId,
        owner: Owner,
        name: Option<ConnectionName>,
    ) -> Result<()> {
        caller.need(Privilege::ConnectorsWrite)?;
        let connector = self.connector(&caller.principal, id).await?;
        connector.oauth()?;
        let key = ConnectionKey {
            space: caller.principal.space.clone(),
            connector: id.clone(),
            owner,
            name: name.unwrap_or_else(ConnectionName::default_name),
        };
        self.disconnect_key(caller, &connector, &key).await
    }

    async fn disconnect_key(
        self: &Arc<Self>,
        caller: &Caller,
        connector: &Connector,
        key: &ConnectionKey,
    ) -> Result<()> {
        let audit = caller
            .audit("connection.state", self.clock.now())
            .connection(key)
            .outcome("disconnected")
            .detail("to", "disconnected");
        if let Some(ended) = self.end(connector, key, audit.row()).await? {
            let task = self.revoke_in_task(ended);
            Self::wait_patiently(task.into_iter().collect()).await;
        }
        Ok(())
    }

    /// Ends the generation that is there when nothing comes between; `None` if the connection was ended already.
    async fn end(&self, connector: &Connector, key: &ConnectionKey, audit: AuditRow) -> Result<Option<Ended>> {
        let began = self.clock.monotonic();
        let mut stored = self.store.get_connection(key).await?;
        if let Some(ended) = stored.as_ref().filter(|row| row.state == ConnectionState::Disconnected) {
            // Another process was first: what is remembered here must go as well.
            self.remember_read(ended.clone(), began);
        }
        while let Some(row) = stored.filter(|row| row.state != ConnectionState::Disconnected) {
            let (committed, ended) = self.end_generation(connector, &row, audit.clone()).await?;
            match committed {
                Committed::Done(_) => return Ok(Some(ended)),
                Committed::Lost(now) => {
                    if let Some(row) = &now {
                        self.remember(row.as_ref().clone());
                    }
                    stored = now.map(|row| *row);
                }
            }
        }
        Ok(None)
    }

    /// Ends exactly this generation, and writes the job with the tombstone.
    async fn end_generation(
        &self,
        connector: &Connector,
        row: &ConnectionRow,
        audit: AuditRow,
    ) -> Result<(Committed, Ended)> {
        let until = self.clock.now().plus(TOMBSTONE_LIFE);
        let job = self.job_for_row(connector, row).await;
        let written = job.as_ref().ok().cloned();
        let committed = self
            .store
            .disconnect(&row.key, row.generation, until, written, audit)
            .await?;
        if let Committed::Done(tombstone) = &committed {
            self.remember(tombstone.as_ref().clone());
        }
        let key = row.key.clone();
        Ok((committed, Ended { key, job }))
    }

    /// Ends a row that is as it was read, and its grant. Nothing happens if somebody changed it.
    pub(crate) async fn end_row(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        row: &ConnectionRow,
        audit: AuditRow,
    ) -> Result<()> {
        let (committed, ended) = self.end_generation(connector, row, audit).await?;
        if matches!(committed, Committed::Done(_)) {
            self.carry_out(ended).await;
        }
        Ok(())
    }

    /// Revokes on a task that outlives the caller. Nothing is begun after the lease: then somebody else does it.
    fn revoke_in_task(self: &Arc<Self>, ended: Ended) -> Option<JoinHandle<()>> {
        let engine = Arc::clone(self);
        match ended.job {
            Ok(job) => Some(self.tasks.spawn(async move {
                let Ok(_permit) = engine.revocations.acquire().await else {
                    return;
                };
                if engine.clock.now() < job.due_at {
                    engine.run_job(&job).await;
                }
            })),
            Err(outcome) => {
                self.record_revocation(&ended.key, outcome);
                None
            }
        }
    }

    /// Waits for revocations, but not for ever.
    async fn wait_patiently(revocations: Vec<JoinHandle<()>>) {
        let all = async {
            for task in revocations {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a revocation ended without a word; it is tried again");
                }
            }
        };
        if tokio::time::timeout(CALLER_PATIENCE, all).await.is_err() {
            tracing::info!("revocations go on in the background");
        }
    }

    /// Ends a connection whose connector was deleted while it was being made.
    pub(crate) async fn end_orphan(&self, connector: &Connector, row: &ConnectionRow) -> Result<()> {
        let audit = Audit::new("connection.state", self.clock.now())
            .connection(&row.key)
            .outcome("disconnected");
        match self.end(connector, &row.key, audit.row()).await? {
            Some(ended) => self.carry_out(ended).await,
            // The deletion took the row along; its grant is still alive.
            None => self.revoke_row(connector, row).await,
        }
        Ok(())
    }

    /// Revokes the grant of a row that is no connection any more.
    pub(crate) async fn revoke_row(&self, connector: &Connector, row: &ConnectionRow) {
        let job = self.job_for_row(connector, row).await;
        self.order_and_settle(&row.key, job).await;
    }

    /// Revokes tokens that were minted for a connection and are not kept.
    pub(crate) async fn revoke_tokens(&self, connector: &Connector, key: &ConnectionKey, tokens: &Tokens) {
        let doomed = Doomed {
            access_token: tokens.access_token.clone(),
            refresh_token: tokens.refresh_token.clone(),
            account_id: tokens.account_id.clone(),
        };
        let job = self.job_for(connector, key, &doomed).await;
        self.order_and_settle(key, job).await;
    }

    /// Writes a job that belongs to no tombstone, and does it. If it cannot be written, once is better than not at all.
    async fn order_and_settle(&self, key: &ConnectionKey, job: std::result::Result<JobRow, &'static str>) {
        if let Ok(job) = &job
            && let Err(error) = self.store.put_job(job.clone()).await
        {
            tracing::error!(connector.id = %key.connector, %error, "a revocation cannot be written down; it is tried once");
        }
        self.carry_out(Ended { key: key.clone(), job }).await;
    }

    async fn carry_out(&self, ended: Ended) {
        match ended.job {
            Ok(job) => self.run_job(&job).await,
            Err(outcome) => self.record_revocation(&ended.key, outcome),
        }
    }

    pub(crate) fn record_revocation(&self, key: &ConnectionKey, outcome: &'static str) {
        self.metrics.revocation(outcome);
        let audit = Audit::new("token.revoke", self.clock.now());
        self.audit_later(audit.connection(key).outcome(outcome).row());
    }
}
