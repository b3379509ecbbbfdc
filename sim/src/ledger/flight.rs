//! What is sent to token endpoints, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use valetkey_core::ConnectionKey;
use valetkey_oauth::Rotation;
use valetkey_store::rows::Claim;

use super::{Book, Ledger, name};
use crate::harness;
use crate::process::Process;
use crate::provider::{Pair, Verdict};
use crate::wire::Fate;

/// How long an answer of the store may be under way.
const ANSWER: Duration = Duration::from_secs(5);

/// A request to a token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose.
    pub provider: usize,
    /// What is wanted.
    pub wish: Wish,
}

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A pair for a code.
    Redeem(String),
    /// A pair for a refresh token.
    Refresh(String),
    /// The end of a token.
    Revoke(String),
}

impl Wish {
    fn word(&self) -> &'static str {
        match self {
            Self::Redeem(_) => "redeem",
            Self::Refresh(_) => "refresh",
            Self::Revoke(_) => "revoke",
        }
    }
}

/// Names a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightId(usize);

/// How a request ended for the one who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was not sent.
    NotSent,
    /// No answer came.
    Uncertain,
    /// Something came that says nothing of the grant.
    Unreadable,
    /// An answer with this status.
    Answered(u16),
}

/// One request, from call to return.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) process: Arc<Process>,
    pub(super) wish: Wish,
    /// The connection that it is for, if it is a refresh.
    pub(super) key: Option<ConnectionKey>,
    pub(super) sent: Duration,
    pub(super) ended: Option<Ended>,
    /// What the provider decided, if it has read it.
    pub(super) verdict: Option<Verdict>,
    /// Whether the pair is in the store, or was given up for a better one.
    pub(super) is_settled: bool,
    /// Whether another process took the lease over before the pair was settled.
    pub(super) is_overtaken: bool,
    /// The generation that the refresh token was stored with.
    pub(super) parent: Option<i64>,
    /// Whether the pair is on the disk of the replica.
    pub(super) is_kept: bool,
}

impl Flight {
    pub(super) fn pair(&self) -> Option<&Pair> {
        match &self.verdict {
            Some(Verdict::Granted { pair, .. }) => Some(pair),
            _ => None,
        }
    }

    /// Whether the pair came to a process that has it still, or will have it again when it starts the next time.
    pub(super) fn is_in_hand(&self) -> bool {
        let has_come = self.pair().is_some() && self.ended == Some(Ended::Answered(200));
        has_come && (self.is_kept || !self.process.is_dead())
    }

    /// Whether the provider may have acted on it, as far as anybody here can know.
    pub(super) fn may_have_been_read(&self) -> bool {
        match self.ended {
            None | Some(Ended::Uncertain | Ended::Unreadable) => true,
            Some(Ended::NotSent | Ended::Answered(_)) => false,
        }
    }
}

impl Ledger {
    /// The processes that have a refresh under way, or a pair that is not written.
    pub fn busy(&self) -> Vec<Arc<Process>> {
        let book = self.book();
        let open = |flight: &&Flight| {
            flight.key.is_some() && !flight.is_settled && (flight.ended.is_none() || flight.is_in_hand())
        };
        let last = book.flights.len().saturating_sub(20);
        book.flights[last..]
            .iter()
            .filter(open)
            .map(|flight| Arc::clone(&flight.process))
            .collect()
    }

    /// A process is about to take a lease under this name.
    pub fn claims(&self, holder: &str, process: &Arc<Process>) {
        let mut book = self.book();
        if !book.holders.contains_key(holder) {
            book.holders.insert(holder.to_owned(), Arc::clone(process));
        }
    }

    /// A request is handed to the network.
    pub fn sends(&self, process: &Arc<Process>, ask: &Ask, fate: Fate) -> FlightId {
        let mut book = self.book();
        let key = match &ask.wish {
            Wish::Redeem(code) => {
                if !book.codes.insert(code.clone()) {
                    self.break_rule(&mut book, "code-twice", format_args!("{process:?} sends {code} again"));
                }
                None
            }
            Wish::Refresh(token) => self.judge_refresh(&mut book, process, ask.provider, token),
            Wish::Revoke(_) => None,
        };
        let row = key
            .as_ref()
            .and_then(|key| book.histories.get(key))
            .and_then(|history| history.row.as_ref());
        let parent = row.map(|row| row.generation);
        book.count(format!("{} {fate:?}", ask.wish.word()));
        let id = FlightId(book.flights.len());
        self.trace
            .line(format_args!("{process:?} sends #{} {:?} ({fate:?})", id.0, ask.wish));
        book.flights.push(Flight {
            process: Arc::clone(process),
            wish: ask.wish.clone(),
            key,
            sent: self.now(),
            ended: None,
            verdict: None,
            is_settled: false,
            is_overtaken: false,
            parent,
            is_kept: false,
        });
        if let (Wish::Refresh(token), Fate::Mistaken) = (&ask.wish, fate) {
            book.misled.insert(token.clone());
        }
        id
    }

    /// Judges a refresh in the moment in which it is sent. Which connection it is for.
    fn judge_refresh(
        &self,
        book: &mut Book,
        process: &Arc<Process>,
        provider: usize,
        token: &str,
    ) -> Option<ConnectionKey> {
        let (rotation, connector, found) = {
            let providers = self.providers();
            let provider = &providers[provider];
            let found = provider.find_refresh(token);
            let user = found.map(|(grant, _)| provider.grant(grant).user().to_owned());
            (provider.habits.rotation, provider.habits.name, user)
        };
        let Some(user) = found else {
            self.break_rule(
                book,
                "unexpected",
                format_args!("{process:?} sends {token}, which nobody gave"),
            );
            return None;
        };
        let key = harness::key(connector, &user);
        let Some(history) = book.histories.get(&key) else {
            self.break_rule(
                book,
                "unclaimed",
                format_args!("{process:?} refreshes {}, which is not stored", name(&key)),
            );
            return Some(key);
        };
        // What the store has said is true when it is said, and may be a little old when it arrives.
        let heard = book
            .heard
            .get(&(key.clone(), process.replica, process.life))
            .copied()
            .unwrap_or_default();
        let is_news = |at: Duration| at >= heard && heard + ANSWER >= self.now();
        if let Some(at) = history.recorded.get(token).filter(|at| !is_news(**at)) {
            let since = at.as_secs_f64();
            self.break_rule(
                book,
                "resent",
                format_args!("{process:?} sends {token}, whose success was recorded at {since} s"),
            );
            return Some(key);
        }
        let is_stored = history.tokens.as_ref().is_some_and(|(_, refresh)| refresh == token);
        let intent = history.row.as_ref().and_then(|row| row.intent.as_ref());
        let holder = intent.and_then(|intent| book.holders.get(&intent.holder));
        let is_known = !is_news(history.changed_at);
        if is_stored && is_known && !holder.is_some_and(|holder| Arc::ptr_eq(holder, process)) {
            let holder = holder.map_or_else(|| "nobody".to_owned(), |holder| format!("{holder:?}"));
            self.break_rule(
                book,
                "unclaimed",
                format_args!("{process:?} sends {token}, and the intent is that of {holder}"),
            );
            return Some(key);
        }
        if rotation == Rotation::SingleUseRevokesFamily && is_stored {
            self.judge_risk(book, process, &key, token);
        }
        Some(key)
    }

    /// A family that ends with a reused token must not be asked again while its access token works.
    fn judge_risk(&self, book: &mut Book, process: &Arc<Process>, key: &ConnectionKey, token: &str) {
        let earlier = book
            .flights
            .iter()
            .position(|flight| flight.wish == Wish::Refresh(token.to_owned()) && flight.may_have_been_read());
        let access = book.histories[key].tokens.as_ref().map(|(access, _)| access.clone());
        let (Some(earlier), Some(access)) = (earlier, access) else {
            return;
        };
        let works = book.histories[key].works_for(self.slack(), self.time.now());
        if works && !book.rejected.contains(&access) {
            self.break_rule(
                book,
                "risked",
                format_args!("{process:?} sends {token} again after #{earlier}, and {access} still works"),
            );
        }
    }

    /// The provider has read a request.
    pub fn decided(&self, flight: FlightId, verdict: &Verdict) {
        let mut book = self.book();
        match verdict {
            Verdict::Granted { pair, .. } => {
                self.trace
                    .line(format_args!("    #{}: {} {}", flight.0, pair.access, pair.refresh));
            }
            Verdict::Refused(code) => self.trace.line(format_args!("    #{}: {code}", flight.0)),
        }
        book.flights[flight.0].verdict = Some(verdict.clone());
    }

    /// A request returned to the one who sent it.
    pub fn ended(&self, flight: FlightId, ended: Ended) {
        let mut book = self.book();
        let flight_of = &mut book.flights[flight.0];
        flight_of.ended = Some(ended);
        self.trace
            .line(format_args!("{:?} has #{}: {ended:?}", flight_of.process, flight.0));
    }

    /// A pair is on the disk of a replica from now on.
    pub fn keeps(&self, process: &Arc<Process>, key: &ConnectionKey, parent: i64) {
        self.trace
            .line(format_args!("{process:?} keeps a pair of {}", name(key)));
        self.set_kept(process, key, parent, true);
        self.count("pair kept on disk");
    }

    /// A pair is on the disk no longer.
    pub fn forgets(&self, process: &Arc<Process>, key: &ConnectionKey, parent: i64) {
        self.trace
            .line(format_args!("{process:?} forgets a pair of {}", name(key)));
        self.set_kept(process, key, parent, false);
    }

    fn set_kept(&self, process: &Arc<Process>, key: &ConnectionKey, parent: i64, is_kept: bool) {
        let mut book = self.book();
        let is_this = |flight: &&mut Flight| {
            flight.process.replica == process.replica
                && flight.key.as_ref() == Some(key)
                && flight.parent == Some(parent)
                && flight.ended == Some(Ended::Answered(200))
        };
        for flight in book.flights.iter_mut().filter(is_this) {
            flight.is_kept = is_kept;
        }
    }

    /// An API rejected a token.
    pub fn api_rejected(&self, token: &str) {
        self.book().rejected.insert(token.to_owned());
    }

    /// A process was told that its new pair came too late: it need not write it any more.
    pub fn lost_race(&self, key: &ConnectionKey, process: &Arc<Process>) {
        self.trace
            .line(format_args!("{process:?} came too late with {}", name(key)));
        let mut book = self.book();
        let theirs = |flight: &&mut Flight| flight.key.as_ref() == Some(key) && Arc::ptr_eq(&flight.process, process);
        for flight in book
            .flights
            .iter_mut()
            .filter(theirs)
            .filter(|flight| flight.is_in_hand())
        {
            flight.is_settled = true;
        }
    }

    /// The store told a process how it is with a lease.
    pub fn heard(&self, key: &ConnectionKey, process: &Arc<Process>) {
        let now = self.now();
        self.book()
            .heard
            .insert((key.clone(), process.replica, process.life), now);
    }

    /// What a claim came to.
    pub fn claimed(&self, key: &ConnectionKey, process: &Arc<Process>, claim: &Claim) {
        self.heard(key, process);
        let what = match claim {
            Claim::Held { previous, .. } if previous.is_some() => "takes over",
            Claim::Held { .. } => "claims",
            Claim::Busy(_) => "finds busy",
            Claim::Moved(_) => "finds moved",
            Claim::Gone => "finds gone",
        };
        self.trace.line(format_args!("{process:?} {what} {}", name(key)));
    }
}
