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

/// How many peers a node knows and how many of them are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) known: u64,
    pub(super) connected: u64,
}

/// What a node has sent since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sent {
    pub(super) bytes: f64,
    pub(super) messages: f64,
}

impl Pages {
    pub(super) fn new() -> Result<Self, BenchError> {
        // The only error is that there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(WITHIN).build();
        Ok(Self(client.map_err(std::io::Error::other)?))
    }

    /// Whom the node sees.
    pub(super) async fn seen(&self, node: &ChildNode) -> Result<Seen, BenchError> {
        let text = self.text(node, "/status").await?;
        let status: Value = serde_json::from_str(&text).map_err(std::io::Error::other)?;
        let actors = status["actors"].as_array().cloned().unwrap_or_default();
        let book = actors.iter().find(|actor| actor["actor"] == "discovery").map(|actor| &actor["status"]);
        let count = |name: &str| book.and_then(|book| book[name].as_u64());
        match (count("known"), count("connected")) {
            (Some(known), Some(connected)) => Ok(Seen { known, connected }),
            _ => Err(std::io::Error::other("the status page does not show the peer book").into()),
        }
    }

    /// What the node has sent to peers: bytes on its connections, and requests, replies and pings.
    pub(super) async fn sent(&self, node: &ChildNode) -> Result<Sent, BenchError> {
        let text = self.text(node, "/metrics").await?;
        Ok(Sent {
            bytes: sum(&text, "libp2p_bandwidth_bytes_total", "Outbound"),
            messages: sum(&text, "meshwork_mesh_requests_total", "")
                + sum(&text, "libp2p_ping_rtt_seconds_count", ""),
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
