//! `meshwork workflow` and `meshwork schedule` as people and scripts use them.

use super::{GREET, ended, status, step_is};
use crate::support::{Node, binary, config, eventually, run_cli};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_run_from_its_file_and_its_output_is_all_that_is_printed_to_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(&dir.path().join("n"), &[]).await;
    let file = config(dir.path(), "greet.yaml", GREET);
    let (code, out, err) = node.cli(&["workflow", "run", &file, "--input", "who=ada"]).await;
    assert_eq!(code, 0, "{err}{}", node.log());
    let of = |n: u32| json!({"n": n, "of": "hello ada"});
    assert_eq!(parse(&out), json!([of(1), of(2), of(3)]));
    // Without a terminal the tree is a line for each change.
    for line in ["hello completed  echo", "each completed  echo", "3/3 items"] {
        assert!(err.contains(line), "{line} is missing in {err}");
    }
    assert!(err.lines().last().unwrap().contains(" completed after "), "{err}");

    let (code, out, err) = node.cli(&["workflow", "run", &file, "--json"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let run = parse(&out);
    assert_eq!((&run["state"], &run["output"][2]["of"]), (&json!("completed"), &json!("hello world")));
    let id = run["workflow_id"].as_str().unwrap();

    let (code, out, _) = node.cli(&["workflow", "status", id]).await;
    assert!(
        code == 0 && out.starts_with("greet") && out.contains("✓ hello") && out.contains("✓   each"),
        "{out}"
    );
    assert!(out.contains(&format!("coordinated by {}", node.peer_id())), "{out}");
    let (_, out, _) = node.cli(&["workflow", "list", "--json", "--name", "greet"]).await;
    let runs = parse(&out);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2, "{runs}");
    assert_eq!((&runs["runs"][0]["workflow_id"], &runs["runs"][0]["steps"]), (&json!(id), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_and_graph_tell_of_a_run_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(&dir.path().join("n"), &[]).await;
    let file = config(dir.path(), "greet.yaml", GREET);
    let (code, out, err) = node.cli(&["workflow", "run", &file, "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let run = parse(&out);
    let id = run["workflow_id"].as_str().unwrap();
    let (code, out, err) = node.cli(&["workflow", "history", id, "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let history = parse(&out);
    let entries = history["entries"].as_array().unwrap();
    let numbers: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "nothing is left out");
    let items: Vec<u64> = entries
        .iter()
        .filter(|entry| entry["step"] == "each" && entry["kind"] == "step_started")
        .filter_map(|entry| entry["item"].as_u64())
        .collect();
    assert_eq!(items.len(), 3, "{history}");
    let (code, out, _) = node.cli(&["workflow", "history", id, "--follow"]).await;
    assert_eq!((code, out.lines().count()), (0, entries.len()), "following a finished run ends by itself");
    let (_, out, _) = node.cli(&["workflow", "graph", id, "--format", "mermaid"]).await;
    assert!(out.contains("flowchart") && out.contains("hello") && out.contains("s0 ==> s1"), "{out}");
    let (_, out, _) = node.cli(&["workflow", "graph", id, "--format", "dot"]).await;
    assert!(out.starts_with("digraph") && out.contains("->"), "{out}");
    let (_, out, _) = node.cli(&["workflow", "graph", id, "--format", "json"]).await;
    assert_eq!(parse(&out)["critical_path"], json!(["hello", "each"]));
    let (_, out, _) = node.cli(&["workflow", "graph", id]).await;
    assert_eq!(out.lines().filter(|line| line.contains("echo")).count(), 2, "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_problem_of_a_workflow_is_told_with_its_line_its_step_and_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(&dir.path().join("n"), &[]).await;
    let text = "name: wrong\nsteps:\n  - id: a\n    tool: ehco\n    needs: [b]\n  - id: b\n    tool: echo\n    needs: [a]\n    \
                input: { x: \"${inputs.nobody}\" }\n";
    let file = config(dir.path(), "wrong.yaml", text);
    let (code, out, err) = node.cli(&["workflow", "validate", &file]).await;
    assert_eq!(code, 2, "{out}{err}");
    let circle = out.lines().any(|line| line.contains("a -> b -> a") || line.contains("b -> a -> b"));
    assert!(circle, "the circle is shown as a path: {out}");
    assert!(out.lines().all(|line| line.contains("wrong.yaml")), "{out}");
    let (code, out, err) = node.cli(&["workflow", "run", &file]).await;
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("invalid_workflow") && err.contains("wrong.yaml:"), "{err}");
    let unknown = config(dir.path(), "unknown.yaml", "name: w\nsteps:\n  - id: a\n    tool: ehco\n");
    let (code, out, _) = node.cli(&["workflow", "validate", &unknown]).await;
    assert_eq!(code, 2, "{out}");
    assert!(out.contains("unknown.yaml:4:11: step a: tool:") && out.contains("ehco"), "{out}");
    let (code, out, err) = node.cli(&["workflow", "validate", &unknown, "--allow-unknown-tools"]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(status_list(&node).await.is_empty(), "nothing was started");
}

async fn status_list(node: &Node) -> Vec<Value> {
    super::workflow(node, "list", json!({})).await["runs"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_ends_the_command_with_its_error_and_goes_on_when_it_is_retried() {
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("now");
    let tools = config(
        dir.path(),
        "n.yaml",
        &format!(
            "executor:\n  tools:\n    - name: now\n      command: [/bin/sh, -c, 'test -e {flag} && cat']\n      read_paths: [{dir}]\n",
            flag = flag.display(),
            dir = dir.path().display(),
        ),
    );
    let node = Node::start(&dir.path().join("n"), &["--config", &tools]).await;
    let text = "name: w\nsteps:\n  - { id: a, tool: echo, input: { x: 1 } }\n  - { id: b, tool: now, input: { y: \"${steps.a.output.x}\" } }\n";
    let file = config(dir.path(), "w.yaml", text);
    let (code, out, err) = node.cli(&["workflow", "run", &file]).await;
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    let last = err.lines().last().unwrap();
    assert!(
        last.starts_with("error: workflow run ") && last.contains('b') && last.contains("(tool_crashed)"),
        "{err}"
    );
    let id = status_list(&node).await[0]["workflow_id"].as_str().unwrap().to_owned();
    std::fs::write(&flag, "").unwrap();
    let (code, _, err) = node.cli(&["workflow", "retry", &id]).await;
    assert_eq!(code, 0, "{err}");
    let run = ended(&node, &id).await;
    assert_eq!((&run["state"], &run["output"]), (&json!("completed"), &json!({"b": {"y": 1}})), "{run}");
    assert_eq!(super::step(&run, "a")["attempt"], 1, "what completed was not run again");
}

/// The command line as a process that can be interrupted.
fn start_cli(node: &Node, args: &[&str]) -> Child {
    Command::new(binary())
        .args(args)
        .env("MESHWORK_URL", node.mcp_url())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Interrupts it as Ctrl-C does; gives its exit code and what it wrote to standard error.
async fn interrupt(mut cli: Child) -> (Option<i32>, String) {
    let pid = cli.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let code = tokio::time::timeout(crate::support::PATIENCE, cli.wait()).await.unwrap().unwrap().code();
    let mut err = String::new();
    cli.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    (code, err)
}

async fn only_run(node: &Node) -> String {
    let run = eventually("the run is there", || async { status_list(node).await.first().cloned() }).await;
    run["workflow_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_command_leaves_the_run_alone_unless_it_is_told_to_cancel_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = "name: slow\nsteps:\n  - { id: a, tool: sleep, input: { seconds: 600 } }\n";
    let file = config(dir.path(), "slow.yaml", text);
    for (flags, expected_code) in [(vec![], 5), (vec!["--cancel-on-interrupt"], 4)] {
        let node = Node::start::<&str>(&dir.path().join(expected_code.to_string()), &[]).await;
        let mut args = vec!["workflow", "run", &file];
        args.extend(&flags);
        let cli = start_cli(&node, &args);
        let id = only_run(&node).await;
        step_is(&node, &id, "a", "running").await;
        let (code, err) = interrupt(cli).await;
        assert_eq!(code, Some(expected_code), "{err}");
        if flags.is_empty() {
            assert!(err.contains(&format!("workflow status {id} --watch")), "{err}");
            assert_eq!(status(&node, &id).await["state"], "running");
            let (code, _, err) = node.cli(&["workflow", "cancel", &id]).await;
            assert_eq!(code, 0, "{err}");
        }
        assert_eq!(ended(&node, &id).await["state"], "cancelled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_a_script_what_became_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(&dir.path().join("n"), &[]).await;
    let slow = config(
        dir.path(),
        "slow.yaml",
        "name: s\nsteps:\n  - { id: a, tool: sleep, input: { seconds: 600 } }\n",
    );
    assert_eq!(node.cli(&["workflow", "run", &slow, "--timeout", "1"]).await.0, 5);
    assert_eq!(node.cli(&["workflow", "status", "00000000000000000000000000000000"]).await.0, 6);
    assert_eq!(node.cli(&["workflow", "run", "/nowhere/w.yaml"]).await.0, 2);
    let broken = config(dir.path(), "broken.yaml", "name: [\n");
    let (code, _, err) = node.cli(&["workflow", "run", &broken]).await;
    assert!(code == 2 && err.contains("broken.yaml:"), "{err}");
    let (code, out, _) = run_cli(&["workflow", "schema"]).await;
    assert_eq!(code, 0, "no node is needed for it");
    assert!(parse(&out)["properties"].is_object() || parse(&out)["anyOf"].is_array(), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_two_submissions_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(&dir.path().join("n"), &[]).await;
    let file = config(dir.path(), "greet.yaml", GREET);
    let args = ["workflow", "submit", &file, "--idempotency-key", "k"];
    let (code, first, err) = node.cli(&args).await;
    assert_eq!(code, 0, "{err}");
    let (_, second, err) = node.cli(&args).await;
    assert_eq!(first, second, "{err}");
    assert!(err.contains("before"), "{err}");
    let (code, _, err) =
        node.cli(&["workflow", "submit", &file, "--idempotency-key", "k", "--input", "who=bob"]).await;
    assert!(code == 1 && err.contains("idempotency_conflict"), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_starts_a_workflow_again_and_again_until_it_is_paused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(&dir.path().join("n"), &[]).await;
    let file = config(dir.path(), "greet.yaml", GREET);
    let (code, out, err) = node
        .cli(&["schedule", "add", "beat", "--every", "1s", "--workflow", &file, "--input", "who=ada"])
        .await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("beat starts greet every 1.0 s, next "), "{out}");
    let starts = || async {
        let (_, out, _) = node.cli(&["schedule", "list", "beat", "--json"]).await;
        parse(&out)["schedules"][0].clone()
    };
    let schedule = eventually("it has started twice", || async {
        let schedule = starts().await;
        (schedule["starts"].as_u64().unwrap() >= 2).then_some(schedule)
    })
    .await;
    let run = ended(&node, schedule["last"][0]["workflow_id"].as_str().unwrap()).await;
    assert_eq!(run["output"][0]["of"], "hello ada", "{run}");
    let (code, out, err) = node.cli(&["schedule", "pause", "beat"]).await;
    assert_eq!((code, out.as_str()), (0, "beat paused\n"), "{err}");
    let paused = starts().await;
    assert_eq!((&paused["paused"], &paused["next"]), (&json!(true), &Value::Null));
    assert_eq!(node.cli(&["schedule", "trigger", "beat"]).await.0, 0);
    eventually("it started once more", || async {
        (starts().await["starts"].as_u64() > paused["starts"].as_u64()).then_some(())
    })
    .await;
    assert_eq!(node.cli(&["schedule", "remove", "beat"]).await.0, 0);
    assert_eq!(node.cli(&["schedule", "list", "beat"]).await.0, 6);
}
