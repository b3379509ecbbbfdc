//! The HTTP API: `router` is a table of routes, `front` is what every request passes, `guard` says who calls, `error` maps
//! codes to statuses, and each resource has a file of its own.

mod audit;
mod body;
mod connections;
mod connectors;
mod error;
mod execute;
mod flows;
mod front;
mod guard;
mod keys;
mod operation;
mod pages;
mod query;
mod router;
mod sealing;
mod serve;
mod session;
mod tokens;

pub(crate) use front::{Front, FrontMetrics};
pub(crate) use pages::Pages;
pub(crate) use router::{AppState, openapi, router};
pub(crate) use serve::serve;
