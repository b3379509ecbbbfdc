//! What callers ask for, and what they get.

use std::sync::Arc;
use std::time::Duration;

use valetkey_core::ConnectionKey;

use super::flight::{Flight, Wish};
use super::row::Standing;
use super::{Book, Ledger, name};
use crate::process::Process;

/// Names a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(usize);

/// What a caller got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A token.
    Token(String),
    /// The word that a person must connect, with the reason.
    Person(String),
    /// Another error, and whether it is one that callers may see at all.
    Error {
        /// The code and the cause.
        text: String,
        /// Whether it is one that says: try again.
        is_expected: bool,
    },
}

/// A caller who asks for a token.
#[derive(Debug)]
pub(super) struct Call {
    process: Arc<Process>,
    key: ConnectionKey,
    instead: Option<String>,
    began: Duration,
    /// The access token that was stored when it began.
    stored: Option<String>,
}

impl Ledger {
    /// Somebody asks for a token, perhaps instead of one that was rejected.
    pub fn asks(&self, process: &Arc<Process>, key: &ConnectionKey, instead: Option<&str>) -> CallId {
        let mut book = self.book();
        let id = CallId(book.calls.len());
        let stored = book.histories.get(key).and_then(|history| history.tokens.as_ref());
        let stored = stored.map(|(access, _)| access.clone());
        self.trace.line(format_args!(
            "{process:?} is asked for {}{} (call {})",
            name(key),
            instead.map(|token| format!(" instead of {token}")).unwrap_or_default(),
            id.0
        ));
        book.calls.push(Call {
            process: Arc::clone(process),
            key: key.clone(),
            instead: instead.map(str::to_owned),
            began: self.now(),
            stored,
        });
        id
    }

    /// Somebody got an answer.
    pub fn gets(&self, id: CallId, given: &Given) {
        let mut book = self.book();
        let call = &book.calls[id.0];
        let (process, key) = (Arc::clone(&call.process), call.key.clone());
        book.count(match given {
            Given::Token(_) => "call given a token",
            Given::Person(_) => "call told to connect",
            Given::Error { .. } => "call told to try again",
        });
        match given {
            Given::Token(token) => {
                self.trace
                    .line(format_args!("{process:?} gives {token} (call {})", id.0));
                self.judge_token(&mut book, id, token);
            }
            Given::Person(reason) => {
                self.trace
                    .line(format_args!("{process:?} says {reason} (call {})", id.0));
                self.judge_person(&mut book, id, reason);
            }
            Given::Error { text, is_expected } => {
                self.trace.line(format_args!("{process:?} says {text} (call {})", id.0));
                if !is_expected {
                    self.break_rule(&mut book, "unexpected", format_args!("{} brings {text}", name(&key)));
                } else if text.starts_with("provider_unavailable") || text.starts_with("refresh_busy") {
                    self.judge_withheld(&mut book, id, text);
                }
            }
        }
    }

    /// A disconnect was reported as done.
    pub fn disconnected(&self, process: &Arc<Process>, key: &ConnectionKey) {
        let now = self.now();
        let mut book = self.book();
        let history = book.histories.entry(key.clone()).or_default();
        for told in history.ended_grants.values_mut() {
            told.push((now, process.replica));
        }
    }

    /// A connect was reported as done; it brought this grant.
    pub fn connected(&self, key: &ConnectionKey, grant: usize) {
        let mut book = self.book();
        let is_stored = book
            .histories
            .get(key)
            .is_some_and(|history| history.stored_grants.contains(&grant));
        if !is_stored {
            self.break_rule(
                &mut book,
                "forgotten",
                format_args!("{}: grant {grant} was never stored", name(key)),
            );
        }
    }

    fn judge_token(&self, book: &mut Book, id: CallId, token: &str) {
        let now = self.now();
        let slack = self.slack();
        let call = &book.calls[id.0];
        let (ends, grant, old_dies) = {
            let providers = self.providers();
            let provider = providers.iter().find(|provider| provider.find_access(token).is_some());
            match provider {
                Some(provider) => (
                    provider.ends_at(token),
                    provider.find_access(token).map(|(grant, _)| grant),
                    provider.habits.old_access_token_dies,
                ),
                None => (None, None, false),
            }
        };
        let history = &book.histories[&call.key];
        let told = grant.and_then(|grant| history.ended_grants.get(&grant));
        let known_end = told.into_iter().flatten().find(|(at, replica)| {
            let stale_until = if *replica == call.process.replica {
                *at
            } else {
                *at + self.terms.cache_max_age
            };
            // While it does not reach the store, a process goes on with what it remembers.
            call.began > stale_until && !call.process.was_in_trouble_since(*at)
        });
        let what = if ends.is_none_or(|ends| ends + slack < now) {
            Some("its time is over")
        } else if call.instead.as_deref() == Some(token) {
            Some("it is the one that was rejected")
        } else if known_end.is_some() {
            Some("its connection was ended before")
        } else if old_dies && self.was_spent_before(book, call, token) {
            Some("a refresh was sent before, which ends it")
        } else {
            None
        };
        if let Some(what) = what {
            let process = Arc::clone(&call.process);
            self.break_rule(
                book,
                "dead-token",
                format_args!("{process:?} gives {token} (call {}): {what}", id.0),
            );
        }
    }

    /// Whether a refresh was sent after the one that brought the token, and the process could know it before the call
    /// began. A request that was sent earlier and read later ends the token too, but nobody here can know.
    fn was_spent_before(&self, book: &Book, call: &Call, token: &str) -> bool {
        let brought = |flight: &Flight| flight.pair().is_some_and(|pair| pair.access == token);
        let since = book.flights.iter().position(brought).map_or(0, |minted| minted + 1);
        let stored_at = book.histories[&call.key].tokens_since;
        let providers = self.providers();
        let grant_of = |token: &str| {
            providers
                .iter()
                .find_map(|provider| provider.find_refresh(token))
                .map(|found| found.0)
        };
        let Some((grant, _)) = providers.iter().find_map(|provider| provider.find_access(token)) else {
            return false;
        };
        book.flights[since..].iter().any(|flight| {
            let Wish::Refresh(sent) = &flight.wish else {
                return false;
            };
            let is_same_replica = Arc::ptr_eq(&flight.process, &call.process);
            let seen_from = if is_same_replica {
                flight.sent
            } else {
                flight.sent + self.terms.cache_max_age
            };
            let can_know = is_same_replica || !call.process.was_in_trouble_since(flight.sent);
            let counts = flight.pair().is_some() || flight.may_have_been_read();
            flight.key.as_ref() == Some(&call.key)
                && grant_of(sent) == Some(grant)
                && counts
                // A pair that is written late hides the intent of whoever took the lease over meanwhile.
                && flight.sent >= stored_at
                && can_know
                && seen_from < call.began
        })
    }

    /// A person is needed: then there was a moment since the call began, or as long ago as memory reaches, in which that
    /// was so.
    fn judge_person(&self, book: &mut Book, id: CallId, reason: &str) {
        let call = &book.calls[id.0];
        let from = call.began.saturating_sub(self.terms.cache_max_age);
        let history = book.histories.get(&call.key);
        let standings = history.map(|history| history.standings.as_slice()).unwrap_or_default();
        let mut at_first = &Standing::Absent;
        let mut usable = true;
        for (at, standing) in standings {
            if *at <= from {
                at_first = standing;
            } else {
                usable &= *standing == Standing::Active;
            }
        }
        if usable && *at_first == Standing::Active {
            let key = call.key.clone();
            self.break_rule(
                book,
                "told",
                format_args!("{} is usable, and the caller is told {reason}", name(&key)),
            );
        }
    }

    /// A provider that does not answer is no reason to withhold a token that works.
    fn judge_withheld(&self, book: &mut Book, id: CallId, text: &str) {
        let call = &book.calls[id.0];
        let history = book.histories.get(&call.key);
        let (Some(stored), None, Some(history)) = (&call.stored, &call.instead, history) else {
            return;
        };
        // Whoever remembers the one before cannot know of this one yet.
        let is_known = history.tokens_since + self.terms.cache_max_age < call.began;
        let is_same = is_known && history.tokens.as_ref().is_some_and(|(access, _)| access == stored);
        let stood = history
            .standings
            .last()
            .is_some_and(|(at, standing)| *at <= call.began && *standing == Standing::Active);
        let works = history.works_for(self.slack(), self.time.now()) && {
            let providers = self.providers();
            let provider = providers.iter().find(|provider| provider.find_access(stored).is_some());
            provider.is_some_and(|provider| !provider.habits.old_access_token_dies)
        };
        if is_same && stood && works {
            let (key, stored) = (call.key.clone(), stored.clone());
            self.break_rule(
                book,
                "withheld",
                format_args!("{} has {stored}, and the caller is told {text}", name(&key)),
            );
        }
    }
}
