//! The end of a flow that was taken: noted by whoever took it, and found by the sweeper where that process ended on the way.

use std::time::Duration;

use valetkey_core::Timestamp;
use valetkey_store::rows::{AuditFilter, AuditRow, Digest, FlowRow};

use crate::Engine;
use crate::caller::Audit;
use crate::error::Result;

/// How long a callback may take besides the provider's answer: writing a grant again and again while the store is away, and
/// ending what is not kept.
const LONGEST: Duration = Duration::from_secs(60);

/// How far apart the clocks of two processes may be.
const APART: Duration = Duration::from_secs(60);

/// Flows that are looked at in one go.
const PAGE: u32 = 100;

impl Engine {
    /// Notes that a flow ended with a connection, whose write said so already.
    pub(super) async fn end_completed(&self, flow: &Digest) {
        if let Err(error) = self.store.end_flow(flow, None).await {
            // The sweeper looks into the audit log before it says anything.
            tracing::debug!(%error, "the end of a flow is noted later");
        }
    }

    /// Notes that a flow ended without a connection, and how.
    pub(crate) async fn end_with(&self, flow: &Digest, record: AuditRow) {
        match self.store.end_flow(flow, Some(record.clone())).await {
            Ok(true) => {}
            // It was removed with its connector, or came very late; or the store is away.
            Ok(false) => self.audit_later(record),
            Err(error) => {
                tracing::debug!(%error, "the end of a flow is recorded later");
                self.audit_later(record);
            }
        }
    }

    /// Records the flows that nobody finishes any more, each once: the process that had taken them ended on the way, so that
    /// a person may have given an access at the provider that nobody here knows of.
    pub(crate) async fn tell_interrupted_flows(&self) -> Result<()> {
        let now = self.clock.now();
        let before = now.minus(self.settings.token_timeout + LONGEST);
        loop {
            let flows = self.store.list_taken_flows(before, PAGE).await?;
            for flow in &flows {
                let record = (!self.was_completed(flow).await?).then(|| interrupted(flow, now));
                let is_told = record.is_some();
                if self.store.end_flow(&flow.state_hash, record).await? && is_told {
                    self.metrics.flow("interrupted");
                    tracing::warn!(
                        connector.id = %flow.key.connector, space = %flow.key.space, flow.id = flow.id,
                        "a flow was interrupted; the provider may list an access that is not known here"
                    );
                }
            }
            if flows.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    /// Whether the connection was written that the flow was for: its record was written with it.
    async fn was_completed(&self, flow: &FlowRow) -> Result<bool> {
        let filter = AuditFilter {
            space: Some(flow.key.space.clone()),
            kind: Some("flow.complete".to_owned()),
            connector: Some(flow.key.connector.clone()),
            user: flow.key.owner.user().cloned(),
            from: Some(flow.created_at.minus(APART)),
            limit: 1_000,
            ..AuditFilter::default()
        };
        let records = self.store.list_audit(&filter).await?;
        Ok(records.iter().any(|record| {
            let id = record.details.get("flow").and_then(serde_json::Value::as_str);
            id == Some(flow.id.as_str())
        }))
    }
}

fn interrupted(flow: &FlowRow, now: Timestamp) -> AuditRow {
    let mut record = Audit::new("flow.interrupted", now)
        .outcome("failed")
        .connection(&flow.key)
        .detail("flow", flow.id.as_str())
        .detail("reason", "interrupted")
        .row();
    record.key = Some(flow.started_by.clone());
    record
}
