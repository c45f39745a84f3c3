//! The whole gateway against doubles of the other actors: over HTTP, stdio and the bridge, with real MCP clients, and
//! with real upstream servers.

mod client;
mod dispatching;
mod endpoints;
mod fakes;
mod membership;
mod meta_tools;
mod peer_tools;
mod queue_tools;
mod upstreams;
