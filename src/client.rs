//! The client of a node: MCP over Streamable HTTP, as any other MCP client speaks it.
//!
//! The command line talks to its node through nothing else, so it is also the node's first client. [`NodeClient`]
//! wraps the tools of the task queue, of workflows and schedules, and of membership with typed arguments, and the four meta-tools through which every
//! other tool of the mesh is found and called. Answers keep the JSON the node sent, beside what is read from it here.

mod answers;
mod arguments;
mod catalogue;
mod connection;
mod error;
mod peers;
mod schedules;
mod taskqueue;
mod wait;
mod watch;
mod workflows;

pub(crate) use answers::{Answer, TaskEnd, short_worker, worker};
pub(crate) use arguments::{
    BootstrapFrom, DiscoverArgs, ListArgs, PairArgs, PeerFilter, RegisterArgs, SubmitArgs, UpdateArgs,
};
pub(crate) use catalogue::ToolEntry;
pub(crate) use connection::{ClientOptions, DEFAULT_URL, NodeClient};
pub(crate) use error::ClientError;
pub(crate) use schedules::{ScheduleArgs, ScheduleControl};
pub(crate) use wait::{Observed, WaitOptions, wait};
pub(crate) use watch::{RunWatcher, Seen};
pub(crate) use workflows::{CoordinateArgs, RunArgs, RunControl, RunFilter, RunStatus};

#[cfg(test)]
mod tests;
