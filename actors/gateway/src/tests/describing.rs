//! Which tools the mesh has, for who checks workflows.

use super::fakes::{Node, local, peer};
use crate::GatewayOptions;
use meshwork_proto::workflow::{DescribeTools, ToolShape};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

async fn describe(node: &Node, names: &[&str]) -> BTreeMap<String, ToolShape> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    node.ports.describe_tools.ask(DescribeTools { names }, Duration::from_secs(20)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn own_tools_those_of_peers_and_those_of_workers_are_described_and_others_are_not() {
    let node = Node::start(GatewayOptions::default()).await;
    let shapes = describe(&node, &["echo", "git__status", "far", "by_hand"]).await;
    let names: Vec<&str> = shapes.keys().map(String::as_str).collect();
    assert_eq!(names, ["by_hand", "echo", "far", "git__status"]);
    let schema = |name: &str| shapes[name].input_schema.as_ref().map(meshwork_proto::Json::to_value);
    assert_eq!(schema("echo"), Some(json!({"type": "object"})));
    assert_eq!(schema("far"), Some(json!({"type": "object"})), "as the peer lists it");
    assert_eq!(schema("by_hand"), None, "a worker says no more than its name");
    assert_eq!(shapes["echo"].peers, BTreeSet::from([local(), peer()]), "a worker of the peer offers it too");
    assert_eq!(shapes["far"].peers, BTreeSet::from([peer()]));
    assert_eq!(shapes["by_hand"].peers, BTreeSet::new(), "a worker that is no node");
    let shapes = describe(&node, &["ecko"]).await;
    assert!(!shapes.contains_key("ecko"), "nobody serves it");
    assert_eq!(shapes["echo"], Default::default(), "what may have been meant is named, and no more");
    assert!(describe(&node, &[]).await.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_kept_and_a_name_that_is_not_is_looked_for_again() {
    let node = Node::start(GatewayOptions::default()).await;
    for _ in 0..20 {
        describe(&node, &["echo", "far"]).await;
    }
    // Once each, unless this machine takes many seconds.
    assert!(node.state.logged("peer list_tools") < 10 && node.state.logged("stats") < 10);
    assert!(!describe(&node, &["new"]).await.contains_key("new"));
    node.state.offered.lock().unwrap().push("new".into());
    let mut found = BTreeMap::new();
    for _ in 0..400 {
        found = describe(&node, &["new"]).await;
        if found.contains_key("new") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(found["new"].peers, BTreeSet::from([peer()]));
    node.stop().await;
}
