//! What is left when a process ends at a named point: on a file, on a database, and where two others go on.

mod flow;
mod refresh;
mod revoke;
