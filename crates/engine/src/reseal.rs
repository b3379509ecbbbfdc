//! Sealing again what is sealed under an older data key.
//!
//! A pass goes over all connectors and all connections once, page by page. What is not sealed under the current key is
//! opened, sealed, and written if the row is still of the same version or generation; a row that changed meanwhile was
//! sealed anew anyway. So a refresh can never be undone by it, and several processes do no harm to each other.
//!
//! Nothing about a pass is stored. After a crash it starts over, and passes over what is current already with one look.
//! Sessions, flows and jobs are left as they are: they end by themselves long before anybody takes the older keys away, and nobody
//! does.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::{ConnectionKey, ConnectorId, ErrorCode, SpaceId, Timestamp};
use valetkey_store::rows::{ConnectionRow, ConnectorRow, Sealed};

use crate::Engine;
use crate::caller::Audit;
use crate::error::{Error, Result};
use crate::sealing::{REREAD_KEYS_EVERY, made_at};
use crate::vault::Token;

/// How long after a data key was added something may still be sealed under the one before, by a process that has not read
/// the keys again, or be on its way to the store. A pass begins after that, so that one is enough.
const SETTLED_AFTER: Duration = REREAD_KEYS_EVERY.saturating_mul(3);

/// The same for the only process there is.
const SETTLED_ALONE_AFTER: Duration = Duration::from_secs(5);

/// What became of the rows of one table in a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tally {
    /// Rows that were looked at.
    pub seen: u64,
    /// Of those, the ones that were sealed under an older data key. The following three add up to it, except in a dry run.
    pub behind: u64,
    /// Sealed again.
    pub resealed: u64,
    /// Changed meanwhile, and thereby sealed anew.
    pub changed: u64,
    /// Do not open: they stay as they are, and the log names them.
    pub unreadable: u64,
}

/// Where a pass is.
#[derive(Clone, Debug)]
enum Place {
    Connectors(Option<(SpaceId, ConnectorId)>),
    Connections(Option<ConnectionKey>),
    End,
}

/// One pass over everything that is sealed for long.
#[derive(Clone, Debug)]
pub struct Pass {
    key: u32,
    place: Place,
    dry_run: bool,
    started_at: Timestamp,
    connectors: Tally,
    connections: Tally,
}

impl Pass {
    /// What became of the connectors so far.
    pub fn connectors(&self) -> Tally {
        self.connectors
    }

    /// What became of the connections so far.
    pub fn connections(&self) -> Tally {
        self.connections
    }

    /// Whether everything was looked at.
    pub fn is_over(&self) -> bool {
        matches!(self.place, Place::End)
    }

    fn sum(&self, of: fn(&Tally) -> u64) -> u64 {
        of(&self.connectors) + of(&self.connections)
    }
}

/// What is known about passes of this process.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The data key that everything was found or put under.
    settled: u32,
    under_way: bool,
    last: Option<Pass>,
}

/// How far sealing again has come.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Resealing {
    /// How it stands.
    pub state: ResealState,
    /// The data key of the pass under way, or of the last one; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_key: Option<u32>,
    /// When that pass began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// What became of the connectors in it.
    pub connectors: Tally,
    /// What became of the connections in it.
    pub connections: Tally,
}

/// How sealing again stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResealState {
    /// There has only ever been one data key.
    NotNeeded,
    /// A pass begins once nobody seals under an older key any more: within a minute.
    Waiting,
    /// A pass is under way.
    UnderWay,
    /// Everything that opens is sealed under the data key that seals.
    Done,
}

/// What became of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Current,
    Behind,
    Resealed,
    Changed,
    Unreadable,
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        self.seen += 1;
        self.behind += u64::from(outcome != Outcome::Current);
        match outcome {
            Outcome::Current | Outcome::Behind => {}
            Outcome::Resealed => self.resealed += 1,
            Outcome::Changed => self.changed += 1,
            Outcome::Unreadable => self.unreadable += 1,
        }
    }
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Resealed => "resealed",
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Engine {
    /// The pass that background work should make now, if any.
    pub fn due_pass(&self) -> Option<Pass> {
        let key = self.sealing.held().ring.current();
        (self.is_behind() && self.is_settled(key, self.clock.now())).then(|| self.reseal_pass(false))
    }

    /// Whether something may be sealed under an older data key. A store that has only ever had one has no such thing.
    pub(crate) fn is_behind(&self) -> bool {
        let key = self.sealing.held().ring.current();
        key != 1 && self.sealing.progress().settled != key
    }

    /// A pass from the beginning; a dry run opens what it would seal again, and writes nothing.
    pub fn reseal_pass(&self, dry_run: bool) -> Pass {
        Pass {
            key: self.sealing.held().ring.current(),
            place: Place::Connectors(None),
            dry_run,
            started_at: self.clock.now(),
            connectors: Tally::default(),
            connections: Tally::default(),
        }
    }

    /// Looks at the next rows, at most `limit`, working on `at_once` of them at the same time. How many were sealed again.
    /// A failure leaves the pass where it was.
    pub async fn reseal_page(&self, pass: &mut Pass, limit: u32, at_once: usize) -> Result<u64> {
        let (before, dry_run) = (pass.sum(|t| t.resealed), pass.dry_run);
        let full = match pass.place.clone() {
            Place::Connectors(after) => {
                let after = after.as_ref().map(|(space, id)| (space, id));
                let rows = self.store.scan_connectors(after, limit).await?;
                let (count, last) = (rows.len(), rows.last().map(|row| (row.space.clone(), row.id.clone())));
                let work = stream::iter(rows).map(|row| self.reseal_secrets(row, dry_run));
                let outcomes = work.buffer_unordered(at_once).collect().await;
                self.tally(&mut pass.connectors, outcomes)?;
                pass.place = Place::Connectors(last);
                count == limit as usize
            }
            Place::Connections(after) => {
                let rows = self.store.scan_connections(after.as_ref(), limit).await?;
                let (count, last) = (rows.len(), rows.last().map(|row| row.key.clone()));
                let work = stream::iter(rows).map(|row| self.reseal_tokens(row, dry_run));
                let outcomes = work.buffer_unordered(at_once).collect().await;
                self.tally(&mut pass.connections, outcomes)?;
                pass.place = Place::Connections(last);
                count == limit as usize
            }
            Place::End => true,
        };
        if !full {
            pass.place = match pass.place {
                Place::Connectors(_) => Place::Connections(None),
                Place::Connections(_) | Place::End => Place::End,
            };
        }
        let resealed = pass.sum(|t| t.resealed) - before;
        self.note_pass(pass, before == 0 && resealed > 0);
        Ok(resealed)
    }

    /// Counts what became of a page; fails if the store did for any of its rows, so that the page is looked at again.
    fn tally(&self, tally: &mut Tally, outcomes: Vec<Result<Outcome>>) -> Result<()> {
        let outcomes = outcomes.into_iter().collect::<Result<Vec<_>>>()?;
        for outcome in outcomes {
            tally.count(outcome);
            self.metrics.reseal(outcome.word());
        }
        Ok(())
    }

    async fn reseal_secrets(&self, row: ConnectorRow, dry_run: bool) -> Result<Outcome> {
        let Some(sealed) = &row.sealed_secrets else {
            return Ok(Outcome::Current);
        };
        if self.vault().is_current(sealed) {
            return Ok(Outcome::Current);
        }
        let resealed = match self.vault_for(sealed).await?.reseal_secrets(&row, sealed) {
            Ok(resealed) => resealed,
            Err(error) => return self.unreadable(&row.space, &row.id, None, error, dry_run),
        };
        if dry_run {
            return Ok(Outcome::Behind);
        }
        let written = self
            .store
            .reseal_connector(&row.space, &row.id, row.version, resealed)
            .await?;
        Ok(if written { Outcome::Resealed } else { Outcome::Changed })
    }

    async fn reseal_tokens(&self, row: ConnectionRow, dry_run: bool) -> Result<Outcome> {
        let Some(grant) = &row.grant else {
            return Ok(Outcome::Current);
        };
        let is_current = |sealed: &Sealed| self.vault().is_current(sealed);
        if is_current(&grant.sealed_access) && grant.sealed_refresh.as_ref().is_none_or(is_current) {
            return Ok(Outcome::Current);
        }
        let resealed = async {
            let access = self.reseal_token(&row, Token::Access, &grant.sealed_access).await?;
            let refresh = match &grant.sealed_refresh {
                Some(sealed) => Some(self.reseal_token(&row, Token::Refresh, sealed).await?),
                None => None,
            };
            Ok((access, refresh))
        };
        let (access, refresh) = match resealed.await {
            Ok(resealed) => resealed,
            Err(error) => return self.unreadable(&row.key.space, &row.key.connector, Some(&row.key), error, dry_run),
        };
        if dry_run {
            return Ok(Outcome::Behind);
        }
        let written = self
            .store
            .reseal_connection(&row.key, row.generation, access, refresh)
            .await?;
        Ok(if written { Outcome::Resealed } else { Outcome::Changed })
    }

    async fn reseal_token(&self, row: &ConnectionRow, token: Token, sealed: &Sealed) -> Result<Sealed> {
        self.vault_for(sealed).await?.reseal_token(row, token, sealed)
    }

    /// A value that does not open is reported and passed over. Any other failure is one.
    fn unreadable(
        &self,
        space: &SpaceId,
        connector: &ConnectorId,
        connection: Option<&ConnectionKey>,
        error: Error,
        dry_run: bool,
    ) -> Result<Outcome> {
        if error.code != ErrorCode::IntegrityError {
            return Err(error);
        }
        tracing::error!(
            %space, connector.id = %connector, cause = error.cause.as_deref().unwrap_or_default(),
            "a stored value does not open and cannot be sealed again"
        );
        if dry_run {
            return Ok(Outcome::Unreadable);
        }
        let mut audit = Audit::new("crypto.fail", self.clock.now())
            .outcome(error.code.as_str())
            .connector(connector);
        if let Some(key) = connection {
            audit = audit.connection(key);
        }
        let mut record = audit.detail("while", "reseal").row();
        record.space = Some(space.clone());
        self.audit_later(record);
        Ok(Outcome::Unreadable)
    }

    /// Keeps what a pass has come to, for everybody who asks. The audit log gets its beginning and its end, if it had
    /// anything to do.
    fn note_pass(&self, pass: &Pass, begins: bool) {
        if pass.dry_run {
            return;
        }
        let audit = |step: &str| {
            Audit::new("key.rotate", self.clock.now())
                .detail("step", step)
                .detail("data_key", pass.key)
        };
        if begins {
            self.audit_later(audit("reseal_begun").row());
        }
        // A key that was added while the pass was under way starts another one.
        let settles = pass.is_over() && self.is_settled(pass.key, pass.started_at);
        let mut progress = self.sealing.progress();
        progress.under_way = !pass.is_over();
        progress.last = Some(pass.clone());
        if settles {
            progress.settled = pass.key;
        }
        drop(progress);
        self.metrics.reseal_pending(self.is_behind());
        if pass.is_over() && pass.sum(|t| t.behind) > 0 {
            let end = audit("reseal_done")
                .detail("resealed", pass.sum(|t| t.resealed))
                .detail("changed", pass.sum(|t| t.changed))
                .detail("unreadable", pass.sum(|t| t.unreadable));
            self.audit_later(end.row());
        }
    }

    /// Whether what was sealed under an older data key than this one had been written by then.
    fn is_settled(&self, key: u32, at: Timestamp) -> bool {
        let alone = self.settings.cache_max_age.is_none();
        let after = if alone { SETTLED_ALONE_AFTER } else { SETTLED_AFTER };
        let made = made_at(&self.sealing.held().keys, key);
        made.is_none_or(|made| at.since(made) >= after)
    }

    /// How far sealing again has come, in this process.
    pub(crate) fn resealing(&self) -> Resealing {
        let current = self.sealing.held().ring.current();
        let progress = self.sealing.progress();
        let state = if progress.under_way {
            ResealState::UnderWay
        } else if current == 1 {
            ResealState::NotNeeded
        } else if progress.settled == current {
            ResealState::Done
        } else {
            ResealState::Waiting
        };
        let last = progress.last.as_ref();
        Resealing {
            state,
            data_key: last.map(|pass| pass.key),
            started_at: last.map(|pass| pass.started_at),
            connectors: last.map(Pass::connectors).unwrap_or_default(),
            connections: last.map(Pass::connections).unwrap_or_default(),
        }
    }
}
