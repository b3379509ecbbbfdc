//! The main job and what must never happen, shown on the real binary with real SQLite.
//!
//! Tests are named after the case that they show. Each has a process, a data directory and providers of its own.

mod support;

#[cfg(test)]
mod kit;
