//! The four meta-tools.

use super::client::Era;
use super::fakes::{LOCAL, Node, PEER};
use crate::GatewayOptions;
use serde_json::{Value, json};

fn names<'a>(list: &'a Value, member: &str) -> Vec<&'a str> {
    list[member].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

fn peer_category() -> String {
    format!("peer:{}", &PEER[PEER.len() - 8..])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_is_found_by_category() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let found = client.call("tools_list_categories", json!({"include_count": true})).await;
    let all = ["taskqueue", "peers", "workflows", "schedules", "builtin", "git", &peer_category()];
    assert_eq!(names(&found, "categories"), all);
    assert_eq!(found["category_count"], 7);
    let counts: Vec<&Value> = (0..4).map(|index| &found["categories"][index]["tool_count"]).collect();
    assert_eq!(counts, [&json!(14), &json!(14), &json!(12), &json!(6)]);
    let plain = client.call("tools_list_categories", json!({})).await;
    assert!(plain["categories"][0].get("tool_count").is_none());

    let own = client.call("tools_list_tools", json!({"category": "taskqueue"})).await;
    assert_eq!((own["tool_count"].as_u64(), names(&own, "tools")[0]), (Some(14), "p2p_taskqueue_announce"));
    let peers = client.call("tools_list_tools", json!({"category": "peers"})).await;
    assert_eq!(
        (peers["tool_count"].as_u64(), names(&peers, "tools")[0]),
        (Some(14), "p2p_bootstrap_from_dns")
    );
    for category in [peer_category(), format!("peer:{PEER}")] {
        let far = client.call("tools_list_tools", json!({"category": category})).await;
        assert_eq!(names(&far, "tools"), ["far"]);
    }
    let unknown = client.refused("tools_list_tools", json!({"category": "nope"})).await;
    assert_eq!(
        unknown["available_categories"],
        json!(["taskqueue", "peers", "workflows", "schedules", "builtin", "git", peer_category()])
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_json_schemas_and_both_spellings_are_taken() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Older).await;
    for spelling in ["tool", "tool_name"] {
        let arguments = json!({"category": "taskqueue", spelling: "p2p_taskqueue_submit"});
        let schema = client.call("tools_get_schema", arguments).await;
        assert_eq!(schema["input_schema"]["properties"]["task_type"]["type"], "string");
        assert_eq!((&schema["kind"], &schema["peer_id"]), (&json!("own"), &json!(LOCAL)));
    }
    let upstream = client.call("tools_get_schema", json!({"category": "git", "tool": "git__status"})).await;
    assert_eq!((&upstream["kind"], &upstream["input_schema"]), (&json!("mcp"), &json!({"type": "object"})));
    let far = client.call("tools_get_schema", json!({"category": peer_category(), "tool": "far"})).await;
    assert_eq!(far["peer_id"], PEER);
    let unknown = client.refused("tools_get_schema", json!({"category": "builtin", "tool": "ecko"})).await;
    assert_eq!((&unknown["code"], &unknown["available_tools"]), (&json!("unknown_tool"), &json!(["echo"])));
    assert!(unknown["message"].as_str().unwrap().contains("did you mean \"echo\"?"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_to_where_the_tool_is() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let call = |category: &str, tool: &str| json!({"category": category, "tool": tool, "params": {"x": 1}});
    assert_eq!(client.call("tools_dispatch", call("builtin", "echo")).await, json!({"x": 1}));
    assert_eq!(client.call("tools_dispatch", call(&peer_category(), "far")).await, json!({"x": 1}));
    assert_eq!(client.call("tools_dispatch", call("builtin", "far")).await, json!({"x": 1}));
    assert_eq!((node.state.logged("call echo"), node.state.logged("peer call_tool")), (1, 2));
    let own =
        json!({"category": "taskqueue", "tool_name": "p2p_taskqueue_status", "parameters": {"detail": true}});
    assert_eq!(client.call("tools_dispatch", own).await["peer_id"], LOCAL);
    let book = json!({"category": "peers", "tool": "p2p_peer_list", "peer": PEER});
    assert_eq!(client.call("tools_dispatch", book).await["peer_id"], PEER);
    let here_only = json!({"category": "peers", "tool": "p2p_peer_pair", "peer": PEER});
    let error = client.refused("tools_dispatch", here_only).await;
    assert!(error["message"].as_str().unwrap().contains("acts at this node only"), "{error}");
    let there = json!({"category": "builtin", "tool": "echo", "params": {"y": 2}, "peer": PEER});
    assert_eq!(client.call("tools_dispatch", there).await, json!({"y": 2}));
    let task = json!({"task_type": "echo", "payload": {}});
    let submit =
        json!({"category": "taskqueue", "tool": "p2p_taskqueue_submit", "params": task, "peer": PEER});
    assert_eq!(client.call("tools_dispatch", submit).await["peer_id"], PEER);

    let nobody = client.refused("tools_dispatch", call("builtin", "nope")).await;
    assert_eq!(nobody["code"], "unknown_tool");
    let twice = json!({"category": "builtin", "tool": "echo", "tool_name": "echo"});
    assert_eq!(client.refused("tools_dispatch", twice).await["code"], "invalid_argument");
    let upstream = client.try_call("tools_dispatch", call("git", "git__status")).await.unwrap();
    assert_eq!(upstream.is_error, Some(true));
    assert_eq!(upstream.content[0].as_text().unwrap().text, "no such repository", "relayed as it came");
    node.stop().await;
}
