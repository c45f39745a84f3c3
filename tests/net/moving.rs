//! A host that gets another address: the others find its node there.

use crate::lab::{Lan, Space, ready};
use crate::node::{Node, all_connected};
use serde_json::{Value, json};

const QUIET: &str = "p2p:\n  listen: [/ip4/0.0.0.0/udp/4001/quic-v1]\n  discovery:\n    mdns: \"off\"\n";
const NEW: &str = "192.168.7.99";

#[tokio::test]
async fn a_node_that_moves_to_another_address_is_found_again() {
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

    hosts[2].ip("address flush dev eth0");
    hosts[2].address("eth0", &format!("{NEW}/24"), None);
    let said = json!({"text": "moved"});
    for other in [&ann, &bob] {
        let known = async || {
            let peer = other.peer(&cem).await;
            let addresses = peer["addresses"].as_array()?.clone();
            let new = |address: &Value| address["addr"].as_str().is_some_and(|text| text.contains(NEW));
            (peer["state"] == "connected" && addresses.iter().any(new)).then_some(())
        };
        other.until("it is connected and its new address is known", known).await;
        let works = async || other.echo_at(&cem, &said).await.ok().filter(|result| result["result"] == said);
        other.until("its queue takes work", works).await;
    }
}
