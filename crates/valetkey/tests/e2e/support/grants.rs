//! What an authorization server keeps of its grants: families of refresh tokens, and what using one of them twice does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// How the provider treats a refresh token that was used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rotation {
    /// It stays as it is.
    Never,
    /// It is replaced, and goes on working for so long.
    Leeway(Duration),
    /// Using it again brings the same pair, until the new refresh token was used.
    Idempotent,
    /// It works once.
    SingleUse,
    /// It works once; using it again ends the whole family with its access tokens.
    RevokesFamily,
}

impl Rotation {
    /// How a connector is told.
    pub(crate) fn setting(self) -> Value {
        match self {
            Self::Never => json!("none"),
            Self::Leeway(span) => json!({"leeway_s": span.as_secs()}),
            Self::Idempotent => json!("idempotent"),
            Self::SingleUse => json!("single_use"),
            Self::RevokesFamily => json!("single_use_revokes_family"),
        }
    }
}

/// Everything that came from one consent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Family {
    number: usize,
    pub(crate) account: String,
    pub(crate) scope: String,
}

struct Held {
    family: Family,
    used: Option<Instant>,
    /// The answer that its first use brought.
    answer: Option<Value>,
}

/// What a refresh token brings.
pub(crate) enum Spent {
    /// A new pair of this family, or only a new access token.
    Renewed { family: Family, rotates: bool },
    /// The same answer once more.
    Again(Value),
}

/// The grants of a provider.
pub(crate) struct Grants {
    rotation: Rotation,
    held: BTreeMap<String, Held>,
    ended: BTreeSet<Family>,
    begun: usize,
}

impl Grants {
    pub(crate) fn new() -> Self {
        Self {
            rotation: Rotation::SingleUse,
            held: BTreeMap::new(),
            ended: BTreeSet::new(),
            begun: 0,
        }
    }

    pub(crate) fn set_rotation(&mut self, rotation: Rotation) {
        self.rotation = rotation;
    }

    /// A new family: somebody consented.
    pub(crate) fn begin(&mut self, account: String, scope: String) -> Family {
        self.begun += 1;
        Family {
            number: self.begun,
            account,
            scope,
        }
    }

    /// A refresh token is given out.
    pub(crate) fn give(&mut self, token: &str, family: Family) {
        let held = Held {
            family,
            used: None,
            answer: None,
        };
        self.held.insert(token.to_owned(), held);
    }

    /// What using this refresh token brings; `None` for `invalid_grant`.
    pub(crate) fn spend(&mut self, token: &str) -> Option<Spent> {
        let held = self.held.get(token)?;
        let family = held.family.clone();
        if self.ended.contains(&family) {
            return None;
        }
        if !self.still_works(held) {
            if matches!(self.rotation, Rotation::RevokesFamily) {
                self.ended.insert(family);
            }
            return None;
        }
        let answer = held.answer.clone();
        if let Some(answer) = answer.filter(|_| matches!(self.rotation, Rotation::Idempotent)) {
            return Some(Spent::Again(answer));
        }
        if let Some(held) = self.held.get_mut(token) {
            held.used.get_or_insert_with(Instant::now);
        }
        Some(Spent::Renewed {
            family,
            rotates: !matches!(self.rotation, Rotation::Never),
        })
    }

    fn still_works(&self, held: &Held) -> bool {
        let Some(used) = held.used else { return true };
        match self.rotation {
            Rotation::Never => true,
            Rotation::Leeway(span) => used.elapsed() <= span,
            Rotation::Idempotent => {
                let heir = held.answer.as_ref().and_then(|answer| answer["refresh_token"].as_str());
                heir.and_then(|heir| self.held.get(heir))
                    .is_some_and(|heir| heir.used.is_none())
            }
            Rotation::SingleUse | Rotation::RevokesFamily => false,
        }
    }

    /// Remembers what the use of a refresh token was answered with.
    pub(crate) fn answered(&mut self, token: &str, answer: &Value) {
        if let Some(held) = self.held.get_mut(token) {
            held.answer = Some(answer.clone());
        }
    }

    /// Whether access tokens of this family work.
    pub(crate) fn is_alive(&self, family: &Family) -> bool {
        !self.ended.contains(family)
    }

    /// Whether a refresh token would be accepted now.
    pub(crate) fn honours(&self, token: &str) -> bool {
        let held = self.held.get(token).filter(|held| self.is_alive(&held.family));
        held.is_some_and(|held| self.still_works(held))
    }

    pub(crate) fn take_back(&mut self, token: &str) {
        self.held.remove(token);
    }

    pub(crate) fn forget_all(&mut self) {
        self.held.clear();
    }
}
