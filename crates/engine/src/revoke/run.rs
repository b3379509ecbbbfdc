//! Revocations under way: once at once, and then again and again until the provider has heard.

use std::sync::Arc;
use std::time::Duration;

use url::Url;
use valetkey_oauth::Revocation;
use valetkey_store::rows::{ConnectionRow, ConnectionState, JobRow};

use super::job::Order;
use super::{CONCURRENCY, LEASE};
use crate::Engine;
use crate::caller::Audit;
use crate::due;
use crate::error::Result;
use crate::wire::Outcome;

/// How long a provider may take for one revocation.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The first pause after an attempt that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How long it is tried.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// It is over, with this outcome.
    Over(&'static str),
    /// It may work later.
    Later,
}

impl Engine {
    /// Does the jobs that are due, a few at once, until none is; they are shared with the other replicas. How many there
    /// were.
    pub async fn run_jobs(self: &Arc<Self>) -> Result<usize> {
        let mut done = 0;
        loop {
            let now = self.clock.now();
            let limit = u32::try_from(CONCURRENCY).unwrap_or(u32::MAX);
            let jobs = self.store.claim_jobs(now, now.plus(LEASE), limit).await?;
            let is_last = jobs.len() < CONCURRENCY;
            done += jobs.len();
            let tasks: Vec<_> = jobs
                .into_iter()
                .map(|job| {
                    let engine = Arc::clone(self);
                    self.tasks.spawn(async move { engine.run_job(&job).await })
                })
                .collect();
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a revocation ended without a word; it is tried again");
                }
            }
            if is_last {
                return Ok(done);
            }
        }
    }

    /// Does one job and writes what came of it. What cannot be written is done again when the lease ends: a revocation may
    /// be repeated.
    pub(super) async fn run_job(&self, job: &JobRow) {
        let attempt = match self.open_order(job) {
            Ok(order) => self.revoke(job, &order).await,
            Err(error) => {
                tracing::error!(
                    connector.id = %job.key.connector, code = %error.code, cause = error.cause.as_deref(),
                    "a job cannot be opened; it is tried again"
                );
                Attempt::Later
            }
        };
        let now = self.clock.now();
        let is_too_old = job.created_at.plus(GIVEN_UP_AFTER) <= now;
        let written = match attempt {
            Attempt::Over(outcome) => self.finish_revocation(job, outcome).await,
            Attempt::Later if is_too_old => {
                tracing::error!(
                    connector.id = %job.key.connector, space = %job.key.space, attempts = job.attempts,
                    "the provider could not be told that a grant is over; an administrator can revoke it there"
                );
                self.finish_revocation(job, "given_up").await
            }
            Attempt::Later => {
                self.metrics.revocation("put_off");
                let attempts = u32::try_from(job.attempts).unwrap_or(u32::MAX).saturating_add(1);
                let pause = due::pause_after(FIRST_PAUSE, attempts, crate::background::jitter(&*self.rng));
                let due_at = now.plus(pause);
                let put_off = self.store.postpone_job(&job.key.space, &job.id, due_at).await;
                put_off.map(drop).map_err(Into::into)
            }
        };
        if let Err(error) = written {
            tracing::warn!(code = %error.code, "what came of a revocation cannot be written; it is done again");
        }
    }

    async fn finish_revocation(&self, job: &JobRow, outcome: &'static str) -> Result<()> {
        let audit = Audit::new("token.revoke", self.clock.now())
            .connection(&job.key)
            .outcome(outcome);
        // Where two did it, one records it.
        if self.store.finish_job(&job.key.space, &job.id, audit.row()).await? {
            self.metrics.revocation(outcome);
        }
        Ok(())
    }

    async fn revoke(&self, job: &JobRow, order: &Order) -> Attempt {
        match self.is_shared(job, order).await {
            Ok(false) => {}
            Ok(true) => return Attempt::Over("kept_for_another_connection"),
            Err(error) => {
                tracing::warn!(code = %error.code, "the store cannot say whether a grant is shared; its revocation waits");
                return Attempt::Later;
            }
        }
        let Ok(endpoint) = Url::parse(&order.endpoint) else {
            return Attempt::Over("unsupported");
        };
        let client = order.client();
        let tokens = order.tokens();
        let has_refresh = tokens.len() > 1;
        let mut outcome = "done";
        let mut again = false;
        for (token, hint) in &tokens {
            let request = valetkey_oauth::revocation_request(&order.profile, &endpoint, &client, token, hint);
            let Ok(request) = request else {
                return Attempt::Over("unsupported");
            };
            match self.wire.send_token(request, REVOCATION_TIMEOUT).await {
                Outcome::Answered(response) => match valetkey_oauth::read_revocation(&response) {
                    Revocation::Done => {}
                    Revocation::Unsupported if *hint == "access_token" && has_refresh => {}
                    Revocation::Unsupported => outcome = "unsupported",
                    Revocation::Failed { retry } => {
                        again |= retry;
                        outcome = "failed";
                    }
                },
                Outcome::NotSent(error) | Outcome::Uncertain(error) => {
                    tracing::warn!(connector.id = %job.key.connector, %error, "the provider could not be told of a revocation");
                    again = true;
                }
            }
        }
        if again { Attempt::Later } else { Attempt::Over(outcome) }
    }

    /// Where the provider ends the whole grant of an account with one token, another connection to it must not suffer, and
    /// neither must this one if it was connected again.
    async fn is_shared(&self, job: &JobRow, order: &Order) -> Result<bool> {
        if !order.profile.revoke.as_ref().is_some_and(|revoke| revoke.kills_grant) {
            return Ok(false);
        }
        let again = self.store.get_connection(&job.key).await?;
        let again = again.filter(|row| row.state != ConnectionState::Disconnected);
        let same = |row: &ConnectionRow| match (&row.account_id, &order.account_id) {
            (Some(now), Some(then)) => now == then,
            // One that is not known may be the same.
            _ => true,
        };
        if again.is_some_and(|row| same(&row)) {
            return Ok(true);
        }
        match &order.account_id {
            Some(account) => Ok(self.store.shares_account(&job.key, account).await?),
            None => Ok(false),
        }
    }
}
