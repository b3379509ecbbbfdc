//! Callbacks that belong to no flow of the browser that brings them: guessed, altered, or taken from somebody else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quick_cache::unsync::Cache;
use valetkey_core::ErrorCode;
use valetkey_store::rows::FlowRow;

use super::{CallbackRequest, in_session};
use crate::Engine;
use crate::error::{Error, Result};
use crate::flow::same_browser;
use crate::session::Live;

/// How many strange callbacks one address may bring in a window.
const LIMIT: u32 = 20;

/// The window.
const WINDOW: Duration = Duration::from_secs(60);

/// How many addresses are watched at once; more than these make this limit weaker, not the process larger.
const ADDRESSES: usize = 10_000;

/// Counts strange callbacks by address: since when, and how many. In memory, because it only has to be cheap for us and
/// dear for somebody who guesses; the exact limit of callbacks is in the store.
#[derive(Debug)]
pub(crate) struct Strangers(Mutex<Cache<String, (Duration, u32)>>);

impl Default for Strangers {
    fn default() -> Self {
        Self(Mutex::new(Cache::new(ADDRESSES)))
    }
}

impl Strangers {
    /// Counts one, or says how long until the next one is counted.
    fn count(&self, address: &str, now: Duration) -> std::result::Result<(), Duration> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = match seen.get(address) {
            Some((since, count)) if now.saturating_sub(*since) < WINDOW => (*since, *count),
            _ => (now, 0),
        };
        if count >= LIMIT {
            return Err((since + WINDOW).saturating_sub(now));
        }
        seen.insert(address.to_owned(), (since, count + 1));
        Ok(())
    }
}

impl Engine {
    /// Whether nothing fits: neither the redirect URI nor the browser is the flow's. To whoever brings such a state, it
    /// must look like one that does not exist.
    pub(super) fn is_stranger(&self, flow: &FlowRow, person: Option<&Live>, request: &CallbackRequest) -> bool {
        let elsewhere = request.context.as_ref().is_some_and(|c| *c != flow.context);
        let cookie = request.cookies.get(&self.cookie_name(&flow.id));
        let fits = match person {
            Some(person) if in_session(flow) => person.row.person == flow.started_by,
            _ => same_browser(flow, cookie.map(String::as_str)),
        };
        elsewhere && !fits
    }

    /// Counts a strange callback; refuses when there were too many from its address.
    pub(super) fn count_stranger(&self, address: &str) -> Result<()> {
        self.strangers.count(address, self.clock.monotonic()).map_err(|wait| {
            Error::new(
                ErrorCode::RateLimited,
                "too many callbacks of no known flow came from this address; wait as long as Retry-After says",
            )
            .retry_after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a04_twenty_strange_callbacks_a_minute_are_looked_at() {
        let strangers = Strangers::default();
        let at = Duration::from_secs;
        for second in 0..20 {
            assert_eq!(strangers.count("192.0.2.1", at(second)), Ok(()));
        }
        assert_eq!(strangers.count("192.0.2.1", at(20)), Err(at(40)));
        assert_eq!(strangers.count("192.0.2.1", at(59)), Err(at(1)));
        assert_eq!(
            strangers.count("192.0.2.2", at(59)),
            Ok(()),
            "another address is not held up"
        );
        assert_eq!(
            strangers.count("192.0.2.1", at(60)),
            Ok(()),
            "refused attempts do not extend the wait"
        );
    }
}
