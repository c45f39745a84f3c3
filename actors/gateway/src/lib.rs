//! MCP traffic of a mesh node: the tools it offers, the endpoints they are offered on, and the MCP servers it runs.
//!
//! - [`Gateway::router`] answers MCP over Streamable HTTP on `/mcp`, [`Gateway::serve_stdio`] over standard input and
//!   output, and [`stdio_bridge`] passes standard input and output on to a node that runs already. Both eras of the
//!   protocol are answered on each: the stateless one (2026-07-28) and the one with `initialize`.
//! - The tools are the fourteen of the task queue (`p2p_taskqueue_*`), those of membership (`p2p_peer_*`,
//!   `p2p_bootstrap_*`), those of workflows and schedules (`p2p_workflow_*`, `p2p_schedule_*`) and four through which
//!   every tool of this node and of its peers can be found and called (`tools_*`).
//! - Runs of workflows are also resources (`meshwork://workflow/<id>`) and tasks of MCP's Tasks extension: whoever waits for
//!   one hears how far it is.
//! - [`GatewayPorts::serve`] answers what is asked of this node, whoever asks: a peer through the transport, the own
//!   executor, the own MCP clients. It is the only place that maps a request to the actor that serves it.
//! - [`GatewayPorts::upstream`] calls tools of upstream MCP servers, each of which is started, watched and restarted in
//!   a task of its own: one that fails harms neither the others nor the node.
//! - [`GatewayPorts::describe_tools`] says which tools the mesh has and what they take, for who checks workflows.
//!
//! Wiring has two phases, as everywhere: [`prepare`] makes the ports, [`GatewaySeed::start`] starts what serves them.
//!
//! Whoever serves [`Gateway::router`] must set `TCP_NODELAY` on accepted connections: MCP answers are small, and
//! without it each may wait 40 ms for an acknowledgement.

mod actor;
mod bridge;
mod causes;
mod dispatch;
mod error;
mod gateway;
mod http_client;
mod metrics;
mod node;
mod options;
mod serve;
mod server;
mod shapes;
mod tools;
mod upstream;
mod wiring;

#[cfg(test)]
mod tests;

pub use actor::GatewayStatus;
pub use bridge::stdio_bridge;
pub use error::GatewayError;
pub use gateway::Gateway;
pub use options::{GatewayOptions, HttpOptions, ServeLimits, UpstreamOptions, WorkflowLimits};
pub use tools::OWN_CATEGORIES;
pub use upstream::{UpstreamState, UpstreamStatus};
pub use wiring::{
    ArtifactPorts, DiscoveryPorts, ExecutorPorts, GatewayDeps, GatewayPorts, GatewaySeed, MembershipPorts,
    NodePorts, QueuePorts, SchedulePorts, WorkflowPorts, prepare,
};
