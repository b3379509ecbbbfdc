use async_trait::async_trait;
use valetkey_core::Timestamp;
use valetkey_store::rows::{AuditRow, BoundBrowser, Digest, FlowRow, FlowState, Sealed, TakenFlow};
use valetkey_store::{Flows, StoreError};

use super::{MemoryStore, Result, Tables, audit};

#[async_trait]
impl Flows for MemoryStore {
    async fn put_flow(&self, row: FlowRow, max_pending: u32, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let waits = |flow: &&FlowRow| {
            flow.key.space == row.key.space
                && flow.key.owner == row.key.owner
                && flow.state == FlowState::Pending
                && flow.expires_at > row.created_at
        };
        if tables.flows.values().filter(waits).count() >= max_pending as usize {
            return Ok(false);
        }
        add(&mut tables, row)?;
        audit::append(&mut tables, &audit);
        Ok(true)
    }

    async fn get_flow(&self, state_hash: &Digest) -> Result<Option<FlowRow>> {
        Ok(self.lock().flows.get(&state_hash.0).cloned())
    }

    async fn take_flow(&self, state_hash: &Digest, now: Timestamp) -> Result<TakenFlow> {
        let mut tables = self.lock();
        let Some(flow) = tables.flows.get_mut(&state_hash.0) else {
            return Ok(TakenFlow::Unknown);
        };
        if flow.expires_at <= now {
            if !tables.taken.contains_key(&state_hash.0) {
                tables.flows.remove(&state_hash.0);
            }
            return Ok(TakenFlow::Expired);
        }
        if flow.state == FlowState::Used {
            return Ok(TakenFlow::AlreadyUsed);
        }
        let taken = flow.clone();
        flow.state = FlowState::Used;
        flow.sealed = Sealed(Vec::new());
        tables.taken.insert(state_hash.0, now);
        Ok(TakenFlow::Taken(Box::new(taken)))
    }

    async fn end_flow(&self, state_hash: &Digest, audit: Option<AuditRow>) -> Result<bool> {
        let mut tables = self.lock();
        if tables.taken.remove(&state_hash.0).is_none() || !tables.flows.contains_key(&state_hash.0) {
            return Ok(false);
        }
        if let Some(audit) = audit {
            audit::append(&mut tables, &audit);
        }
        Ok(true)
    }

    async fn list_taken_flows(&self, before: Timestamp, limit: u32) -> Result<Vec<FlowRow>> {
        let tables = self.lock();
        let mut taken: Vec<_> = tables.taken.iter().filter(|(_, at)| **at < before).collect();
        taken.sort_unstable_by_key(|(hash, at)| (**at, **hash));
        let rows = taken
            .into_iter()
            .filter_map(|(hash, _)| tables.flows.get(hash).cloned());
        Ok(rows.take(limit as usize).collect())
    }

    async fn get_flow_by_ticket(&self, ticket_hash: &Digest) -> Result<Option<FlowRow>> {
        Ok(by_ticket(&mut self.lock(), ticket_hash).cloned())
    }

    async fn bind_browser(&self, ticket_hash: &Digest, browser: Digest) -> Result<BoundBrowser> {
        let mut tables = self.lock();
        let Some(flow) = by_ticket(&mut tables, ticket_hash) else {
            return Ok(BoundBrowser::Unknown);
        };
        if flow.state == FlowState::Used {
            return Ok(BoundBrowser::Unknown);
        }
        if flow.browser_hash.is_some() {
            return Ok(BoundBrowser::Already(Box::new(flow.clone())));
        }
        flow.browser_hash = Some(browser);
        Ok(BoundBrowser::Bound(Box::new(flow.clone())))
    }

    async fn sweep_flows(&self, now: Timestamp, limit: u32) -> Result<u64> {
        let mut tables = self.lock();
        let mut ended: Vec<_> = tables
            .flows
            .iter()
            .filter(|(hash, flow)| flow.expires_at < now && !tables.taken.contains_key(*hash))
            .map(|(hash, flow)| (flow.expires_at, *hash))
            .collect();
        ended.sort_unstable();
        ended.truncate(limit as usize);
        for (_, hash) in &ended {
            tables.flows.remove(hash);
        }
        Ok(ended.len() as u64)
    }
}

/// Adds a flow; one with the same state or ticket is an error, for both are random.
pub(super) fn add(tables: &mut Tables, row: FlowRow) -> Result<()> {
    let same_ticket = |flow: &FlowRow| row.ticket_hash.is_some() && flow.ticket_hash == row.ticket_hash;
    if tables.flows.contains_key(&row.state_hash.0) || tables.flows.values().any(same_ticket) {
        return Err(StoreError::Corrupt("the flow is there already".to_owned()));
    }
    tables.flows.insert(row.state_hash.0, row);
    Ok(())
}

fn by_ticket<'a>(tables: &'a mut Tables, ticket_hash: &Digest) -> Option<&'a mut FlowRow> {
    let mut flows = tables.flows.values_mut();
    flows.find(|flow| flow.ticket_hash == Some(*ticket_hash))
}
