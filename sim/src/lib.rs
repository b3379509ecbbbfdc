//! A deterministic simulation: it drives the real engine with two or three replicas through hours of faults, on a clock, a
//! random source, a store and a network of its own. A seed decides everything; the same seed makes the same run, byte by
//! byte. `docs/simulation.md` says how to use it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`run`] | one run: from a seed to a report |
//! | [`plan`] | what a seed stands for: how the service is set up, what goes wrong, what happens |
//! | [`service`] | the replicas and their callers; what is done in a step, and how a run ends |
//! | [`harness`] | where the simulation touches the engine: the one file to change when the engine's interface does |
//! | [`world`] | true time, the store, the providers, and what goes wrong ([`weather`]) |
//! | [`process`] | one process of a replica: it can be killed, stand still, and be cut off, at any place that it passes |
//! | [`link`], [`wire`], [`journal`] | its ways to the store, to the network, and to its disk |
//! | [`store`], [`layer`] | the store in memory, and what may stand in front of it |
//! | [`provider`] | authorization servers with their APIs, as models |
//! | [`ledger`] | who watches, with the rules |
//! | [`sabotage`] | flaws that are put in on purpose, to see that they are found |
//! | [`scene`] | a few steps in a fixed order, for what was found once |

pub mod clock;
pub mod dice;
pub mod harness;
pub mod journal;
pub mod layer;
pub mod ledger;
pub mod link;
pub mod plan;
pub mod process;
pub mod provider;
pub mod run;
pub mod sabotage;
pub mod scene;
pub mod service;
pub mod store;
pub mod trace;
pub mod weather;
pub mod wire;
pub mod world;
