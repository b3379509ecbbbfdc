//! The store: what valetkey keeps, behind one contract.
//!
//! The contract is made of **whole operations**, not of tables and not of open transactions: each method is atomic in
//! every engine, and compare-and-set on `generation` (connections) or `version` (connectors) is the only tool against
//! races. The store holds sealed bytes and cannot open them. An audit record that belongs to a change is written in the
//! same transaction as the change.

// Test support names the crate as tests outside of it do.
#[cfg(all(test, feature = "postgres"))]
extern crate self as valetkey_store;

mod contract;
mod copy;
mod error;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod rows;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use contract::{
    AuditLog, Connections, Connectors, Flows, Jobs, Keys, Limits, Refreshes, Sessions, Store, Tallies, Transfer, Vault,
};
pub use copy::{Copied, CopyError, copy};
pub use error::StoreError;
