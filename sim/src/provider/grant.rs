//! One grant: all pairs that came from one consent.

use std::time::Duration;

use valetkey_oauth::Rotation;

use super::Habits;

/// Why a grant is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The person took it back at the provider.
    TakenBack,
    /// A client asked for it.
    Revoked,
    /// Its code was redeemed twice.
    CodeUsedTwice,
    /// One of its refresh tokens was used twice, in a family that does not forgive that.
    Reused,
}

/// What a token endpoint gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The access token.
    pub access: String,
    /// The refresh token to be used next, whether the answer says it or not.
    pub refresh: String,
    /// Whether the answer says it.
    pub says_refresh: bool,
    /// How long the access token lives from now on.
    pub lifetime: Duration,
}

#[derive(Debug)]
struct Refresh {
    first_used: Option<Duration>,
    dead: bool,
    /// The pair that it brought: the serials of its access and its refresh token.
    child: Option<(usize, usize)>,
    /// The refresh token that brought it.
    parent: Option<usize>,
}

#[derive(Debug)]
struct Access {
    until: Duration,
    dead: bool,
    /// The refresh token that brought it.
    parent: Option<usize>,
}

/// The grant.
#[derive(Debug)]
pub struct Grant {
    name: String,
    user: String,
    death: Option<(Duration, Death)>,
    refreshes: Vec<Refresh>,
    accesses: Vec<Access>,
}

impl Grant {
    pub(super) fn new(habits: &Habits, number: usize, user: &str) -> Self {
        Self {
            name: format!("{}-{number}", habits.name),
            user: user.to_owned(),
            death: None,
            refreshes: Vec::new(),
            accesses: Vec::new(),
        }
    }

    /// Whose it is.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Why it is dead, if it is.
    pub fn death(&self) -> Option<Death> {
        self.death.map(|(_, death)| death)
    }

    /// Whether it ever gave a pair.
    pub fn was_redeemed(&self) -> bool {
        !self.accesses.is_empty()
    }

    /// The refresh token that was given last.
    pub fn newest_refresh(&self) -> Option<String> {
        Some(self.refresh_text(self.refreshes.len().checked_sub(1)?))
    }

    /// Whether anything of it still works.
    pub fn is_live(&self, habits: &Habits, now: Duration) -> bool {
        (0..self.refreshes.len()).any(|serial| self.honours(habits, serial, now))
            || (0..self.accesses.len()).any(|serial| self.access_lives(serial, now))
    }

    pub(super) fn has(&self, kind: &str, serial: usize) -> bool {
        serial
            < if kind == "rt" {
                self.refreshes.len()
            } else {
                self.accesses.len()
            }
    }

    pub(super) fn die(&mut self, now: Duration, death: Death) {
        self.death.get_or_insert((now, death));
    }

    pub(super) fn first_pair(&mut self, habits: &Habits, now: Duration) -> Pair {
        let refresh = self.mint_refresh(None);
        let access = self.mint_access(habits, None, now);
        self.pair(habits, access, refresh, true)
    }

    /// A new pair for a refresh token; `None` if it is not honoured.
    pub(super) fn refresh(&mut self, habits: &Habits, serial: usize, now: Duration) -> Option<Pair> {
        if !self.honours(habits, serial, now) {
            let reused = self.refreshes[serial].first_used.is_some();
            if reused && habits.rotation == Rotation::SingleUseRevokesFamily {
                self.die(now, Death::Reused);
            }
            return None;
        }
        self.retire(habits, self.refreshes[serial].parent);
        self.refreshes[serial].first_used.get_or_insert(now);
        if habits.old_access_token_dies {
            self.accesses.iter_mut().for_each(|access| access.dead = true);
        }
        match habits.rotation {
            Rotation::None => {
                let access = self.mint_access(habits, Some(serial), now);
                Some(self.pair(habits, access, serial, habits.repeats_refresh_token))
            }
            Rotation::Idempotent => {
                let (mut access, child) = match self.refreshes[serial].child {
                    Some(child) => child,
                    None => (
                        self.mint_access(habits, Some(serial), now),
                        self.mint_refresh(Some(serial)),
                    ),
                };
                // Less than a second is not worth saying.
                if !self.access_lives(access, now + Duration::from_secs(1)) {
                    access = self.mint_access(habits, Some(serial), now);
                }
                self.refreshes[serial].child = Some((access, child));
                let left = self.accesses[access].until.saturating_sub(now);
                let pair = self.pair(habits, access, child, true);
                Some(Pair { lifetime: left, ..pair })
            }
            Rotation::Overlap | Rotation::Leeway(_) | Rotation::SingleUse | Rotation::SingleUseRevokesFamily => {
                let access = self.mint_access(habits, Some(serial), now);
                let child = self.mint_refresh(Some(serial));
                self.refreshes[serial].child = Some((access, child));
                Some(self.pair(habits, access, child, true))
            }
        }
    }

    pub(super) fn honours(&self, habits: &Habits, serial: usize, now: Duration) -> bool {
        let token = &self.refreshes[serial];
        if self.death.is_some() || token.dead {
            return false;
        }
        match (habits.rotation, token.first_used) {
            (Rotation::Leeway(seconds), Some(used)) => now <= used + Duration::from_secs(seconds),
            (Rotation::SingleUse | Rotation::SingleUseRevokesFamily, used) => used.is_none(),
            (Rotation::None | Rotation::Overlap | Rotation::Idempotent | Rotation::Leeway(_), _) => true,
        }
    }

    /// Whether nothing came after it.
    pub(super) fn is_current(&self, serial: usize) -> bool {
        self.refreshes[serial].child.is_none() && !self.refreshes[serial].dead
    }

    pub(super) fn access_lives(&self, serial: usize, now: Duration) -> bool {
        let access = &self.accesses[serial];
        self.death.is_none() && !access.dead && now < access.until
    }

    pub(super) fn access_until(&self, serial: usize) -> Duration {
        self.accesses[serial].until
    }

    pub(super) fn end_access(&mut self, serial: usize) {
        self.accesses[serial].dead = true;
    }

    /// Where the same refresh brings the same pair, it does so until the pair is used.
    pub(super) fn use_access(&mut self, habits: &Habits, serial: usize) {
        self.retire(habits, self.accesses[serial].parent);
    }

    fn retire(&mut self, habits: &Habits, parent: Option<usize>) {
        if let Some(parent) = parent.filter(|_| habits.rotation == Rotation::Idempotent) {
            self.refreshes[parent].dead = true;
        }
    }

    fn mint_refresh(&mut self, parent: Option<usize>) -> usize {
        self.refreshes.push(Refresh {
            first_used: None,
            dead: false,
            child: None,
            parent,
        });
        self.refreshes.len() - 1
    }

    fn mint_access(&mut self, habits: &Habits, parent: Option<usize>, now: Duration) -> usize {
        self.accesses.push(Access {
            until: now + habits.lifetime,
            dead: false,
            parent,
        });
        self.accesses.len() - 1
    }

    fn pair(&self, habits: &Habits, access: usize, refresh: usize, says_refresh: bool) -> Pair {
        Pair {
            access: format!("at-{}-{access}", self.name),
            refresh: self.refresh_text(refresh),
            says_refresh,
            lifetime: habits.lifetime,
        }
    }

    fn refresh_text(&self, serial: usize) -> String {
        format!("rt-{}-{serial}", self.name)
    }
}
