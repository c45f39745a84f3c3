//! Three nodes on one network, without any address, find one another by mDNS.

use crate::lab::{Lan, Space, ready};
use crate::node::{Node, all_connected};
use serde_json::json;

const MDNS: &str = "p2p:\n  discovery:\n    mdns: \"on\"\n";

#[tokio::test]
async fn three_nodes_with_one_secret_and_no_addresses_find_one_another() {
    if !ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lan = Lan::new("lan");
    let hosts = ["ann", "bob", "cem"].map(Space::new);
    for (host, number) in hosts.iter().zip(1..) {
        lan.plug(host, "eth0", &format!("192.168.7.{number}/24"), None);
    }
    let (ann, bob, cem) = (
        Node::start(&hosts[0], dir.path(), MDNS).await,
        Node::start(&hosts[1], dir.path(), MDNS).await,
        Node::start(&hosts[2], dir.path(), MDNS).await,
    );
    all_connected(&[&ann, &bob, &cem]).await;
    let peer = ann.peer(&bob).await;
    assert!(peer["found_by"].as_array().unwrap().contains(&json!("mdns")), "{peer}");
    let asked = ann.cli(&["peers", "discover", "--source", "mdns"]).await.unwrap();
    let report = &asked["sources"][0];
    assert_eq!((&report["source"], &report["problem"]), (&json!("mdns"), &json!(null)), "{asked}");
    // Each of the others may have found this node before it was heard here.
    assert!((1..=2).contains(&report["found"].as_u64().unwrap()), "{asked}");
    let said = json!({"text": "over the LAN"});
    assert_eq!(cem.echo(&said).await["result"], said);
}
