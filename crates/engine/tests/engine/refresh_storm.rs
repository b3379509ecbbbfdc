//! Everything that can go wrong, by seed: processes that end and start, stores that fail before and after, answers that
//! get lost, providers that are down. When it is over, every grant that the provider still honours is in force.

use std::time::Duration;

use valetkey_core::Rng;
use valetkey_core::fake::FakeRng;
use valetkey_oauth::Rotation;

use crate::faults::Fault;
use crate::provider::Incident;
use crate::town::{DiesAt, Node, Plan, Town};

const S: Duration = Duration::from_secs(1);
const USERS: [&str; 3] = ["ada", "bob", "cleo"];
const STEPS: usize = 120;

struct Storm {
    town: Town,
    nodes: Vec<Node>,
    rng: FakeRng,
}

impl Storm {
    async fn begin(rotation: Rotation, seed: u64) -> Self {
        let plan = Plan {
            expires_in: 300,
            ..Plan::of(rotation)
        };
        let (town, first) = Town::build(plan).await;
        for user in USERS {
            first.connect(user).await;
        }
        let nodes = vec![first, town.start().await, town.start().await];
        Self {
            town,
            nodes,
            rng: FakeRng::seeded(seed),
        }
    }

    fn pick(&self, below: usize) -> usize {
        let rng: &dyn Rng = &self.rng;
        usize::from(u16::from_le_bytes(rng.bytes())) % below
    }

    async fn pass(&self, seconds: usize) {
        let seconds = u32::try_from(self.pick(seconds)).expect("small");
        self.town.pass(S * seconds).await;
    }

    async fn step(&mut self) {
        let (at, user) = (self.pick(3), USERS[self.pick(3)]);
        let node = &self.nodes[at];
        match self.pick(12) {
            0..=3 => drop(node.call(user)),
            4 => self.pass(2_000).await,
            5 | 6 => self.pass(30).await,
            7 => {
                let operations = [
                    "claim_refresh",
                    "finish_refresh",
                    "release_refresh",
                    "extend_lease",
                    "get_connection",
                ];
                let faults = [Fault::Before, Fault::After, Fault::DieBefore, Fault::DieAfter];
                let (operation, fault) = (operations[self.pick(5)], faults[self.pick(4)]);
                node.faults.set(operation, fault, self.pick(2), 1 + self.pick(4));
            }
            8 => {
                let incidents = [
                    Incident::LostBefore,
                    Incident::LostAfter,
                    Incident::NotSent,
                    Incident::Slow(50 * S),
                    Incident::Slow(20 * S),
                    Incident::Gateway,
                    Incident::Garbled,
                    Incident::Refuse(503, "temporarily_unavailable", None),
                ];
                self.town.provider.will([incidents[self.pick(8)].clone()]);
            }
            9 => node.line.die_at([DiesAt::Sending, DiesAt::Waiting][self.pick(2)]),
            10 => node.disk.fill(self.pick(2) == 0),
            _ => node.faults.lift(),
        }
        self.replace_the_dead().await;
    }

    async fn replace_the_dead(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_dead() {
                let disk = std::sync::Arc::clone(&self.nodes[at].disk);
                self.nodes[at] = self.town.start_on(disk).await;
                self.nodes[at].engine.replay_journal().await.expect("replayed");
            }
        }
    }

    /// Whoever lost a grant connects again, if that works just now. Before that, it must have been lost for good.
    async fn connect_again(&self) {
        for user in USERS {
            if self.town.row(user).await.state.word() == "reauthorize" {
                self.check_ended(user, "in the storm").await;
                drop(self.nodes[self.pick(3)].connecting(user));
                self.town.pass(S).await;
            }
        }
    }

    /// A grant may be ended for one reason only: the token was spent, and nobody has what it brought.
    async fn check_ended(&self, user: &str, place: &str) {
        let row = self.town.row(user).await;
        assert_eq!(row.state.cause(), Some("refresh_outcome_unknown"), "{place}: {user}");
        let last = self.town.provider.last_sent_by(user).expect("something was sent");
        assert!(!self.town.provider.honours(&last), "{place}: {user}'s grant was alive");
    }

    /// Everything works again; time enough passes for every lease, pause and circuit.
    async fn end(&mut self) {
        self.town.provider.calm();
        for node in &self.nodes {
            node.faults.lift();
            node.line.survive();
            node.disk.fill(false);
        }
        for _ in 0..12 {
            for node in &self.nodes {
                for user in USERS {
                    drop(node.call(user));
                }
            }
            self.town.pass(155 * S).await;
            self.replace_the_dead().await;
        }
        for node in &self.nodes {
            node.settle().await;
        }
    }

    async fn check(&self, rotation: Rotation, seed: u64) {
        let place = format!("{rotation:?}, seed {seed}");
        for user in USERS {
            let row = self.town.row(user).await;
            assert_eq!(row.intent, None, "{place}: {user} is left in between");
            if row.state.word() == "active" {
                let texts = [
                    self.nodes[0].token_text(user).await,
                    self.nodes[1].token_text(user).await,
                    self.nodes[2].token_text(user).await,
                ];
                assert!(texts.iter().all(|text| *text == texts[0]), "{place}: {texts:?}");
                assert!(
                    self.town.provider.accepts(&texts[0]),
                    "{place}: {user} is served a dead token"
                );
                continue;
            }
            assert!(
                matches!(rotation, Rotation::SingleUse | Rotation::SingleUseRevokesFamily),
                "{place}: {user} was ended, {:?}",
                row.state
            );
            self.check_ended(user, &place).await;
        }
        assert!(
            self.nodes.iter().all(|node| node.disk.len() == 0),
            "{place}: the journal is empty"
        );
    }
}

async fn storms(rotation: Rotation, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut storm = Storm::begin(rotation, seed).await;
        for step in 0..STEPS {
            storm.step().await;
            if step % 10 == 9 {
                storm.connect_again().await;
            }
        }
        storm.end().await;
        storm.check(rotation, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_token_stays_valid_survives_every_storm() {
    storms(Rotation::None, 0..3).await;
    storms(Rotation::Overlap, 0..3).await;
    storms(Rotation::Idempotent, 0..3).await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_with_a_leeway_of_days_survives_every_storm() {
    storms(Rotation::Leeway(1_000_000), 0..3).await;
}

#[tokio::test(start_paused = true)]
async fn a_single_use_grant_is_ended_only_when_its_token_was_spent() {
    storms(Rotation::SingleUse, 0..5).await;
}

#[tokio::test(start_paused = true)]
async fn a_family_that_reuse_would_end_is_ended_only_when_its_token_was_spent() {
    storms(Rotation::SingleUseRevokesFamily, 0..5).await;
}
