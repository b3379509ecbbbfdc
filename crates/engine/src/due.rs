//! When background work looks at a connection, and what is then to be done. Nothing here knows a store, a network or a
//! clock: rows and times come in, decisions go out.
//!
//! | what makes a connection due | when |
//! | --- | --- |
//! | its access token ends | the margin before that, and up to a quarter of its life (an hour at most) earlier: what was made in one second is not renewed in one second |
//! | the provider ends grants that idle, or its refresh token ends | after two thirds of that time, less up to a tenth of it |
//! | the grant ends whatever is done | 14 and 3 days ahead, to say so |
//! | nobody uses it | 14 days before it is disconnected, to say so, and then |
//! | there is no refresh token | when the access token ends, to note that a person is needed |
//! | none of these | after 30 days, because specs and settings change |

mod notice;
mod window;

use std::time::Duration;

use valetkey_core::Timestamp;
use valetkey_store::rows::{ConnectionRow, GrantRow};

use crate::error::Reason;

pub(crate) use notice::{Expires, Notices};
use window::windows;

const DAY: Duration = Duration::from_secs(86_400);

/// How many days ahead an end is announced.
const DAYS_AHEAD: [u32; 2] = [14, 3];

/// The longest time without a look.
const LATEST_LOOK: Duration = Duration::from_secs(30 * 86_400);

/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// What settings and specs say about a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// How long before its expiry a token counts as stale.
    pub(crate) margin: Duration,
    /// A grant that is not renewed for so long dies.
    pub(crate) idle_limit: Option<Duration>,
    /// A grant dies so long after consent.
    pub(crate) absolute_limit: Option<Duration>,
    /// A connection that nobody uses for so long is disconnected.
    pub(crate) unused_after: Option<Duration>,
    /// The connection cannot be renewed, because its connector is another one now: only time tells what becomes of it.
    pub(crate) changed: bool,
}

/// What counts about a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) grant: &'a GrantRow,
    pub(crate) connected_at: Timestamp,
    /// When the grant was made or renewed.
    pub(crate) minted_at: Timestamp,
    pub(crate) used_at: Timestamp,
    pub(crate) notices: Notices,
}

/// What is to be done about a connection now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet. The notices are those that still hold.
    Wait(Notices),
    /// Say that it ends. The notices are those that hold from now on.
    Announce(Notices, Ending),
    /// Renew it.
    Refresh,
    /// Nobody uses it, and that was announced: end it.
    Disconnect,
    /// It has ended by itself: a person is needed.
    Ended(Reason),
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The grant ends, whatever is done.
    Expires(Timestamp),
    /// Nobody uses the connection.
    Unused(Timestamp),
}

impl<'a> Facts<'a> {
    /// Of a stored connection; `None` of one that has no grant.
    pub(crate) fn of(row: &'a ConnectionRow) -> Option<Self> {
        Some(Self {
            grant: row.grant.as_ref()?,
            connected_at: row.connected_at,
            minted_at: row.refreshed_at.unwrap_or(row.connected_at),
            used_at: row.used_at,
            notices: Notices::read(row.notice.as_deref()),
        })
    }

    /// Of a connection whose grant is renewed at `at`.
    pub(crate) fn renewed(row: &ConnectionRow, grant: &'a GrantRow, at: Timestamp) -> Self {
        Self {
            grant,
            connected_at: row.connected_at,
            minted_at: at,
            used_at: row.used_at,
            notices: Notices::read(row.notice.as_deref()),
        }
    }
}

/// What is to be done about a connection now. One thing at a time: what else is due is found at the next look.
pub(crate) fn judge(facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Step {
    if let Some(reason) = ended(facts, now).filter(|_| !rules.changed) {
        return Step::Ended(reason);
    }
    let mut notices = holding(facts, rules, now);
    if let Some(unused_at) = unused_at(facts, rules) {
        match notices.unused {
            Some(end) if now >= end => return Step::Disconnect,
            None if now >= unused_at.minus(unused_notice(rules)) => {
                // Somebody must be able to read it before the end, also if we were away when it was due.
                let end = unused_at.max(now.plus(unused_notice(rules)));
                notices.unused = Some(end);
                return Step::Announce(notices, Ending::Unused(end));
            }
            _ => {}
        }
    }
    if let Some(notice) = known_end(facts, rules, now).and_then(|end| expiring(facts, &notices, end, now)) {
        notices.expires = Some(notice);
        return Step::Announce(notices, Ending::Expires(notice.end));
    }
    if windows(facts, rules, now).any(|window| window.from <= now) {
        return Step::Refresh;
    }
    Step::Wait(notices)
}

/// When to look at a connection next; `jitter` is from 0 to 1.
pub(crate) fn next(facts: &Facts<'_>, rules: &Rules, jitter: f64, now: Timestamp) -> Timestamp {
    let notices = holding(facts, rules, now);
    let refresh = windows(facts, rules, now).map(|window| window.pick(jitter));
    let last = facts.grant.expires_at.filter(|_| is_last(facts, now) && !rules.changed);
    let unused = unused_at(facts, rules).map(|at| notices.unused.unwrap_or(at.minus(unused_notice(rules))));
    let ahead = known_end(facts, rules, now).into_iter().flat_map(|end| {
        let given = notices.expires.map_or(u32::MAX, |notice| notice.days);
        let ahead = DAYS_AHEAD.into_iter().filter(move |days| *days < given);
        ahead.map(move |days| end.minus(DAY * days))
    });
    let ahead = ahead.filter(|at| *at > facts.connected_at);
    let longest = now.plus(if rules.changed { DAY } else { LATEST_LOOK });
    let all = refresh.chain(last).chain(unused).chain(ahead);
    all.min().map_or(longest, |first| first.min(longest))
}

/// The end of a refresh token that a refresh did not move: from then on it is known that it does not slide.
pub(crate) fn fixed_end(before: &Facts<'_>, after: &Facts<'_>) -> Option<Timestamp> {
    let (old, new) = (before.grant.refresh_expires_at?, after.grant.refresh_expires_at?);
    // A token that slides moves as far as time went on; whole seconds make that inexact.
    let passed = after.minted_at.since(before.minted_at);
    (new.since(old) < passed / 2).then_some(new)
}

/// The notices after a refresh, and what to announce: whether the refresh token's end is one only a refresh can tell.
pub(crate) fn after_refresh(
    before: &Facts<'_>,
    after: &Facts<'_>,
    rules: &Rules,
    now: Timestamp,
) -> (Notices, Option<Ending>) {
    let mut notices = holding(after, rules, now);
    let end = [fixed_end(before, after), absolute_end(after, rules)]
        .into_iter()
        .flatten()
        .min();
    let Some(end) = end else {
        notices.expires = None;
        return (notices, None);
    };
    match expiring(after, &notices, end, now) {
        Some(notice) => {
            notices.expires = Some(notice);
            (notices, Some(Ending::Expires(end)))
        }
        None => (notices, None),
    }
}

/// The nearest end that was announced and still holds.
pub(crate) fn announced(facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Option<Ending> {
    let notices = holding(facts, rules, now);
    let expires = notices.expires.map(|notice| (notice.end, Ending::Expires(notice.end)));
    let unused = notices.unused.map(|end| (end, Ending::Unused(end)));
    let nearest = expires.into_iter().chain(unused).min_by_key(|(end, _)| *end)?;
    Some(nearest.1)
}

/// The pause after so many failures in a row: `first` doubled each time, an hour at most; `jitter` takes up to a quarter
/// off.
pub(crate) fn pause_after(first: Duration, failures: u32, jitter: f64) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(LONGEST_PAUSE).mul_f64(1.0 - jitter / 4.0)
}

/// Whether no refresh can follow: there is no refresh token, or it has ended.
fn is_last(facts: &Facts<'_>, now: Timestamp) -> bool {
    facts.grant.sealed_refresh.is_none() || facts.grant.refresh_expires_at.is_some_and(|end| end <= now)
}

/// Why the connection cannot work any more, if it cannot.
fn ended(facts: &Facts<'_>, now: Timestamp) -> Option<Reason> {
    let end = facts.grant.expires_at.filter(|_| is_last(facts, now))?;
    (end <= now).then_some(match facts.grant.sealed_refresh {
        None => Reason::TokenExpired,
        Some(_) => Reason::RefreshTokenExpired,
    })
}

/// The notices that still hold: somebody may have used the connection since, a refresh may have moved the end, and ends
/// pass.
fn holding(facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Notices {
    let ends = [facts.grant.refresh_expires_at, absolute_end(facts, rules)];
    let is_end = |notice: &Expires| ends.into_iter().flatten().any(|end| end <= notice.end.plus(DAY));
    let unused_at = unused_at(facts, rules);
    Notices {
        expires: facts
            .notices
            .expires
            .filter(|notice| notice.end > now && is_end(notice)),
        unused: facts
            .notices
            .unused
            .filter(|end| unused_at.is_some_and(|at| at <= *end)),
    }
}

fn unused_at(facts: &Facts<'_>, rules: &Rules) -> Option<Timestamp> {
    rules.unused_after.map(|span| facts.used_at.plus(span))
}

fn unused_notice(rules: &Rules) -> Duration {
    let half = rules.unused_after.unwrap_or_default() / 2;
    (DAY * 14).min(half)
}

fn absolute_end(facts: &Facts<'_>, rules: &Rules) -> Option<Timestamp> {
    rules.absolute_limit.map(|limit| facts.connected_at.plus(limit))
}

/// When the grant ends whatever is done, as far as that is known and still ahead.
fn known_end(facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Option<Timestamp> {
    let learned = holding(facts, rules, now).expires.map(|notice| notice.end);
    let ends = [absolute_end(facts, rules), learned].into_iter().flatten();
    ends.min().filter(|end| *end > now)
}

/// The notice that must be given now of an end, if one must. Whoever connected when it was that near already knows.
fn expiring(facts: &Facts<'_>, given: &Notices, end: Timestamp, now: Timestamp) -> Option<Expires> {
    let near = |days: &u32| {
        let at = end.minus(DAY * *days);
        at <= now && at > facts.connected_at
    };
    let days = DAYS_AHEAD.into_iter().filter(near).min().filter(|_| end > now)?;
    let is_given = given.expires.is_some_and(|notice| notice.days <= days);
    (!is_given).then_some(Expires { days, end })
}

#[cfg(test)]
mod tests;
