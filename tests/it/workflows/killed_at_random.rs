//! Fifty runs of fifty steps each, while the coordinator and the workers are killed at random moments: every run ends with
//! the right result, and no step that completed runs again.
//!
//! Three nodes: a coordinator that executes nothing and two workers with one process tool, which notes `run step` in a file
//! and gives its arguments back. Each step adds up what it is given, so that a run's result says that every step got the
//! results that it needed.

use super::step;
use crate::support::PATIENCE;
use crate::support::mortal::{Mortal, owner_and_workers, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const RUNS: usize = 50;
const STEPS: usize = 50;
const KILLS: usize = 15;
/// A step needs up to three of so many before it.
const REACH: usize = 10;
/// Repeats a run of the test.
const SEED_VARIABLE: &str = "MESHWORK_KILL_SEED";

/// Which steps each step needs.
type Graph = Vec<BTreeSet<usize>>;

fn graph(rng: &mut StdRng) -> Graph {
    let needs = |at: usize, rng: &mut StdRng| {
        let least = at.saturating_sub(REACH);
        (0..rng.random_range(1..=3)).filter(|_| at > 0).map(|_| rng.random_range(least..at)).collect()
    };
    (0..STEPS).map(|at| needs(at, rng)).collect()
}

/// Each step gives one more than the sum of what it needs, remainders of a small number.
fn definition(run: usize, graph: &Graph) -> Value {
    let step = |(at, needs): (usize, &BTreeSet<usize>)| {
        let sum: Vec<String> = needs.iter().map(|need| format!("steps.s{need}.output.v")).collect();
        let value = match sum.as_slice() {
            [] => json!(run),
            sum => json!(format!("${{({} + 1) % 1009}}", sum.join(" + "))),
        };
        json!({"id": format!("s{at}"), "tool": "note", "input": {"run": run, "step": at, "v": value}})
    };
    let outputs: Vec<String> = (0..STEPS).map(|at| format!("${{steps.s{at}.output.v}}")).collect();
    let steps: Vec<Value> = graph.iter().enumerate().map(step).collect();
    json!({"name": format!("random {run}"), "steps": steps, "output": outputs})
}

fn expected(run: usize, graph: &Graph) -> Vec<usize> {
    let mut values: Vec<usize> = Vec::new();
    for needs in graph {
        let sum = || (needs.iter().map(|need| values[*need]).sum::<usize>() + 1) % 1009;
        values.push(if needs.is_empty() { run } else { sum() });
    }
    values
}

/// How often each step of each run was noted.
fn counts(ran: &Path) -> BTreeMap<(u64, u64), u32> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(ran).unwrap().lines() {
        let noted: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        *counts.entry((noted["run"].as_u64().unwrap(), noted["step"].as_u64().unwrap())).or_insert(0) += 1;
    }
    counts
}

/// Asks until the node is there and answers.
async fn ask(node: &Mortal, tool: &str, arguments: Value) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match node.try_tool(tool, arguments.clone()).await {
            Some(Ok(answer)) => return answer,
            Some(Err(error)) => panic!("{tool} {arguments} was refused: {error}\n{}", node.log().await),
            None => assert!(Instant::now() < deadline, "{tool} is never answered"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Steps that a client could see as completed.
async fn completed(owner: &Mortal, runs: &[String]) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    for (run, id) in (0_u64..).zip(runs) {
        let shown = ask(owner, "p2p_workflow_status", json!({"workflow_id": id})).await;
        let steps = shown["steps"].as_array().unwrap();
        let done = steps.iter().filter(|step| step["state"] == "completed");
        all.extend(done.map(|step| (run, step["id"].as_str().unwrap()[1..].parse::<u64>().unwrap())));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_runs_of_fifty_steps_end_right_although_coordinator_and_workers_are_killed() {
    let mut rng = StdRng::seed_from_u64(seed(SEED_VARIABLE));
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    std::fs::write(&ran, "").unwrap();
    // (A node that is killed before it has told the arguments leaves a tool that was told nothing.)
    let script =
        format!(r#"read line; [ -n "$line" ] || exit 1; echo "$line" >> {}; echo "$line""#, ran.display());
    let (owner, workers) = owner_and_workers(dir.path(), "note", &script).await;
    let graphs: Vec<Graph> = (0..RUNS).map(|_| graph(&mut rng)).collect();
    let mut runs = Vec::new();
    for (run, graph) in graphs.iter().enumerate() {
        let arguments = json!({
            "workflow": definition(run, graph), "idempotency_key": format!("run {run}"), "allow_unknown_tools": true,
        });
        let submitted = ask(&owner, "p2p_workflow_submit", arguments).await;
        runs.push(submitted["workflow_id"].as_str().unwrap().to_owned());
    }

    let mut before: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    let mut met = 0;
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..1_500))).await;
        if kill % 3 != 0 {
            workers[rng.random_range(0..workers.len())].kill_and_restart().await;
            continue;
        }
        let seen = completed(&owner, &runs).await;
        let noted = counts(&ran);
        met += usize::from(seen.len() < RUNS * STEPS);
        for unit in seen {
            before.entry(unit).or_insert(noted[&unit]);
        }
        owner.kill_and_restart().await;
    }
    assert!(met > 0 && !before.is_empty(), "no kill met a run under way: the test shows nothing");

    let deadline = Instant::now() + PATIENCE * 3;
    for (run, (id, graph)) in runs.iter().zip(&graphs).enumerate() {
        let shown = loop {
            let shown = ask(&owner, "p2p_workflow_status", json!({"workflow_id": id, "wait_s": 10})).await;
            if shown["state"] != "running" && shown["state"] != "pending" {
                break shown;
            }
            assert!(Instant::now() < deadline, "run {run} never ends: {shown}\n{}", owner.log().await);
        };
        assert_eq!(shown["state"], "completed", "{shown}");
        assert_eq!(shown["output"], json!(expected(run, graph)), "run {run}: {shown}");
        assert_eq!(step(&shown, "s0")["state"], "completed");
        completes_each_step_once(&owner, id).await;
    }
    let counts = counts(&ran);
    assert_eq!(counts.len(), RUNS * STEPS, "every step ran");
    for (unit, ran) in before {
        assert_eq!(counts[&unit], ran, "step {unit:?} had completed before a kill and ran again");
    }
}

/// The history has one completion for each step.
async fn completes_each_step_once(owner: &Mortal, id: &str) {
    let mut after = Value::Null;
    let mut steps: Vec<String> = Vec::new();
    loop {
        let mut question = json!({"workflow_id": id, "limit": 1000});
        if !after.is_null() {
            question["after"] = after;
        }
        let page = ask(owner, "p2p_workflow_history", question).await;
        let entries = page["entries"].as_array().unwrap();
        let done = entries.iter().filter(|entry| entry["kind"] == "step_completed");
        steps.extend(done.map(|entry| entry["step"].as_str().unwrap().to_owned()));
        after = page["next_after"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(steps.len(), STEPS);
    assert_eq!(steps.into_iter().collect::<BTreeSet<_>>().len(), STEPS, "a step completed twice");
}
