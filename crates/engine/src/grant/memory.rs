//! Connections in memory: sealed, as in the store, and newer than in the store where that does not take them.

use std::sync::Arc;
use std::time::Duration;

use valetkey_core::ConnectionKey;
use valetkey_store::StoreError;
use valetkey_store::rows::{ConnectionRow, ConnectionState};

use super::CachedConnection;
use crate::Engine;
use crate::error::Result;

impl Engine {
    /// A connection, from memory or from the store. Tombstones count as nothing.
    pub(crate) async fn cached(&self, key: &ConnectionKey) -> Result<Option<Arc<CachedConnection>>> {
        let known = self.recalled(key).await?;
        Ok(known.filter(|c| c.row.state != ConnectionState::Disconnected))
    }

    async fn recalled(&self, key: &ConnectionKey) -> Result<Option<Arc<CachedConnection>>> {
        if let Some(unwritten) = self.unwritten_connection(key).await {
            return Ok(Some(unwritten));
        }
        // A tombstone only keeps older rows out: whoever was ended may be connected again, and that is not waited for.
        let is_alive = |c: &Arc<CachedConnection>| c.row.state != ConnectionState::Disconnected;
        let known = self.connections.get(key).filter(is_alive);
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
        let began = self.clock.monotonic();
        match (self.store.get_connection(key).await, usable) {
            (Ok(row), _) => Ok(row.map(|row| self.remember_read(row, began))),
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

    /// Remembers a row that the store answered to a write of ours, unless a newer generation is known.
    pub(crate) fn remember(&self, row: ConnectionRow) -> Arc<CachedConnection> {
        let newer = |c: &Arc<CachedConnection>, row: &ConnectionRow| c.row.generation > row.generation;
        self.remember_unless(row, self.clock.monotonic(), newer)
    }

    /// Remembers a row that was read, unless a newer one is known. It is as old as the beginning of its read: of two rows of
    /// one generation the one with the intent may have arrived first. Tombstones are remembered too, so that no read that
    /// began before can bring back what was ended.
    pub(crate) fn remember_read(&self, row: ConnectionRow, began: Duration) -> Arc<CachedConnection> {
        let newer =
            |c: &Arc<CachedConnection>, row: &ConnectionRow| (c.row.generation, c.read_at) >= (row.generation, began);
        self.remember_unless(row, began, newer)
    }

    fn remember_unless(
        &self,
        row: ConnectionRow,
        read_at: Duration,
        newer: impl Fn(&Arc<CachedConnection>, &ConnectionRow) -> bool,
    ) -> Arc<CachedConnection> {
        if let Some(newer) = self.connections.get(&row.key).filter(|c| newer(c, &row)) {
            return newer;
        }
        let connection = Arc::new(CachedConnection { row, read_at });
        self.connections
            .insert(connection.row.key.clone(), Arc::clone(&connection));
        connection
    }
}
