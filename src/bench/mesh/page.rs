//! Reading what a node shows over HTTP: its status, and the metrics that count what it says to others.

use crate::bench::BenchError;
use crate::child::ChildNode;
use serde_json::Value;
use std::time::Duration;

/// How long a page may take.
const WITHIN: Duration = Duration::from_secs(10);

/// A client for the pages of many nodes.
#[derive(Clone)]
pub(super) struct Pages(reqwest::Client);

/// How far a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Peers in its book.
    pub(super) known: u64,
    /// Those of them that are connected and admitted.
    pub(super) connected: u64,
    /// Whether every source that it visits was visited, and answered the last time.
    pub(super) entered: bool,
}

/// What a node has sent since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sent {
    /// Bytes on its connections, encryption and headers of their streams included.
    pub(super) bytes: f64,
    /// Requests, replies and pings.
    pub(super) messages: f64,
    /// Those of them that are gossip, and their bytes.
    pub(super) gossip_messages: f64,
    pub(super) gossip_bytes: f64,
}

impl Pages {
    pub(super) fn new() -> Result<Self, BenchError> {
        // The only error is that there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(WITHIN).build();
        Ok(Self(client.map_err(std::io::Error::other)?))
    }

    /// How far the node is.
    pub(super) async fn seen(&self, node: &ChildNode) -> Result<Seen, BenchError> {
        let text = self.text(node, "/status").await?;
        let status: Value = serde_json::from_str(&text).map_err(std::io::Error::other)?;
        let actors = status["actors"].as_array().cloned().unwrap_or_default();
        let book = actors.iter().find(|actor| actor["actor"] == "discovery").map(|actor| &actor["status"]);
        let read = |book: &Value| {
            let answered = |source: &Value| {
                source["visits"].as_u64().is_some_and(|visits| visits > 0) && source["problem"].is_null()
            };
            Some(Seen {
                known: book["known"].as_u64()?,
                connected: book["connected"].as_u64()?,
                entered: book["sources"].as_array()?.iter().all(answered),
            })
        };
        // Before its first turn an actor shows nothing.
        Ok(book.and_then(read).unwrap_or_default())
    }

    /// What the node has sent to peers.
    pub(super) async fn sent(&self, node: &ChildNode) -> Result<Sent, BenchError> {
        const REQUESTS: &str = "meshwork_mesh_requests_total";
        let text = self.text(node, "/metrics").await?;
        Ok(Sent {
            bytes: sum(&text, "libp2p_bandwidth_bytes_total", "Outbound"),
            messages: sum(&text, REQUESTS, "") + sum(&text, "libp2p_ping_rtt_seconds_count", ""),
            gossip_messages: sum(&text, REQUESTS, "request=\"exchange\""),
            gossip_bytes: sum(&text, "meshwork_discovery_gossip_bytes_total", "direction=\"out\""),
        })
    }

    async fn text(&self, node: &ChildNode, path: &str) -> Result<String, BenchError> {
        let url = format!("{}{path}", node.ready.admin_url);
        let response = self.0.get(url).send().await.map_err(std::io::Error::other)?;
        Ok(response.text().await.map_err(std::io::Error::other)?)
    }
}

/// The sum of a family's samples whose labels contain a text.
fn sum(text: &str, family: &str, label: &str) -> f64 {
    text.lines()
        .filter_map(|line| line.strip_prefix(family))
        .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_family_are_added_up_and_similar_names_are_not() {
        let text =
            "# TYPE a counter\na{x=\"1\",d=\"Outbound\"} 2\na{x=\"2\",d=\"Inbound\"} 5\na_more 7\na 1.5\n";
        assert_eq!(sum(text, "a", ""), 8.5);
        assert_eq!(sum(text, "a", "Outbound"), 2.0);
    }
}
