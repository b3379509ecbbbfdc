//! The engine on a real store, with time, randomness and the network in the test's hands.

mod background;
mod crowd;
mod faults;
mod herd;
mod isolation;
mod life;
mod lists;
mod notices;
mod provider;
mod refresh;
mod refresh_crash;
mod refresh_host;
mod refresh_limits;
mod refresh_lost;
mod refresh_nodes;
mod refresh_store;
mod refresh_storm;
mod reseal;
mod restored;
mod revocation;
mod rotation;
mod stage;
mod support;
mod sweeping;
mod town;
mod uses;
