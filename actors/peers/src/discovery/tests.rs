//! Discovery as a whole: its parts joined, and the actor around them.

mod actor;
pub(crate) mod bench;
mod crowded;
mod joined;
mod runner;
mod stored;
