//! When a refresh token whose answer was lost is sent again: the rotation rules, applied. Pure: no clock, no store.

use std::time::Duration;

use valetkey_core::Timestamp;
use valetkey_oauth::Recovery;
use valetkey_store::rows::Intent;

/// The pauses before a token is sent again within one flight, where that does no harm.
const SOON: &[Duration] = &[Duration::ZERO, Duration::from_secs(2), Duration::from_secs(8)];

/// How long after its first request a flight begins no other one: what is left is for the next flight.
const LONGEST: Duration = Duration::from_secs(60);

/// How many intents in a row may go without an answer where a refresh token works once. With the pauses between them that
/// is days; then the outcome counts as unknown for good.
pub(super) const MAX_ATTEMPTS: i64 = 1_000;

/// How a request ended that may have changed the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nothing came back.
    Unanswered,
    /// Something came back that does not say what became of the grant: a gateway's error, half an answer.
    Garbled,
}

/// What is known of the requests that were made with a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// Whether an earlier flight may have sent it: its intent was found.
    pub(super) taken_over: bool,
    /// How many requests of this flight may have reached the provider and brought no usable answer.
    pub(super) lost: usize,
    /// When the first of all was sent, where that is known.
    pub(super) first_sent: Option<Timestamp>,
}

impl Past {
    /// What an intent that was taken over says. Its holder may have gone before it sent anything or after, so it counts
    /// as sent. Only the first intent in a row knows the time of the first request.
    pub(super) fn of(previous: Option<&Intent>) -> Self {
        Self {
            taken_over: previous.is_some(),
            lost: 0,
            first_sent: previous.filter(|intent| intent.attempt == 0).map(|intent| intent.at),
        }
    }

    /// Whether the provider may have acted on a request whose answer nobody has.
    pub(super) fn is_unclear(self) -> bool {
        self.taken_over || self.lost > 0
    }

    /// One more request was lost.
    pub(super) fn lose(&mut self, sent_at: Timestamp) {
        if !self.is_unclear() {
            self.first_sent = Some(sent_at);
        }
        self.lost += 1;
    }
}

/// The rules for one refresh token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) recovery: Recovery,
    /// Whether its access token still serves callers.
    pub(super) access_alive: bool,
}

impl Rules {
    /// Whether a token whose outcome is unclear must not be sent now: a second use could end the access token as well.
    pub(super) fn must_wait(self) -> bool {
        self.access_alive && self.recovery == Recovery::RetryOnceAfterExpiry
    }

    /// Whether the token stops working soon, whatever else happens.
    pub(super) fn is_pressing(self) -> bool {
        matches!(self.recovery, Recovery::RetryWithin(_))
    }

    /// Whether so many intents in a row went without an answer that the token is given up.
    pub(super) fn is_exhausted(self, attempt: i64) -> bool {
        let works_once = matches!(self.recovery, Recovery::RetryOnce | Recovery::RetryOnceAfterExpiry);
        works_once && attempt >= MAX_ATTEMPTS
    }

    /// How long to wait before the token is sent again in this flight, which began its requests `elapsed` ago; `None` if
    /// it must not be.
    pub(super) fn pause(self, lost: Lost, past: Past, now: Timestamp, elapsed: Duration) -> Option<Duration> {
        let within = |leeway| past.first_sent.is_some_and(|first| now.since(first) < leeway);
        let pauses = match (self.recovery, lost) {
            // Whoever answers with an error is not helped by the same request at once, but the leeway does not wait.
            (Recovery::RetryWithin(leeway), Lost::Garbled) if within(leeway) => &SOON[1..],
            (_, Lost::Garbled) => &[],
            (Recovery::Retry, Lost::Unanswered) => SOON,
            (Recovery::RetryWithin(leeway), Lost::Unanswered) if within(leeway) => SOON,
            // The first request of a flight that took an intent over was the repetition.
            (_, Lost::Unanswered) if past.taken_over || self.must_wait() => &[],
            (_, Lost::Unanswered) => &SOON[..1],
        };
        let pause = *pauses.get(past.lost.checked_sub(1)?)?;
        (elapsed + pause < LONGEST).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const LEEWAY: Recovery = Recovery::RetryWithin(Duration::from_secs(10));

    fn rules(recovery: Recovery, access_alive: bool) -> Rules {
        Rules { recovery, access_alive }
    }

    fn after(taken_over: bool, lost: usize, age_s: u64) -> Past {
        Past {
            taken_over,
            lost,
            first_sent: Some(NOW.minus(Duration::from_secs(age_s))),
        }
    }

    /// The pauses of a flight whose requests are all lost, in seconds.
    fn pauses(rules: Rules, lost: Lost, taken_over: bool, age_s: u64) -> Vec<u64> {
        (1..10)
            .map_while(|n| rules.pause(lost, after(taken_over, n, age_s), NOW, Duration::ZERO))
            .map(|pause| pause.as_secs())
            .collect()
    }

    #[test]
    fn a_token_that_stays_valid_is_sent_again_soon() {
        for taken_over in [false, true] {
            assert_eq!(
                pauses(rules(Recovery::Retry, true), Lost::Unanswered, taken_over, 99),
                [0, 2, 8]
            );
        }
    }

    #[test]
    fn within_the_leeway_it_is_sent_again_at_once_and_later_once() {
        let rules = rules(LEEWAY, true);
        assert_eq!(pauses(rules, Lost::Unanswered, false, 9), [0, 2, 8]);
        assert_eq!(pauses(rules, Lost::Garbled, false, 9), [2, 8]);
        assert_eq!(pauses(rules, Lost::Unanswered, false, 10), [0]);
        assert!(
            pauses(rules, Lost::Unanswered, true, 10).is_empty(),
            "the take-over itself was the one"
        );
    }

    #[test]
    fn a_token_that_works_once_is_repeated_once() {
        let rules = rules(Recovery::RetryOnce, true);
        assert_eq!(pauses(rules, Lost::Unanswered, false, 0), [0]);
        assert!(pauses(rules, Lost::Unanswered, true, 0).is_empty());
        assert!(pauses(rules, Lost::Garbled, false, 0).is_empty());
    }

    #[test]
    fn a_family_is_not_risked_while_its_access_token_works() {
        let alive = rules(Recovery::RetryOnceAfterExpiry, true);
        assert!(alive.must_wait() && pauses(alive, Lost::Unanswered, false, 0).is_empty());
        let ended = rules(Recovery::RetryOnceAfterExpiry, false);
        assert!(!ended.must_wait());
        assert_eq!(pauses(ended, Lost::Unanswered, false, 0), [0]);
    }

    #[test]
    fn a_flight_does_not_go_on_for_ever() {
        let past = after(false, 2, 0);
        let rules = rules(Recovery::Retry, true);
        assert!(
            rules
                .pause(Lost::Unanswered, past, NOW, Duration::from_secs(57))
                .is_some()
        );
        assert!(
            rules
                .pause(Lost::Unanswered, past, NOW, Duration::from_secs(58))
                .is_none()
        );
        assert!(!rules.is_exhausted(i64::MAX));
        assert!(
            super::Rules {
                recovery: Recovery::RetryOnce,
                ..rules
            }
            .is_exhausted(MAX_ATTEMPTS)
        );
    }

    #[test]
    fn only_the_first_intent_knows_when_the_token_was_sent_first() {
        let intent = |attempt| Intent {
            holder: "gone".to_owned(),
            lease_until: NOW,
            at: NOW,
            attempt,
        };
        assert_eq!(Past::of(Some(&intent(0))).first_sent, Some(NOW));
        assert_eq!(Past::of(Some(&intent(1))).first_sent, None);
        assert!(Past::of(Some(&intent(1))).is_unclear() && !Past::of(None).is_unclear());
    }
}
