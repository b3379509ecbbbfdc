//! The pause after a refresh that brought nothing.

use std::time::Duration;

use valetkey_core::{ConnectionKey, ErrorCode};

use super::Why;
use super::failure::{After, Failure};
use crate::Engine;
use crate::connector::Connector;

/// The first pause, before it grows.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The shortest pause.
const MIN_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause that grows by itself.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause where something is wrong here, with this connection: it must not keep everybody busy.
const MAX_PAUSE_OF_POISON: Duration = Duration::from_secs(10 * 60);

/// A connection whose last refresh brought nothing: no request before the pause is over.
#[derive(Clone, Debug)]
pub(crate) struct Setback {
    until: Duration,
    failures: u32,
    failure: Failure,
    /// The connector as it was: one that was changed may work.
    version: i64,
}

impl Engine {
    /// Refuses while a pause lasts.
    pub(super) fn check_setback(&self, connector: &Connector, key: &ConnectionKey, why: Why) -> Result<(), Failure> {
        let now = self.clock.monotonic();
        let is_for = |setback: &Setback| {
            let skips = why == Why::Rejected && setback.failure.after == After::PauseUnlessRejected;
            setback.until > now && setback.version == connector.row.version && !skips
        };
        match self.setbacks.get(key).filter(is_for) {
            None => Ok(()),
            Some(setback) => Err(setback
                .failure
                .retry_after(setback.until.saturating_sub(now))
                .then(After::Paused)),
        }
    }

    /// Takes the pause after a failure, unless it was taken or there is none: twice as long as the last one, with full
    /// jitter, or what the provider said.
    pub(super) fn set_back(&self, connector: &Connector, key: &ConnectionKey, failure: Failure) -> Failure {
        if matches!(failure.after, After::Paused | After::Nothing) {
            return failure;
        }
        let failures = self.setbacks.get(key).map_or(1, |s| s.failures.saturating_add(1));
        let pause = failure.retry_after.unwrap_or_else(|| {
            let longest = match failure.code {
                ErrorCode::Internal | ErrorCode::IntegrityError => MAX_PAUSE_OF_POISON,
                _ => MAX_PAUSE,
            };
            let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures));
            MIN_PAUSE.max(doubled.min(longest).mul_f64(self.jitter()))
        });
        let failure = failure.retry_after(pause);
        let setback = Setback {
            until: self.clock.monotonic() + pause,
            failures,
            failure: failure.clone(),
            version: connector.row.version,
        };
        self.setbacks.insert(key.clone(), setback);
        tracing::warn!(
            connector.id = %key.connector, space = %key.space, code = %failure.code, cause = %failure.cause, failures,
            pause_ms = pause.as_millis(), "a refresh brought nothing; the grant is kept"
        );
        failure.then(After::Paused)
    }

    /// From 0 to 1, from the injected random source.
    pub(super) fn jitter(&self) -> f64 {
        f64::from(u16::from_le_bytes(self.rng.bytes())) / f64::from(u16::MAX)
    }
}
