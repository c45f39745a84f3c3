//! The endpoints: HTTP, stdio, the bridge; both eras.

use super::client::{Client, Era};
use super::fakes::{Node, eventually, metric};
use crate::{GatewayError, GatewayOptions, GatewayStatus, HttpOptions, stdio_bridge};
use rmcp::ServiceError;
use rmcp::model::{CallToolRequest, CallToolRequestParams, ClientRequest};
use rmcp::service::PeerRequestOptions;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_tools_are_listed_in_both_eras_in_a_fixed_order() {
    let node = Node::start(GatewayOptions::default()).await;
    let mut lists = Vec::new();
    for era in Era::BOTH {
        let client = node.client(era).await;
        let info = client.0.peer_info().unwrap();
        assert_eq!(info.server_info.as_ref().unwrap().name, "meshwork");
        assert_eq!(info.instructions.as_ref().unwrap().lines().count(), 7);
        let list = client.0.list_tools(None).await.unwrap();
        if era == Era::Present {
            assert!(list.ttl_ms.unwrap() > 0 && list.cache_scope.is_some());
        }
        lists.push(list.tools.into_iter().map(|tool| tool.name.to_string()).collect::<Vec<_>>());
    }
    assert_eq!(lists[0], lists[1]);
    assert_eq!(lists[0].len(), 50);
    assert!(lists[0].is_sorted());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_tool_is_an_error_of_the_protocol() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let Err(ServiceError::McpError(error)) = client.try_call("p2p_taskqueue_submitt", json!({})).await else {
        panic!("it is no error of the protocol");
    };
    assert_eq!(error.code.0, -32602);
    assert!(error.message.contains("did you mean \"p2p_taskqueue_submit\"?"), "{}", error.message);
    let calls = |tool, outcome| {
        metric(&node.registry, "meshwork_gateway_tool_calls_total", &[("tool", tool), ("outcome", outcome)])
    };
    assert!((calls("other", "error") - 1.0).abs() < 0.1);
    client.call("p2p_taskqueue_status", json!({})).await;
    assert!((calls("p2p_taskqueue_status", "ok") - 1.0).abs() < 0.1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_blocks_nobody_and_ends_when_it_is_cancelled_or_the_client_leaves() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let client = node.client(era).await;
        let task = client.call("p2p_taskqueue_submit", json!({"task_type": "echo", "payload": {}})).await;
        let Value::Object(wait) = json!({"task_id": task["task_id"], "wait_s": 60}) else { panic!() };
        let params = CallToolRequestParams::new("p2p_taskqueue_get_result").with_arguments(wait.clone());
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let handle =
            client.0.send_cancellable_request(request, PeerRequestOptions::no_options()).await.unwrap();
        eventually("the client waits", || node.state.waiting.load(Ordering::SeqCst) == 1).await;
        tokio::time::timeout(Duration::from_secs(10), client.call("p2p_taskqueue_status", json!({})))
            .await
            .unwrap();
        handle.cancel(None).await.unwrap();
        let labels = [("tool", "p2p_taskqueue_get_result"), ("outcome", "cancelled")];
        let before = if era == Era::Present { 1.0 } else { 2.0 };
        eventually("the wait was dropped", || {
            metric(&node.registry, "meshwork_gateway_tool_calls_total", &labels) >= before
        })
        .await;
        // The double's own work ends when its task does.
        node.state.change(task["task_id"].as_str().unwrap(), |task| {
            task.status = meshwork_proto::task::TaskStatus::Cancelled;
        });
        eventually("nobody waits", || node.state.waiting.load(Ordering::SeqCst) == 0).await;
    }
    node.stop().await;
}

async fn post(node: &Node, header: (&str, &str), body: String) -> u16 {
    answer(node, header, body).await.status().as_u16()
}

async fn answer(node: &Node, header: (&str, &str), body: String) -> reqwest::Response {
    let http = crate::http_client::http_client(&node.url).unwrap();
    let request = http
        .post(&node.url)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header(header.0, header.1);
    request.body(body).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_hosts_origins_and_sizes_are_refused() {
    let http = HttpOptions { max_body_bytes: 10_000, ..HttpOptions::default() };
    let node = Node::start(GatewayOptions { http, ..GatewayOptions::default() }).await;
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let hello = || hello.to_string();
    assert_eq!(post(&node, ("origin", "http://evil.example.com"), hello()).await, 403);
    assert_eq!(post(&node, ("host", "evil.example.com"), hello()).await, 403);
    for fine in ["http://localhost:5173", "http://127.0.0.1:1", "http://[::1]:8000"] {
        assert_eq!(post(&node, ("origin", fine), hello()).await, 200, "{fine}");
    }
    for (body, status, code, part) in [
        ("x".repeat(20_000), 413, -32600, "10000 bytes"),
        ("{no json".into(), 400, -32700, "not JSON"),
        (String::new(), 400, -32700, "not JSON"),
        ("[1]".into(), 400, -32600, "JSON-RPC message"),
    ] {
        let answer = answer(&node, ("x", "y"), body).await;
        assert_eq!(answer.status().as_u16(), status);
        let said: Value = answer.json().await.unwrap();
        assert_eq!((&said["id"], &said["error"]["code"]), (&Value::Null, &json!(code)));
        assert!(said["error"]["message"].as_str().unwrap().contains(part), "{said}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_routes_can_be_guarded_like_the_endpoint() {
    let node = Node::start(GatewayOptions::default()).await;
    let routes = axum::Router::new().route("/status", axum::routing::get(async || "fine"));
    let routes = node.gateway.guard(routes);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/status", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let http = crate::http_client::http_client(&url).unwrap();
    for (name, value, status) in
        [("x", "y", 200), ("host", "evil.com", 403), ("origin", "http://evil.com", 403)]
    {
        let answer = http.get(&url).header(name, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}: {value}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_counted_and_bounded() {
    let http = HttpOptions { max_sessions: 2, ..HttpOptions::default() };
    let node = Node::start(GatewayOptions { http, ..GatewayOptions::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(node.client(Era::Older).await);
    }
    clients[3].call("p2p_taskqueue_status", json!({})).await;
    let status = || node.gateway.actor().status().get::<GatewayStatus>().cloned();
    eventually("two sessions are shown", || status().is_some_and(|s| s.sessions == 2 && s.calls == 1)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stdio_and_the_bridge_answer_like_http() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let (client, served) = tokio::join!(
            async {
                let client = Client::stream(ours, era).await;
                assert_eq!(client.0.list_all_tools().await.unwrap().len(), 50);
                assert_eq!(
                    client.refused("p2p_taskqueue_cancel", json!({})).await["code"],
                    "invalid_argument"
                );
                client.0.cancel().await
            },
            node.gateway.serve_stdio(input, output)
        );
        assert!(client.is_ok() && served.is_ok());

        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let (client, bridged) = tokio::join!(
            async {
                let client = Client::stream(ours, era).await;
                assert_eq!(client.0.list_all_tools().await.unwrap().len(), 50);
                let task = json!({"task_type": "echo", "payload": {}});
                assert_eq!(client.call("p2p_taskqueue_submit", task).await["status"], "queued");
                assert_eq!(
                    client.refused("p2p_taskqueue_cancel", json!({})).await["code"],
                    "invalid_argument"
                );
                assert!(client.try_call("nope", json!({})).await.is_err());
                client.0.cancel().await
            },
            stdio_bridge(&node.url, input, output)
        );
        assert!(client.is_ok() && bridged.is_ok());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_to_nowhere_and_a_client_that_says_nothing_are_told_plainly() {
    let (_ours, theirs) = tokio::io::duplex(1024);
    let (input, output) = tokio::io::split(theirs);
    let error = stdio_bridge("http://127.0.0.1:9/mcp", input, output).await.unwrap_err();
    assert!(matches!(error, GatewayError::Bridge { .. }));
    let error = error.to_string();
    assert!(error.contains("meshwork run") && error.contains("refused"), "{error}");
    assert!(!error.contains("rmcp"), "{error}");

    let node = Node::start(GatewayOptions::default()).await;
    let (ours, theirs) = tokio::io::duplex(1024);
    drop(ours);
    let (input, output) = tokio::io::split(theirs);
    assert!(matches!(node.gateway.serve_stdio(input, output).await, Err(GatewayError::Stdio(_))));
    node.stop().await;
}
