use async_trait::async_trait;
use valetkey_core::{KeyId, Timestamp};
use valetkey_store::rows::{AuditRow, Digest, SessionRow};
use valetkey_store::{Sessions, StoreError};

use super::{MemoryStore, Result, audit};

#[async_trait]
impl Sessions for MemoryStore {
    async fn put_session(&self, row: SessionRow, audit: AuditRow) -> Result<()> {
        let mut tables = self.lock();
        if tables.sessions.contains_key(&row.hash.0) {
            return Err(StoreError::Corrupt("a session is there already".to_owned()));
        }
        tables.sessions.insert(row.hash.0, row);
        audit::append(&mut tables, &audit);
        Ok(())
    }

    async fn get_session(&self, hash: &Digest) -> Result<Option<SessionRow>> {
        Ok(self.lock().sessions.get(&hash.0).cloned())
    }

    async fn touch_session(&self, hash: &Digest, at: Timestamp) -> Result<()> {
        if let Some(row) = self.lock().sessions.get_mut(&hash.0) {
            row.seen_at = row.seen_at.max(at);
        }
        Ok(())
    }

    async fn claim_ask(&self, hash: &Digest, asks: i64, now: Timestamp, until: Timestamp) -> Result<bool> {
        let mut tables = self.lock();
        let standing = tables.sessions.get_mut(&hash.0).and_then(|row| row.standing.as_mut());
        let free = standing.filter(|standing| standing.asks == asks && standing.asked_until <= now);
        Ok(free.is_some_and(|standing| {
            standing.asks += 1;
            standing.asked_until = until;
            true
        }))
    }

    async fn renew_session(&self, row: SessionRow, audit: Option<AuditRow>) -> Result<bool> {
        let mut tables = self.lock();
        let asks = |row: &SessionRow| row.standing.as_ref().map(|standing| standing.asks);
        let stored = tables.sessions.get_mut(&row.hash.0);
        let Some(stored) = stored.filter(|stored| row.standing.is_some() && asks(stored) == asks(&row)) else {
            return Ok(false);
        };
        stored.name = row.name;
        stored.privileges = row.privileges;
        stored.spaces = row.spaces;
        stored.standing = row.standing;
        if let Some(audit) = audit {
            audit::append(&mut tables, &audit);
        }
        Ok(true)
    }

    async fn delete_session(&self, hash: &Digest, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let found = tables.sessions.remove(&hash.0).is_some();
        Ok(audit::note(&mut tables, found, &audit))
    }

    async fn delete_sessions_of(&self, person: &KeyId, audit: AuditRow) -> Result<u64> {
        let mut tables = self.lock();
        let before = tables.sessions.len();
        tables.sessions.retain(|_, row| row.person != *person);
        let gone = before - tables.sessions.len();
        audit::note(&mut tables, gone > 0, &audit);
        Ok(gone as u64)
    }

    async fn put_sign_in_link(&self, hash: Digest, expires_at: Timestamp, audit: AuditRow) -> Result<()> {
        let mut tables = self.lock();
        tables.links.insert(hash.0, expires_at);
        audit::append(&mut tables, &audit);
        Ok(())
    }

    async fn take_sign_in_link(&self, hash: &Digest, now: Timestamp) -> Result<bool> {
        Ok(self.lock().links.remove(&hash.0).is_some_and(|end| end > now))
    }

    async fn sweep_sessions(&self, now: Timestamp, limit: u32) -> Result<u64> {
        let mut tables = self.lock();
        let ended = |end: Timestamp| end < now;
        let mut sessions: Vec<_> = tables
            .sessions
            .iter()
            .map(|(hash, row)| (row.expires_at, *hash))
            .collect();
        let mut links: Vec<_> = tables.links.iter().map(|(hash, end)| (*end, *hash)).collect();
        let mut gone = 0;
        for list in [&mut sessions, &mut links] {
            list.retain(|(end, _)| ended(*end));
            list.sort_unstable();
            list.truncate(limit as usize);
            gone += list.len() as u64;
        }
        for (_, hash) in sessions {
            tables.sessions.remove(&hash);
        }
        for (_, hash) in links {
            tables.links.remove(&hash);
        }
        Ok(gone)
    }
}
