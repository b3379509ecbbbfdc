//! Chance, from a seed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A stream of random decisions. The same seed decides the same.
#[derive(Debug)]
pub struct Dice(Mutex<fastrand::Rng>);

impl Dice {
    /// A stream of its own for each purpose, so that one more decision in one place does not change all others.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mixed = purpose.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |mixed, byte| {
            (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        });
        Self(Mutex::new(fastrand::Rng::with_seed(mixed)))
    }

    /// Any number.
    pub fn number(&self) -> u64 {
        self.with(|rng| rng.u64(..))
    }

    /// A number less than `end`, which is not 0.
    pub fn below(&self, end: usize) -> usize {
        self.with(|rng| rng.usize(..end))
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.with(|rng| rng.u64(low..=high))
    }

    /// Yes, so many times in a thousand.
    pub fn happens(&self, in_a_thousand: u32) -> bool {
        in_a_thousand > 0 && self.with(|rng| rng.u32(..1000)) < in_a_thousand
    }

    /// One of them. There must be one.
    pub fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A time span in milliseconds, both ends included.
    pub fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// One of the indexes, in proportion to the weights. One of them must not be 0.
    pub fn weighted(&self, weights: &[u32]) -> usize {
        let all: u32 = weights.iter().sum();
        let mut left = self.with(|rng| rng.u32(..all));
        for (index, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        weights.len() - 1
    }

    fn with<T>(&self, decide: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        decide(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
