//! The engine on a real store, with time, randomness and the network in the test's hands.

mod background;
mod crowd;
mod herd;
mod isolation;
mod notices;
mod refresh;
mod revocation;
mod stage;
mod support;
mod sweeping;
