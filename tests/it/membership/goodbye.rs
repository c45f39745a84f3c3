//! Nodes that leave, nodes that are killed, nodes that come back, and nodes that move.

use super::{SECRET, TRUSTING, book, call, in_state, seen, together};
use crate::support::{Around, Node, config, eventually, invitation};
use serde_json::json;
use tokio::time::Instant;

/// How many peers of a node's book have a label.
async fn having(at: &Node, label: &str) -> u64 {
    call(at, "p2p_peer_list", json!({"capability": label})).await["count"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_has_left_at_once_and_its_tools_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let labelled = config(dir.path(), "labelled.yaml", "executor:\n  labels: [gpu]\n");
    let a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let contact = a.address();
    let b = Node::start_with(&dir.path().join("b"), &["--peer", &contact], TRUSTING).await;
    let mut c =
        Node::start_with(&dir.path().join("c"), &["--peer", &contact, "--config", &labelled], TRUSTING).await;
    for node in [&a, &b] {
        together(node, &c).await;
        eventually("c offers its label", || async { (having(node, "gpu").await == 1).then_some(()) }).await;
    }
    c.stop().await;
    let gone = Instant::now();
    for node in [&a, &b] {
        let entry = in_state(node, c.peer_id(), "left").await;
        assert_eq!(entry["capabilities"], json!([]), "{entry}");
        assert_eq!(having(node, "gpu").await, 0);
    }
    assert!(gone.elapsed().as_secs() < 5, "that took {:?}, where it should be at once", gone.elapsed());
    // Whoever has said goodbye may come back.
    let c = Node::start_with(&dir.path().join("c"), &["--config", &labelled], TRUSTING).await;
    for node in [&a, &b] {
        together(node, &c).await;
        eventually("c offers its label", || async { (having(node, "gpu").await == 1).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_has_not_left_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start::<&str>(&dir.path().join("a"), &[]).await;
    let mut b = Node::start(&dir.path().join("b"), &["--join", &invitation(&a).await]).await;
    together(&a, &b).await;
    b.kill().await;
    let entry = in_state(&a, b.peer_id(), "known").await;
    assert!(!entry["addresses"].as_array().unwrap().is_empty(), "{entry}");
    // At another port, as every start here: its peers learn the new address from itself.
    let (old, id) = (b.place(), b.peer_id().to_owned());
    let b = Node::start::<&str>(&dir.path().join("b"), &[]).await;
    assert_eq!(b.peer_id(), id);
    together(&a, &b).await;
    assert_ne!(b.place(), old);
    eventually("the new address comes first", || async {
        let entry = seen(&a, &id).await?;
        (entry["addresses"][0]["addr"] == b.place()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_were_all_stopped_find_each_other_again_by_their_books_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = Node::start::<&str>(&dir.path().join("a"), &[]).await;
    let invited = invitation(&a).await;
    let join = ["--join", invited.as_str()];
    let mut b = Node::start(&dir.path().join("b"), &join).await;
    let mut c = Node::start(&dir.path().join("c"), &join).await;
    together(&a, &b).await;
    together(&a, &c).await;
    together(&b, &c).await;
    let (at_a, at_b, at_c) = (a.place(), b.place(), c.place());
    for node in [&mut a, &mut b, &mut c] {
        node.stop().await;
    }
    // Without the one that they joined: only their books can bring the two together.
    let back = async |name: &str, at: &str| {
        let around = Around { env: &[], listen: Some(at) };
        Node::start_with::<&str>(&dir.path().join(name), &[], around).await
    };
    let b = back("b", &at_b).await;
    let c = back("c", &at_c).await;
    together(&b, &c).await;
    let a = back("a", &at_a).await;
    together(&a, &b).await;
    together(&a, &c).await;
    assert_eq!(book(&a).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_moved_while_its_contact_was_away_is_found_through_others() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let contact = ["--peer", &a.address()];
    let mut b = Node::start_with(&dir.path().join("b"), &contact, TRUSTING).await;
    let mut c = Node::start_with(&dir.path().join("c"), &contact, TRUSTING).await;
    together(&b, &c).await;
    let at_c = c.place();
    c.kill().await;
    b.kill().await;
    // b is at another port when c comes back with the address that b had; only a knows the new one.
    let b = Node::start_with(&dir.path().join("b"), &contact, Around { env: &[SECRET], listen: None }).await;
    together(&a, &b).await;
    let around = Around { env: &[SECRET], listen: Some(&at_c) };
    let c = Node::start_with(&dir.path().join("c"), &contact, around).await;
    together(&c, &b).await;
    eventually("c knows where b is now", || async {
        let entry = seen(&c, b.peer_id()).await?;
        entry["addresses"].as_array().unwrap().iter().any(|at| at["addr"] == b.place()).then_some(())
    })
    .await;
}
