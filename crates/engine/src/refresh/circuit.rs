//! A token endpoint that fails is left alone, and is not run over when it is back. Pure: time comes in as an argument.
//!
//! Ten failures within ten seconds, and more failures than answers, *open* the circuit; so does a provider that says
//! itself how long to wait. While it is open one request every few seconds *probes*. The first one that is answered lets
//! others follow at a rate that *ramps* up; a failure on the way opens it again.

use std::collections::VecDeque;
use std::time::Duration;

/// How many failures open it.
const FAILURES: u32 = 10;

/// Within how many seconds.
const WINDOW_S: u64 = 10;

/// The time between two probes; jitter makes it longer, never shorter.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// How long the ramp is.
const RAMP: Duration = Duration::from_secs(60);

/// After how long the rate of the ramp doubles; it begins at one request a second.
const DOUBLES_EVERY: Duration = Duration::from_secs(5);

/// The highest rate of the ramp, in requests a second.
const MAX_RATE: u32 = 20;

/// What a circuit knows.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    seconds: VecDeque<Second>,
    phase: Phase,
    /// How often it opened: whoever was let through before must ask again.
    openings: u64,
}

#[derive(Debug)]
struct Second {
    at: u64,
    good: u32,
    bad: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Phase {
    #[default]
    Closed,
    /// Nobody passes before this time; then one does.
    Open(Duration),
    /// One is under way.
    Probing,
    /// So many passed in the second that is named.
    Ramp { since: Duration, second: u64, passed: u32 },
}

/// Whether a request may be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Admit {
    Pass,
    /// It may, and on it depends what others may.
    Probe,
    /// Not before so long.
    Wait(Duration),
}

/// What an outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    /// A probe was answered.
    Recovering,
}

impl Circuit {
    /// Asks for one request. `jitter` is from 0 to 1.
    pub(super) fn admit(&mut self, now: Duration, jitter: f64) -> Admit {
        match self.phase {
            Phase::Closed => Admit::Pass,
            Phase::Open(until) if now >= until => {
                self.phase = Phase::Probing;
                Admit::Probe
            }
            Phase::Open(until) => Admit::Wait(until.saturating_sub(now)),
            Phase::Probing => Admit::Wait(spread(PROBE_EVERY, jitter)),
            Phase::Ramp { since, .. } if now.saturating_sub(since) >= RAMP => {
                self.phase = Phase::Closed;
                Admit::Pass
            }
            Phase::Ramp { since, second, passed } => {
                let passed = if second == now.as_secs() { passed } else { 0 };
                if passed >= rate(now.saturating_sub(since)) {
                    return Admit::Wait(spread(Duration::from_secs(1), jitter));
                }
                self.phase = Phase::Ramp {
                    since,
                    second: now.as_secs(),
                    passed: passed + 1,
                };
                Admit::Pass
            }
        }
    }

    /// The provider answered, whatever it was.
    pub(super) fn good(&mut self, now: Duration, probe: bool) -> Option<Change> {
        self.count(now).good += 1;
        if !(probe && self.phase == Phase::Probing) {
            return None;
        }
        self.seconds.clear();
        self.phase = Phase::Ramp {
            since: now,
            second: 0,
            passed: 0,
        };
        Some(Change::Recovering)
    }

    /// The provider was not reached, did not answer, or could not serve; `hold` is how long it wants to be left alone.
    pub(super) fn bad(&mut self, now: Duration, probe: bool, hold: Option<Duration>, jitter: f64) -> Option<Change> {
        self.count(now).bad += 1;
        let until = now + hold.unwrap_or_else(|| spread(PROBE_EVERY, jitter));
        let opens = match self.phase {
            _ if hold.is_some() => true,
            Phase::Closed => self.is_failing(),
            Phase::Probing => probe,
            Phase::Ramp { .. } => true,
            Phase::Open(_) => false,
        };
        if !opens {
            return None;
        }
        let before = std::mem::replace(&mut self.phase, Phase::Open(until));
        if let Phase::Open(earlier) = before {
            self.phase = Phase::Open(until.max(earlier));
        }
        let is_new = matches!(before, Phase::Closed | Phase::Ramp { .. });
        self.openings += u64::from(is_new);
        is_new.then_some(Change::Opened)
    }

    /// A probe ended without asking the provider: the next request is one.
    pub(super) fn abandon(&mut self) {
        if self.phase == Phase::Probing {
            self.phase = Phase::Open(Duration::ZERO);
        }
    }

    /// How often it opened.
    pub(super) fn openings(&self) -> u64 {
        self.openings
    }

    /// Whether requests wait, seen from one that is under way already.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_) | Phase::Probing)
    }

    fn is_failing(&self) -> bool {
        let (good, bad) = self
            .seconds
            .iter()
            .fold((0, 0), |(good, bad), second| (good + second.good, bad + second.bad));
        bad >= FAILURES && bad > good
    }

    fn count(&mut self, now: Duration) -> &mut Second {
        let at = now.as_secs();
        self.seconds.retain(|second| at - second.at.min(at) < WINDOW_S);
        if self.seconds.back().is_none_or(|second| second.at != at) {
            self.seconds.push_back(Second { at, good: 0, bad: 0 });
        }
        let last = self.seconds.len() - 1;
        &mut self.seconds[last]
    }
}

/// Longer by up to a half.
fn spread(span: Duration, jitter: f64) -> Duration {
    span + span.mul_f64(jitter / 2.0)
}

fn rate(elapsed: Duration) -> u32 {
    let doublings = elapsed.as_secs() / DOUBLES_EVERY.as_secs();
    u32::try_from(doublings)
        .ok()
        .and_then(|n| 1_u32.checked_shl(n))
        .map_or(MAX_RATE, |rate| rate.min(MAX_RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn opened() -> Circuit {
        let mut circuit = Circuit::default();
        for n in 0..9 {
            assert_eq!(circuit.bad(at(n * 900), false, None, 0.0), None);
        }
        assert_eq!(circuit.openings(), 0);
        assert_eq!(circuit.bad(at(8_500), false, None, 0.0), Some(Change::Opened));
        assert_eq!(circuit.openings(), 1);
        circuit
    }

    #[test]
    fn ten_failures_in_ten_seconds_open_it() {
        let mut slow = Circuit::default();
        for n in 0..100 {
            assert_eq!(slow.bad(at(n * 1_200), false, None, 0.0), None);
            assert_eq!(slow.admit(at(n * 1_200), 0.0), Admit::Pass);
        }
        assert_eq!(opened().admit(at(8_600), 0.0), Admit::Wait(at(4_900)));
    }

    #[test]
    fn it_stays_closed_while_most_requests_are_answered() {
        let mut circuit = Circuit::default();
        for n in 0..1_000 {
            circuit.good(at(n), false);
            assert_eq!(circuit.bad(at(n), false, None, 0.0), None);
        }
    }

    #[test]
    fn one_probe_every_five_seconds() {
        let mut circuit = opened();
        let mut probes = Vec::new();
        for ms in (8_500..70_000).step_by(100) {
            if circuit.admit(at(ms), 0.0) == Admit::Probe {
                assert!(matches!(circuit.admit(at(ms), 1.0), Admit::Wait(_)), "one at a time");
                probes.push(ms);
                circuit.bad(at(ms), true, None, 0.5);
            }
        }
        assert!(
            probes
                .windows(2)
                .all(|pair| (5_000..=7_600).contains(&(pair[1] - pair[0]))),
            "{probes:?}"
        );
        assert!(probes.len() >= 8, "{probes:?}");
    }

    #[test]
    fn a_probe_that_asked_nobody_is_made_again() {
        let mut circuit = opened();
        assert_eq!(circuit.admit(at(20_000), 0.0), Admit::Probe);
        circuit.abandon();
        assert_eq!(circuit.admit(at(20_000), 0.0), Admit::Probe);
    }

    #[test]
    fn after_a_good_probe_the_rate_grows_to_its_maximum() {
        let mut circuit = opened();
        assert_eq!(circuit.admit(at(20_000), 0.0), Admit::Probe);
        assert_eq!(circuit.good(at(20_000), true), Some(Change::Recovering));
        let mut passed = [0_u32; 60];
        for ms in 0..60_000 {
            if circuit.admit(at(20_000 + ms), 0.0) == Admit::Pass {
                passed[usize::try_from(ms / 1_000).expect("small")] += 1;
            }
        }
        let steps: Vec<_> = passed.iter().step_by(5).copied().collect();
        assert_eq!(steps, [1, 2, 4, 8, 16, 20, 20, 20, 20, 20, 20, 20]);
        for _ in 0..100 {
            assert_eq!(circuit.admit(at(80_000), 0.0), Admit::Pass, "back to normal");
        }
    }

    #[test]
    fn a_failure_on_the_ramp_opens_it_again() {
        let mut circuit = opened();
        circuit.admit(at(20_000), 0.0);
        circuit.good(at(20_000), true);
        assert_eq!(circuit.admit(at(21_000), 0.0), Admit::Pass);
        assert_eq!(circuit.bad(at(21_000), false, None, 0.0), Some(Change::Opened));
        assert!(circuit.is_open());
    }

    #[test]
    fn the_provider_says_how_long_to_wait() {
        let mut circuit = Circuit::default();
        assert_eq!(circuit.bad(at(0), false, Some(at(30_000)), 0.9), Some(Change::Opened));
        assert_eq!(
            circuit.bad(at(10), false, Some(at(1_000)), 0.9),
            None,
            "the longer wait stands"
        );
        assert_eq!(circuit.admit(at(10_000), 0.0), Admit::Wait(at(20_000)));
        assert_eq!(circuit.admit(at(30_000), 0.0), Admit::Probe);
    }

    #[test]
    fn what_was_under_way_when_it_opened_decides_nothing() {
        let mut circuit = opened();
        assert_eq!(circuit.good(at(9_000), false), None);
        assert!(circuit.is_open());
        assert_eq!(circuit.admit(at(20_000), 0.0), Admit::Probe);
        assert_eq!(circuit.bad(at(20_000), false, None, 0.0), None);
        assert_eq!(circuit.good(at(20_001), true), Some(Change::Recovering));
    }
}
