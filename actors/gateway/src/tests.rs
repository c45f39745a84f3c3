//! The whole gateway against doubles of the other actors: over HTTP, stdio and the bridge, with real MCP clients, and
//! with real upstream servers.

mod client;
mod describing;
mod dispatching;
mod endpoints;
mod fakes;
mod membership;
mod meta_tools;
mod peer_tools;
mod progress;
mod queue_tools;
mod resources;
mod run_tasks;
mod schedule_tools;
mod upstreams;
mod workflow_tools;
