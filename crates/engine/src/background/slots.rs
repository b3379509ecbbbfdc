//! What background work has under way: bounded in total and by token host, shared among spaces.
//!
//! A space gets what is left when the slots are divided among it and all others that have something under way. One slot
//! in eight stays free for spaces that have nothing under way, so that a backlog of one never makes another wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use valetkey_core::{ConnectionKey, SpaceId};

/// How long it holds that nothing is due but what belongs to sated spaces: finding out passes over their whole backlog.
const HOLDS: Duration = Duration::from_secs(1);

/// The slots of background work.
#[derive(Debug)]
pub(crate) struct Slots {
    total: usize,
    per_host: usize,
    taken: Mutex<Taken>,
    /// When all spaces but these had nothing due, on the monotonic clock.
    others_idle: Mutex<Option<(Vec<SpaceId>, Duration)>>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    keys: BTreeSet<ConnectionKey>,
    spaces: BTreeMap<SpaceId, usize>,
    hosts: BTreeMap<String, usize>,
}

/// Why a connection gets no slot now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has one.
    UnderWay,
    /// Its token host is busy.
    Host,
    /// Its space has its share.
    Share,
    /// There is none left.
    Full,
}

/// A slot; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    key: ConnectionKey,
    host: Option<String>,
}

impl Slots {
    pub(crate) fn new(total: usize, per_host: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_host,
            taken: Mutex::default(),
            others_idle: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Whether there are any at all.
    pub(super) fn is_off(&self) -> bool {
        self.total == 0
    }

    /// Takes a slot. `flights` is how many refreshes are under way, whoever began them: callers that wait come first, and
    /// only one slot is kept from them. With `beyond_share` a space may take more than its share.
    pub(super) fn take(
        self: &Arc<Self>,
        key: &ConnectionKey,
        host: Option<&str>,
        flights: usize,
        beyond_share: bool,
    ) -> Result<Slot, Refused> {
        let mut taken = self.lock();
        if taken.keys.contains(key) {
            return Err(Refused::UnderWay);
        }
        let busy = taken.keys.len().max(flights);
        if busy >= self.total && !taken.keys.is_empty() {
            return Err(Refused::Full);
        }
        if host.is_some_and(|host| taken.hosts.get(host).is_some_and(|n| *n >= self.per_host)) {
            return Err(Refused::Host);
        }
        let limit = if beyond_share {
            self.total
        } else {
            self.share(&taken, &key.space)
        };
        let own = taken.spaces.get(&key.space);
        if own.is_some_and(|n| *n >= limit || self.is_kept(busy)) {
            return Err(Refused::Share);
        }
        taken.keys.insert(key.clone());
        *taken.spaces.entry(key.space.clone()).or_default() += 1;
        if let Some(host) = host {
            *taken.hosts.entry(host.to_owned()).or_default() += 1;
        }
        Ok(Slot {
            slots: Arc::clone(self),
            key: key.clone(),
            host: host.map(str::to_owned),
        })
    }

    /// The spaces that get no more slots now, because they have their share.
    pub(super) fn sated(&self, flights: usize) -> Vec<SpaceId> {
        let taken = self.lock();
        let is_kept = self.is_kept(taken.keys.len().max(flights));
        let sated = taken
            .spaces
            .iter()
            .filter(|(space, n)| is_kept || **n >= self.share(&taken, space));
        sated.map(|(space, _)| space.clone()).collect()
    }

    /// Whether all that is left is for spaces that have nothing under way.
    pub(super) fn are_kept(&self, flights: usize) -> bool {
        let taken = self.lock();
        !taken.keys.is_empty() && self.is_kept(taken.keys.len().max(flights))
    }

    /// Remembers that all spaces but these had nothing due at `now`.
    pub(super) fn note_others_idle(&self, spaces: Vec<SpaceId>, now: Duration) {
        *self.others_idle.lock().unwrap_or_else(PoisonError::into_inner) = Some((spaces, now));
    }

    /// Whether all spaces but these had nothing due a moment ago.
    pub(super) fn others_are_idle(&self, spaces: &[SpaceId], now: Duration) -> bool {
        let idle = self.others_idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.as_ref().is_some_and(|(seen, at)| {
            now.saturating_sub(*at) < HOLDS && seen.iter().all(|space| spaces.contains(space))
        })
    }

    /// Whether so much is under way that what is left is for spaces that have nothing under way.
    fn is_kept(&self, busy: usize) -> bool {
        busy >= self.total - self.total / 8
    }

    /// Returns when a slot became free since the last time.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn share(&self, taken: &Taken, space: &SpaceId) -> usize {
        let others = taken.spaces.len() - usize::from(taken.spaces.contains_key(space));
        (self.total / (others + 1)).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.keys.remove(&self.key);
        less(&mut taken.spaces, &self.key.space);
        if let Some(host) = &self.host {
            less(&mut taken.hosts, host);
        }
        drop(taken);
        self.slots.freed.notify_one();
    }
}

fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(n) = counts.get_mut(key) {
        *n -= 1;
        if *n == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use valetkey_core::{ConnectionName, ConnectorId, Owner};

    use super::*;

    #[test]
    fn it_holds_for_a_second_and_for_these_spaces_that_nobody_else_waits() {
        let space = |name: &str| SpaceId::new(name).expect("valid");
        let (slots, at) = (Slots::new(8, 8), Duration::from_secs(100));
        assert!(!slots.others_are_idle(&[space("a")], at));
        slots.note_others_idle(vec![space("a")], at);
        assert!(slots.others_are_idle(&[space("a")], at + HOLDS / 2));
        assert!(
            slots.others_are_idle(&[space("b"), space("a")], at),
            "there are even fewer others"
        );
        assert!(
            !slots.others_are_idle(&[space("b")], at),
            "now the first is one of the others"
        );
        assert!(!slots.others_are_idle(&[space("a")], at + HOLDS));
    }

    fn key(space: &str, n: usize) -> ConnectionKey {
        ConnectionKey {
            space: SpaceId::new(space).expect("a space"),
            connector: ConnectorId::new("crm").expect("a connector"),
            owner: Owner::Shared,
            name: ConnectionName::new(format!("n{n}")).expect("a name"),
        }
    }

    fn fill(slots: &Arc<Slots>, space: &str, beyond: bool) -> Vec<Slot> {
        (0..1_000)
            .map_while(|n| slots.take(&key(space, n), None, 0, beyond).ok())
            .collect()
    }

    #[test]
    fn a_space_alone_leaves_one_slot_in_eight() {
        let slots = Slots::new(64, 64);
        let first = fill(&slots, "a", false);
        assert_eq!(first.len(), 56);
        assert!(slots.are_kept(0));
        assert_eq!(
            fill(&slots, "b", false).len(),
            1,
            "a space with nothing under way begins at once"
        );
    }

    #[test]
    fn spaces_come_to_equal_shares_as_slots_become_free() {
        let slots = Slots::new(8, 8);
        let mut a = fill(&slots, "a", false);
        let mut b = fill(&slots, "b", false);
        while a.len() > 4 {
            drop(a.pop());
            assert_eq!(slots.take(&key("a", 900), None, 0, false).err(), Some(Refused::Share));
            b.extend(slots.take(&key("b", 900 - a.len()), None, 0, false));
        }
        assert_eq!((a.len(), b.len()), (4, 3), "one of the eight is for others");
    }

    #[test]
    fn what_nobody_else_wants_may_be_taken_beyond_the_share() {
        let slots = Slots::new(16, 16);
        let _b = slots.take(&key("b", 0), None, 0, false).expect("a slot");
        let _a = fill(&slots, "a", false);
        assert_eq!(slots.take(&key("a", 500), None, 0, false).err(), Some(Refused::Share));
        assert_eq!(fill(&slots, "a", true).len(), 0, "the names are taken");
        assert!(slots.take(&key("a", 500), None, 0, true).is_ok());
    }

    #[test]
    fn g50_a_host_has_a_bulkhead_of_its_own() {
        let slots = Slots::new(16, 2);
        let take = |n, host| slots.take(&key("a", n), Some(host), 0, false);
        let _slow = [take(1, "slow.example"), take(2, "slow.example")];
        assert_eq!(take(3, "slow.example").err(), Some(Refused::Host));
        assert!(take(4, "quick.example").is_ok());
    }

    #[test]
    fn refreshes_that_callers_wait_for_come_first_and_one_slot_is_kept() {
        let slots = Slots::new(4, 4);
        let first = slots.take(&key("a", 1), None, 50, false);
        assert!(first.is_ok(), "background work goes on under any load");
        assert_eq!(slots.take(&key("b", 2), None, 50, false).err(), Some(Refused::Full));
        assert_eq!(slots.take(&key("a", 1), None, 0, false).err(), Some(Refused::UnderWay));
        drop(first);
        assert!(slots.sated(0).is_empty());
    }
}
