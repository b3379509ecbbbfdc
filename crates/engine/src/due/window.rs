//! When a refresh may begin.

use std::time::Duration;

use valetkey_core::Timestamp;

use super::{Facts, Rules, is_last};

/// Tokens that live shorter are renewed when somebody needs one: ahead of time they would cost a request a minute.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);

/// How far refreshes of tokens that end together are spread at most.
const WIDEST_SPREAD: Duration = Duration::from_secs(3_600);

/// A span in which a refresh may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Window {
    /// A moment in it; `jitter` is from 0 to 1.
    pub(super) fn pick(self, jitter: f64) -> Timestamp {
        self.from.plus(self.to.since(self.from).mul_f64(jitter.clamp(0.0, 1.0)))
    }
}

/// When a refresh may begin, by each of the reasons for one.
pub(super) fn windows(facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> impl Iterator<Item = Window> {
    let grant = facts.grant;
    let can = !is_last(facts, now) && !rules.changed;
    let minted = facts.minted_at;
    let by_refresh_end = grant.refresh_expires_at.map(|end| end.since(minted));
    let idle = [rules.idle_limit, by_refresh_end].into_iter().flatten();
    let kept = idle.filter(|limit| *limit >= SHORTEST_LIFE).map(move |limit| Window {
        from: minted.plus(limit * 17 / 30),
        to: minted.plus(limit * 2 / 3),
    });
    ahead(facts, rules).into_iter().chain(kept).filter(move |_| can)
}

/// Ahead of the access token's end: before the margin begins, and never before a third of its life.
fn ahead(facts: &Facts<'_>, rules: &Rules) -> Option<Window> {
    let end = facts.grant.expires_at?;
    let life = facts.grant.lifetime_ms.and_then(|ms| u64::try_from(ms).ok());
    let life = life.map_or_else(|| end.since(facts.minted_at), Duration::from_millis);
    if life < SHORTEST_LIFE {
        return None;
    }
    let to = end.minus(crate::grant::margin(facts.grant, rules.margin));
    let spread = (life / 4).min(WIDEST_SPREAD);
    let from = to.minus(spread).max(end.minus(life).plus(life / 3));
    Some(Window { from: from.min(to), to })
}
