//! Keeping a grant that a person has just given: the code is spent, and the provider gives no second answer to it.

use std::time::Duration;

use subtle::ConstantTimeEq as _;
use valetkey_core::{ConnectionKey, ErrorCode};
use valetkey_store::rows::{AuditRow, ConnectionRow, ConnectionState};

use crate::Engine;
use crate::connector::Connector;
use crate::error::Result;
use crate::grant::{Minted, NewGrant};

/// The pauses before it is written again when the store does not take it.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
];

/// After how long no further attempt is begun: a person waits in front of a browser.
const LONGEST: Duration = Duration::from_secs(10);

impl Engine {
    /// Stores a new grant, again and again for some seconds if the store is away: a failover takes no longer.
    pub(super) async fn keep_grant(
        &self,
        connector: &Connector,
        key: &ConnectionKey,
        minted: &Minted,
        any_account: bool,
        audit: AuditRow,
    ) -> Result<NewGrant> {
        let began = self.clock.monotonic();
        let mut pauses = PAUSES.into_iter();
        loop {
            let stored = self.store_new_grant(connector, key, minted, any_account, audit.clone());
            let error = match stored.await {
                Err(error) if error.code == ErrorCode::StoreUnavailable => error,
                done => return done,
            };
            let elapsed = self.clock.monotonic().saturating_sub(began);
            let Some(pause) = pauses.next().filter(|pause| elapsed + *pause < LONGEST) else {
                return Err(error);
            };
            tracing::warn!(
                connector.id = %key.connector, space = %key.space, cause = error.cause.as_deref(),
                "a new grant cannot be stored yet; it is written again"
            );
            tokio::time::sleep(pause).await;
            if let Some(row) = self.written_before(key, minted).await {
                // Whose grant it replaced is not known any more: only the write that was not acknowledged saw it.
                let connection = self.remember(row);
                return Ok(NewGrant::Stored {
                    connection,
                    replaced: None,
                });
            }
        }
    }

    /// The connection, if it has this very token: a write that failed may have happened all the same.
    async fn written_before(&self, key: &ConnectionKey, minted: &Minted) -> Option<ConnectionRow> {
        let row = self.store.get_connection(key).await.ok().flatten()?;
        let (_, token) = self
            .open_access(&row)
            .await
            .ok()
            .filter(|_| row.state == ConnectionState::Active)?;
        let is_ours: bool = token
            .expose()
            .as_bytes()
            .ct_eq(minted.tokens.access_token.expose().as_bytes())
            .into();
        is_ours.then_some(row)
    }
}
