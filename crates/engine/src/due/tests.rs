use serde_json::Map;
use valetkey_store::rows::Sealed;

use super::*;

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

fn later(span: Duration) -> Timestamp {
    NOW.plus(span)
}

/// A grant made now: how long its access token lives, and its refresh token if it has one.
fn grant(life: Option<Duration>, refresh: bool) -> GrantRow {
    GrantRow {
        sealed_access: Sealed(vec![1]),
        sealed_refresh: refresh.then(|| Sealed(vec![2])),
        expires_at: life.map(later),
        lifetime_ms: life.map(|life| i64::try_from(life.as_millis()).expect("a lifetime")),
        refresh_expires_at: None,
        scopes: Vec::new(),
        metadata: Map::new(),
    }
}

fn facts(grant: &GrantRow) -> Facts<'_> {
    Facts {
        grant,
        connected_at: NOW,
        minted_at: NOW,
        used_at: NOW,
        notices: Notices::default(),
    }
}

fn rules() -> Rules {
    Rules {
        margin: Duration::from_secs(300),
        ..Rules::default()
    }
}

fn next_of(grant: &GrantRow, rules: &Rules, jitter: f64) -> Timestamp {
    next(&facts(grant), rules, jitter, NOW)
}

#[test]
fn a_token_is_due_before_its_margin_spread_over_a_quarter_of_its_life() {
    let hour = grant(Some(HOUR), true);
    assert_eq!(next_of(&hour, &rules(), 1.0), later(55 * MINUTE));
    assert_eq!(next_of(&hour, &rules(), 0.0), later(40 * MINUTE));
    let half = next_of(&hour, &rules(), 0.5);
    assert!(half > later(40 * MINUTE) && half < later(55 * MINUTE));
}

#[test]
fn a_long_life_spreads_by_an_hour_at_most() {
    let month = grant(Some(30 * DAY), true);
    let before = Rules {
        unused_after: None,
        ..rules()
    };
    assert_eq!(next_of(&month, &before, 1.0), later(30 * DAY).minus(5 * MINUTE));
    assert_eq!(
        next_of(&month, &before, 0.0),
        later(30 * DAY).minus(65 * MINUTE),
        "never longer than 30 days without a look"
    );
}

#[test]
fn a_refresh_never_begins_before_a_third_of_the_life() {
    for seconds in [60, 61, 90, 120, 600, 3_600, 86_400, 31_536_000] {
        let life = Duration::from_secs(seconds);
        for margin in [0, 1, 300, 86_400] {
            let rules = Rules {
                margin: Duration::from_secs(margin),
                ..Rules::default()
            };
            for jitter in [0.0, 0.3, 1.0] {
                let grant = grant(Some(life), true);
                let at = next(&facts(&grant), &rules, jitter, NOW);
                assert!(
                    at >= later(life / 3).min(later(LATEST_LOOK)),
                    "{seconds} {margin} {jitter}"
                );
                assert!(at <= later(life), "{seconds} {margin} {jitter}");
            }
        }
    }
}

#[test]
fn a_token_is_refreshed_when_its_window_has_begun_and_not_before() {
    let hour = grant(Some(HOUR), true);
    let step = |at| judge(&facts(&hour), &rules(), at);
    assert_eq!(step(later(39 * MINUTE)), Step::Wait(Notices::default()));
    assert_eq!(step(later(40 * MINUTE)), Step::Refresh);
    assert_eq!(step(later(10 * HOUR)), Step::Refresh, "also when we were away");
}

#[test]
fn b28_tokens_that_live_less_than_a_minute_are_left_to_those_who_need_them() {
    let short = grant(Some(Duration::from_secs(59)), true);
    assert_eq!(
        judge(&facts(&short), &rules(), later(HOUR)),
        Step::Wait(Notices::default())
    );
    assert_eq!(
        next(&facts(&short), &rules(), 0.5, later(HOUR)),
        later(HOUR).plus(LATEST_LOOK)
    );
}

#[test]
fn a_grant_that_idles_away_is_kept_alive_at_two_thirds() {
    let lasting = grant(None, true);
    let microsoft = Rules {
        idle_limit: Some(90 * DAY),
        ..rules()
    };
    let look = |now| next(&facts(&lasting), &microsoft, 1.0, now);
    assert_eq!(look(NOW), later(30 * DAY), "there is a look in between");
    assert_eq!(look(later(30 * DAY)), later(60 * DAY));
    let at = |days| judge(&facts(&lasting), &microsoft, later(days * DAY));
    assert_eq!((at(50), at(51)), (Step::Wait(Notices::default()), Step::Refresh));
    assert_eq!(at(95), Step::Refresh, "only the provider knows that it is too late");
}

#[test]
fn a_refresh_token_that_ends_is_used_before() {
    let mut keycloak = grant(None, true);
    keycloak.refresh_expires_at = Some(later(30 * MINUTE));
    assert_eq!(next_of(&keycloak, &rules(), 0.0), later(17 * MINUTE));
    assert_eq!(next_of(&keycloak, &rules(), 1.0), later(20 * MINUTE));
    let mut both = grant(Some(5 * MINUTE), true);
    both.refresh_expires_at = Some(later(30 * MINUTE));
    assert_eq!(next_of(&both, &rules(), 1.0), later(4 * MINUTE), "the earlier counts");
}

#[test]
fn without_a_refresh_token_the_end_of_the_token_is_noted() {
    let last = grant(Some(HOUR), false);
    assert_eq!(next_of(&last, &rules(), 0.0), later(HOUR));
    let step = |at| judge(&facts(&last), &rules(), at);
    assert_eq!(step(later(59 * MINUTE)), Step::Wait(Notices::default()));
    assert_eq!(step(later(HOUR)), Step::Ended(Reason::TokenExpired));
    let mut spent = grant(Some(2 * HOUR), true);
    spent.refresh_expires_at = Some(later(HOUR));
    assert_eq!(
        next(&facts(&spent), &rules(), 0.0, later(HOUR)),
        later(2 * HOUR),
        "the access token still works"
    );
    assert_eq!(
        judge(&facts(&spent), &rules(), later(2 * HOUR)),
        Step::Ended(Reason::RefreshTokenExpired)
    );
}

#[test]
fn every_connection_is_looked_at_again_after_a_month_at_the_latest() {
    for refresh in [true, false] {
        assert_eq!(next_of(&grant(None, refresh), &rules(), 0.7), later(LATEST_LOOK));
    }
    let changed = Rules {
        changed: true,
        ..rules()
    };
    let hour = grant(Some(HOUR), true);
    assert_eq!(next_of(&hour, &changed, 0.0), later(DAY), "undoing a change undoes it");
    assert_eq!(
        judge(&facts(&hour), &changed, later(2 * HOUR)),
        Step::Wait(Notices::default())
    );
    let last = grant(Some(HOUR), false);
    assert_eq!(
        judge(&facts(&last), &changed, later(2 * HOUR)),
        Step::Wait(Notices::default())
    );
}

#[test]
fn an_absolute_limit_is_announced_14_and_3_days_ahead_once_each() {
    let lasting = grant(None, true);
    let atlassian = Rules {
        absolute_limit: Some(365 * DAY),
        ..rules()
    };
    let end = later(365 * DAY);
    let mut facts = facts(&lasting);
    assert_eq!(
        judge(&facts, &atlassian, end.minus(14 * DAY + MINUTE)),
        Step::Wait(Notices::default())
    );
    assert_eq!(next(&facts, &atlassian, 0.0, end.minus(20 * DAY)), end.minus(14 * DAY));
    for days in [14, 3] {
        let now = end.minus(DAY * days);
        let Step::Announce(notices, ending) = judge(&facts, &atlassian, now) else {
            panic!("{days} days ahead");
        };
        assert_eq!(ending, Ending::Expires(end));
        assert_eq!(notices.expires, Some(Expires { days, end }));
        facts.notices = notices;
        assert_eq!(judge(&facts, &atlassian, now), Step::Wait(notices), "once");
        assert_eq!(announced(&facts, &atlassian, now), Some(Ending::Expires(end)));
    }
    let after = next(&facts, &atlassian, 0.0, end.minus(3 * DAY));
    assert_eq!(after, end.minus(3 * DAY).plus(LATEST_LOOK), "nothing more to say");
    assert_eq!(
        judge(&facts, &atlassian, end),
        Step::Wait(Notices::default()),
        "the provider says the rest"
    );
    assert_eq!(announced(&facts, &atlassian, end), None);
}

#[test]
fn a_notice_that_was_missed_is_given_late_and_only_the_nearest() {
    let lasting = grant(None, true);
    let rules = Rules {
        absolute_limit: Some(365 * DAY),
        ..rules()
    };
    let now = later(364 * DAY);
    let Step::Announce(notices, _) = judge(&facts(&lasting), &rules, now) else {
        panic!("a notice");
    };
    assert_eq!(notices.expires.map(|notice| notice.days), Some(3));
    let short = Rules {
        absolute_limit: Some(2 * DAY),
        ..rules
    };
    assert_eq!(
        judge(&facts(&lasting), &short, later(DAY)),
        Step::Wait(Notices::default()),
        "whoever connected two days before the end knows"
    );
}

/// A grant that is refreshed a day after it was made; its refresh token then ends at `end`.
fn refreshed_after_a_day(end: Timestamp) -> (GrantRow, GrantRow) {
    let mut before = grant(None, true);
    before.refresh_expires_at = Some(later(90 * DAY));
    let mut after = before.clone();
    after.refresh_expires_at = Some(end);
    (before, after)
}

#[test]
fn a_refresh_token_that_does_not_slide_ends_the_grant() {
    let second = Duration::from_secs(1);
    for (end, is_fixed) in [
        (later(90 * DAY), true),
        (later(90 * DAY).plus(second), true),
        (later(89 * DAY), true),
        (later(91 * DAY), false),
        (later(91 * DAY).minus(second), false),
        (later(120 * DAY), false),
    ] {
        let (before, after) = refreshed_after_a_day(end);
        let after = Facts {
            minted_at: later(DAY),
            ..facts(&after)
        };
        assert_eq!(fixed_end(&facts(&before), &after).is_some(), is_fixed, "{end}");
    }
}

#[test]
fn the_end_of_a_fixed_refresh_token_is_announced_after_a_refresh_and_remembered() {
    let (before, after) = refreshed_after_a_day(later(90 * DAY));
    let now = later(80 * DAY);
    let before = Facts {
        minted_at: now.minus(DAY),
        ..facts(&before)
    };
    let mut after = Facts {
        minted_at: now,
        ..facts(&after)
    };
    let (notices, ending) = after_refresh(&before, &after, &rules(), now);
    assert_eq!(ending, Some(Ending::Expires(later(90 * DAY))));
    after.notices = notices;
    assert_eq!(after_refresh(&before, &after, &rules(), now), (notices, None), "once");
    let three = later(87 * DAY);
    assert_eq!(
        next(&after, &rules(), 1.0, now),
        now.plus(10 * DAY * 2 / 3),
        "the refresh comes first"
    );
    assert!(
        matches!(judge(&after, &rules(), three), Step::Announce(n, _) if n.expires.map(|e| e.days) == Some(3)),
        "what was learned is remembered"
    );
    let mut slid = after.grant.clone();
    slid.refresh_expires_at = Some(later(180 * DAY));
    let slid = Facts { grant: &slid, ..after };
    assert_eq!(
        announced(&slid, &rules(), now),
        None,
        "a token that slides after all ends nothing"
    );
    assert_eq!(after_refresh(&after, &slid, &rules(), now).0, Notices::default());
}

#[test]
fn an_unused_connection_is_announced_and_ended_two_weeks_later() {
    let lasting = grant(None, true);
    let rules = Rules {
        unused_after: Some(90 * DAY),
        ..rules()
    };
    let mut facts = facts(&lasting);
    assert_eq!(next(&facts, &rules, 0.0, later(70 * DAY)), later(76 * DAY));
    assert_eq!(judge(&facts, &rules, later(75 * DAY)), Step::Wait(Notices::default()));
    let Step::Announce(notices, ending) = judge(&facts, &rules, later(76 * DAY)) else {
        panic!("a notice");
    };
    assert_eq!(ending, Ending::Unused(later(90 * DAY)));
    facts.notices = notices;
    assert_eq!(judge(&facts, &rules, later(89 * DAY)), Step::Wait(notices));
    assert_eq!(next(&facts, &rules, 0.0, later(80 * DAY)), later(90 * DAY));
    assert_eq!(judge(&facts, &rules, later(90 * DAY)), Step::Disconnect);
    facts.used_at = later(80 * DAY);
    assert_eq!(
        judge(&facts, &rules, later(90 * DAY)),
        Step::Wait(Notices::default()),
        "it was used"
    );
    assert_eq!(announced(&facts, &rules, later(81 * DAY)), None);
}

#[test]
fn nothing_is_ended_before_its_notice_had_its_time() {
    let lasting = grant(None, true);
    let rules = Rules {
        unused_after: Some(90 * DAY),
        ..rules()
    };
    let now = later(200 * DAY);
    let Step::Announce(notices, ending) = judge(&facts(&lasting), &rules, now) else {
        panic!("a notice first");
    };
    assert_eq!(ending, Ending::Unused(now.plus(14 * DAY)));
    let noticed = Facts {
        notices,
        ..facts(&lasting)
    };
    assert_eq!(judge(&noticed, &rules, now.plus(13 * DAY)), Step::Wait(notices));
    assert_eq!(judge(&noticed, &rules, now.plus(14 * DAY)), Step::Disconnect);
    let never = Rules {
        unused_after: None,
        ..rules
    };
    assert_eq!(
        judge(&noticed, &never, now.plus(99 * DAY)),
        Step::Wait(Notices::default())
    );
}

#[test]
fn both_notices_are_kept_apart() {
    let notices = Notices {
        expires: Some(Expires { days: 14, end: NOW }),
        unused: Some(later(DAY)),
    };
    assert_eq!(Notices::read(notices.stored().as_deref()), notices);
    assert_eq!(Notices::default().stored(), None);
    for text in ["", "expires", "expires:x:1", "unused:", "unused:1:2", "something:1"] {
        assert_eq!(Notices::read(Some(text)), Notices::default(), "{text}");
    }
}

#[test]
fn g51_failures_put_a_connection_off_for_an_hour_at_most() {
    let first = Duration::from_secs(30);
    assert_eq!(pause_after(first, 1, 0.0), Duration::from_secs(30));
    assert_eq!(pause_after(first, 2, 0.0), Duration::from_secs(60));
    assert_eq!(pause_after(first, 5, 1.0), Duration::from_secs(360));
    for failures in [8, 100, u32::MAX] {
        assert_eq!(pause_after(first, failures, 0.0), HOUR);
    }
}

#[test]
fn a_decision_to_wait_is_never_due_at_once() {
    // Whatever is stored: a connection that has nothing to do must not come back in the same second.
    for life in [None, Some(1), Some(59), Some(60), Some(3_600), Some(86_400 * 60)] {
        for refresh_end in [None, Some(1), Some(1_800), Some(86_400 * 7), Some(86_400 * 90)] {
            for (refresh, changed) in [(true, false), (false, false), (true, true), (false, true)] {
                let mut grant = grant(life.map(Duration::from_secs), refresh);
                grant.refresh_expires_at = refresh_end.map(|s| later(Duration::from_secs(s)));
                let rules = Rules {
                    idle_limit: Some(60 * DAY),
                    absolute_limit: Some(100 * DAY),
                    unused_after: Some(90 * DAY),
                    changed,
                    ..rules()
                };
                for days in 0..240 {
                    let now = later(DAY * days / 2 + MINUTE);
                    if let Step::Wait(notices) = judge(&facts(&grant), &rules, now) {
                        let facts = Facts {
                            notices,
                            ..facts(&grant)
                        };
                        assert!(next(&facts, &rules, 0.0, now) > now, "{life:?} {refresh_end:?} {days}");
                    }
                }
            }
        }
    }
}
