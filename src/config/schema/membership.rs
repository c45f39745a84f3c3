//! The keys of membership: how a node finds its mesh, makes its first contacts and is reached.

use super::Fallback::{Unset, Value};
use super::Kind::{
    Choice, DnsName, List, Multiaddress, Namespace, NodeName, Number, Path, Repository, Switch, Text, Url,
    Whole,
};
use super::{Key, Kind, MAX_SECONDS, foreign, plain, secret};

/// A time after which something is forgotten; 0 is never.
const TTL: Kind = Number { min: 0.0, max: MAX_SECONDS };
/// A pause between two visits of a source on this machine or in the mesh.
const INTERVAL: Kind = Number { min: 0.1, max: 86_400.0 };
/// A pause between two visits of a service of others.
const POLITE_INTERVAL: Kind = Number { min: 1.0, max: 86_400.0 };

/// Every key of membership, in the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    plain(
        "p2p.discovery.ttl_s",
        TTL,
        Value("1800"),
        "a peer that nothing has confirmed for so long is forgotten, in seconds; 0: never",
    ),
    plain(
        "p2p.discovery.target_connections",
        Whole { min: 0, max: 10_000 },
        Value("24"),
        "how many peers this node connects to by itself; others may connect to it beyond that",
    ),
    plain(
        "p2p.discovery.max_peers",
        Whole { min: 1, max: 1_000_000 },
        Value("10000"),
        "most peers in the peer book",
    ),
    plain(
        "p2p.discovery.allow_private_addresses",
        Switch,
        Value("false"),
        "believe addresses of private networks from sources that everybody can write to (public lists, GitHub)",
    ),
    plain(
        "p2p.discovery.gossip",
        Switch,
        Value("true"),
        "exchange with members of the mesh what is known of its nodes",
    ),
    plain(
        "p2p.discovery.gossip_interval_s",
        INTERVAL,
        Value("15"),
        "pause between two comparisons with a peer of what both know, in seconds",
    ),
    plain(
        "p2p.discovery.mdns",
        Choice(&["auto", "on", "off"]),
        Value("auto"),
        "find peers on the local network by multicast DNS; auto: on, but off in containers",
    ),
    plain(
        "p2p.discovery.mdns_interval_s",
        INTERVAL,
        Value("60"),
        "pause before those who are on the local network are entered again, in seconds; who is new is entered at once",
    ),
    plain(
        "p2p.discovery.mdns_ttl_s",
        TTL,
        Unset,
        "time to live of peers known from mDNS alone, in seconds; unset: p2p.discovery.ttl_s",
    ),
    plain(
        "p2p.discovery.dht.enabled",
        Switch,
        Value("false"),
        "find peers through the mesh's own Kademlia table",
    ),
    plain(
        "p2p.discovery.dht.server",
        Switch,
        Value("true"),
        "also keep a part of that table; false: only ask others",
    ),
    plain(
        "p2p.discovery.dht.namespace",
        Namespace,
        Value("meshwork"),
        "under which name nodes enter themselves there and look for one another",
    ),
    plain("p2p.discovery.dht.interval_s", INTERVAL, Value("60"), "pause between two look-ups, in seconds"),
    plain(
        "p2p.discovery.dht.ttl_s",
        TTL,
        Unset,
        "time to live of peers known from there alone, in seconds; unset: p2p.discovery.ttl_s",
    ),
    plain(
        "p2p.discovery.public_dht.enabled",
        Switch,
        Value("false"),
        "find peers through the public Kademlia table (/ipfs/kad/1.0.0), where everybody sees this node's addresses",
    ),
    plain(
        "p2p.discovery.public_dht.namespace",
        Namespace,
        Value("ipfs-accelerate-task-queue"),
        "under which name nodes enter themselves there; the default is that of the Python nodes",
    ),
    plain(
        "p2p.discovery.public_dht.interval_s",
        POLITE_INTERVAL,
        Value("300"),
        "pause between two look-ups, in seconds",
    ),
    plain(
        "p2p.discovery.public_dht.ttl_s",
        TTL,
        Unset,
        "time to live of peers known from there alone, in seconds; unset: p2p.discovery.ttl_s",
    ),
    plain(
        "p2p.discovery.rendezvous.points",
        List(&Multiaddress),
        Value("[]"),
        "rendezvous points where this node enters itself and looks for others, each ending in /p2p/<peer id>",
    ),
    plain(
        "p2p.discovery.rendezvous.namespace",
        Namespace,
        Value("meshwork"),
        "under which name nodes enter themselves there and look for one another",
    ),
    plain("p2p.discovery.rendezvous.serve", Switch, Value("false"), "be a rendezvous point for others"),
    plain(
        "p2p.discovery.rendezvous.interval_s",
        INTERVAL,
        Value("60"),
        "pause between two look-ups, in seconds",
    ),
    plain(
        "p2p.discovery.rendezvous.ttl_s",
        TTL,
        Unset,
        "time to live of peers known from there alone, in seconds; unset: p2p.discovery.ttl_s",
    ),
    plain(
        "p2p.discovery.files.path",
        Path,
        Unset,
        "registry that nodes share on a disk: a directory with a file for each node, or one .json file for all; unset: none",
    ),
    plain(
        "p2p.discovery.files.name",
        NodeName,
        Unset,
        "name of this node there; unset: RUNNER_NAME, or the host name",
    ),
    plain("p2p.discovery.files.interval_s", INTERVAL, Value("60"), "pause between two visits, in seconds"),
    plain(
        "p2p.discovery.files.ttl_s",
        TTL,
        Unset,
        "time to live of peers known from there alone, in seconds; unset: p2p.discovery.ttl_s",
    ),
    plain(
        "p2p.discovery.github.repository",
        Repository,
        Unset,
        "repository in whose issue nodes enter themselves and look for one another; unset: none",
    ),
    plain(
        "p2p.discovery.github.issue_title",
        Namespace,
        Value("p2p-peer-registry"),
        "title of that issue, and mark of the nodes' comments; the default is that of the Python nodes",
    ),
    plain(
        "p2p.discovery.github.api_url",
        Url,
        Value("https://api.github.com"),
        "where the API is served; for GitHub Enterprise https://HOST/api/v3",
    ),
    plain(
        "p2p.discovery.github.name",
        NodeName,
        Unset,
        "name of this node there; unset: RUNNER_NAME, or the host name",
    ),
    plain(
        "p2p.discovery.github.interval_s",
        POLITE_INTERVAL,
        Value("300"),
        "pause between two visits, in seconds",
    ),
    plain(
        "p2p.discovery.github.ttl_s",
        TTL,
        Unset,
        "time to live of peers known from there alone, in seconds; unset: p2p.discovery.ttl_s",
    ),
    foreign(
        secret(plain(
            "p2p.discovery.github.token",
            Text,
            Unset,
            "token that may read and write issues of the repository; better given by the environment than written here",
        )),
        &["GITHUB_TOKEN", "GH_TOKEN"],
    ),
    plain(
        "p2p.discovery.github.delete_stale",
        Switch,
        Value("false"),
        "delete the comments of nodes that have been silent for their time to live",
    ),
    plain(
        "p2p.bootstrap.file",
        Path,
        Unset,
        "file with first contacts: a multiaddress per line, or a JSON registry as the Python nodes write it",
    ),
    plain(
        "p2p.bootstrap.environment",
        Switch,
        Value("true"),
        "take first contacts from the variables listed under \"Variables of the Python nodes\"",
    ),
    plain(
        "p2p.bootstrap.dns",
        List(&DnsName),
        Value("[]"),
        "names whose dnsaddr, SRV or address records are first contacts, such as a headless service of Kubernetes",
    ),
    plain(
        "p2p.bootstrap.dns_port",
        Whole { min: 1, max: 65_535 },
        Value("4001"),
        "port of nodes whose names have only address records",
    ),
    plain(
        "p2p.bootstrap.public",
        Switch,
        Value("false"),
        "contact the nodes of the public list, which help to find others and are no members",
    ),
    plain(
        "p2p.bootstrap.public_list",
        List(&Multiaddress),
        Value(
            "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN,\
             /dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa,\
             /dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb,\
             /dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
        ),
        "the public list",
    ),
    plain(
        "p2p.bootstrap.interval_s",
        INTERVAL,
        Value("60"),
        "pause before files and names with first contacts are read again, in seconds",
    ),
    plain("p2p.reach.upnp", Switch, Value("false"), "ask the router by UPnP to forward ports to this node"),
    plain(
        "p2p.reach.autonat",
        Switch,
        Value("true"),
        "let peers try whether this node can be reached from outside",
    ),
    plain(
        "p2p.reach.autonat_server",
        Switch,
        Value("false"),
        "try for others whether they can be reached; for nodes that can be reached themselves",
    ),
    plain(
        "p2p.reach.relay_client",
        Switch,
        Value("true"),
        "be reached through relays while nobody can connect to this node directly",
    ),
    plain(
        "p2p.reach.relay_server",
        Switch,
        Value("false"),
        "relay connections of others, within limits; for nodes that can be reached themselves",
    ),
    plain(
        "p2p.reach.relays",
        List(&Multiaddress),
        Value("[]"),
        "relays through which this node is reached, each ending in /p2p/<peer id>; empty: peers that offer it",
    ),
    plain(
        "p2p.reach.hole_punching",
        Switch,
        Value("true"),
        "replace relayed connections by direct ones through both sides' routers where that works",
    ),
    plain(
        "p2p.public_ip.services",
        List(&Url),
        Value("https://api.ipify.org,https://ifconfig.me/ip,https://icanhazip.com"),
        "services that answer with the address of who asks; two must agree",
    ),
    plain(
        "p2p.public_ip.detect",
        Switch,
        Value("false"),
        "ask them at the start too, and have peers try out whether this node is reached there; false: only when the tool is \
         called",
    ),
];
