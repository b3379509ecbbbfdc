//! Connections in memory: sealed, as in the store, and newer than in the store where that does not take them.

use std::sync::Arc;

use valetkey_core::ConnectionKey;
use valetkey_store::StoreError;
use valetkey_store::rows::{ConnectionRow, ConnectionState};

use super::CachedConnection;
use crate::Engine;
use crate::error::Result;

impl Engine {
    /// A connection, from memory or from the store. Tombstones count as nothing.
    pub(crate) async fn cached(&self, key: &ConnectionKey) -> Result<Option<Arc<CachedConnection>>> {
        if let Some(unwritten) = self.unwritten_connection(key).await {
            return Ok(Some(unwritten));
        }
        let known = self.connections.get(key);
        if let Some(known) = known.as_ref().filter(|c| self.is_recent(c.read_at)) {
            self.metrics.cache("hit");
            return Ok(Some(Arc::clone(known)));
        }
        let usable = known.filter(|c| self.outlasts_outage(c));
        if let Some(usable) = usable.as_ref().filter(|_| self.store_rests()) {
            self.metrics.cache("outage");
            return Ok(Some(Arc::clone(usable)));
        }
        self.metrics.cache("miss");
        match (self.store.get_connection(key).await, usable) {
            (Ok(row), _) => Ok(row
                .filter(|r| r.state != ConnectionState::Disconnected)
                .map(|row| self.remember(row))),
            (Err(StoreError::Unavailable(_)), Some(usable)) => {
                self.note_outage();
                self.metrics.cache("outage");
                Ok(Some(usable))
            }
            (Err(error), _) => {
                self.note_outage();
                Err(error.into())
            }
        }
    }

    /// Whether a connection in memory serves callers while the store does not answer: as long as its token is valid.
    fn outlasts_outage(&self, connection: &CachedConnection) -> bool {
        let row = &connection.row;
        let end = row.grant.as_ref().map(|grant| grant.expires_at);
        let is_valid = match end {
            Some(Some(end)) => end > self.clock.now(),
            Some(None) => self.outlives_outage(connection.read_at),
            None => false,
        };
        is_valid && row.state == ConnectionState::Active
    }

    /// A row as a connection that was read just now, without remembering it.
    pub(crate) fn in_memory(&self, row: ConnectionRow) -> Arc<CachedConnection> {
        Arc::new(CachedConnection {
            row,
            read_at: self.clock.monotonic(),
        })
    }

    /// Remembers a row, unless a newer one is known.
    pub(crate) fn remember(&self, row: ConnectionRow) -> Arc<CachedConnection> {
        let connection = self.in_memory(row);
        let newer = self
            .connections
            .get(&connection.row.key)
            .filter(|c| c.row.generation > connection.row.generation);
        if let Some(newer) = newer {
            return newer;
        }
        self.connections
            .insert(connection.row.key.clone(), Arc::clone(&connection));
        connection
    }
}
