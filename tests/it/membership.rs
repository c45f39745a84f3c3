//! Membership with real processes: nodes find each other, keep each other, and forget the gone.
//!
//! What the stories below have in common: nodes that know one secret and nothing else, and the book of one node as
//! another is seen in it.

mod contacts;
mod forgetting;
mod github;
mod goodbye;
mod hostile;
mod rotation;
mod sources;
mod tools;
mod trust;

use crate::support::{Around, Node, eventually, run_cli};
use serde_json::{Value, json};
use std::path::Path;

/// The variable through which nodes of one test trust each other without knowing of each other.
const SECRET: (&str, &str) = ("MESHWORK_MESH_SECRET", "what all nodes of this test know");
/// An environment with nothing but that.
const TRUSTING: Around<'static> = Around { env: &[SECRET], listen: None };

/// Calls a tool; panics on an error.
async fn call(at: &Node, tool: &str, arguments: Value) -> Value {
    match at.tool(tool, arguments.clone()).await {
        Ok(value) => value,
        Err(error) => panic!("{tool} {arguments} gave {error}\n{}", at.log()),
    }
}

/// Calls a tool that must fail; gives the error.
async fn refused(at: &Node, tool: &str, arguments: Value) -> Value {
    match at.tool(tool, arguments.clone()).await {
        Ok(value) => panic!("{tool} {arguments} should have failed but gave {value}"),
        Err(error) => error,
    }
}

/// Everybody in the book of a node.
async fn book(of: &Node) -> Vec<Value> {
    call(of, "p2p_peer_list", json!({})).await["peers"].as_array().unwrap().clone()
}

/// What the book of a node says of a peer.
async fn seen(at: &Node, peer: &str) -> Option<Value> {
    book(at).await.into_iter().find(|entry| entry["peer_id"] == peer)
}

/// Waits until a peer is in this state in the book of a node, and gives what the book says of it.
async fn in_state(at: &Node, peer: &str, state: &str) -> Value {
    eventually(&format!("{peer} is {state} at {}", at.peer_id()), || async {
        seen(at, peer).await.filter(|entry| entry["state"] == state)
    })
    .await
}

/// Waits until both list each other as connected.
async fn together(a: &Node, b: &Node) {
    in_state(a, b.peer_id(), "connected").await;
    in_state(b, a.peer_id(), "connected").await;
}

/// Waits until the book of a node says that a peer was found in this way.
async fn found_by(at: &Node, peer: &Node, source: &str) {
    eventually(&format!("{} is found by {source} at {}", peer.peer_id(), at.peer_id()), || async {
        let entry = seen(at, peer.peer_id()).await?;
        entry["found_by"].as_array().unwrap().contains(&json!(source)).then_some(())
    })
    .await;
}

/// Checks that a node gets nothing done at a peer by which it was shut out, and that it hears no reason.
async fn is_out(node: &Node, peer: &str) {
    let task = json!({"task_type": "echo", "payload": {}, "peer": peer});
    let error = node.queue_error("submit", task).await;
    // Which of them it is depends on whether the peer hangs up before or while it is asked.
    let codes = ["not_admitted", "unreachable", "unavailable"];
    assert!(codes.contains(&error["code"].as_str().unwrap()), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(!message.contains("revoked") && !message.contains("banned"), "it hears a reason: {error}");
}

/// Makes the key of a node that is started later, and gives its id.
async fn identity(dir: &Path) -> String {
    let (code, out, err) = run_cli(&["id", "--create", "--data-dir", dir.to_str().unwrap(), "--json"]).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str::<Value>(&out).unwrap()["peer_id"].as_str().unwrap().to_owned()
}
