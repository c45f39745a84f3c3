//! Upstream servers: a real one over stdio, which is slow, fails, ends and grows, and an odd one over HTTP.

use super::fakes::{Node, eventually, metric};
use crate::{GatewayOptions, UpstreamOptions, UpstreamState, UpstreamStatus};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use meshwork_kit::AskError;
use meshwork_proto::upstream::{CallUpstream, UpstreamError, UpstreamResult};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The tiny server, which cargo builds beside the tests.
fn tiny() -> String {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/tiny_mcp_server");
    assert!(path.exists(), "{} is not built: run the tests of the whole package", path.display());
    path.to_string_lossy().into_owned()
}

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn start(upstreams: Vec<UpstreamOptions>) -> Node {
    let base_env = env(&[("PATH", "/usr/local/bin:/usr/bin:/bin")]);
    Node::start(GatewayOptions { upstreams, base_env, ..GatewayOptions::default() }).await
}

fn status(node: &Node, name: &str) -> UpstreamStatus {
    node.gateway.upstreams().into_iter().find(|upstream| upstream.name == name).unwrap()
}

async fn is_up(node: &Node, name: &str) {
    eventually(&format!("{name} is up"), || status(node, name).state == UpstreamState::Up).await;
}

fn request(server: &str, tool: &str, arguments: &Value, timeout_ms: u64) -> CallUpstream {
    let arguments = meshwork_proto::Json::from_value(arguments);
    CallUpstream { server: server.into(), tool: tool.into(), arguments, timeout_ms }
}

async fn call(node: &Node, tool: &str, arguments: Value) -> Result<UpstreamResult, UpstreamError> {
    let call = request("tiny", tool, &arguments, 20_000);
    node.ports.upstream.ask(call, Duration::from_secs(30)).await.unwrap()
}

fn tools(node: &Node, server: &str) -> Vec<String> {
    node.state.upstream_tools.lock().unwrap().get(server).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_started_its_tools_are_told_and_called() {
    let mut tiny = UpstreamOptions::command("tiny", [tiny()]);
    tiny.env = env(&[("TINY_NAME", "x")]);
    let node = start(vec![tiny]).await;
    is_up(&node, "tiny").await;
    eventually("the executor heard", || tools(&node, "tiny").contains(&"tiny__echo".to_owned())).await;
    assert_eq!(status(&node, "tiny").tools, 8);

    let echoed = call(&node, "echo", json!({"a": [1, "ä"]})).await.unwrap();
    assert_eq!((echoed.result.to_value(), echoed.is_error), (json!({"a": [1, "ä"]}), false));
    assert_eq!(echoed.raw.to_value()["structuredContent"], json!({"a": [1, "ä"]}));
    let failed = call(&node, "fail", json!({})).await.unwrap();
    assert!(failed.is_error);
    assert_eq!(failed.result.to_value()[0]["text"], "it did not work");
    let refused = call(&node, "nope", json!({})).await.unwrap_err();
    assert!(matches!(refused, UpstreamError::Refused { code: -32602, .. }), "{refused}");
    let names = call(&node, "environment", json!({})).await.unwrap().result.to_value();
    assert_eq!(names["names"].as_array().unwrap().len(), 2, "only PATH and TINY_NAME: {names}");
    let unknown =
        node.ports.upstream.ask(request("nope", "x", &json!({}), 100), Duration::from_secs(5)).await;
    assert!(unknown.unwrap().unwrap_err().to_string().contains("[tiny]"));
    let ok = metric(&node.registry, "meshwork_gateway_upstream_calls_total", &[("outcome", "ok")]);
    assert!((ok - 2.0).abs() < 0.1, "{ok}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tool_is_heard_of_while_the_server_runs() {
    let node = start(vec![UpstreamOptions::command("tiny", [tiny()])]).await;
    is_up(&node, "tiny").await;
    call(&node, "grow", json!({})).await.unwrap();
    eventually("the new tool is told", || {
        tools(&node, "tiny").iter().any(|name| name.starts_with("tiny__grown_later_"))
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_is_started_again_and_its_call_fails_at_once() {
    let node = start(vec![UpstreamOptions::command("tiny", [tiny()])]).await;
    is_up(&node, "tiny").await;
    let (slow, crash) = tokio::join!(call(&node, "slow", json!({"seconds": 15})), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        call(&node, "crash", json!({})).await
    });
    for lost in [slow, crash] {
        assert!(matches!(lost, Err(UpstreamError::Unavailable { .. })), "{lost:?}");
    }
    eventually("it failed", || {
        status(&node, "tiny").restarts == 1 || status(&node, "tiny").last_error.is_some()
    })
    .await;
    is_up(&node, "tiny").await;
    eventually("its tools are back", || tools(&node, "tiny").len() == 8).await;
    assert!(call(&node, "echo", json!({})).await.is_ok());
    let restarts = metric(&node.registry, "meshwork_gateway_upstream_restarts_total", &[("server", "tiny")]);
    assert!((restarts - 1.0).abs() < 0.1, "{restarts}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_servers_harm_neither_the_start_nor_the_good_one() {
    let mut refusing = UpstreamOptions::command("refusing", [tiny()]);
    refusing.env = env(&[("TINY_REFUSE", "1")]);
    let mut silent = UpstreamOptions::command("silent", ["sleep", "600"]);
    silent.startup_timeout = Duration::from_millis(500);
    let node = start(vec![
        refusing,
        UpstreamOptions::command("missing", ["/no/such/program"]),
        silent,
        UpstreamOptions::url("nowhere", "http://me:topsecret@127.0.0.1:9/mcp?key=topsecret"),
        UpstreamOptions::command("tiny", [tiny()]),
    ])
    .await;
    is_up(&node, "tiny").await;
    assert!(call(&node, "echo", json!({})).await.is_ok());
    for (name, part) in [
        ("refusing", "last words"),
        ("missing", "cannot be started"),
        ("silent", "did not answer"),
        ("nowhere", "refused"),
    ] {
        let says = || status(&node, name).last_error.is_some_and(|problem| problem.contains(part));
        eventually(&format!("{name} says what is wrong"), says).await;
    }
    let problem = status(&node, "nowhere").last_error.unwrap();
    assert!(!problem.contains("topsecret") && !problem.contains("rmcp"), "{problem}");
    let down =
        node.ports.upstream.ask(request("missing", "x", &json!({}), 200), Duration::from_secs(5)).await;
    assert!(down.unwrap().unwrap_err().to_string().contains("cannot be started"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_run_beside_one_another_and_are_cancelled_at_the_server() {
    let node = start(vec![UpstreamOptions::command("tiny", [tiny()])]).await;
    is_up(&node, "tiny").await;
    let began = tokio::time::Instant::now();
    let slow = || call(&node, "slow", json!({"seconds": 1}));
    let (a, b, c) = tokio::join!(slow(), slow(), slow());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert!(began.elapsed() < Duration::from_millis(2_900), "they ran one after another");

    // An asker that goes away, and a deadline.
    let left = node
        .ports
        .upstream
        .ask(request("tiny", "slow", &json!({"seconds": 60}), 60_000), Duration::from_millis(300));
    assert!(matches!(left.await, Err(AskError::Timeout { .. })));
    let late = node
        .ports
        .upstream
        .ask(request("tiny", "slow", &json!({"seconds": 60}), 300), Duration::from_secs(5));
    assert!(matches!(late.await.unwrap(), Err(UpstreamError::Timeout { after_ms: 300, .. })));
    let mut cancelled = Value::Null;
    for _ in 0..100 {
        cancelled = call(&node, "cancelled", json!({})).await.unwrap().result.to_value()["cancelled"].take();
        if cancelled == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cancelled, 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_the_concurrency_wait_their_turn() {
    let mut tiny = UpstreamOptions::command("tiny", [tiny()]);
    tiny.concurrency = 1;
    let node = start(vec![tiny]).await;
    is_up(&node, "tiny").await;
    let began = tokio::time::Instant::now();
    let slow = || call(&node, "slow", json!({"seconds": 0.4}));
    let (a, b, c) = tokio::join!(slow(), slow(), slow());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert!(began.elapsed() >= Duration::from_millis(1_200), "they ran beside one another");
    node.stop().await;
}

fn is_alive(pid: i64) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_leaves_no_process_behind_not_even_one_that_the_server_started() {
    let node = start(vec![UpstreamOptions::command("tiny", [tiny()])]).await;
    is_up(&node, "tiny").await;
    let pid = call(&node, "child", json!({})).await.unwrap().result.to_value()["pid"].as_i64().unwrap();
    assert!(is_alive(pid));
    let upstreams = node.gateway.upstreams();
    assert_eq!(upstreams.len(), 1);
    node.stop().await;
    eventually("the server's child is gone", || !is_alive(pid)).await;
}

/// A server of the older era over HTTP that answers calls with what no typed model knows.
const ODD: &str =
    r#"{"content":[{"type":"hologram","n":1.0}],"annotations":{"audience":["system"]},"isError":false}"#;

async fn odd(body: Json<Value>) -> Response {
    let id = body["id"].clone();
    let answer = |result: Value| Json(json!({"jsonrpc": "2.0", "id": id, "result": result})).into_response();
    match body["method"].as_str().unwrap_or_default() {
        "initialize" => answer(json!({
            "protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "odd", "version": "1"}
        })),
        "tools/list" => answer(json!({"tools": [
            {"name": "json", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": "perhaps"}},
            {"name": "events", "inputSchema": {"type": "object"}},
            {"title": "without a name"},
        ]})),
        "tools/call" if body["params"]["name"] == "events" => {
            let event = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{ODD}}}\n\n");
            ([(header::CONTENT_TYPE, "text/event-stream")], event).into_response()
        }
        "tools/call" => {
            let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{ODD}}}");
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        "server/discover" => {
            let error = json!({"code": -32601, "message": "method not found"});
            Json(json!({"jsonrpc": "2.0", "id": id, "error": error})).into_response()
        }
        _ => axum::http::StatusCode::ACCEPTED.into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_an_odd_server_over_http_are_relayed_byte_for_byte() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/mcp", routing::post(odd))).await });
    let node = start(vec![UpstreamOptions::url("odd", url)]).await;
    is_up(&node, "odd").await;
    eventually("its usable tools are told", || tools(&node, "odd") == ["odd__events", "odd__json"]).await;
    for tool in ["json", "events"] {
        let call = request("odd", tool, &json!({}), 5_000);
        let result = node.ports.upstream.ask(call, Duration::from_secs(10)).await.unwrap().unwrap();
        assert_eq!(result.raw.bytes().as_ref(), ODD.as_bytes(), "{tool}");
        assert_eq!(result.result.bytes().as_ref(), br#"[{"type":"hologram","n":1.0}]"#);
    }
    node.stop().await;
}
