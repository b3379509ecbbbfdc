//! What is stored, change by change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_store::rows::{ConnectionRow, ConnectionState, Intent, JobRow};

use super::flight::Flight;
use super::{Book, Ledger, name};
use crate::harness;
use crate::store::Watch;

/// Everything about one connection.
#[derive(Debug, Default)]
pub(super) struct History {
    /// As it is.
    pub(super) row: Option<ConnectionRow>,
    /// Its access token and its refresh token.
    pub(super) tokens: Option<(String, String)>,
    /// When it changed last.
    pub(super) changed_at: Duration,
    /// Every pair that was stored.
    pub(super) ever_stored: BTreeMap<String, String>,
    /// Since when those are stored.
    pub(super) tokens_since: Duration,
    /// How it stood, since when.
    pub(super) standings: Vec<(Duration, Standing)>,
    /// Refresh tokens that a recorded success has replaced.
    pub(super) recorded: BTreeMap<String, Duration>,
    /// The grants that somebody disconnected, and when that was reported as done, by which replica.
    pub(super) ended_grants: BTreeMap<usize, Vec<(Duration, usize)>>,
    /// The grants that were ever stored.
    pub(super) stored_grants: std::collections::BTreeSet<usize>,
}

impl History {
    /// Whether the access token works for longer than `slack`, as far as the service can know: its time is counted from
    /// when the request was sent, on a clock that may be wrong.
    pub(super) fn works_for(&self, slack: Duration, now: Timestamp) -> bool {
        let grant = self.row.as_ref().and_then(|row| row.grant.as_ref());
        let end = grant.and_then(|grant| grant.expires_at);
        end.is_some_and(|end| end > now.plus(slack))
    }
}

/// How a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Absent,
    Active,
    NeedsPerson(String),
    Disconnected,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Active => "active",
            Self::NeedsPerson(cause) => cause,
            Self::Disconnected => "disconnected",
        })
    }
}

impl Standing {
    fn of(row: Option<&ConnectionRow>) -> Self {
        match row.map(|row| &row.state) {
            None => Self::Absent,
            Some(ConnectionState::Active) => Self::Active,
            Some(ConnectionState::Reauthorize(cause)) => Self::NeedsPerson(cause.clone()),
            Some(ConnectionState::Disconnected) => Self::Disconnected,
        }
    }
}

impl Watch for Ledger {
    fn connection(&self, operation: &'static str, before: Option<&ConnectionRow>, after: Option<&ConnectionRow>) {
        let Some(key) = before.or(after).map(|row| row.key.clone()) else {
            return;
        };
        if operation == "touch_connections" {
            return;
        }
        let tokens = after.and_then(|row| self.reveal(row));
        let mut book = self.book();
        self.trace_change(&book, operation, &key, after, tokens.as_ref());
        let history = book.histories.entry(key.clone()).or_default();
        let old_tokens = std::mem::replace(&mut history.tokens, tokens.clone());
        history.row = after.cloned();
        history.changed_at = self.time.elapsed();
        if old_tokens != tokens {
            history.tokens_since = self.time.elapsed();
            history.ever_stored.extend(tokens.clone());
        }
        let (was, is) = (Standing::of(before), Standing::of(after));
        if was != is {
            history.standings.push((self.now(), is.clone()));
        }
        if was == Standing::Disconnected
            && is != Standing::Disconnected
            && operation != "put_connection"
            && after.is_some()
        {
            self.break_rule(
                &mut book,
                "came-back",
                format_args!("{operation} brings {} back", name(&key)),
            );
        }
        let taken_over = before.and_then(|row| row.intent.as_ref());
        if was != is {
            book.count(format!("connection {is}"));
        }
        if let (Some(taken_over), "claim_refresh") = (taken_over, operation) {
            book.count("lease taken over");
            self.judge_take_over(&mut book, &key, taken_over);
        }
        if let (Standing::NeedsPerson(cause), Some((_, refresh)), true) = (&is, &old_tokens, was != is) {
            self.judge_end(&mut book, &key, refresh, cause);
        }
        match (operation, &old_tokens, &tokens) {
            ("finish_refresh", Some(old), Some(new)) => self.judge_renewal(&mut book, &key, old, new),
            ("disconnect", Some((_, refresh)), _) => self.note_end(&mut book, &key, refresh),
            ("put_connection", _, Some((_, refresh))) => self.note_grant(&mut book, &key, refresh),
            _ => {}
        }
    }

    fn job(&self, operation: &'static str, before: Option<&JobRow>, after: Option<&JobRow>) {
        if let Some(row) = after.or(before) {
            let attempts = row.attempts;
            self.trace.line(format_args!(
                "store {operation}: job {} of {}, {attempts} attempts",
                row.kind,
                name(&row.key)
            ));
        }
    }
}

impl Ledger {
    fn reveal(&self, row: &ConnectionRow) -> Option<(String, String)> {
        let ring = self.ring.get()?;
        match harness::reveal(ring, row) {
            Ok(tokens) => tokens,
            Err(error) => {
                self.violates(
                    "unexpected",
                    format_args!("{} cannot be opened: {error:#}", name(&row.key)),
                );
                None
            }
        }
    }

    fn trace_change(
        &self,
        book: &Book,
        operation: &str,
        key: &ConnectionKey,
        after: Option<&ConnectionRow>,
        tokens: Option<&(String, String)>,
    ) {
        let Some(row) = after else {
            self.trace
                .line(format_args!("store {operation}: {} is gone", name(key)));
            return;
        };
        let state = row.state.cause().unwrap_or_else(|| row.state.word());
        let (access, refresh) = tokens.map_or(("-", "-"), |(access, refresh)| (access, refresh));
        let intent = row.intent.as_ref().map_or_else(String::new, |intent| {
            let holder = book
                .holders
                .get(&intent.holder)
                .map_or_else(String::new, |process| format!("{process:?}"));
            format!(
                ", intent of {holder} for {} ms, attempt {}",
                intent.lease_until.since(intent.at).as_millis(),
                intent.attempt
            )
        });
        let generation = row.generation % 1_000;
        self.trace.line(format_args!(
            "store {operation}: {} …{generation:03} {state} {access} {refresh}{intent}",
            name(key)
        ));
    }

    /// A lease must not run out under a process that nothing keeps from renewing it.
    fn judge_take_over(&self, book: &mut Book, key: &ConnectionKey, before: &Intent) {
        let Some(holder) = book.holders.get(&before.holder).cloned() else {
            return;
        };
        let now = self.now();
        let theirs = |flight: &Flight| flight.key.as_ref() == Some(key) && Arc::ptr_eq(&flight.process, &holder);
        let mut open = Vec::new();
        for (id, flight) in book.flights.iter_mut().enumerate().filter(|(_, flight)| theirs(flight)) {
            if !flight.is_settled && (flight.ended.is_none() || flight.is_in_hand()) {
                flight.is_overtaken = true;
                open.push(id);
            }
        }
        // Where clocks are as far apart as a lease is long, a lease means nothing; what fences the write still does.
        if self.terms.skew >= harness::LEASE {
            return;
        }
        let since = now.saturating_sub(harness::LEASE + self.terms.skew);
        if let (Some(id), false) = (open.first(), holder.was_in_trouble_since(since)) {
            self.break_rule(
                book,
                "lease",
                format_args!(
                    "the lease of {holder:?} over {} is taken over while #{id} is under way",
                    name(key)
                ),
            );
        }
    }

    /// A success was recorded.
    fn judge_renewal(&self, book: &mut Book, key: &ConnectionKey, old: &(String, String), new: &(String, String)) {
        let place = |token: &str| {
            self.providers()
                .iter()
                .find_map(|provider| provider.find_refresh(token))
        };
        let (before, after) = (place(&old.1), place(&new.1));
        let is_newer = match (before, after) {
            (Some((grant, serial)), Some((new_grant, new_serial))) => grant == new_grant && new_serial >= serial,
            _ => false,
        };
        if !is_newer {
            self.break_rule(book, "backwards", format_args!("{} is written over {}", new.1, old.1));
        }
        if old.1 != new.1 {
            let now = self.now();
            let history = book.histories.entry(key.clone()).or_default();
            history.recorded.entry(old.1.clone()).or_insert(now);
        }
        let is_this = |flight: &&mut Flight| flight.pair().is_some_and(|pair| pair.access == new.0);
        for flight in book.flights.iter_mut().filter(is_this) {
            flight.is_settled = true;
        }
    }

    fn note_grant(&self, book: &mut Book, key: &ConnectionKey, refresh: &str) {
        if let Some((grant, _)) = self
            .providers()
            .iter()
            .find_map(|provider| provider.find_refresh(refresh))
        {
            let history = book.histories.entry(key.clone()).or_default();
            history.stored_grants.insert(grant);
        }
    }

    fn note_end(&self, book: &mut Book, key: &ConnectionKey, refresh: &str) {
        if let Some((grant, _)) = self
            .providers()
            .iter()
            .find_map(|provider| provider.find_refresh(refresh))
        {
            let history = book.histories.entry(key.clone()).or_default();
            history.ended_grants.entry(grant).or_default();
        }
    }
}
