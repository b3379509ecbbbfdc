//! Keeps the clock with the store's, and tells when clocks disagree.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use valetkey_core::{Clock as _, Timestamp};
use valetkey_engine::Engine;

use crate::system::SystemClock;
use crate::system::clock::Correction;

/// How often the store is asked for its time.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Clocks that are further apart are told of, in milliseconds.
const TOLD_FROM: u64 = 30_000;

/// How far clocks are apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockMetrics {
    skew: Family<[(&'static str, &'static str); 1], Gauge<f64, AtomicU64>>,
    refused: Counter,
}

impl ClockMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "valetkey_clock_skew",
            "How far another clock is ahead of the one that valetkey goes by",
            Unit::Seconds,
            self.skew.clone(),
        );
        registry.register(
            "valetkey_clock_jump_refused",
            "Answers of the store's clock that were not believed, because it had jumped",
            self.refused.clone(),
        );
    }

    fn skew(&self, clock: &'static str, milliseconds: i64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a metric need not be exact over thousands of years"
        )]
        let seconds = milliseconds as f64 / 1_000.0;
        self.skew.get_or_create(&[("clock", clock)]).set(seconds);
    }
}

/// What was told already, so that it is told once.
#[derive(Debug, Default)]
struct Told {
    wall: bool,
    store: bool,
}

pub(super) async fn watch(engine: Arc<Engine>, clock: Arc<SystemClock>, metrics: ClockMetrics) {
    let mut ticks = super::ticks(ASK_EVERY);
    let mut told = Told::default();
    loop {
        ticks.tick().await;
        let asked_at = clock.monotonic();
        match engine.store_time().await {
            Ok(Some(time)) => follow(&clock, &metrics, &mut told, time, asked_at),
            Ok(None) => {}
            Err(error) => tracing::debug!(code = %error.code, "the store does not tell its time now"),
        }
        compare(&clock, &metrics, &mut told);
    }
}

/// Corrects the clock by the store's, unless that one has jumped.
fn follow(clock: &SystemClock, metrics: &ClockMetrics, told: &mut Told, time: Timestamp, asked_at: Duration) {
    match clock.correct(time, asked_at) {
        Correction::Made(off) => {
            metrics.skew("store", off);
            told.store = false;
        }
        Correction::Refused(off) => {
            metrics.skew("store", off);
            metrics.refused.inc();
            if !std::mem::replace(&mut told.store, true) {
                tracing::error!(
                    ahead_ms = off,
                    "the store's clock has jumped against the time that has passed; it is not followed. Once it is known to be \
                     right, a restart takes it over"
                );
            }
        }
        Correction::TooSlow => {}
    }
}

fn compare(clock: &SystemClock, metrics: &ClockMetrics, told: &mut Told) {
    let ahead = clock.wall_ahead();
    metrics.skew("wall", ahead);
    if ahead.unsigned_abs() <= TOLD_FROM {
        told.wall = false;
    } else if !std::mem::replace(&mut told.wall, true) {
        tracing::warn!(
            ahead_ms = ahead,
            "the wall clock of this machine differs from the time that valetkey goes by; it is not followed"
        );
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::system::clock::fake::FakeSources;

    const START: Timestamp = Timestamp(1_790_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn shown(metrics: &ClockMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text
    }

    #[test]
    fn g34_clocks_that_are_more_than_30_seconds_apart_are_told_of_once() {
        let sources = FakeSources::at(START);
        let (clock, metrics, mut told) = (sources.clock(), ClockMetrics::default(), Told::default());
        for (ahead, is_told) in [(0, false), (29, false), (31, true), (31, true), (10, false), (40, true)] {
            sources.set_wall(START.plus(SECOND * ahead));
            compare(&clock, &metrics, &mut told);
            assert_eq!(told.wall, is_told, "{ahead} seconds");
        }
        sources.set_wall(START.minus(SECOND * 600));
        compare(&clock, &metrics, &mut told);
        assert!(told.wall);
        let text = shown(&metrics);
        assert!(
            text.contains("valetkey_clock_skew_seconds{clock=\"wall\"} -600.0"),
            "{text}"
        );
    }

    #[test]
    fn g32_a_jump_of_the_stores_clock_is_counted_and_not_followed() {
        let sources = FakeSources::at(START);
        let (clock, metrics, mut told) = (sources.clock(), ClockMetrics::default(), Told::default());
        let day = SECOND * 86_400;
        for _ in 0..3 {
            follow(&clock, &metrics, &mut told, START.plus(day), clock.monotonic());
        }
        assert_eq!(clock.now(), START);
        assert!(told.store);
        let text = shown(&metrics);
        assert!(text.contains("valetkey_clock_jump_refused_total 3"), "{text}");
        assert!(
            text.contains("valetkey_clock_skew_seconds{clock=\"store\"} 86400.0"),
            "{text}"
        );
        follow(&clock, &metrics, &mut told, START.plus(SECOND), clock.monotonic());
        assert_eq!(clock.now(), START.plus(SECOND));
        assert!(!told.store, "a next jump is told again");
    }
}
