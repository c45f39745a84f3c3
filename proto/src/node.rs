//! Messages to the node's root: stopping, health, status.

use crate::Request;
use serde::{Deserialize, Serialize};

/// Drains the node: no new work, running tasks finish or are released within the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// How long running tasks may still take, in milliseconds.
    pub deadline_ms: u64,
    /// Ends the process afterwards; otherwise the node stays, draining.
    pub exit: bool,
}

impl Request for Shutdown {
    type Reply = ShutdownStarted;
    const NAME: &'static str = "shutdown";
}

/// The drain has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownStarted {
    /// Tasks running when it began.
    pub running: u64,
    /// The deadline, in milliseconds.
    pub deadline_ms: u64,
    /// Whether the process ends afterwards.
    pub exit: bool,
}
