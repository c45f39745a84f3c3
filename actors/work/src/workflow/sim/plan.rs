//! Random workflows. What becomes of a task is in its input: `f` is how many attempts of it fail, `t` how many
//! milliseconds an attempt takes.

use super::net::{NODES, peer};
use super::worker::{LABEL, TOOLS};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// How deep workflows are nested.
const DEPTH: u32 = 2;

/// A definition.
pub(super) fn definition(rng: &mut ChaCha8Rng) -> Value {
    workflow(rng, "plan", 0)
}

fn workflow(rng: &mut ChaCha8Rng, name: &str, depth: u32) -> Value {
    let count = if depth == 0 { rng.random_range(2..=6) } else { rng.random_range(1..=3) };
    let mut steps: Vec<Value> = Vec::new();
    for index in 0..count {
        let step = step(rng, index, depth, &steps);
        steps.push(step);
    }
    let mut workflow = json!({"name": name, "steps": steps});
    if rng.random_bool(0.1) {
        workflow["timeout_s"] = json!(rng.random_range(10..90));
    }
    if rng.random_bool(0.1) {
        workflow["max_parallel"] = json!(1);
    }
    workflow
}

fn name(index: usize) -> String {
    format!("s{index}")
}

fn step(rng: &mut ChaCha8Rng, index: usize, depth: u32, before: &[Value]) -> Value {
    let needs: Vec<usize> = (0..index).filter(|_| rng.random_bool(0.4)).take(3).collect();
    let on_failure = ["fail", "continue", "compensate", "compensate"][rng.random_range(0..4)];
    let names: Vec<String> = needs.iter().copied().map(name).collect();
    let mut step = json!({"id": name(index), "needs": names, "on_failure": on_failure});
    match rng.random_range(0..100) {
        0..15 if depth < DEPTH => part(rng, &mut step, depth),
        15..28 => wait(rng, &mut step),
        _ => task(rng, &mut step, &needs, index),
    }
    if step.get("wait").is_none() {
        place(rng, &mut step, &needs, before);
    }
    if let Some(first) = needs.first().filter(|_| rng.random_bool(0.1)) {
        step["when"] = json!(format!("steps.{}.output != null", name(*first)));
    }
    step
}

fn retry(rng: &mut ChaCha8Rng, step: &mut Value) {
    if rng.random_bool(0.6) {
        step["retry"] = json!({"max_attempts": rng.random_range(1..=3), "backoff_s": 1, "max_backoff_s": 3});
    }
}

/// What a task gets: how often it fails, and how long it takes.
fn fate(rng: &mut ChaCha8Rng) -> Value {
    let fails = match rng.random_range(0..100) {
        0..80 => 0,
        80..90 => 1,
        _ => 99,
    };
    let time = if rng.random_bool(0.12) { rng.random_range(4000..20_000) } else { rng.random_range(5..1500) };
    json!({"f": fails, "t": time})
}

fn task(rng: &mut ChaCha8Rng, step: &mut Value, needs: &[usize], index: usize) {
    step["tool"] = json!(TOOLS[rng.random_range(0..2)]);
    step["input"] = fate(rng);
    if let Some(first) = needs.first().filter(|_| rng.random_bool(0.5)) {
        step["input"]["read"] = json!(format!("${{steps.{}.output}}", name(*first)));
    }
    if rng.random_bool(0.2) {
        let items: Vec<u32> = (0..rng.random_range(0..5)).collect();
        step["for_each"] = json!(items);
        step["input"]["item"] = json!("${item}");
        if rng.random_bool(0.5) {
            step["max_parallel"] = json!(rng.random_range(1..3));
        }
    }
    if rng.random_bool(0.7) {
        let mut input = fate(rng);
        input["of"] = json!(format!("${{steps.{}.output}}", name(index)));
        step["compensate"] = json!({"tool": TOOLS[2], "input": input});
    }
    if rng.random_bool(0.15) {
        step["timeout_s"] = json!(rng.random_range(3..12));
    }
    retry(rng, step);
}

fn wait(rng: &mut ChaCha8Rng, step: &mut Value) {
    step["wait"] = if rng.random_bool(0.5) {
        json!({"seconds": rng.random_range(1..15)})
    } else {
        json!({"signal": "go", "timeout_s": rng.random_range(5..40)})
    };
}

fn part(rng: &mut ChaCha8Rng, step: &mut Value, depth: u32) {
    step["workflow"] = workflow(rng, "part", depth + 1);
    step["inputs"] = json!({});
    if rng.random_bool(0.3) {
        step["for_each"] = json!([1, 2]);
    }
    if rng.random_bool(0.2) {
        step["timeout_s"] = json!(rng.random_range(5..30));
    }
    retry(rng, step);
}

fn place(rng: &mut ChaCha8Rng, step: &mut Value, needs: &[usize], before: &[Value]) {
    let part = step.get("workflow").is_some();
    match rng.random_range(0..100) {
        0..40 if part => step["peer"] = json!(peer(rng.random_range(0..NODES)).as_str()),
        0..12 => step["peer"] = json!(peer(rng.random_range(0..NODES)).as_str()),
        12..18 if !part => step["label"] = json!(LABEL),
        18..26 => {
            let task = |need: &&usize| before[**need].get("tool").is_some();
            if let Some(same) = needs.iter().find(task) {
                step["same_as"] = json!(name(*same));
            }
        }
        _ => {}
    }
}
