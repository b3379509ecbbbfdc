//! An authorization server with its API, as a model: it knows every pair that it ever gave, which of them it still
//! honours, and what using one twice does. It is honest: what goes wrong on the way to it and back is the business of
//! [`crate::wire`].

mod grant;

use std::collections::BTreeMap;
use std::time::Duration;

use valetkey_oauth::Rotation;

pub use grant::{Death, Grant, Pair};

/// How a provider behaves.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Its name: of its connector type, of its hosts, and in its tokens.
    pub name: &'static str,
    /// What becomes of a refresh token that was used.
    pub rotation: Rotation,
    /// Whether a refresh ends the access tokens before it.
    pub old_access_token_dies: bool,
    /// How long its access tokens live.
    pub lifetime: Duration,
    /// Whether it says an unchanged refresh token again.
    pub repeats_refresh_token: bool,
    /// Whether revoking a refresh token that was replaced ends the grant, or nothing.
    pub takes_spent_for_revocation: bool,
}

/// The providers there are: one for each family of rotation.
pub const FAMILIES: [(&str, Rotation, bool); 8] = [
    ("none", Rotation::None, false),
    ("overlap", Rotation::Overlap, false),
    ("leeway", Rotation::Leeway(600), false),
    ("idempotent", Rotation::Idempotent, false),
    ("single-use", Rotation::SingleUse, false),
    ("strict", Rotation::SingleUseRevokesFamily, false),
    ("dying", Rotation::None, true),
    ("dying-single-use", Rotation::SingleUse, true),
];

/// What a token endpoint decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Here is a pair.
    Granted {
        /// Of which grant.
        grant: usize,
        /// The pair.
        pair: Pair,
    },
    /// RFC 6749 section 5.2.
    Refused(&'static str),
}

/// The model.
#[derive(Debug)]
pub struct Provider {
    /// How it behaves.
    pub habits: Habits,
    grants: Vec<Grant>,
    codes: BTreeMap<String, (usize, bool)>,
}

impl Provider {
    /// A provider that has given nothing yet.
    pub fn new(habits: Habits) -> Self {
        Self {
            habits,
            grants: Vec::new(),
            codes: BTreeMap::new(),
        }
    }

    /// A person consents: the code that their browser brings back.
    pub fn consent(&mut self, user: &str) -> String {
        let grant = self.grants.len();
        self.grants.push(Grant::new(&self.habits, grant, user));
        let code = format!("code-{}-{grant}", self.habits.name);
        self.codes.insert(code.clone(), (grant, false));
        code
    }

    /// Redeems a code. One that is redeemed twice ends what it brought (RFC 6749 section 4.1.2).
    pub fn redeem(&mut self, code: &str, now: Duration) -> Verdict {
        let Some((grant, used)) = self.codes.get_mut(code) else {
            return Verdict::Refused("invalid_grant");
        };
        let grant = *grant;
        if std::mem::replace(used, true) {
            self.grants[grant].die(now, Death::CodeUsedTwice);
            return Verdict::Refused("invalid_grant");
        }
        let pair = self.grants[grant].first_pair(&self.habits, now);
        Verdict::Granted { grant, pair }
    }

    /// Exchanges a refresh token for a new pair, as the family wants it.
    pub fn refresh(&mut self, token: &str, now: Duration) -> Verdict {
        let Some((grant, serial)) = self.find_refresh(token) else {
            return Verdict::Refused("invalid_grant");
        };
        match self.grants[grant].refresh(&self.habits, serial, now) {
            Some(pair) => Verdict::Granted { grant, pair },
            None => Verdict::Refused("invalid_grant"),
        }
    }

    /// Ends a token (RFC 7009): a refresh token with its whole grant, an access token by itself.
    pub fn revoke(&mut self, token: &str, now: Duration) {
        if let Some((grant, serial)) = self.find_refresh(token) {
            let grant = &mut self.grants[grant];
            let is_good = grant.is_current(serial) || grant.honours(&self.habits, serial, now);
            if self.habits.takes_spent_for_revocation || is_good {
                grant.die(now, Death::Revoked);
            }
        } else if let Some((grant, serial)) = self.find_access(token) {
            self.grants[grant].end_access(serial);
        }
    }

    /// Whether the API takes the token. It is used by that.
    pub fn call(&mut self, token: &str, now: Duration) -> bool {
        let Some((grant, serial)) = self.find_access(token) else {
            return false;
        };
        let lives = self.grants[grant].access_lives(serial, now);
        if lives {
            self.grants[grant].use_access(&self.habits, serial);
        }
        lives
    }

    /// Whether the API would take the token.
    pub fn accepts(&self, token: &str, now: Duration) -> bool {
        self.find_access(token)
            .is_some_and(|(grant, serial)| self.grants[grant].access_lives(serial, now))
    }

    /// When an access token ends by its lifetime.
    pub fn ends_at(&self, token: &str) -> Option<Duration> {
        let (grant, serial) = self.find_access(token)?;
        Some(self.grants[grant].access_until(serial))
    }

    /// Whether the refresh token would bring a pair.
    pub fn honours(&self, token: &str, now: Duration) -> bool {
        self.find_refresh(token)
            .is_some_and(|(grant, serial)| self.grants[grant].honours(&self.habits, serial, now))
    }

    /// Which grant a refresh token belongs to, and the how manyeth of it it is.
    pub fn find_refresh(&self, token: &str) -> Option<(usize, usize)> {
        self.find("rt", token)
    }

    /// Which grant an access token belongs to, and the how manyeth of it it is.
    pub fn find_access(&self, token: &str) -> Option<(usize, usize)> {
        self.find("at", token)
    }

    /// A grant.
    pub fn grant(&self, grant: usize) -> &Grant {
        &self.grants[grant]
    }

    /// The grants of a user.
    pub fn grants_of(&self, user: &str) -> impl Iterator<Item = (usize, &Grant)> {
        self.grants
            .iter()
            .enumerate()
            .filter(move |(_, grant)| grant.user() == user)
    }

    /// The person takes back what they gave, at the provider itself.
    pub fn take_back(&mut self, grant: usize, now: Duration) {
        self.grants[grant].die(now, Death::TakenBack);
    }

    /// Tokens are named `rt-{provider}-{grant}-{serial}`, so that a trace can be read.
    fn find(&self, kind: &str, token: &str) -> Option<(usize, usize)> {
        let rest = token.strip_prefix(kind)?.strip_prefix('-')?;
        let (grant, serial) = rest
            .strip_prefix(self.habits.name)?
            .strip_prefix('-')?
            .split_once('-')?;
        let (grant, serial): (usize, usize) = (grant.parse().ok()?, serial.parse().ok()?);
        let known = self.grants.get(grant)?.has(kind, serial);
        known.then_some((grant, serial))
    }
}

#[cfg(test)]
mod tests;
