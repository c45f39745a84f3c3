//! Two nodes, each behind a router that lets nobody in: they meet through a relay, and then directly where the routers
//! make that possible.

use crate::lab::{Lan, Ports, Router, Space, ready};
use crate::node::Node;
use serde_json::{Value, json};
use std::path::Path;

/// Two homes and a server between them.
struct Homes {
    server: Space,
    ann: Space,
    bob: Space,
    _lines: (Lan, Router, Router),
}

impl Homes {
    fn new(ports: Ports) -> Self {
        let internet = Lan::new("internet");
        let [server, ann, bob] = ["server", "ann", "bob"].map(Space::new);
        internet.plug(&server, "eth0", "203.0.113.1/24", None);
        let ann_router = Router::new("ann_home", &internet, "203.0.113.11/24", ports);
        ann_router.hide(&ann, "192.168.1.1/24", "192.168.1.2/24");
        let bob_router = Router::new("bob_home", &internet, "203.0.113.12/24", ports);
        bob_router.hide(&bob, "192.168.2.1/24", "192.168.2.2/24");
        Self { server, ann, bob, _lines: (internet, ann_router, bob_router) }
    }

    /// The relay; Ann, who runs nothing; and Bob, who does.
    async fn start(&self, dir: &Path) -> (Node<'_>, Node<'_>, Node<'_>) {
        let open = "executor:\n  slots: 0\np2p:\n  \
                    external: [/ip4/203.0.113.1/tcp/4001, /ip4/203.0.113.1/udp/4001/quic-v1]\n  \
                    discovery:\n    mdns: \"off\"\n  reach:\n    relay_server: true\n";
        let relay = Node::start(&self.server, dir, open).await;
        let at = relay.quic_at("203.0.113.1");
        let hidden = |slots: u32| {
            format!(
                "executor:\n  slots: {slots}\np2p:\n  peers: [{at}]\n  discovery:\n    mdns: \"off\"\n  \
                 reach:\n    relays: [{at}]\n"
            )
        };
        let ann = Node::start(&self.ann, dir, &hidden(0)).await;
        let bob = Node::start(&self.bob, dir, &hidden(4)).await;
        ann.sees(&bob, "connected").await;
        bob.sees(&ann, "connected").await;
        (relay, ann, bob)
    }
}

/// What is submitted at Ann can only be done by Bob.
async fn work_crosses(ann: &Node<'_>, bob: &Node<'_>) {
    let said = json!({"text": "through two routers"});
    let result = ann.echo(&said).await;
    assert_eq!(result["result"], said, "{result}");
    assert!(result["worker"].as_str().is_some_and(|worker| worker.starts_with(bob.peer_id())), "{result}");
}

fn is_relayed(peer: &Value, relayed: bool) -> bool {
    peer["state"] == "connected" && peer["relayed"] == json!(relayed)
}

#[tokio::test]
async fn two_nodes_behind_routers_meet_through_a_relay_and_then_connect_directly() {
    if !ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let homes = Homes::new(Ports::Kept);
    let (relay, ann, bob) = homes.start(dir.path()).await;
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        let direct = async || is_relayed(&one.peer(other).await, false).then_some(());
        one.until("the connection is direct", direct).await;
    }
    // The relay has done its part.
    drop(relay);
    work_crosses(&ann, &bob).await;
}

#[tokio::test]
async fn work_goes_through_the_relay_where_routers_make_direct_connections_impossible() {
    if !ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let homes = Homes::new(Ports::Scrambled);
    let (_relay, ann, bob) = homes.start(dir.path()).await;
    work_crosses(&ann, &bob).await;
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        let peer = one.peer(other).await;
        assert!(is_relayed(&peer, true), "{peer}");
    }
}
