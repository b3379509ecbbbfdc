//! What only the `PostgreSQL` engine promises: several processes, a server that goes away and comes back, TLS.
#![cfg(feature = "postgres")]

mod durability;
mod faults;
mod fixtures;
mod link;
mod processes;
mod schema;
mod standby;
mod tls;

#[path = "../support/place.rs"]
mod place;
#[expect(dead_code, reason = "tests of the binary do more with their servers")]
#[path = "../support/server.rs"]
mod server;
