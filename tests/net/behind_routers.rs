//! Two nodes, each behind a router that lets nobody in: they meet through a relay, and then directly.

use crate::lab::{Lan, Router, Space, ready};
use crate::node::Node;
use serde_json::json;

#[tokio::test]
async fn two_nodes_behind_routers_meet_through_a_relay_and_then_directly() {
    if !ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let internet = Lan::new("internet");
    let [server, ann_host, bob_host] = ["relay", "ann", "bob"].map(Space::new);
    internet.plug(&server, "eth0", "203.0.113.1/24", None);
    let ann_router = Router::new("ann_home", &internet, "203.0.113.11/24");
    ann_router.hide(&ann_host, "192.168.1.1/24", "192.168.1.2/24");
    let bob_router = Router::new("bob_home", &internet, "203.0.113.12/24");
    bob_router.hide(&bob_host, "192.168.2.1/24", "192.168.2.2/24");

    let open = "p2p:\n  external: [/ip4/203.0.113.1/tcp/4001, /ip4/203.0.113.1/udp/4001/quic-v1]\n  \
                reach:\n    relay_server: true\n";
    let relay = Node::start(&server, dir.path(), open).await;
    let at = relay.quic_at("203.0.113.1");
    let hidden = |slots: u32| {
        format!(
            "executor:\n  slots: {slots}\np2p:\n  peers: [{at}]\n  discovery:\n    mdns: \"off\"\n  \
             reach:\n    relays: [{at}]\n    relay_client: true\n    hole_punching: true\n"
        )
    };
    let ann = Node::start(&ann_host, dir.path(), &hidden(0)).await;
    let bob = Node::start(&bob_host, dir.path(), &hidden(4)).await;

    ann.sees(&bob, "connected").await;
    bob.sees(&ann, "connected").await;
    // Nothing runs where it is submitted: it has to cross both routers.
    let said = json!({"text": "through two routers"});
    let result = ann.echo(&said).await;
    assert_eq!(result["result"], said, "{result}");

    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        one.until("the connection is direct", async || {
            let peer = one.peer(other).await;
            (peer["state"] == "connected" && peer["relayed"] == json!(false)).then_some(())
        })
        .await;
    }
}
