//! Work: the queue that owns tasks, the executor that runs tools, and the scheduler that starts tasks and workflows at
//! times.

pub mod executor;
pub mod queue;
pub mod schedule;
