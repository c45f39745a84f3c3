//! Direct calls, upstream tools, and what the executor says about itself.

use super::fakes::rig;
use crate::executor::{ExecutorOptions, ProcessTool, prepare};
use meshwork_kit::testing;
use meshwork_proto::Json;
use meshwork_proto::executor::{
    CallTool, DrainExecutor, GetSlots, ListTools, ToolError, ToolInfo, ToolKind, UpstreamTool, UpstreamTools,
};
use meshwork_proto::upstream::{UpstreamError, UpstreamResult};
use serde_json::json;
use std::time::Duration;

const S: fn(u64) -> Duration = Duration::from_secs;

fn one_slot() -> ExecutorOptions {
    ExecutorOptions { slots: Some(1), ..ExecutorOptions::default() }
}

fn upstream_tool(server: &str, tool: &str) -> UpstreamTool {
    UpstreamTool {
        info: ToolInfo {
            name: format!("{server}__{tool}"),
            category: server.into(),
            description: String::new(),
            kind: ToolKind::Mcp,
            input_schema: Json::from_value(&json!({"type": "object"})),
            output_schema: None,
            annotations: None,
            concurrency: 1,
        },
        upstream_name: tool.into(),
    }
}

#[test]
fn built_in_tools_answer_and_unknown_ones_give_a_hint() {
    testing::world(|world| async move {
        let rig = rig(&world, ExecutorOptions::default());
        let output = rig.call("echo", json!({"a": 1, "extra": null})).await.unwrap();
        assert_eq!((output.result.to_value(), output.mcp_result), (json!({"a": 1, "extra": null}), None));
        assert_eq!(
            rig.call("sleep", json!({"seconds": 3})).await.unwrap().result.to_value(),
            json!({"seconds": 3})
        );
        assert!(rig.call("cid", json!({"value": [1]})).await.unwrap().result.to_value()["cid"].is_string());
        let unknown = rig.call("ecko", json!({})).await.unwrap_err();
        assert!(unknown.to_string().contains(r#"did you mean "echo"?"#), "{unknown}");
        assert!(matches!(rig.call("echo", json!([])).await, Err(ToolError::Arguments { .. })));
    });
}

#[test]
fn when_all_places_are_taken_a_call_is_told_so_and_a_place_comes_back_with_its_asker() {
    testing::world(|world| async move {
        let rig = rig(&world, one_slot());
        let call = CallTool {
            tool: "sleep".into(),
            arguments: Json::from_value(&json!({"seconds": 1000})),
            timeout_ms: 1_000_000,
        };
        let patient = rig.ports.call.ask(call, S(10));
        let busy = async {
            world.advance(S(5)).await;
            rig.call("echo", json!({})).await
        };
        let (patient, busy) = tokio::join!(patient, busy);
        assert!(patient.is_err(), "the asker gave up");
        assert_eq!(busy, Err(ToolError::Busy { tool: "echo".into(), limit: 1 }));
        world.settle().await;
        assert!(rig.call("echo", json!({})).await.is_ok(), "the call of the asker that has gone was stopped");
    });
}

#[test]
fn a_direct_call_keeps_its_time() {
    testing::world(|world| async move {
        let rig = rig(&world, one_slot());
        let call = CallTool {
            tool: "sleep".into(),
            arguments: Json::from_value(&json!({"seconds": 1000})),
            timeout_ms: 2_000,
        };
        let answer = rig.ports.call.ask(call, S(60)).await.unwrap();
        assert_eq!(answer, Err(ToolError::Timeout { tool: "sleep".into(), after_ms: 2_000 }));
    });
}

#[test]
fn upstream_tools_are_offered_called_and_relayed() {
    testing::world(|world| async move {
        let mut rig = rig(&world, ExecutorOptions::default());
        let tools = vec![upstream_tool("git", "log")];
        rig.ports.upstream_tools.tell(UpstreamTools { server: "git".into(), tools }).unwrap();
        let mut calls = rig.upstream.take().unwrap();
        let raw =
            Json::from_value(&json!({"content": [], "structuredContent": {"n": 1}, "_meta": {"kept": true}}));
        let answer = async {
            let (call, reply) = calls.next().await;
            assert_eq!((call.server.as_str(), call.tool.as_str()), ("git", "log"));
            let result = Json::from_value(&json!({"n": 1}));
            reply.send(Ok(UpstreamResult { raw: raw.clone(), result, is_error: false }));
        };
        let (output, ()) = tokio::join!(rig.call("git__log", json!({})), answer);
        let output = output.unwrap();
        assert_eq!((output.result.to_value(), output.mcp_result), (json!({"n": 1}), Some(raw)));
        world.advance(S(30)).await;
        assert!(rig.local.borrow().claims.last().unwrap().1.offer.tools.contains_key("git__log"));
        rig.ports.upstream_tools.tell(UpstreamTools { server: "git".into(), tools: Vec::new() }).unwrap();
        world.advance(S(30)).await;
        assert!(!rig.local.borrow().claims.last().unwrap().1.offer.tools.contains_key("git__log"));
        assert!(matches!(rig.call("git__log", json!({})).await, Err(ToolError::Unknown { .. })));
    });
}

#[test]
fn what_an_upstream_says_of_a_failure_reaches_the_caller() {
    testing::world(|world| async move {
        let mut rig = rig(&world, ExecutorOptions::default());
        let tools = vec![upstream_tool("git", "log")];
        rig.ports.upstream_tools.tell(UpstreamTools { server: "git".into(), tools }).unwrap();
        let content = json!([{"type": "text", "text": "no such branch"}]);
        let failed = UpstreamResult {
            raw: Json::from_value(&json!({"content": content, "isError": true})),
            result: Json::from_value(&content),
            is_error: true,
        };
        let raw = failed.raw.clone();
        let mut answers = vec![
            Err(UpstreamError::Unavailable { server: "git".into(), problem: "restarting".into() }),
            Err(UpstreamError::Refused { server: "git".into(), code: -32602, message: "bad branch".into() }),
            Ok(failed),
        ];
        rig.upstream.take().unwrap().reply_with(move |_| answers.pop().unwrap());
        let first = rig.call("git__log", json!({})).await.unwrap_err();
        assert_eq!(
            first,
            ToolError::Failed {
                tool: "git__log".into(),
                message: "no such branch".into(),
                mcp_result: Some(raw)
            }
        );
        assert!(matches!(rig.call("git__log", json!({})).await, Err(ToolError::Arguments { .. })));
        assert!(matches!(rig.call("git__log", json!({})).await, Err(ToolError::Unavailable { .. })));
    });
}

#[test]
fn it_lists_its_tools_counts_its_places_and_shows_what_runs() {
    testing::world(|world| async move {
        let options = ExecutorOptions { tools: vec![ProcessTool::new("wc", ["wc", "-c"])], ..one_slot() };
        let rig = rig(&world, options);
        let tools = rig.ports.list.ask(ListTools, S(1)).await.unwrap();
        let kinds: Vec<_> = tools.iter().map(|tool| (tool.name.as_str(), tool.kind)).collect();
        assert_eq!(
            kinds,
            [
                ("cid", ToolKind::BuiltIn),
                ("echo", ToolKind::BuiltIn),
                ("sleep", ToolKind::BuiltIn),
                ("wc", ToolKind::Process),
            ]
        );
        rig.local.borrow_mut().grants.push_back(super::fakes::grant(1, "sleep", &json!({"seconds": 100})));
        world.advance(S(2)).await;
        let slots = rig.ports.slots.ask(GetSlots, S(1)).await.unwrap();
        assert_eq!((slots.total, slots.free, slots.running), (1, 0, 1));
        let text = rig.actor.status().json().to_string();
        assert!(text.contains(r#""owner":"local""#) && text.contains(r#""tool":"sleep""#), "{text}");
    });
}

#[test]
fn a_draining_executor_starts_no_calls() {
    testing::world(|world| async move {
        let rig = rig(&world, one_slot());
        rig.ports.drain.ask(DrainExecutor { deadline_ms: 0 }, S(1)).await.unwrap();
        let refused = rig.call("echo", json!({})).await.unwrap_err();
        assert!(
            matches!(&refused, ToolError::Unavailable { problem, .. } if problem.contains("draining")),
            "{refused}"
        );
    });
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_starts() {
    let tools = vec![ProcessTool::new("echo", ["cat"])];
    let error = prepare(ExecutorOptions { tools, ..ExecutorOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("built-in"), "{error}");
}

#[test]
fn leftovers_of_a_killed_node_are_removed_at_start_and_nothing_else() {
    testing::world(|world| async move {
        let dir = tempfile::tempdir().unwrap();
        let (left, other) = (dir.path().join("meshwork-tool-abc"), dir.path().join("other"));
        std::fs::create_dir_all(left.join("deep")).unwrap();
        std::fs::create_dir(&other).unwrap();
        let scratch_dir = Some(dir.path().to_owned());
        let _rig = rig(&world, ExecutorOptions { scratch_dir, ..ExecutorOptions::default() });
        assert!(!left.exists() && other.exists());
        let mode = std::os::unix::fs::MetadataExt::mode(&dir.path().metadata().unwrap());
        assert_eq!(mode & 0o777, 0o700, "others cannot look in");
    });
}
