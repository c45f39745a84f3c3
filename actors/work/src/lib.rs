//! Work: the queue that owns tasks, the executor that runs tools, the coordinator that runs workflows, and the scheduler
//! that starts tasks and workflows at times.

pub mod executor;
pub mod queue;
pub mod schedule;
pub mod workflow;
