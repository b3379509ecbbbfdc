//! The audit log: records that belong to a change are written with the change by the store; the others go through here.
//!
//! Uses of a token are many and small. Those that differ in nothing but time are counted in one record a second, so that
//! every use is in the log without a write of its own; a stop flushes what waits. With them it is noted that the connections
//! were used, once an hour each.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use hashbrown::{Equivalent, HashMap};
use valetkey_core::{ConnectionKey, ConnectorTypeId, ErrorCode, KeyId, ProfileUid, SpaceId, Timestamp};
use valetkey_store::rows::{AuditRow, Subject};

use crate::Engine;
use crate::caller::{Audit, Caller};
use crate::connector::Connector;
use crate::error::Result;

/// How many different uses may wait before they are written at once.
const MAX_WAITING: usize = 50_000;

/// How many different uses are written before their second is over: what waits should not fill the memory.
const CROWD: usize = 8_000;

/// How exactly it is noted when a connection was last used.
const NOTE_USE_EVERY: Duration = Duration::from_secs(3_600);

/// How many records are written at once: few enough that other writes get their turn in between.
const BATCH: usize = 1_000;

/// What makes two uses the same but for time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UseKey {
    kind: &'static str,
    outcome: &'static str,
    connection: ConnectionKey,
    key: KeyId,
    user: Option<ProfileUid>,
    action: Option<String>,
}

/// The same, borrowed: most uses repeat one that is counted already, and then nothing needs to be copied.
#[derive(Debug)]
struct UseRef<'a> {
    kind: &'static str,
    outcome: &'static str,
    connection: &'a ConnectionKey,
    key: &'a KeyId,
    user: Option<&'a ProfileUid>,
    action: Option<&'a str>,
}

impl UseKey {
    fn borrowed(&self) -> UseRef<'_> {
        UseRef {
            kind: self.kind,
            outcome: self.outcome,
            connection: &self.connection,
            key: &self.key,
            user: self.user.as_ref(),
            action: self.action.as_deref(),
        }
    }
}

impl UseRef<'_> {
    fn owned(&self) -> UseKey {
        UseKey {
            kind: self.kind,
            outcome: self.outcome,
            connection: self.connection.clone(),
            key: self.key.clone(),
            user: self.user.cloned(),
            action: self.action.map(str::to_owned),
        }
    }
}

impl Hash for UseKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Hash for UseRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The rest rarely differs.
        self.connection.hash(state);
        self.action.hash(state);
    }
}

impl Equivalent<UseKey> for UseRef<'_> {
    fn equivalent(&self, key: &UseKey) -> bool {
        self.connection == &key.connection
            && self.action == key.action.as_deref()
            && self.user == key.user.as_ref()
            && self.key == &key.key
            && self.kind == key.kind
            && self.outcome == key.outcome
    }
}

/// What is known of equal uses.
#[derive(Debug)]
struct Count {
    first: Timestamp,
    address: String,
    /// For the tally.
    connector_type: ConnectorTypeId,
    uses: i64,
}

/// Uses that wait to be written, and single records that belong to no change.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    counted: HashMap<UseKey, Count>,
    single: Vec<AuditRow>,
}

impl Uses {
    /// Takes uses back that could not be written.
    fn count_again(&mut self, counted: impl IntoIterator<Item = (UseKey, Count)>) {
        for (key, count) in counted {
            match self.counted.get_mut(&key.borrowed()) {
                Some(newer) => {
                    newer.first = newer.first.min(count.first);
                    newer.uses += count.uses;
                }
                None => drop(self.counted.insert(key, count)),
            }
        }
    }
}

impl Engine {
    /// Counts one use of a connection's credential.
    pub(crate) fn audit_use(
        &self,
        caller: &Caller,
        kind: &'static str,
        outcome: &'static str,
        (connector, connection): (&Connector, &ConnectionKey),
        action: Option<&str>,
    ) {
        let key = UseRef {
            kind,
            outcome,
            connection,
            key: &caller.principal.key.id,
            user: caller.principal.user.as_ref(),
            action,
        };
        let mut uses = self.lock_uses();
        if let Some(count) = uses.counted.get_mut(&key) {
            count.uses += 1;
            return;
        }
        let count = Count {
            first: self.clock.now(),
            address: caller.address.to_string(),
            connector_type: connector.row.type_id.clone(),
            uses: 1,
        };
        uses.counted.insert(key.owned(), count);
        if uses.counted.len() == CROWD {
            self.uses_crowd.notify_one();
        }
    }

    /// Returns when so many uses wait that they should be written now.
    pub async fn audit_is_crowded(&self) {
        self.uses_crowd.notified().await;
    }

    /// Writes a record soon, with the next uses.
    pub(crate) fn audit_later(&self, row: AuditRow) {
        self.lock_uses().single.push(row);
    }

    /// Records a refusal that the audit log has a type for: a missing right, a limit that was hit, a value that does not open.
    /// Where no caller is known, the record says where the request came from.
    pub fn audit_refusal(
        &self,
        caller: Option<&Caller>,
        space: &SpaceId,
        address: &str,
        request_id: &str,
        code: ErrorCode,
    ) {
        let kind = match code {
            ErrorCode::PrivilegeMissing
            | ErrorCode::ActionNotAllowed
            | ErrorCode::UserNotAllowed
            | ErrorCode::SpaceNotAllowed
            | ErrorCode::ScopeNotAllowed => "authz.deny",
            ErrorCode::RateLimited | ErrorCode::TooManyFlows | ErrorCode::TooManyFailures => "limit.hit",
            ErrorCode::IntegrityError => "crypto.fail",
            _ => return,
        };
        let mut record = match caller {
            Some(caller) => caller.audit(kind, self.clock.now()),
            None => Audit::new(kind, self.clock.now()),
        }
        .outcome(code.as_str())
        .row();
        record.space = Some(space.clone());
        record.address = Some(address.to_owned());
        record.request_id = Some(request_id.to_owned());
        self.audit_later(record);
    }

    /// Whether so much waits that the caller should flush before going on: nothing is dropped, callers wait instead.
    pub fn audit_is_full(&self) -> bool {
        let uses = self.lock_uses();
        uses.counted.len() + uses.single.len() >= MAX_WAITING
    }

    /// Writes what waits. What cannot be written waits on.
    pub async fn flush_audit(&self) -> Result<()> {
        let waiting = std::mem::take(&mut *self.lock_uses());
        if waiting.counted.is_empty() && waiting.single.is_empty() {
            return Ok(());
        }
        let used = self.uses_to_note(&waiting);
        if let Err(error) = self.write_single(waiting.single).await {
            self.lock_uses().count_again(waiting.counted);
            return Err(error);
        }
        // In the order of the keys: the same uses are always written in the same order, and those of one user lie together,
        // which spares the store pages. The records are made batch by batch: all of them at once would be many megabytes.
        let mut counted: Vec<_> = waiting.counted.into_iter().collect();
        counted.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        while !counted.is_empty() {
            let batch = counted.split_off(counted.len().saturating_sub(BATCH));
            self.tally_uses(&batch);
            let rows = batch.into_iter().rev().map(|(key, count)| use_row(key, count));
            if let Err(error) = self.write_single(rows.collect()).await {
                self.lock_uses().count_again(counted);
                return Err(error);
            }
        }
        self.note_uses(used).await
    }

    /// Counts uses whose records are about to be made: each is counted once, also if its record is written late.
    fn tally_uses(&self, batch: &[(UseKey, Count)]) {
        for (key, count) in batch {
            let space = &key.connection.space;
            let went_well = key.outcome == "ok";
            self.count_at(
                space,
                count.first,
                Subject::Use,
                went_well,
                &count.connector_type,
                count.uses,
            );
        }
    }

    /// Writes records, in batches. Those that cannot be written wait as they are.
    async fn write_single(&self, mut rows: Vec<AuditRow>) -> Result<()> {
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(BATCH));
            if let Err(error) = self.store.append_audit(rows.clone()).await {
                let mut uses = self.lock_uses();
                uses.single.extend(rows);
                uses.single.extend(rest);
                return Err(error.into());
            }
            rows = rest;
        }
        Ok(())
    }

    /// The connections whose use was not noted within the hour, with its time.
    fn uses_to_note(&self, waiting: &Uses) -> BTreeMap<ConnectionKey, Timestamp> {
        let now = self.clock.monotonic();
        let is_old = |key: &ConnectionKey| {
            let noted = self.noted_uses.get(key);
            noted.is_none_or(|at| now.saturating_sub(at) >= NOTE_USE_EVERY)
        };
        let counted = waiting.counted.iter().filter(|(key, _)| is_old(&key.connection));
        counted
            .map(|(key, count)| (key.connection.clone(), count.first))
            .collect()
    }

    /// Notes in the rows of connections that they were used. What cannot be written is noted with the next use.
    async fn note_uses(&self, used: BTreeMap<ConnectionKey, Timestamp>) -> Result<()> {
        let now = self.clock.monotonic();
        let mut used: Vec<_> = used.into_iter().collect();
        while !used.is_empty() {
            let rest = used.split_off(used.len().min(BATCH));
            self.store.touch_connections(used.clone()).await?;
            for (key, _) in used {
                self.noted_uses.insert(key, now);
            }
            used = rest;
        }
        Ok(())
    }

    fn lock_uses(&self) -> std::sync::MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn use_row(key: UseKey, count: Count) -> AuditRow {
    let mut audit = Audit::new(key.kind, count.first)
        .connection(&key.connection)
        .outcome(key.outcome);
    if let Some(action) = key.action {
        audit = audit.detail("action", action);
    }
    let mut row = audit.row();
    row.key = Some(key.key);
    row.user = key.user;
    row.address = Some(count.address);
    row.count = count.uses;
    row
}
