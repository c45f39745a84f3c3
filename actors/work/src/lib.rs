//! Work: the queue that owns tasks, and the executor that runs tools.

pub mod executor;
pub mod queue;
