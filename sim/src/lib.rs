//! A deterministic simulation.
pub mod clock;
pub mod dice;
pub mod harness;
pub mod layer;
pub mod ledger;
pub mod link;
pub mod plan;
pub mod process;
pub mod provider;
pub mod run;
pub mod sabotage;
pub mod service;
pub mod store;
pub mod trace;
pub mod weather;
pub mod wire;
pub mod world;
