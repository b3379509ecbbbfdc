//! When a provider refuses many grants at once, its word is doubted: incidents in which every refresh was answered with
//! `invalid_grant` for some minutes have happened to large providers. Pure: time comes in as an argument.
//!
//! Doubt begins when, within five minutes, at least ten refreshes of one client were refused for good, and these are more
//! than a fifth of what was answered. It ends when that is no longer so. It also ends after an hour, because an
//! administrator who withdraws an application at the provider looks the same; from then on the provider is believed.

use std::collections::VecDeque;
use std::time::Duration;

use valetkey_core::ConnectionKey;

/// How many refusals begin it.
const REFUSALS: u32 = 10;

/// One refusal in so many answers is still believed.
const SHARE: u32 = 5;

/// Answers are counted in steps of so many seconds …
const STEP_S: u64 = 10;

/// … and for so many steps.
const STEPS: u64 = 30;

/// How long it lasts at most, and how long the provider is believed after that.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// What is known of a client's refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    steps: VecDeque<Step>,
    doubt_since: Option<Duration>,
    believed_until: Duration,
    /// Connections that were believed to be dead shortly before.
    condemned: Vec<Condemned>,
}

#[derive(Debug)]
struct Step {
    at: u64,
    answered: u32,
    refused: u32,
}

/// A connection whose grant was believed to be dead.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condemned {
    pub(super) key: ConnectionKey,
    pub(super) generation: i64,
    at: Duration,
}

/// Whether a refusal is believed.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Believed {
        /// Whether it would have been doubted before.
        doubt_ends: bool,
    },
    Doubted,
    /// Doubt begins with this one; those who were believed just before deserve it too.
    DoubtBegins(Vec<Condemned>),
}

impl Refusals {
    /// A refresh was honoured. Whether doubt ends with it.
    pub(super) fn honoured(&mut self, now: Duration) -> bool {
        self.count(now).answered += 1;
        !self.is_suspicious() && self.doubt_since.take().is_some()
    }

    /// A refresh was refused for good.
    pub(super) fn refused(&mut self, now: Duration) -> Verdict {
        let step = self.count(now);
        step.answered += 1;
        step.refused += 1;
        if !self.is_suspicious() || now < self.believed_until {
            let doubt_ends = self.doubt_since.take().is_some();
            return Verdict::Believed { doubt_ends };
        }
        match self.doubt_since {
            None => {
                self.doubt_since = Some(now);
                let oldest = now.saturating_sub(Duration::from_secs(STEP_S * STEPS));
                let mut condemned = std::mem::take(&mut self.condemned);
                condemned.retain(|one| one.at >= oldest);
                Verdict::DoubtBegins(condemned)
            }
            Some(since) if now.saturating_sub(since) >= LONGEST => {
                self.doubt_since = None;
                self.believed_until = now + LONGEST;
                Verdict::Believed { doubt_ends: true }
            }
            Some(_) => Verdict::Doubted,
        }
    }

    /// Remembers whom the last belief cost the grant.
    pub(super) fn condemn(&mut self, key: &ConnectionKey, generation: i64, now: Duration) {
        // Doubt begins at the latest when so many are there, unless most answers are good.
        if self.condemned.len() >= REFUSALS as usize * 10 {
            self.condemned.remove(0);
        }
        self.condemned.push(Condemned {
            key: key.clone(),
            generation,
            at: now,
        });
    }

    fn is_suspicious(&self) -> bool {
        let (answered, refused) = self.steps.iter().fold((0_u32, 0_u32), |(all, bad), step| {
            (all + step.answered, bad + step.refused)
        });
        refused >= REFUSALS && refused.saturating_mul(SHARE) > answered
    }

    fn count(&mut self, now: Duration) -> &mut Step {
        let at = now.as_secs() / STEP_S;
        self.steps.retain(|step| at - step.at.min(at) < STEPS);
        if self.steps.back().is_none_or(|step| step.at != at) {
            self.steps.push_back(Step {
                at,
                answered: 0,
                refused: 0,
            });
        }
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }
}

#[cfg(test)]
mod tests {
    use valetkey_core::{ConnectionName, ConnectorId, Owner, SpaceId};

    use super::*;

    const BELIEVED: Verdict = Verdict::Believed { doubt_ends: false };

    fn key(n: u32) -> ConnectionKey {
        ConnectionKey {
            space: SpaceId::default_space(),
            connector: ConnectorId::new("crm").expect("an id"),
            owner: Owner::Shared,
            name: ConnectionName::new(format!("n{n}")).expect("a name"),
        }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Nine refusals, which are believed.
    fn after_nine(refusals: &mut Refusals, now: Duration) {
        for n in 0..9 {
            assert_eq!(refusals.refused(now), BELIEVED);
            refusals.condemn(&key(n), 1, now);
        }
    }

    #[test]
    fn the_tenth_refusal_begins_doubt_and_names_those_before() {
        let mut refusals = Refusals::default();
        after_nine(&mut refusals, s(10));
        let Verdict::DoubtBegins(before) = refusals.refused(s(20)) else {
            panic!("believed")
        };
        assert_eq!(before.len(), 9);
        assert_eq!(refusals.refused(s(30)), Verdict::Doubted);
    }

    #[test]
    fn a_fifth_of_the_answers_is_still_believed() {
        let mut refusals = Refusals::default();
        for _ in 0..80 {
            refusals.honoured(s(1));
        }
        for n in 0..20 {
            assert_eq!(refusals.refused(s(2)), BELIEVED, "{n}");
        }
        assert!(matches!(refusals.refused(s(3)), Verdict::DoubtBegins(_)));
    }

    #[test]
    fn refusals_that_are_minutes_apart_are_believed() {
        let mut refusals = Refusals::default();
        for n in 0..100 {
            assert_eq!(refusals.refused(s(n * 40)), BELIEVED);
        }
    }

    #[test]
    fn doubt_ends_when_grants_are_honoured_again() {
        let mut refusals = Refusals::default();
        after_nine(&mut refusals, s(0));
        assert!(matches!(refusals.refused(s(1)), Verdict::DoubtBegins(_)));
        let ended: Vec<_> = (0..60).filter(|_| refusals.honoured(s(60))).collect();
        assert_eq!(ended.len(), 1);
        assert_eq!(refusals.refused(s(61)), BELIEVED);
    }

    #[test]
    fn doubt_does_not_last_longer_than_an_hour() {
        let mut refusals = Refusals::default();
        after_nine(&mut refusals, s(0));
        assert!(matches!(refusals.refused(s(1)), Verdict::DoubtBegins(_)));
        for second in (20..3_600).step_by(20) {
            assert_eq!(refusals.refused(s(second)), Verdict::Doubted);
        }
        assert_eq!(refusals.refused(s(3_610)), Verdict::Believed { doubt_ends: true });
        for second in (3_620..7_200).step_by(20) {
            assert_eq!(refusals.refused(s(second)), BELIEVED);
        }
    }
}
