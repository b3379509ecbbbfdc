//! The end of a connector, with all of its connections.

use std::sync::Arc;

use tokio::task::JoinHandle;
use valetkey_core::ConnectionKey;
use valetkey_store::rows::{AuditRow, Deletion};

use super::Ended;
use crate::Engine;
use crate::caller::Audit;
use crate::connector::{Connector, not_found};
use crate::error::{Error, Result};

/// How many connections are ended at once, and how many of them are revoked while the caller waits.
const PAGE: u32 = 200;

impl Engine {
    /// Deletes a connector and ends all of its connections, page by page: on a task that outlives the caller, because half
    /// of it would be neither. What ends before the connector itself does is ended for good; repeating the call goes on.
    pub(crate) async fn delete_with_connections(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        audit: AuditRow,
    ) -> Result<()> {
        let (engine, connector) = (Arc::clone(self), Arc::clone(connector));
        let deletion = self
            .tasks
            .spawn(async move { engine.end_all_and_delete(&connector, audit).await });
        let revocations = deletion.await.map_err(Error::internal)??;
        Self::wait_patiently(revocations).await;
        Ok(())
    }

    async fn end_all_and_delete(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        audit: AuditRow,
    ) -> Result<Vec<JoinHandle<()>>> {
        let (space, id) = (&connector.row.space, &connector.row.id);
        let mut revocations = Vec::new();
        loop {
            let page = self.store.list_connections(space, id, None, PAGE).await?;
            if page.is_empty() {
                match self.store.delete_connector(space, id, audit.clone()).await? {
                    Deletion::Done => return Ok(revocations),
                    Deletion::Missing => return Err(not_found()),
                    // Somebody connected in between.
                    Deletion::InUse => continue,
                }
            }
            let ends: Vec<_> = page
                .into_iter()
                .map(|row| {
                    let (engine, connector, deletion) = (Arc::clone(self), Arc::clone(connector), audit.clone());
                    self.tasks
                        .spawn(async move { engine.end_for_deletion(&connector, &row.key, &deletion).await })
                })
                .collect();
            for end in ends {
                let ended = end.await.map_err(Error::internal)??;
                if revocations.len() < PAGE as usize {
                    revocations.extend(ended.and_then(|ended| self.revoke_in_task(ended)));
                } else if let Some(Ended { key, job: Err(outcome) }) = ended {
                    self.record_revocation(&key, outcome);
                }
                // The jobs of all others are done when their leases end.
            }
        }
    }

    async fn end_for_deletion(
        &self,
        connector: &Connector,
        key: &ConnectionKey,
        deletion: &AuditRow,
    ) -> Result<Option<Ended>> {
        let mut audit = Audit::new("connection.state", self.clock.now())
            .connection(key)
            .outcome("disconnected")
            .detail("to", "disconnected")
            .detail("cause", "connector_deleted")
            .row();
        audit.key.clone_from(&deletion.key);
        audit.request_id.clone_from(&deletion.request_id);
        audit.address.clone_from(&deletion.address);
        self.end(connector, key, audit).await
    }
}
