//! Connections that do not say when they are due: an older version wrote them.

use valetkey_core::ConnectionKey;
use valetkey_store::rows::{ConnectionRow, ConnectionState};

use super::jitter;
use crate::Engine;
use crate::due::{self, Facts};
use crate::error::Result;
use crate::grant::is_client_credentials;

/// How many connections are looked at in one go.
const PAGE: u32 = 500;

impl Engine {
    /// Looks for connections that do not say when they are due, and lets them say it. One page after `after`; the answer is
    /// where to go on, if there is more.
    pub async fn adopt_connections(&self, after: Option<ConnectionKey>) -> Result<Option<ConnectionKey>> {
        let page = self.store.scan_connections(after.as_ref(), PAGE).await?;
        let last = page.last().map(|row| row.key.clone());
        let is_last = page.len() < PAGE as usize;
        for row in page {
            if row.state == ConnectionState::Active
                && row.due_at.is_none()
                && let Err(error) = self.adopt(&row).await
            {
                tracing::warn!(
                    connector.id = %row.key.connector, space = %row.key.space, code = %error.code,
                    cause = error.cause.as_deref(), "a connection cannot be looked at; it is renewed when somebody needs it"
                );
            }
        }
        Ok(last.filter(|_| !is_last))
    }

    async fn adopt(&self, row: &ConnectionRow) -> Result<()> {
        let connector = self.load_connector(&row.key.space, &row.key.connector).await?;
        let Some(connector) = connector.filter(|connector| !is_client_credentials(connector)) else {
            return Ok(());
        };
        let now = self.clock.now();
        let Some(facts) = Facts::of(row) else {
            return Ok(());
        };
        let at = due::next(&facts, &self.due_rules(&connector, row), jitter(&*self.rng), now);
        self.store
            .postpone(&row.key, row.generation, Some(at), row.notice.clone(), None)
            .await?;
        Ok(())
    }
}
