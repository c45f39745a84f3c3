//! The one `ready` line on standard output.

use serde::{Deserialize, Serialize};

/// What a node says when it is ready. The JSON form is what scripts read: its names are stable.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReadyLine {
    /// Peer id.
    pub(crate) peer_id: String,
    /// Addresses it listens on, each with `/p2p/<id>`.
    pub(crate) listen: Vec<String>,
    /// Where MCP clients connect.
    pub(crate) mcp_url: String,
    /// Where health, metrics and status are.
    pub(crate) admin_url: String,
    /// Its process.
    pub(crate) pid: u32,
}

impl ReadyLine {
    /// The line, without its end.
    pub(super) fn text(&self, json: bool) -> String {
        if json {
            return serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        }
        format!("ready  peer {}  mcp {}  listen {}", self.peer_id, self.mcp_url, self.listen.join(" "))
    }
}
