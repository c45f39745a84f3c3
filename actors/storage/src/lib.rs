//! The store: one RocksDB database per node, and the only code that names rocksdb.
//!
//! What it owns: the database directory, one writer thread, a small pool of reader threads, one thread for artifacts.
//! Everyone else holds the ports of [`StorePorts`] and speaks the messages of `meshwork_proto::store` and
//! `meshwork_proto::artifact`.
//!
//! What it promises:
//! - **Order.** Commits take effect in the order in which they were sent, each as a whole or not at all.
//! - **Durability.** With [`Durability::Fsync`] a commit that asked for `Acknowledge::Durable` is answered after the
//!   fsync that covers it; everything that waits shares one write and one fsync (group commit, see `writer`). What was
//!   acknowledged survives `kill -9` always, and power loss with `Fsync`.
//! - **No false answers.** A group that could not be written is answered with an error, and its changes are taken back
//!   when the database has recovered. Until then reads go on and writes are refused with the reason.
//! - **No silent loss.** A torn tail of the write-ahead log behind the last fsync is normal after power loss and is
//!   dropped; damage before it, a missing file, a foreign directory or a newer format are errors that say what to do.
//!
//! ```no_run
//! # fn wire(registry: &prometheus::Registry) -> Result<(), Box<dyn std::error::Error>> {
//! use meshwork_kit::Clock;
//! use meshwork_storage::{StoreOptions, open};
//! use std::time::Duration;
//!
//! let runtime = tokio::runtime::Handle::current();
//! let store = open(StoreOptions::at("data/store"), &runtime, registry, Clock::system())?;
//! let ports = store.ports.clone();
//! // ... hand the ports to the actors, run, stop the actors ...
//! drop(ports);
//! store.close(Duration::from_secs(10))?;
//! # Ok(())
//! # }
//! ```

mod artifacts;
mod engine;
mod error;
mod keys;
mod metrics;
mod options;
mod readers;
mod records;
mod space;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{CloseError, OpenError};
pub use options::{Durability, FreeSpace, StoreOptions};
pub use records::FORMAT;
pub use store::{Store, StoreHealth, StorePorts, open};
