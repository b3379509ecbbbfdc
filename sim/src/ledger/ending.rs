//! A connection waits for a person: was that necessary, and is the reason the true one?

use std::time::Duration;

use valetkey_core::ConnectionKey;
use valetkey_oauth::Rotation;

use super::flight::{Flight, Wish};
use super::{Book, Ledger, name};
use crate::harness;
use crate::provider::Death;

/// How soon after an unknown outcome the next attempt is made, besides leases and the rounds of background work.
const FOLLOW_UP: Duration = Duration::from_secs(150);

impl Ledger {
    /// A connection waits for a person from now on: was that necessary, and is it for the true reason?
    pub(super) fn judge_end(&self, book: &mut Book, key: &ConnectionKey, refresh: &str, cause: &str) {
        let now = self.now();
        let (is_honoured, death) = {
            let providers = self.providers();
            let provider = providers
                .iter()
                .find(|provider| provider.find_refresh(refresh).is_some());
            let found = provider.and_then(|provider| Some((provider, provider.find_refresh(refresh)?)));
            match found {
                Some((provider, (grant, _))) => (provider.honours(refresh, now), provider.grant(grant).death()),
                None => (false, None),
            }
        };
        if book.misled.contains(refresh) {
            return;
        }
        if is_honoured {
            self.break_rule(
                book,
                "given-up",
                format_args!("{} is {cause}, and {refresh} works", name(key)),
            );
            return;
        }
        if matches!(death, Some(Death::TakenBack | Death::Revoked | Death::CodeUsedTwice)) {
            return;
        }
        let spent = |flight: &Flight| flight.wish == Wish::Refresh(refresh.to_owned()) && flight.pair().is_some();
        let in_hand = book
            .flights
            .iter()
            .position(|flight| spent(flight) && flight.is_in_hand() && !flight.is_overtaken);
        if let Some(id) = in_hand {
            self.break_rule(
                book,
                "given-up",
                format_args!("{} is {cause}, and the answer to #{id} is there", name(key)),
            );
        } else if let Some((from, to)) = self.missed_chance(book, refresh) {
            let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
            self.break_rule(
                book,
                "missed",
                format_args!(
                    "{} is {cause}, and from {from} s to {to} s nobody sent {refresh}",
                    name(key)
                ),
            );
        } else if book.flights.iter().any(spent) && cause != "refresh_outcome_unknown" {
            self.break_rule(
                book,
                "cause",
                format_args!("{} is {cause}, but an answer was lost", name(key)),
            );
        }
    }

    /// Where a refresh token works for a while after its first use: a long enough part of that while in which all went
    /// well, and nobody sent it.
    fn missed_chance(&self, book: &Book, refresh: &str) -> Option<(Duration, Duration)> {
        let every = self.terms.looked_after?;
        let providers = self.providers();
        let provider = providers
            .iter()
            .find(|provider| provider.find_refresh(refresh).is_some())?;
        let Rotation::Leeway(leeway) = provider.habits.rotation else {
            return None;
        };
        let sends = || {
            book.flights
                .iter()
                .filter(|flight| flight.wish == Wish::Refresh(refresh.to_owned()))
        };
        let first = sends().find(|flight| flight.pair().is_some())?.sent;
        let last = first + Duration::from_secs(leeway);
        let long_enough = harness::LEASE + FOLLOW_UP + every * 2;
        let chance = |(from, to): &(Duration, Duration)| ((*from).max(first), (*to).min(last));
        let is_missed = |(from, to): &(Duration, Duration)| {
            *from + long_enough < *to && !sends().any(|flight| flight.sent > *from && flight.sent <= *to)
        };
        book.well.iter().map(chance).find(is_missed)
    }
}
