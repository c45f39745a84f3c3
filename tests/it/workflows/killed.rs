//! `kill -9` of the coordinator in the middle of a run: it goes on, and what completed is not run again.

use super::{ended, status, submit};
use crate::support::{Node, config, eventually, run_cli};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A tool that notes that it ran (but not when its node was killed before it had told the arguments), and short leases, so that a new executor need not wait long for the attempts of the old one.
fn noting(dir: &Path) -> String {
    let ran = dir.join("ran");
    std::fs::write(&ran, "").unwrap();
    config(
        dir,
        "node.yaml",
        &format!(
            "p2p:\n  taskqueue: {{lease_s: 2, worker_grace_s: 1}}\nexecutor:\n  slots: 4\n  tools:\n    - name: note\n      concurrency: 4\n      \
             command: [/bin/sh, -c, 'read line; [ -n \"$line\" ] || exit 1; echo \"$line\" >> {ran}; sleep 0.2; echo \"$line\"']\n      write_paths: [{dir}]\n",
            ran = ran.display(),
            dir = dir.display(),
        ),
    )
}

/// How often each number was noted.
fn counts(dir: &Path) -> BTreeMap<u64, u32> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(dir.join("ran")).unwrap().lines() {
        let noted: Value = serde_json::from_str(line).unwrap();
        *counts.entry(noted["n"].as_u64().unwrap()).or_insert(0) += 1;
    }
    counts
}

fn completed(run: &Value) -> Vec<u64> {
    let steps = run["steps"].as_array().unwrap();
    let done = steps.iter().filter(|step| step["state"] == "completed");
    done.filter_map(|step| step["id"].as_str()?.strip_prefix('s')?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_killed_and_started_again_goes_on_and_repeats_nothing_that_completed() {
    let dir = tempfile::tempdir().unwrap();
    let file = noting(dir.path());
    let mut node = Node::start(&dir.path().join("n"), &["--config", &file]).await;
    // Four chains of five steps, joined at the end.
    let mut steps: Vec<Value> = (0..20_u64)
        .map(|n| {
            let needs = if n < 4 { json!([]) } else { json!([format!("s{}", n - 4)]) };
            json!({"id": format!("s{n}"), "tool": "note", "input": {"n": n}, "needs": needs})
        })
        .collect();
    let last: Vec<String> = (16..20).map(|n| format!("${{steps.s{n}.output.n}}")).collect();
    steps.push(json!({"id": "end", "tool": "echo", "input": {"all": last}}));
    let id = submit(&node, json!({"name": "chains", "steps": steps})).await;
    // How often each step had run when it was first seen as completed: what was under way at a kill may run twice until then.
    let mut before: BTreeMap<u64, u32> = BTreeMap::new();
    for kill in 1..=3_usize {
        let done = eventually("some more steps completed", || async {
            let done = completed(&status(&node, &id).await);
            (done.len() >= kill * 4).then_some(done)
        })
        .await;
        let ran = counts(dir.path());
        for n in done {
            before.entry(n).or_insert(ran[&n]);
        }
        node.kill().await;
        node = Node::start(&dir.path().join("n"), &["--config", &file]).await;
    }
    let run = ended(&node, &id).await;
    assert_eq!(run["state"], "completed", "{run}\n{}", node.log());
    assert_eq!(run["output"], json!({"end": {"all": [16, 17, 18, 19]}}));
    let counts = counts(dir.path());
    assert_eq!(counts.len(), 20, "every step ran: {counts:?}");
    for (n, ran) in before {
        assert_eq!(counts[&n], ran, "step s{n} had completed before a kill and ran again: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_a_run_from_the_command_line_sees_its_end_although_the_node_was_killed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let file = noting(dir.path());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let args = ["--config", file.as_str(), "--http", &format!("127.0.0.1:{port}")].map(str::to_owned);
    let mut node = Node::start(&dir.path().join("n"), &args).await;
    let steps: Vec<Value> = (0..10)
        .map(|n| {
            let needs = if n == 0 { json!([]) } else { json!([format!("s{}", n - 1)]) };
            json!({"id": format!("s{n}"), "tool": "note", "input": {"n": n}, "needs": needs})
        })
        .collect();
    let workflow = config(dir.path(), "chain.json", &json!({"name": "chain", "steps": steps}).to_string());
    let url = node.mcp_url().to_owned();
    let watching = tokio::spawn(async move { run_cli(&["workflow", "run", &workflow, "--url", &url]).await });
    let id = eventually("three steps completed", || async {
        let list = node.tool("p2p_workflow_list", json!({})).await.ok()?;
        let id = list["runs"][0]["workflow_id"].as_str()?.to_owned();
        (completed(&status(&node, &id).await).len() >= 3).then_some(id)
    })
    .await;
    node.kill().await;
    let again = Node::start(&dir.path().join("n"), &args).await;
    let (code, out, err) = watching.await.unwrap();
    assert_eq!(code, 0, "{err}\n{}", again.log());
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), json!({"s9": {"n": 9}}));
    assert!(err.contains("s9 completed"), "{err}");
    assert_eq!(status(&again, &id).await["state"], "completed");
}
