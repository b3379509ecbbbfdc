//! The engine on a real store, with time, randomness and the network in the test's hands.

mod background;
mod herd;
mod isolation;
mod notices;
mod provider;
mod refresh;
mod revocation;
mod stage;
mod support;
mod sweeping;
