//! The reaper actor: forgets peers that nothing has confirmed for their time to live.
//!
//! It only keeps the time: who is overdue the book itself knows, and it never forgets a peer that is connected. Between two
//! passes lies at most one interval, or the shortest time to live if that is less, so a peer that is gone is forgotten after
//! its time to live and one interval. A time to live of zero forgets nobody. It owns nothing durable.

mod actor;
#[cfg(test)]
mod tests;

pub use actor::{ReaperSeed, ReaperStatus, prepare};

use crate::discovery::Lifetimes;
use meshwork_kit::Port;
use meshwork_proto::discovery::CleanUp;
use std::time::Duration;

/// Settings of the reaper.
#[derive(Debug, Clone)]
pub struct ReaperOptions {
    /// Between two passes, at most. Default 60 s.
    pub interval: Duration,
    /// Times to live, by who found a peer. Default 1800 s for all.
    pub ttl: Lifetimes,
}

impl Default for ReaperOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), ttl: Lifetimes::default() }
    }
}

/// Whom the reaper asks.
#[derive(Debug, Clone)]
pub struct ReaperDeps {
    /// Discovery, which owns the book.
    pub clean_up: Port<CleanUp>,
}
