//! Sections `p2p.discovery`, `p2p.bootstrap`, `p2p.reach` and `p2p.public_ip`: how a node finds its mesh and is reached.

use super::Hidden;
use meshwork_proto::discovery::Source;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Section `p2p.discovery`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiscoveryConfig {
    /// Seconds without confirmation until a peer is forgotten; 0: never.
    pub(crate) ttl_s: f64,
    /// Peers that this node connects to by itself.
    pub(crate) target_connections: usize,
    /// Most peers in the book.
    pub(crate) max_peers: usize,
    /// Addresses of private networks are believed from public sources too.
    pub(crate) allow_private_addresses: bool,
    /// Whether gossip is on.
    pub(crate) gossip: bool,
    /// Seconds between two comparisons.
    pub(crate) gossip_interval_s: f64,
    /// Whether mDNS is on: see [`crate::config::mdns_is_on`].
    pub(crate) mdns: Mdns,
    /// Seconds between two visits to mDNS.
    pub(crate) mdns_interval_s: f64,
    /// Seconds to live of peers known from mDNS.
    pub(crate) mdns_ttl_s: Option<f64>,
    /// The mesh's own Kademlia table.
    pub(crate) dht: DhtConfig,
    /// The public Kademlia table.
    pub(crate) public_dht: PublicDhtConfig,
    /// Rendezvous points.
    pub(crate) rendezvous: RendezvousConfig,
    /// The file registry.
    pub(crate) files: FilesConfig,
    /// The registry in a GitHub issue.
    pub(crate) github: GithubConfig,
}

impl DiscoveryConfig {
    /// Seconds to live by source, where one differs from `ttl_s`.
    #[must_use]
    pub(crate) fn ttls(&self) -> BTreeMap<Source, f64> {
        let given = [
            (Source::Mdns, self.mdns_ttl_s),
            (Source::Dht, self.dht.ttl_s),
            (Source::PublicDht, self.public_dht.ttl_s),
            (Source::Rendezvous, self.rendezvous.ttl_s),
            (Source::FileRegistry, self.files.ttl_s),
            (Source::Github, self.github.ttl_s),
        ];
        given.into_iter().filter_map(|(source, ttl_s)| Some((source, ttl_s?))).collect()
    }
}

/// Whether mDNS is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mdns {
    /// On, but off in containers, whose networks are not those of the machine.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Section `p2p.discovery.dht`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DhtConfig {
    /// Whether it is on.
    pub(crate) enabled: bool,
    /// Keeps a part of the table.
    pub(crate) server: bool,
    /// Name under which nodes enter themselves.
    pub(crate) namespace: String,
    /// Seconds between two look-ups.
    pub(crate) interval_s: f64,
    /// Seconds to live of peers known from there.
    pub(crate) ttl_s: Option<f64>,
}

/// Section `p2p.discovery.public_dht`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicDhtConfig {
    /// Whether it is on.
    pub(crate) enabled: bool,
    /// Name under which nodes enter themselves.
    pub(crate) namespace: String,
    /// Seconds between two look-ups.
    pub(crate) interval_s: f64,
    /// Seconds to live of peers known from there.
    pub(crate) ttl_s: Option<f64>,
}

/// Section `p2p.discovery.rendezvous`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RendezvousConfig {
    /// Multiaddresses of the points, each ending in `/p2p/<id>`; none: it is off.
    pub(crate) points: Vec<String>,
    /// Name under which nodes enter themselves.
    pub(crate) namespace: String,
    /// Be a point for others.
    pub(crate) serve: bool,
    /// Seconds between two look-ups.
    pub(crate) interval_s: f64,
    /// Seconds to live of peers known from there.
    pub(crate) ttl_s: Option<f64>,
}

/// Section `p2p.discovery.files`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilesConfig {
    /// Directory or file of the registry; none: it is off.
    pub(crate) path: Option<PathBuf>,
    /// Name of this node there; none: see [`crate::config::node_name`].
    pub(crate) name: Option<String>,
    /// Seconds between two visits.
    pub(crate) interval_s: f64,
    /// Seconds to live of peers known from there.
    pub(crate) ttl_s: Option<f64>,
}

/// Section `p2p.discovery.github`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GithubConfig {
    /// `owner/name`; none: it is off.
    pub(crate) repository: Option<String>,
    /// Title of the issue and mark of the comments.
    pub(crate) issue_title: String,
    /// Base of the API.
    pub(crate) api_url: String,
    /// Name of this node there; none: see [`crate::config::node_name`].
    pub(crate) name: Option<String>,
    /// Seconds between two visits.
    pub(crate) interval_s: f64,
    /// Seconds to live of peers known from there.
    pub(crate) ttl_s: Option<f64>,
    /// What allows reading and writing.
    pub(crate) token: Option<Hidden>,
    /// Delete the comments of nodes that are gone.
    pub(crate) delete_stale: bool,
}

/// Section `p2p.bootstrap`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BootstrapConfig {
    /// File with first contacts.
    pub(crate) file: Option<PathBuf>,
    /// First contacts come from variables too: see [`crate::config::Environment::bootstrap_variables`].
    pub(crate) environment: bool,
    /// Names that are resolved to first contacts.
    pub(crate) dns: Vec<String>,
    /// Port where a name has only addresses.
    pub(crate) dns_port: u16,
    /// First contacts come from the public list too.
    pub(crate) public: bool,
    /// The public list.
    pub(crate) public_list: Vec<String>,
    /// Seconds before everything is read again while the node is alone.
    pub(crate) interval_s: f64,
}

/// Section `p2p.reach`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own that a person switches")]
pub(crate) struct ReachConfig {
    /// Ports are forwarded by the router on request.
    pub(crate) upnp: bool,
    /// Peers try whether this node can be reached.
    pub(crate) autonat: bool,
    /// This node tries it for others.
    pub(crate) autonat_server: bool,
    /// This node is reached through relays.
    pub(crate) relay_client: bool,
    /// This node relays for others.
    pub(crate) relay_server: bool,
    /// Multiaddresses of relays, each ending in `/p2p/<id>`.
    pub(crate) relays: Vec<String>,
    /// Relayed connections are replaced by direct ones.
    pub(crate) hole_punching: bool,
}

/// Section `p2p.public_ip`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicIpConfig {
    /// URLs of services that answer with the address of who asks.
    pub(crate) services: Vec<String>,
    /// They are asked at the start, and what they say is tried out.
    pub(crate) detect: bool,
}
