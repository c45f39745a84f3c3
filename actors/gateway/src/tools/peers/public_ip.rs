//! `p2p_peer_get_public_ip`: under which address a node is seen from the internet.

use crate::node::{Node, PATIENCE};
use crate::tools::record::secs;
use crate::tools::{Failure, Hints, MeshTool};
use meshwork_proto::bootstrap::GetPublicIp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Finds the address out.
pub(crate) struct PublicIpTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicIpIn {
    /// Asks the services again, even if the answer is known from not long ago.
    refresh: Option<bool>,
    /// Peer whose address to find out, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// The addresses on which services agree.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PublicIpOut {
    /// The peer whose addresses they are.
    peer_id: String,
    /// IPv4; null = none, or no two services agree.
    ipv4: Option<String>,
    /// IPv6; null = none, or no two services agree.
    ipv6: Option<String>,
    /// The services that agreed.
    agreed_by: Vec<String>,
    /// Seconds since they were asked.
    age_s: f64,
}

impl MeshTool for PublicIpTool {
    const NAME: &'static str = "p2p_peer_get_public_ip";
    const TITLE: &'static str = "Find the public address";
    const DESCRIPTION: &'static str = "Finds out under which addresses the node is seen from the internet, by asking \
        several public services at once (p2p.public_ip.services) and believing what two of them agree on. The answer is \
        kept for a while. That others can connect to the address is not said by this.";
    const EXAMPLE: &'static str = "{}";
    // Asks services on the internet, and changes nothing there or here.
    const HINTS: Hints = Hints { read_only: true, destructive: false, idempotent: true, open_world: true };
    type Input = PublicIpIn;
    type Output = PublicIpOut;

    async fn run(node: &Node, input: PublicIpIn) -> Result<PublicIpOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let answer = node.ask(&at, GetPublicIp { refresh: input.refresh.unwrap_or(false) }, PATIENCE).await?;
        Ok(PublicIpOut {
            peer_id: answer.peer.to_string(),
            ipv4: answer.value.ipv4.map(|address| address.to_string()),
            ipv6: answer.value.ipv6.map(|address| address.to_string()),
            agreed_by: answer.value.agreed_by,
            age_s: secs(answer.value.age_ms),
        })
    }
}
