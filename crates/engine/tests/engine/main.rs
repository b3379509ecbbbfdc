//! The engine on a real store, with time, randomness and the network in the test's hands.

mod isolation;
mod refresh;
mod support;
mod sweeping;
