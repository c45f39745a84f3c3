//! Forgetting: who is gone without a word is forgotten after its time to live, with all it offered; who is there is not.

use super::{TRUSTING, call, in_state, seen, together};
use crate::support::{Node, config, eventually};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// The time to live of the nodes of this story.
const TTL: Duration = Duration::from_secs(2);

/// How many peers of a node's book have a label or serve a tool.
async fn having(at: &Node, capability: &str) -> u64 {
    call(at, "p2p_peer_list", json!({"capability": capability})).await["count"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_is_forgotten_with_its_tools_after_its_time_to_live_and_nobody_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let short = |name: &str, more: &str| {
        config(dir.path(), name, &format!("p2p: {{discovery: {{ttl_s: {}}}}}\n{more}", TTL.as_secs()))
    };
    let plain = short("plain.yaml", "");
    let labelled = short("labelled.yaml", "executor:\n  labels: [gpu]\n");
    let a = Node::start_with(&dir.path().join("a"), &["--config", &plain], TRUSTING).await;
    let contact = a.address();
    let joining = |config: &str| ["--peer".to_owned(), contact.clone(), "--config".into(), config.into()];
    let b = Node::start_with(&dir.path().join("b"), &joining(&plain), TRUSTING).await;
    let mut c = Node::start_with(&dir.path().join("c"), &joining(&labelled), TRUSTING).await;
    together(&a, &b).await;
    for node in [&a, &b] {
        together(node, &c).await;
        let offered =
            || async { (having(node, "gpu").await == 1 && having(node, "echo").await == 2).then_some(()) };
        eventually("all tools and labels are known", offered).await;
    }
    c.kill().await;
    for node in [&a, &b] {
        eventually("who was killed is forgotten", || async {
            seen(node, c.peer_id()).await.is_none().then_some(())
        })
        .await;
        assert_eq!(
            (having(node, "gpu").await, having(node, "echo").await),
            (0, 1),
            "its tools are gone with it"
        );
    }
    // None of the two brings it back to the other, and they keep each other however short the time is.
    let until = Instant::now() + 3 * TTL;
    while Instant::now() < until {
        for node in [&a, &b] {
            assert!(seen(node, c.peer_id()).await.is_none(), "it came back from the dead");
        }
        assert_eq!(seen(&a, b.peer_id()).await.unwrap()["state"], "connected");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, metrics) = a.page("/metrics").await;
    let forgotten =
        metrics.lines().find(|line| line.starts_with("meshwork_discovery_gone_total{why=\"forgotten\"}"));
    assert!(forgotten.is_some_and(|line| !line.ends_with(" 0")), "{forgotten:?}");
    // It is as welcome as it was.
    let c = Node::start_with(&dir.path().join("c"), &joining(&labelled), TRUSTING).await;
    in_state(&a, c.peer_id(), "connected").await;
    eventually("its label is back", || async { (having(&b, "gpu").await == 1).then_some(()) }).await;
}
