//! A host that is cut off and comes back: its peers go down and come up, and nothing is forgotten.

use crate::lab::{Lan, Space, ready};
use crate::node::{Node, all_connected};
use serde_json::json;

/// QUIC notices within seconds that nothing comes any more; TCP takes most of a minute.
const QUIET: &str = "p2p:\n  listen: [/ip4/0.0.0.0/udp/4001/quic-v1]\n  discovery:\n    mdns: \"off\"\n";

#[tokio::test]
async fn a_partition_heals_and_nothing_is_forgotten() {
    if !ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lan = Lan::new("lan");
    let hosts = ["ann", "bob", "cem"].map(Space::new);
    for (host, number) in hosts.iter().zip(1..) {
        lan.plug(host, "eth0", &format!("192.168.7.{number}/24"), None);
    }
    let ann = Node::start(&hosts[0], dir.path(), QUIET).await;
    let join = format!("{QUIET}  peers: [{}]\n", ann.quic_at("192.168.7.1"));
    let bob = Node::start(&hosts[1], dir.path(), &join).await;
    let cem = Node::start(&hosts[2], dir.path(), &join).await;
    all_connected(&[&ann, &bob, &cem]).await;

    lan.cut(&hosts[2]);
    ann.sees(&cem, "known").await;
    bob.sees(&cem, "known").await;
    cem.sees(&ann, "known").await;
    // Both halves go on by themselves.
    let said = json!({"text": "cut off"});
    assert_eq!(cem.echo(&said).await["result"], said);
    assert_eq!(ann.peer(&bob).await["state"], "connected");

    lan.heal(&hosts[2]);
    all_connected(&[&ann, &bob, &cem]).await;
}
