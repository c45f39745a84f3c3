//! Wrong, broken and hostile places: none stops a node, and the healthy part goes on.

use super::{TRUSTING, book, call, identity, seen, together};
use crate::support::{Around, Node, config, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn another_node_at_the_address_of_one_that_is_known_is_taken_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let at = b.place();
    let c = Node::start_with::<&str>(&dir.path().join("c"), &[], TRUSTING).await;
    // One contact names who is to be there, the other only where.
    let a =
        Node::start_with(&dir.path().join("a"), &["--peer", &b.address(), "--peer", &c.address()], TRUSTING)
            .await;
    let d = Node::start_with(&dir.path().join("d"), &["--peer", &at], TRUSTING).await;
    for node in [&a, &c, &d] {
        together(node, &b).await;
    }
    b.kill().await;
    let here = Around { listen: Some(&at), ..TRUSTING };
    let new = Node::start_with::<&str>(&dir.path().join("new"), &[], here).await;
    assert_ne!(new.peer_id(), b.peer_id());
    together(&d, &new).await;
    together(&a, &new).await;
    for node in [&a, &c, &d] {
        assert_ne!(seen(node, b.peer_id()).await.map(|entry| entry["state"] == "connected"), Some(true));
    }
    together(&a, &c).await;
    assert_eq!(a.page("/health/ready").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_file_with_ourselves_and_junk_in_it_leads_to_the_one_that_is_real() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let (at, ourselves) = (a.place(), a.address());
    a.stop().await;
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let nobody = identity(&dir.path().join("nobody")).await;
    let lines = [
        ourselves.as_str(),
        &at,
        "not an address",
        "/ip4/127.0.0.1/tcp/99999",
        "/ip4/0.0.0.0/tcp/4001",
        &format!("/ip4/127.0.0.1/tcp/1/p2p/{nobody}"),
        // Right place, wrong id.
        &format!("{}/p2p/{nobody}", b.place()),
        &"/ip4/127.0.0.1".repeat(2_000),
        &b.address(),
    ];
    let list = config(dir.path(), "peers.txt", &lines.join("\n"));
    let file = config(dir.path(), "a.yaml", &format!("p2p:\n  bootstrap:\n    file: {list}\n"));
    let here = Around { listen: Some(&at), ..TRUSTING };
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], here).await;
    together(&a, &b).await;
    assert!(book(&a).await.iter().all(|entry| entry["peer_id"] != a.peer_id()));
    let read = call(&a, "p2p_bootstrap_from_file", json!({})).await;
    let skipped: Vec<&str> =
        read["skipped"].as_array().unwrap().iter().filter_map(|one| one["problem"].as_str()).collect();
    assert!(skipped.iter().any(|problem| problem.contains("this node itself")), "{read}");
    assert!(skipped.len() >= 4, "{read}");
    assert_ne!(seen(&a, &nobody).await.map(|entry| entry["state"] == "connected"), Some(true));
    assert_eq!(a.page("/health/ready").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_entries_that_nobody_answers_do_not_hide_the_one_that_does() {
    let dir = tempfile::tempdir().unwrap();
    let dead = identity(&dir.path().join("dead")).await;
    let entry = |n: usize| -> (String, Value) {
        let value = match n % 4 {
            0 => json!({"peer_id": "no id", "multiaddr": "/ip4/127.0.0.1/tcp/1"}),
            1 => {
                json!({"peer_id": dead, "multiaddr": format!("/ip4/127.0.0.1/tcp/{}", n % 60_000 + 1), "last_seen": n})
            }
            2 => json!([n, "no entry"]),
            _ => json!({"peer_id": dead, "multiaddr": "/ip4/10.0.0.1/tcp/1", "last_seen": "yesterday"}),
        };
        (format!("junk-{n}"), value)
    };
    let entries: BTreeMap<String, Value> = (0..10_000).map(entry).collect();
    let registry = config(dir.path(), "peer_registry.json", &json!({"peers": entries}).to_string());
    let files = format!("p2p: {{discovery: {{files: {{path: {registry}, interval_s: 0.5}}}}}}\n");
    let file = config(dir.path(), "files.yaml", &files);
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], TRUSTING).await;
    let b = Node::start_with(&dir.path().join("b"), &["--config", &file], TRUSTING).await;
    together(&a, &b).await;
    assert_eq!(a.page("/health/ready").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_in_the_directory_of_a_registry_is_passed_over_and_told_to_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    let registry = dir.path().join("registry");
    std::fs::create_dir_all(registry.join("peer_folder.json")).unwrap();
    let dead = identity(&dir.path().join("dead")).await;
    let junk = [
        ("peer_broken.json", "{\"peer_id\": ".to_owned()),
        ("peer_empty.json", String::new()),
        ("peer_list.json", "[1, 2, 3]".to_owned()),
        ("peer_binary.json", "\u{0}\u{1}\u{2}".repeat(100)),
        ("peer_large.json", format!("{{\"peer_id\": \"{}\"}}", "x".repeat(1 << 20))),
        ("peer_mixed.json", json!({"peer_id": dead, "multiaddr": "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"}).to_string()),
        ("notes.txt", "not for nodes".to_owned()),
    ];
    for (name, text) in &junk {
        std::fs::write(registry.join(name), text).unwrap();
    }
    let files = format!("p2p: {{discovery: {{files: {{path: {}, interval_s: 0.5}}}}}}\n", registry.display());
    let file = config(dir.path(), "files.yaml", &files);
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], TRUSTING).await;
    let b = Node::start_with(&dir.path().join("b"), &["--config", &file], TRUSTING).await;
    together(&a, &b).await;
    eventually("the operator is told", || async { a.log().contains("entries that are none").then_some(()) })
        .await;
    assert!(registry.join("notes.txt").exists() && registry.join("peer_mixed.json").exists());
    let discovered = call(&a, "p2p_peer_discover", json!({"sources": ["file_registry"]})).await;
    assert_eq!(discovered["sources"][0]["problem"], json!(null), "{discovered}");
}
