//! The simulator: hundreds of virtual nodes in one thread and virtual time, each with the real book, gossip and policy.
//!
//! Between them is a network that delays, loses and is cut in two; nodes join, say goodbye, vanish, move and lie; their
//! clocks differ by hours. All of it follows from one seed. Only what is slow and not in question is left out: records
//! are shared instead of copied, and a signature is a few bytes that only its owner makes.
//!
//! Its measurements ([`at_rest`], [`gathering`], [`churn`], [`memory_per_peer`]) are what `meshwork bench mesh` shows beside
//! those of processes, and what says of sizes that no one machine has room for.

mod node;
mod oracle;
mod rest;
mod world;

#[cfg(test)]
mod flooding;
#[cfg(test)]
mod healing;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use node::name;
pub use oracle::{Churned, Fullest, churn};
pub use rest::{AtRest, Gathering, at_rest, gathering, memory_per_peer};
