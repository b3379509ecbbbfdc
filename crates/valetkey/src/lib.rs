//! The binary's rooms, as a library so that tests and benches can build the application in their own process.
//!
//! `app` is the composition root: the only place that sees all rooms and builds things. `http` serves the API and the
//! pages, `console` the web console, `wire` sends requests out, `journal` keeps what the store does not take, `config` reads settings, `work` runs
//! what nobody waits for, `workers` are the threads that serve, `demo` is a playground. `crash` is for tests only: places
//! at which the process ends itself.

mod app;
mod brand;
mod cli;
mod config;
mod console;
mod copy;
#[cfg(debug_assertions)]
mod crash;
mod demo;
mod http;
mod journal;
mod master;
mod system;
mod telemetry;
mod water;
mod wire;
mod work;
mod workers;

pub use cli::run;
