//! The end of a connection: deleted here at once, and revoked at the provider as far as that can be done.

use std::sync::Arc;
use std::time::Duration;

use url::Url;
use valetkey_core::{AuthMode, ConnectionKey, ConnectionName, ConnectorId, Privilege, Secret};
use valetkey_oauth::{Revocation, Tokens};
use valetkey_store::rows::{AuditRow, Committed, ConnectionRow, ConnectionState};

use crate::Engine;
use crate::caller::{Audit, Caller};
use crate::connector::Connector;
use crate::error::Result;
use crate::wire::Outcome;

/// How many connections a deleted connector revokes.
pub(crate) const MAX_AT_ONCE: u32 = 200;

/// How long a provider may take for one revocation.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a caller waits for revocations; they go on without the caller.
const CALLER_PATIENCE: Duration = Duration::from_secs(10);

/// How long a tombstone stays: longer than anything that could bring the connection back is under way.
const TOMBSTONE_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many revocations run at once.
const CONCURRENCY: usize = 8;

/// What is said of tokens that are not revoked, because another connection would lose its grant with them.
const KEPT: &str = "kept_for_another_connection";

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
        let audit = caller
            .audit("connection.state", self.clock.now())
            .connection(&key)
            .outcome("disconnected")
            .detail("to", "disconnected");
        let before = self.end(&key, audit.row()).await?;
        self.connections.remove(&key);
        if let Some(row) = before {
            self.revoke_in_tasks(connector, vec![row]).await;
        }
        Ok(())
    }

    /// Ends the generation that is there when nothing comes between. The row as it was, if it was not ended already.
    async fn end(&self, key: &ConnectionKey, audit: AuditRow) -> Result<Option<ConnectionRow>> {
        let until = self.clock.now().plus(TOMBSTONE_LIFE);
        let mut stored = self.store.get_connection(key).await?;
        while let Some(row) = stored.filter(|row| row.state != ConnectionState::Disconnected) {
            let ended = self.store.disconnect(key, row.generation, until, None, audit.clone());
            match ended.await? {
                Committed::Done(_) => return Ok(Some(row)),
                Committed::Lost(now) => stored = now.map(|row| *row),
            }
        }
        Ok(None)
    }

    /// Revokes the connections of a connector that was deleted.
    pub(crate) async fn revoke_all(self: &Arc<Self>, connector: &Arc<Connector>, rows: Vec<ConnectionRow>) {
        if connector.oauth.is_some() {
            self.revoke_in_tasks(Arc::clone(connector), rows).await;
        }
    }

    /// Revokes on tasks that outlive the caller; the caller waits for them, but not for ever.
    async fn revoke_in_tasks(self: &Arc<Self>, connector: Arc<Connector>, rows: Vec<ConnectionRow>) {
        let permits = Arc::new(tokio::sync::Semaphore::new(CONCURRENCY));
        let tasks: Vec<_> = rows
            .into_iter()
            .map(|row| {
                let (engine, connector, permits) = (Arc::clone(self), Arc::clone(&connector), Arc::clone(&permits));
                self.tasks.spawn(async move {
                    let _permit = permits.acquire().await;
                    engine.revoke_row(&connector, &row).await;
                })
            })
            .collect();
        let all = async {
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a revocation ended without a word");
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
        self.end(&row.key, audit.row()).await?;
        self.connections.remove(&row.key);
        self.revoke_row(connector, row).await;
        Ok(())
    }

    /// Revokes what a connection that ended has held.
    pub(crate) async fn revoke_row(&self, connector: &Connector, row: &ConnectionRow) {
        let account = row.account_id.as_deref();
        let outcome = match self.tokens_of(row).await {
            // The tokens were given for other addresses: the ones of today must not get them.
            Ok(_) if row.binding != connector.row.binding => "connector_changed",
            Ok(_) if self.grant_is_shared(connector, &row.key, account).await => KEPT,
            Ok((access, refresh)) => self.revoke(connector, &access, refresh.as_ref()).await,
            Err(error) => {
                tracing::error!(connector.id = %row.key.connector, code = %error.code, "tokens to be revoked cannot be opened");
                "unreadable"
            }
        };
        self.record_revocation(&row.key, outcome);
    }

    /// Revokes tokens that were minted for a connection and are not kept.
    pub(crate) async fn revoke_tokens(&self, connector: &Connector, key: &ConnectionKey, tokens: &Tokens) {
        let outcome = if self.grant_is_shared(connector, key, tokens.account_id.as_deref()).await {
            KEPT
        } else {
            self.revoke(connector, &tokens.access_token, tokens.refresh_token.as_ref())
                .await
        };
        self.record_revocation(key, outcome);
    }

    fn record_revocation(&self, key: &ConnectionKey, outcome: &'static str) {
        self.metrics.revocation(outcome);
        self.audit_later(
            Audit::new("token.revoke", self.clock.now())
                .connection(key)
                .outcome(outcome)
                .row(),
        );
    }

    /// Where the provider ends the whole grant of an account with one token, another connection to it must not suffer.
    async fn grant_is_shared(&self, connector: &Connector, key: &ConnectionKey, account: Option<&str>) -> bool {
        let kills = connector
            .oauth
            .as_ref()
            .and_then(|o| o.profile.revoke.as_ref())
            .is_some_and(|r| r.kills_grant);
        let Some(account) = account.filter(|_| kills) else {
            return false;
        };
        // If the store cannot say, the other connection is given the benefit of the doubt.
        self.store.shares_account(key, account).await.unwrap_or(true)
    }

    async fn tokens_of(&self, row: &ConnectionRow) -> Result<(Secret<String>, Option<Secret<String>>)> {
        let (_, access) = self.open_access(row).await?;
        Ok((access, self.open_refresh(row).await?))
    }

    /// Refresh token first: it is the one that could make new ones (RFC 7009 section 2.1).
    async fn revoke(
        &self,
        connector: &Connector,
        access: &Secret<String>,
        refresh: Option<&Secret<String>>,
    ) -> &'static str {
        let Some(setup) = &connector.oauth else {
            return "unsupported";
        };
        let Some(endpoint) = setup.revocation_url.as_deref().and_then(|u| Url::parse(u).ok()) else {
            return "unsupported";
        };
        let client = match self.client(connector).await {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(code = %error.code, "the client secret for a revocation cannot be opened");
                return "unreadable";
            }
        };
        let mut worst = "done";
        let tokens = refresh
            .map(|t| (t, "refresh_token"))
            .into_iter()
            .chain([(access, "access_token")]);
        for (token, hint) in tokens {
            let Ok(request) = valetkey_oauth::revocation_request(&setup.profile, &endpoint, &client, token, hint)
            else {
                return "unsupported";
            };
            match self.wire.send_token(request, REVOCATION_TIMEOUT).await {
                Outcome::Answered(response) => match valetkey_oauth::read_revocation(&response) {
                    Revocation::Done => {}
                    Revocation::Unsupported if hint == "access_token" && refresh.is_some() => {}
                    Revocation::Unsupported => worst = "unsupported",
                    Revocation::Failed { .. } => worst = "failed",
                },
                Outcome::NotSent(error) | Outcome::Uncertain(error) => {
                    tracing::warn!(connector.id = %connector.row.id, %error, "the provider could not be told of a revocation");
                    worst = "failed";
                }
            }
        }
        worst
    }
}
