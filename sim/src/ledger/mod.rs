//! Who watches: everything that is sent, answered, stored and handed out is entered here in the moment it happens, and
//! held against the invariants. The rules are beside the facts that they judge: `flight` has those about what is sent,
//! `row` those about what is stored, `caller` those about what callers get.
//!
//! | rule | what must not happen |
//! | --- | --- |
//! | `resent` | a refresh token is sent after a success was recorded for it |
//! | `unclaimed` | a refresh token is sent without an intent of the sender in the store |
//! | `lease` | the lease runs out under a process that nothing kept from renewing it |
//! | `risked` | a family that does not forgive is asked twice while its access token works |
//! | `code-twice` | an authorization code is sent twice |
//! | `given-up` | a connection waits for a person although its grant works, or the answer that was needed is there |
//! | `missed` | a token that works for a while after its use is not sent again in that while, although all went well |
//! | `cause` | a person is told another cause than the true one |
//! | `backwards` | an older pair, or one of another grant, is written over a newer one |
//! | `came-back` | a disconnected connection is active again without a new consent |
//! | `dead-token` | a caller gets a token that is known to be dead |
//! | `told` | a caller is sent to a person while the connection was usable all the time |
//! | `withheld` | a caller gets no token while the stored one works and may be served |
//! | `unexpected` | an error that nobody may ever see, a panic, a request that makes no sense |
//! | `forgotten` | a connect that was reported as a success is not in the store |
//! | `stuck` | an intent, a flow or a caller that nobody ends while everything works again |
//! | `unsettled` | when everything works again, the newest pair is not what is stored and works |
//! | `unrevoked` | when everything works again, something of a disconnected connection still works |

mod caller;
mod end;
mod ending;
mod flight;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use valetkey_core::ConnectionKey;
use valetkey_seal::KeyRing;

use crate::clock::Time;
use crate::process::Process;
use crate::provider::Provider;
use crate::trace::Trace;

pub use caller::{CallId, Given};
pub use flight::{Ask, Ended, FlightId, Wish};

/// Something that must not happen, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// What happened.
    pub text: String,
    /// When.
    pub at: Duration,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({} s)", self.rule, self.text, self.at.as_secs_f64())
    }
}

/// What the ledger must know of how the service is set up.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How old a remembered record may be.
    pub cache_max_age: Duration,
    /// How wrong the clocks on the walls may be.
    pub skew: Duration,
    /// Whether connections are looked after although nobody asks, and how seldom.
    pub looked_after: Option<Duration>,
}

/// The ledger of one run.
pub struct Ledger {
    time: Time,
    trace: Arc<Trace>,
    terms: Terms,
    providers: Arc<Mutex<Vec<Provider>>>,
    /// Opens what is stored; there once the store has its keys.
    ring: OnceLock<KeyRing>,
    book: Mutex<Book>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("violations", &self.violations())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Book {
    violations: Vec<Violation>,
    flights: Vec<flight::Flight>,
    histories: BTreeMap<ConnectionKey, row::History>,
    /// Which process a name in leases belongs to.
    holders: BTreeMap<String, Arc<Process>>,
    /// When the store told a process last how it is with the lease of a connection.
    heard: BTreeMap<(ConnectionKey, usize, u32), Duration>,
    /// Access tokens that an API rejected.
    rejected: BTreeSet<String>,
    /// Refresh tokens that a provider refused by mistake.
    misled: BTreeSet<String>,
    /// Authorization codes that were sent.
    codes: BTreeSet<String>,
    calls: Vec<caller::Call>,
    /// The times in which every process ran and reached everything.
    well: Vec<(Duration, Duration)>,
    tally: Tally,
}

/// How often something happened: a simulation in which little happens finds little.
pub type Tally = BTreeMap<String, u64>;

impl Book {
    fn count(&mut self, what: impl Into<String>) {
        *self.tally.entry(what.into()).or_default() += 1;
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new(time: Time, trace: Arc<Trace>, terms: Terms, providers: Arc<Mutex<Vec<Provider>>>) -> Self {
        Self {
            time,
            trace,
            terms,
            providers,
            ring: OnceLock::new(),
            book: Mutex::default(),
        }
    }

    /// Hands over the keys of the store, once.
    pub fn set_ring(&self, ring: KeyRing) {
        let is_first = self.ring.set(ring).is_ok();
        debug_assert!(is_first, "a store has one ring");
    }

    /// What must not have happened.
    pub fn violations(&self) -> Vec<Violation> {
        self.book().violations.clone()
    }

    /// How often what happened.
    pub fn tally(&self) -> Tally {
        self.book().tally.clone()
    }

    /// Counts something.
    pub fn count(&self, what: &str) {
        self.book().count(what);
    }

    /// Notes that a rule is broken.
    pub fn violates(&self, rule: &'static str, text: fmt::Arguments<'_>) {
        self.break_rule(&mut self.book(), rule, text);
    }

    fn break_rule(&self, book: &mut Book, rule: &'static str, text: fmt::Arguments<'_>) {
        self.trace.line(format_args!("!!! {rule}: {text}"));
        let text = text.to_string();
        if !book
            .violations
            .iter()
            .any(|known| known.rule == rule && known.text == text)
        {
            let at = self.time.elapsed();
            book.violations.push(Violation { rule, text, at });
        }
    }

    /// What nobody can know better, for wrong clocks and for the time that an answer takes within a process.
    fn slack(&self) -> Duration {
        self.terms.skew + Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        self.time.elapsed()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn providers(&self) -> MutexGuard<'_, Vec<Provider>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection of a user, in a trace.
fn name(key: &ConnectionKey) -> String {
    format!(
        "{}/{}",
        key.connector,
        key.owner.user().map_or("shared", |user| user.as_str())
    )
}
