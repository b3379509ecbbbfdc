//! Stores that fail: a disk that is full, files that are damaged or gone, a database that is cut off.

mod damage;
mod database;
mod disk;
mod files;
mod migration;
mod storm;
mod sync;
