//! The client against a real MCP server on loopback, and what each kind of failure looks like.

use super::answers::Answer;
use super::catalogue::{ToolEntry, pick};
use super::connection::parse_url;
use super::*;
use crate::output::{Exit, Failure};
use meshwork_proto::{Coded, ErrorCode};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A node that knows a few tools: it answers with its arguments, fails, or never answers.
#[derive(Clone, Default)]
struct FakeNode {
    asked: Arc<AtomicU32>,
}

impl ServerHandler for FakeNode {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let result = match request.name.as_ref() {
            "p2p_taskqueue_submit" => {
                structured(json!({"task_id": "01", "peer_id": "p", "status": "queued", "got": arguments}))
            }
            "p2p_taskqueue_task_status" => structured(json!({"task_id": "01", "status": "running"})),
            "p2p_taskqueue_get_result" => {
                let finished = self.asked.fetch_add(1, Ordering::Relaxed) >= 2;
                let status = if finished { "failed" } else { "running" };
                let error = json!({"code": "tool_crashed", "message": "it crashed"});
                structured(
                    json!({"task_id": "01", "status": status, "error": if finished { error } else { Value::Null }, "attempts": 2}),
                )
            }
            "p2p_taskqueue_cancel" => {
                let error = json!({"error": {"code": "unknown_task", "message": "no task 01"}});
                let mut result = CallToolResult::error(vec![ContentBlock::text("no task 01 (unknown_task)")]);
                result.structured_content = Some(error);
                result
            }
            "p2p_taskqueue_announce" => {
                CallToolResult::error(vec![ContentBlock::text("something went wrong")])
            }
            "p2p_taskqueue_stop" => CallToolResult::error(vec![ContentBlock::text("not you (forbidden)")]),
            "p2p_taskqueue_heartbeat" => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                structured(json!({}))
            }
            "p2p_workflow_submit" => structured(
                json!({"workflow_id": "w", "peer_id": "p", "state": "running", "existing": null, "got": arguments}),
            ),
            "p2p_workflow_status" => {
                let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
                let state = if asked > 2 { "failed" } else { "running" };
                let error = json!({"code": "tool_failed", "message": "step a: no"});
                let error = if asked > 2 { error } else { Value::Null };
                structured(json!({
                    "workflow_id": "w", "state": state, "version": asked, "steps": [{"id": "a"}], "error": error,
                    "output": null, "got": arguments,
                }))
            }
            name if ["peer", "bootstrap", "workflow", "schedule"]
                .iter()
                .any(|family| name.starts_with(&format!("p2p_{family}_"))) =>
            {
                structured(json!({"tool": name, "got": arguments}))
            }
            "p2p_taskqueue_worker_stats" => {
                CallToolResult::success(vec![ContentBlock::text("{\"workers\": []}")])
            }
            _ => return Err(ErrorData::invalid_params("unknown tool", None)),
        };
        Ok(result.into())
    }
}

fn structured(value: Value) -> CallToolResult {
    CallToolResult::structured(value)
}

/// Serves a fake node and gives its URL.
async fn serve() -> String {
    let node = FakeNode::default();
    let service: StreamableHttpService<FakeNode, LocalSessionManager> = StreamableHttpService::new(
        move || Ok(node.clone()),
        Arc::default(),
        StreamableHttpServerConfig::default(),
    );
    let router = axum::Router::new().route_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/mcp")
}

async fn client() -> NodeClient {
    NodeClient::connect(&ClientOptions::at(serve().await)).await.unwrap()
}

#[tokio::test]
async fn a_submit_sends_only_what_was_given() {
    let arguments = SubmitArgs {
        task_type: "echo".into(),
        payload: json!({"a": 1}),
        priority: Some(7),
        ..SubmitArgs::default()
    };
    let (submitted, answer) = client().await.submit(&arguments).await.unwrap();
    assert_eq!((submitted.task_id.as_str(), submitted.status.as_str()), ("01", "queued"));
    assert_eq!(answer.member("got").0, json!({"task_type": "echo", "payload": {"a": 1}, "priority": 7}));
}

#[tokio::test]
async fn the_tools_of_membership_are_sent_only_what_was_given() {
    let client = client().await;
    let asked = |answer: &Answer| (answer.shown("tool"), answer.member("got").0);
    let all = client.peers(&PeerFilter::default()).await.unwrap();
    assert_eq!(asked(&all), ("p2p_peer_list".into(), json!({})));
    let discover =
        DiscoverArgs { sources: vec!["mdns".into()], timeout_s: Some(2.5), ..DiscoverArgs::default() };
    let found = client.look_for_peers(&discover).await.unwrap();
    assert_eq!(asked(&found), ("p2p_peer_discover".into(), json!({"sources": ["mdns"], "timeout_s": 2.5})));
    let register = RegisterArgs { peer_id: Some("p".into()), connect: false, ..RegisterArgs::default() };
    let entered = client.register_peer(&register).await.unwrap();
    assert_eq!(asked(&entered), ("p2p_peer_register".into(), json!({"peer_id": "p", "connect": false})));
    let revoked = client.revoke_peer("p", false, None).await.unwrap();
    assert_eq!(asked(&revoked), ("p2p_peer_revoke".into(), json!({"peer_id": "p"})));
    let undone = client.revoke_peer("p", true, Some("q")).await.unwrap();
    assert_eq!(asked(&undone).1, json!({"peer_id": "p", "undo": true, "peer": "q"}));
    let forgotten = client.forget_peer("p", None).await.unwrap();
    assert_eq!(asked(&forgotten), ("p2p_peer_forget".into(), json!({"peer_id": "p"})));
    let cleaned = client.clean_up_peers(Some(60.0), true, None).await.unwrap();
    assert_eq!(asked(&cleaned), ("p2p_peer_cleanup".into(), json!({"silent_s": 60.0, "dry_run": true})));
    let paired = client.pair(&PairArgs { code: Some("1".into()), ..PairArgs::default() }).await.unwrap();
    assert_eq!(asked(&paired), ("p2p_peer_pair".into(), json!({"code": "1"})));
    assert_eq!(asked(&client.contacts(None).await.unwrap()), ("p2p_bootstrap_list".into(), json!({})));
}

#[tokio::test]
async fn the_tools_of_workflows_are_sent_only_what_was_given() {
    let client = client().await;
    let asked = |answer: &Answer| (answer.shown("tool"), answer.member("got").0);
    let run = RunArgs { workflow: json!({"name": "w"}), inputs: Some(json!({"a": 1})), ..RunArgs::default() };
    let (submitted, answer) = client.submit_run(&run).await.unwrap();
    assert_eq!((submitted.workflow_id.as_str(), submitted.existing), ("w", None));
    assert_eq!(answer.member("got").0, json!({"workflow": {"name": "w"}, "inputs": {"a": 1}}));
    let keyed = RunArgs { idempotency_key: Some("k".into()), allow_unknown_tools: true, ..run };
    let validated = client.validate_workflow(&keyed).await.unwrap();
    let expected = json!({"workflow": {"name": "w"}, "inputs": {"a": 1}, "allow_unknown_tools": true});
    assert_eq!(asked(&validated), ("p2p_workflow_validate".into(), expected));
    let cancelled = client.cancel_run("w", None, false, None).await.unwrap();
    assert_eq!(asked(&cancelled), ("p2p_workflow_cancel".into(), json!({"workflow_id": "w"})));
    let retry = RunControl::Retry(Some("a".into()));
    let retried = client.control_run("w", &retry, Some("p")).await.unwrap();
    let expected = json!({"workflow_id": "w", "from_step": "a", "peer": "p"});
    assert_eq!(asked(&retried), ("p2p_workflow_retry".into(), expected));
    let signalled = client.signal_run("w", "go", Some(Value::Null), None).await.unwrap();
    let expected = json!({"workflow_id": "w", "name": "go", "payload": null});
    assert_eq!(asked(&signalled), ("p2p_workflow_signal".into(), expected));
    let page = client.run_history("w", Some(7), None, None).await.unwrap();
    assert_eq!(asked(&page), ("p2p_workflow_history".into(), json!({"workflow_id": "w", "after": 7})));
    let graph = client.run_dag("w", "dot", None).await.unwrap();
    assert_eq!(asked(&graph), ("p2p_workflow_get_dag".into(), json!({"workflow_id": "w", "format": "dot"})));
    let spread =
        CoordinateArgs { workflow_id: "w".into(), target_peers: Some(Vec::new()), ..Default::default() };
    let spread = client.coordinate_run(&spread).await.unwrap();
    assert_eq!(asked(&spread).1, json!({"workflow_id": "w", "target_peers": []}));
}

#[tokio::test]
async fn a_schedule_is_sent_its_task_or_the_arguments_of_its_run() {
    let client = client().await;
    let asked = |answer: &Answer| (answer.shown("tool"), answer.member("got").0);
    let run = RunArgs { workflow: json!({"name": "w"}), ..RunArgs::default() };
    let nightly = ScheduleArgs {
        name: "n".into(),
        cron: Some("0 3 * * *".into()),
        run: Some(run),
        ..Default::default()
    };
    let made = client.add_schedule(&nightly).await.unwrap();
    let expected = json!({"name": "n", "cron": "0 3 * * *", "workflow": {"name": "w"}});
    assert_eq!(asked(&made), ("p2p_schedule_create".into(), expected));
    let paused = client.control_schedule("n", ScheduleControl::Pause, None).await.unwrap();
    assert_eq!(asked(&paused), ("p2p_schedule_pause".into(), json!({"schedule": "n"})));
    let all = client.list_schedules(None, None).await.unwrap();
    assert_eq!(asked(&all), ("p2p_schedule_list".into(), json!({})));
}

#[tokio::test]
async fn watching_a_run_asks_for_changes_of_the_version_that_was_seen() {
    let client = client().await;
    let mut watcher = RunWatcher::new(&client, "w", None);
    let mut seen = Vec::new();
    loop {
        let Seen::Run(run) = watcher.next().await.unwrap() else { panic!("the node is there") };
        seen.push(run.json.member("got").0.clone());
        if run.is_finished() {
            assert_eq!(run.error.unwrap().code, ErrorCode::ToolFailed);
            break;
        }
    }
    let expected = [
        json!({"workflow_id": "w"}),
        json!({"workflow_id": "w", "wait_s": 20.0, "seen_version": 1}),
        json!({"workflow_id": "w", "wait_s": 20.0, "seen_version": 2}),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn first_contacts_are_read_by_the_tool_of_their_place() {
    let client = client().await;
    for (from, tool, arguments) in [
        (BootstrapFrom::Configured, "p2p_peer_bootstrap", json!({})),
        (BootstrapFrom::File(Some("/p".into())), "p2p_bootstrap_from_file", json!({"path": "/p"})),
        (BootstrapFrom::File(None), "p2p_bootstrap_from_file", json!({})),
        (BootstrapFrom::Environment, "p2p_bootstrap_from_env", json!({})),
        (BootstrapFrom::Dns(Some("n".into())), "p2p_bootstrap_from_dns", json!({"name": "n"})),
        (BootstrapFrom::Public, "p2p_bootstrap_from_public", json!({})),
    ] {
        let answer = client.bootstrap(&from, None, None).await.unwrap();
        assert_eq!((answer.shown("tool").as_str(), answer.member("got").0), (tool, arguments));
    }
}

#[tokio::test]
async fn the_error_of_a_tool_keeps_its_code_and_decides_the_exit_code() {
    let error = client().await.cancel("01", None, None).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::UnknownTask, "no task 01"));
    let failure = Failure::from(error);
    assert_eq!(failure.exit(), Exit::NotFound);
    assert_eq!(failure.render(false).unwrap(), "error: no task 01 (unknown_task)");
}

#[tokio::test]
async fn an_error_that_is_only_text_and_a_result_that_is_only_text_are_understood() {
    let client = client().await;
    let error = client.announce(None).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::ToolFailed, "something went wrong"));
    assert_eq!(client.worker_stats(None).await.unwrap().0, json!({"workers": []}));
    let error = client.call("p2p_taskqueue_stop", Map::new()).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::Forbidden, "not you"));
}

#[tokio::test]
async fn a_tool_that_the_node_does_not_have_is_not_found() {
    let error = client().await.call("p2p_taskqueue_fly", Map::new()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTool);
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    let options =
        ClientOptions { call_within: Duration::from_millis(50), ..ClientOptions::at(serve().await) };
    let error = NodeClient::connect(&options).await.unwrap().heartbeat(None).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    assert_eq!(Failure::from(error).exit(), Exit::Timeout);
}

#[tokio::test]
async fn waiting_tells_the_watcher_and_ends_with_the_task() {
    let client = client().await;
    let options = WaitOptions {
        task_id: "01".into(),
        peer: None,
        within: Some(Duration::from_secs(60)),
        watched: true,
    };
    let mut seen = 0;
    let end = wait(&client, &options, |observed| seen += usize::from(matches!(observed, Observed::Task(_))))
        .await
        .unwrap();
    assert_eq!((end.status.as_str(), end.attempts, seen), ("failed", 2, 3));
    assert_eq!(end.error.unwrap().code, ErrorCode::ToolCrashed);
}

#[tokio::test]
async fn waiting_without_time_gives_the_task_as_it_stands() {
    let options =
        WaitOptions { task_id: "01".into(), peer: None, within: Some(Duration::ZERO), watched: false };
    let end = wait(&client().await, &options, |_| ()).await.unwrap();
    assert!(!end.is_finished());
}

#[tokio::test]
async fn nobody_at_the_address_is_an_unreachable_node() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let error = NodeClient::connect(&ClientOptions::at(&url)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("meshwork run"), "{error}");
    assert_eq!(Failure::from(error).exit(), Exit::Unreachable);
}

#[tokio::test]
async fn a_server_that_is_no_node_is_told_apart_from_none() {
    let url = serve().await;
    let error = NodeClient::connect(&ClientOptions::at(url.replace("/mcp", "/other"))).await.unwrap_err();
    assert!(matches!(error, ClientError::NotMcp { .. }), "{error:?}");
}

#[test]
fn a_missing_path_is_that_of_mcp_and_nonsense_is_refused() {
    assert_eq!(parse_url("http://127.0.0.1:8000").unwrap().as_str(), "http://127.0.0.1:8000/mcp");
    assert_eq!(parse_url("http://host/other").unwrap().as_str(), "http://host/other");
    for wrong in ["", "127.0.0.1:8000", "ftp://host/mcp", "http://"] {
        let error = parse_url(wrong).unwrap_err();
        assert_eq!(Failure::from(error).exit(), Exit::Usage, "{wrong}");
    }
}

#[test]
fn a_tool_is_found_by_its_name_if_only_one_category_has_it() {
    let entry = |category: &str, name: &str| ToolEntry {
        category: category.into(),
        name: name.into(),
        description: String::new(),
    };
    let tools = [entry("built_in", "echo"), entry("a", "resize"), entry("b", "resize")];
    assert_eq!(pick(&tools, "echo").unwrap(), tools[0]);
    assert_eq!(pick(&tools, "b/resize").unwrap(), tools[2]);
    let several = pick(&tools, "resize").unwrap_err();
    assert!(several.to_string().contains("a/resize, b/resize"), "{several}");
    let none = pick(&tools, "ehco").unwrap_err();
    assert_eq!(none.code(), ErrorCode::UnknownTool);
    assert!(none.to_string().contains("did you mean echo?"), "{none}");
}

#[test]
fn a_tool_of_the_node_itself_comes_before_the_same_tool_of_its_peers() {
    let entry = |category: &str, name: &str| ToolEntry {
        category: category.into(),
        name: name.into(),
        description: String::new(),
    };
    let tools = [
        entry("built_in", "echo"),
        entry("peer:p1", "echo"),
        entry("peer:p1", "far"),
        entry("peer:p2", "far"),
    ];
    assert_eq!(pick(&tools, "echo").unwrap(), tools[0]);
    assert_eq!(pick(&tools, "peer:p1/echo").unwrap(), tools[1]);
    assert!(pick(&tools, "far").unwrap_err().to_string().contains("peer:p1/far, peer:p2/far"));
}

#[tokio::test]
async fn arguments_that_no_node_accepts_are_not_sent() {
    let arguments = Map::from_iter([("payload".to_owned(), Value::from("x".repeat(97 << 20)))]);
    let error = client().await.call("p2p_taskqueue_submit", arguments).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TooLarge, "{error}");
}

#[tokio::test]
async fn a_request_that_is_too_large_for_the_node_is_no_missing_node() {
    let refusing = axum::Router::new()
        .route("/mcp", axum::routing::post(|| async { axum::http::StatusCode::PAYLOAD_TOO_LARGE }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, refusing).await });
    let error = NodeClient::connect(&ClientOptions::at(&url)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TooLarge, "{error:?}");
    assert_eq!(Failure::from(error).exit(), Exit::Failed);
}

#[test]
fn answers_are_read_leniently() {
    let answer = Answer(json!({"a": "x", "n": 3, "list": ["y", 2], "worker": {"peer": "p"}}));
    assert_eq!((answer.text("a"), answer.whole("n"), answer.text("n")), (Some("x"), Some(3), None));
    assert_eq!(answer.texts("list"), ["y", "2"]);
    assert_eq!(answer.items("a"), []);
    assert_eq!(answers::worker(&answer).as_deref(), Some("p"));
    let worker = "12D3KooWPJCReWN7n7HzyVz1A1S9kmuzt9tE4a2uxPqr59Qoa6rv/00d9adef";
    assert_eq!(short_worker(worker), "…59Qoa6rv/00d9adef");
    assert_eq!(short_worker("mine"), "mine");
}
