//! The engine on a real store, with time, randomness and the network in the test's hands.

mod faults;
mod isolation;
mod life;
mod provider;
mod refresh;
mod refresh_crash;
mod refresh_host;
mod refresh_limits;
mod refresh_lost;
mod refresh_nodes;
mod refresh_store;
mod support;
mod sweeping;
mod town;
