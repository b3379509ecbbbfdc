//! What a seed stands for: how the service is set up, what goes wrong and how often, and what happens.
//!
//! Each run has its own few kinds of operations and of faults, and not all of them a little: a run in which nothing but
//! crashes happens goes deeper into crashes than one in which everything happens.

use std::time::Duration;

use crate::dice::Dice;
use crate::provider::{FAMILIES, Habits};
use crate::weather::Chances;

/// What happens in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Somebody asks for a token.
    Ask,
    /// Many ask for the same token, everywhere.
    Burst,
    /// Somebody uses a token at the API, and asks again if it is rejected.
    Use,
    /// An action runs.
    Execute,
    /// Somebody connects, again or for the first time.
    Connect,
    /// Somebody disconnects.
    Disconnect,
    /// A caller goes away.
    GoAway,
    /// A process is killed.
    Crash,
    /// A process is stopped as it should be.
    Stop,
    /// A process stands still.
    Pause,
    /// A process is cut off from the store.
    CutOff,
    /// Nobody reaches the store.
    StoreOutage,
    /// Nobody reaches a provider.
    ProviderOutage,
    /// A provider refuses everything by mistake.
    Mistake,
    /// A person takes their consent back at the provider.
    TakeBack,
    /// A clock is set, by up to a minute or two.
    SetClock,
    /// Time passes until tokens are stale.
    LetStale,
    /// Time passes until tokens have ended.
    LetEnd,
    /// Some time passes.
    Wait,
}

/// Each operation with its weight.
const OPS: [(Op, u32); 19] = [
    (Op::Ask, 20),
    (Op::Burst, 10),
    (Op::Use, 10),
    (Op::Execute, 5),
    (Op::Connect, 3),
    (Op::Disconnect, 2),
    (Op::GoAway, 3),
    (Op::Crash, 4),
    (Op::Stop, 2),
    (Op::Pause, 4),
    (Op::CutOff, 4),
    (Op::StoreOutage, 2),
    (Op::ProviderOutage, 3),
    (Op::Mistake, 1),
    (Op::TakeBack, 1),
    (Op::SetClock, 2),
    (Op::LetStale, 10),
    (Op::LetEnd, 6),
    (Op::Wait, 10),
];

/// Operations without which nothing happens at all.
const ALWAYS: [Op; 4] = [Op::Ask, Op::Burst, Op::LetStale, Op::LetEnd];

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many replicas there are.
    pub replicas: usize,
    /// The providers.
    pub providers: Vec<Habits>,
    /// The users.
    pub users: Vec<&'static str>,
    /// How old a remembered record may be.
    pub cache_max_age: Duration,
    /// How far each replica's clock is ahead, in milliseconds.
    pub ahead: Vec<i64>,
    /// By how much a clock may be set.
    pub step: Duration,
    /// How often each fault happens.
    pub chances: Chances,
    /// The weight of each operation, in the order in which [`Op`] has them.
    pub weights: Vec<u32>,
    /// How many steps there are.
    pub steps: usize,
    /// Whether processes that are cut off from the store sometimes end.
    pub kills_cut_off: bool,
    /// Whether connections are renewed before somebody asks.
    pub refreshes_ahead: bool,
    /// Whether people come again when they are needed.
    pub reconnects: bool,
    /// How often somebody asks, whatever else happens.
    pub heartbeat: Option<Duration>,
}

impl Plan {
    /// The plan of a scene: one provider and one user, nothing goes wrong, and nothing happens by itself.
    pub fn scene(family: &str, replicas: usize, lifetime: Duration) -> Self {
        let found = FAMILIES
            .iter()
            .find(|(name, ..)| *name == family)
            .unwrap_or(&FAMILIES[0]);
        let (name, rotation, old_access_token_dies) = *found;
        Self {
            replicas,
            providers: vec![Habits {
                name,
                rotation,
                old_access_token_dies,
                lifetime,
                repeats_refresh_token: false,
                takes_spent_for_revocation: true,
            }],
            users: vec!["ada"],
            cache_max_age: Duration::from_secs(1),
            ahead: vec![0; replicas],
            step: Duration::ZERO,
            chances: Chances::default(),
            weights: Vec::new(),
            steps: 0,
            kills_cut_off: false,
            refreshes_ahead: true,
            reconnects: false,
            heartbeat: None,
        }
    }

    /// Draws the plan of a seed.
    pub fn draw(dice: &Dice) -> Self {
        let replicas = dice.below(2) + 2;
        let mut families = FAMILIES.to_vec();
        let providers = (0..=dice.below(2))
            .map(|_| {
                let (name, rotation, old_access_token_dies) = families.remove(dice.below(families.len()));
                Habits {
                    name,
                    rotation,
                    old_access_token_dies,
                    lifetime: Duration::from_secs(*dice.pick(&[60, 300, 600, 3_600])),
                    repeats_refresh_token: dice.happens(500),
                    takes_spent_for_revocation: dice.happens(500),
                }
            })
            .collect();
        // Rules about time forgive more where clocks are set, so that it is done in a few runs only.
        let sets_clocks = dice.happens(100);
        let weights = OPS.iter().map(|(op, weight)| {
            let is_taken = if *op == Op::SetClock {
                sets_clocks
            } else {
                dice.happens(500)
            };
            if ALWAYS.contains(op) || is_taken { *weight } else { 0 }
        });
        let skew = *dice.pick(&[0, 0, 500, 2_000]);
        Self {
            replicas,
            providers,
            users: ["ada", "bob", "cyd"][..=dice.below(3)].to_vec(),
            cache_max_age: Duration::from_secs(*dice.pick(&[1, 2, 5])),
            step: if sets_clocks {
                Duration::from_secs(90)
            } else {
                Duration::ZERO
            },
            weights: weights.collect(),
            ahead: (0..replicas)
                .map(|_| i64::try_from(dice.between(0, 2 * skew)).unwrap_or(0) - i64::try_from(skew).unwrap_or(0))
                .collect(),
            chances: Chances::draw(dice),
            steps: usize::try_from(dice.between(20, 120)).unwrap_or(20),
            kills_cut_off: dice.happens(500),
            refreshes_ahead: dice.happens(750),
            reconnects: dice.happens(600),
            heartbeat: dice.happens(700).then(|| dice.millis(5_000, 30_000)),
        }
    }

    /// How far two clocks may be apart.
    pub fn skew(&self) -> Duration {
        let most = self.ahead.iter().map(|ms| ms.unsigned_abs()).max();
        Duration::from_millis(2 * most.unwrap_or(0)) + self.step * 2
    }

    /// What happens next.
    pub fn op(&self, dice: &Dice) -> Op {
        OPS[dice.weighted(&self.weights)].0
    }

    /// How often what runs beside requests is done.
    pub fn work_every(&self) -> Duration {
        Duration::from_secs(1).max(self.longest_life() / 60)
    }

    /// The longest life of an access token.
    pub fn longest_life(&self) -> Duration {
        self.providers
            .iter()
            .map(|habits| habits.lifetime)
            .max()
            .unwrap_or_default()
    }
}
