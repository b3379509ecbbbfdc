//! What must be so while everything works, and when everything works again.

use std::time::Duration;

use valetkey_core::ConnectionKey;
use valetkey_store::rows::ConnectionState;

use super::{Ledger, name};
use crate::harness;

impl Ledger {
    /// How a connection stands in the store.
    pub fn state(&self, key: &ConnectionKey) -> Option<ConnectionState> {
        let book = self.book();
        book.histories.get(key)?.row.as_ref().map(|row| row.state.clone())
    }

    /// The stored tokens of a connection: access token and refresh token.
    pub fn stored(&self, key: &ConnectionKey) -> Option<(String, String)> {
        self.book().histories.get(key)?.tokens.clone()
    }

    /// Nobody's intent stays once its lease is over and everything works; except where a family is not risked while its
    /// access token works.
    pub fn judge_intents(&self, works_since: Duration, store_now: valetkey_core::Timestamp) {
        let Some(every) = self.terms.looked_after else { return };
        let patience = harness::LEASE * 2 + harness::LONGEST_PAUSE + every * 2;
        let well_for = self.now().saturating_sub(works_since);
        let mut book = self.book();
        book.well.retain(|(since, _)| *since != works_since);
        book.well.push((works_since, self.now()));
        if well_for < patience {
            return;
        }
        let mut stuck = Vec::new();
        for (key, history) in &book.histories {
            let Some(intent) = history.row.as_ref().and_then(|row| row.intent.as_ref()) else {
                continue;
            };
            // Whoever failed before has a pause that began before.
            let is_new = store_now.since(intent.at) < well_for;
            let waits = history
                .tokens
                .as_ref()
                .is_some_and(|(access, _)| self.may_wait_for(access));
            if store_now.since(intent.lease_until) > patience && is_new && !waits {
                stuck.push(name(key));
            }
        }
        for name in stuck {
            self.break_rule(&mut book, "stuck", format_args!("the intent of {name} stays"));
        }
    }

    fn may_wait_for(&self, access: &str) -> bool {
        let providers = self.providers();
        let provider = providers.iter().find(|provider| provider.find_access(access).is_some());
        provider.is_some_and(|provider| {
            provider.habits.rotation == valetkey_oauth::Rotation::SingleUseRevokesFamily
                && provider
                    .ends_at(access)
                    .is_some_and(|ends| ends + harness::LONGEST_PAUSE > self.now())
        })
    }

    /// What is stored when everything has worked for long enough.
    pub fn judge_store(&self, key: &ConnectionKey) {
        let now = self.now();
        let mut book = self.book();
        let Some(history) = book.histories.get(key) else { return };
        let Some(row) = history.row.clone() else { return };
        if row.intent.is_some() && self.terms.looked_after.is_some() {
            self.break_rule(&mut book, "stuck", format_args!("the intent of {} stays", name(key)));
            return;
        }
        let Some((access, refresh)) = history.tokens.clone() else {
            return;
        };
        let providers = self.providers();
        let provider = providers
            .iter()
            .find(|provider| provider.find_refresh(&refresh).is_some());
        let Some((provider, (grant, _))) =
            provider.and_then(|provider| Some((provider, provider.find_refresh(&refresh)?)))
        else {
            return;
        };
        let newest = provider.grant(grant).newest_refresh().unwrap_or_default();
        let (works, honoured) = (provider.accepts(&access, now), provider.honours(&refresh, now));
        let newest_works = provider.honours(&newest, now);
        drop(providers);
        match &row.state {
            ConnectionState::Active if !works || !honoured || refresh != newest => {
                let text = format!("{access} works: {works}, {refresh} works: {honoured}, the newest is {newest}");
                self.break_rule(&mut book, "unsettled", format_args!("{}: {text}", name(key)));
            }
            ConnectionState::Reauthorize(cause) if newest_works => {
                let reached = book
                    .flights
                    .iter()
                    .any(|flight| flight.is_in_hand() && flight.pair().is_some_and(|pair| pair.refresh == newest));
                if (reached || honoured) && !book.misled.contains(&refresh) {
                    self.break_rule(
                        &mut book,
                        "given-up",
                        format_args!("{} stays {cause}, and {newest} works and is here", name(key)),
                    );
                }
            }
            ConnectionState::Active | ConnectionState::Reauthorize(_) | ConnectionState::Disconnected => {}
        }
    }

    /// Nothing of a connection that somebody ended still works, as far as it ever came here and was not lost again.
    pub fn judge_ended(&self, key: &ConnectionKey) {
        let now = self.now();
        let mut book = self.book();
        let Some(history) = book.histories.get(key) else { return };
        let mut alive = Vec::new();
        {
            let providers = self.providers();
            let Some(provider) = providers
                .iter()
                .find(|provider| provider.habits.name == key.connector.as_str())
            else {
                return;
            };
            let stored = history
                .tokens
                .as_ref()
                .and_then(|(_, refresh)| provider.find_refresh(refresh));
            let is_over =
                |grant: usize| history.ended_grants.contains_key(&grant) && stored.is_none_or(|(of, _)| of != grant);
            let known = book
                .flights
                .iter()
                .filter(|flight| flight.is_settled || flight.is_in_hand());
            let known = known.filter_map(|flight| flight.pair());
            let known = known
                .map(|pair| (&pair.access, &pair.refresh))
                .chain(&history.ever_stored);
            for (access, refresh) in known {
                let of = provider.find_refresh(refresh).map(|(grant, _)| grant);
                if of.is_some_and(is_over) && (provider.honours(refresh, now) || provider.accepts(access, now)) {
                    alive.push(format!("{access} or {refresh}"));
                }
            }
        }
        for tokens in alive {
            self.break_rule(
                &mut book,
                "unrevoked",
                format_args!("{tokens} of {}, which was ended", name(key)),
            );
        }
    }
}
