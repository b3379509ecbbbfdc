//! The engine on a real store, with time, randomness and the network in the test's hands.

mod isolation;
mod refresh;
mod reseal;
mod restored;
mod rotation;
mod support;
mod sweeping;
