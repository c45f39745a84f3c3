//! Nodes on one network, without any address, find one another by mDNS, also when somebody floods it.

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

/// More invented peers than the neighbours that a node keeps, and fewer than what makes it stop its ears.
const STORM: &str = "600";

#[tokio::test]
async fn who_comes_after_a_storm_of_invented_neighbours_is_heard_all_the_same() {
    if !ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lan = Lan::new("lan");
    let hosts = ["ann", "bob", "eve"].map(Space::new);
    for (host, number) in hosts.iter().zip(1..) {
        lan.plug(host, "eth0", &format!("192.168.7.{number}/24"), None);
        host.ip("route add 224.0.0.0/4 dev eth0");
    }
    let ann = Node::start(&hosts[0], dir.path(), MDNS).await;
    hosts[2].run(&["python3", "-B", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/net/storm.py"), STORM]);
    ann.until("its neighbours are as many as it keeps", async || {
        let asked = ann.cli(&["peers", "discover", "--source", "mdns", "--max", "1"]).await.ok()?;
        (asked["sources"][0]["found"].as_u64()? >= 512).then_some(())
    })
    .await;
    let bob = Node::start(&hosts[1], dir.path(), MDNS).await;
    all_connected(&[&ann, &bob]).await;
    // That the newcomer heard it, and called, says nothing of whether it was heard.
    ann.until("the newcomer is heard", async || {
        let found_by = ann.peer(&bob).await["found_by"].clone();
        found_by.as_array()?.contains(&json!("mdns")).then_some(())
    })
    .await;
}
