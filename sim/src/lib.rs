//! A deterministic simulation.
pub mod store;
