//! The discovery actor: the one peer book of a node, and the gossip that keeps the books of a mesh alike.
//!
//! Owns: who is known, where each may be reached, how each was found and what it offers (family `peers`). Accepts:
//! connection changes from the transport, what peers pass on, what sources and people name. Asks: the transport for
//! connections and exchanges, the node's root what to say of this node, the store.
//!
//! Three pure parts decide everything, without a clock and without I/O: the [`book`] (what is known), the [`gossip`]
//! (what nodes tell one another) and the [`policy`] (to whom connections are opened); [`logic`] joins them. The actor
//! carries out what they decide, and [`runner`] visits the sources beside it. The simulator in `sim` runs the same parts
//! in hundreds of virtual nodes.
//!
//! What the book says is a hint; truth is a claim or a call.

mod actor;
mod book;
mod gossip;
mod logic;
mod metrics;
mod options;
mod policy;
mod records;
mod runner;
pub mod sim;
#[cfg(test)]
mod tests;

pub use actor::{DiscoveryDeps, DiscoveryPorts, DiscoverySeed, DiscoveryStatus, prepare};
pub use book::BookStatus;
pub use options::{DiscoveryOptions, Lifetimes};
pub use runner::SourceStatus;
