//! Sources: nodes that know nothing but one place where nodes are found.

use super::{SECRET, TRUSTING, book, call, found_by, in_state, seen, together};
use crate::support::{Around, Node, config, eventually};
use serde_json::json;
use std::path::Path;

/// Starts a node with this section `p2p.discovery`.
async fn discovering(dir: &Path, name: &str, discovery: &str) -> Node {
    let file = config(dir, &format!("{name}.yaml"), &format!("p2p: {{discovery: {{{discovery}}}}}\n"));
    Node::start_with(&dir.join(name), &["--config", &file], TRUSTING).await
}

/// Both find each other in this way, and each offers what it can to the other.
async fn meet(a: &Node, b: &Node, source: &str) {
    together(a, b).await;
    for (one, other) in [(a, b), (b, a)] {
        found_by(one, other, source).await;
        eventually("what it offers is known", || async {
            let tools = seen(one, other.peer_id()).await?["capabilities"].as_array().unwrap().clone();
            tools.contains(&json!("echo")).then_some(())
        })
        .await;
    }
}

/// The names of the files in a directory.
fn files(dir: &Path) -> Vec<String> {
    let Ok(listed) = std::fs::read_dir(dir) else { return Vec::new() };
    listed.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_machine_meet_in_a_directory_and_take_their_files_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let registry = dir.path().join("registry");
    // Neither has a name of its own: both would be called as this machine.
    let files_at = format!("files: {{path: {}, interval_s: 0.5}}", registry.display());
    let mut a = discovering(dir.path(), "a", &files_at).await;
    let b = discovering(dir.path(), "b", &files_at).await;
    meet(&a, &b, "file_registry").await;
    assert_eq!(files(&registry).len(), 2, "{:?}", files(&registry));
    eventually("the metrics say how they met", || async {
        let (_, metrics) = b.page("/metrics").await;
        let says = |line: &str| metrics.lines().any(|one| one == line);
        (says("meshwork_discovery_peers{state=\"connected\"} 1")
            && says("meshwork_discovery_found_by{source=\"file_registry\"} 1"))
        .then_some(())
    })
    .await;
    a.stop().await;
    let left = files(&registry);
    assert_eq!(left.len(), 1, "{left:?}");
    let text = std::fs::read_to_string(registry.join(&left[0])).unwrap();
    assert!(text.contains(b.peer_id()) && !text.contains(a.peer_id()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_meet_in_a_single_file_beside_an_entry_of_a_python_node() {
    let dir = tempfile::tempdir().unwrap();
    let python = super::identity(&dir.path().join("python")).await;
    let entry = json!({
        "peer_id": python, "runner_name": "py", "public_ip": "127.0.0.1", "listen_port": 1,
        "multiaddr": format!("/ip4/127.0.0.1/tcp/1/p2p/{python}"), "last_seen": 4_000_000_000_u64,
    });
    let registry = config(dir.path(), "peer_registry.json", &json!({"peers": {"py": entry}}).to_string());
    let files_at = format!("files: {{path: {registry}, interval_s: 0.5}}");
    let mut a = discovering(dir.path(), "a", &files_at).await;
    let b = discovering(dir.path(), "b", &files_at).await;
    meet(&a, &b, "file_registry").await;
    a.stop().await;
    let left = std::fs::read_to_string(&registry).unwrap();
    assert!(left.contains(b.peer_id()) && left.contains(&python) && !left.contains(a.peer_id()), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_know_a_third_hear_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let c = Node::start_with::<&str>(&dir.path().join("c"), &[], TRUSTING).await;
    let contact = ["--peer", &c.address()];
    let a = Node::start_with(&dir.path().join("a"), &contact, TRUSTING).await;
    let b = Node::start_with(&dir.path().join("b"), &contact, TRUSTING).await;
    meet(&a, &b, "gossip").await;
    // What they heard of each other they keep when the third is gone.
    let mut c = c;
    c.stop().await;
    in_state(&a, c.peer_id(), "left").await;
    together(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_share_a_table_find_each_other_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let table = "dht: {enabled: true, interval_s: 0.5}";
    let c = discovering(dir.path(), "c", table).await;
    let address = c.address();
    let env = [SECRET, ("MESHWORK_PEER", address.as_str())];
    let around = Around { env: &env, listen: None };
    let file = config(dir.path(), "c.yaml", &format!("p2p: {{discovery: {{{table}}}}}\n"));
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], around).await;
    let b = Node::start_with(&dir.path().join("b"), &["--config", &file], around).await;
    meet(&a, &b, "dht").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_know_a_rendezvous_point_find_each_other_there() {
    let dir = tempfile::tempdir().unwrap();
    let c = discovering(dir.path(), "c", "rendezvous: {serve: true}").await;
    let point = format!("rendezvous: {{points: [{}], interval_s: 0.5}}", c.address());
    let a = discovering(dir.path(), "a", &point).await;
    let b = discovering(dir.path(), "b", &point).await;
    meet(&a, &b, "rendezvous").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_reported_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = config(dir.path(), "file", "a file where a directory should be");
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let sources = format!(
        "files: {{path: {nowhere}/registry}}, github: {{repository: octo/mesh, api_url: 'http://127.0.0.1:1'}}"
    );
    let a = discovering(dir.path(), "a", &sources).await;
    let looked = call(&a, "p2p_peer_discover", json!({"timeout_s": 5})).await;
    for source in ["file_registry", "github"] {
        let report = looked["sources"].as_array().unwrap().iter().find(|report| report["source"] == source);
        assert!(report.is_some_and(|report| report["problem"].is_string()), "{source}: {looked}");
    }
    call(&a, "p2p_peer_register", json!({"address": b.address()})).await;
    together(&a, &b).await;
    assert_eq!(book(&a).await.len(), 1);
}
