//! Stories about definitions.

mod mistakes;
mod published;
mod reading;
mod speed;
mod subs;
mod tools;

use super::{Limits, Workflow};
use serde_json::{Value, json};

/// Reads what must be right.
fn right(document: &Value) -> Workflow {
    Workflow::parse(document, &Limits::default()).unwrap_or_else(|problems| {
        panic!("{:#?}", problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    })
}

/// Reads what must be wrong: the problems as sentences.
fn wrong(document: &Value) -> Vec<String> {
    let problems = Workflow::parse(document, &Limits::default()).map(|_| ()).expect_err("something is wrong");
    problems.iter().map(ToString::to_string).collect()
}

/// The problems of a workflow with these steps.
fn wrong_steps(steps: &Value) -> Vec<String> {
    wrong(&json!({"name": "w", "inputs": {"who": {"type": "string"}}, "steps": steps}))
}

/// Asserts that one of the problems has all of these parts.
#[track_caller]
fn assert_told(problems: &[String], parts: &[&str]) {
    let told = problems.iter().any(|problem| parts.iter().all(|part| problem.contains(part)));
    assert!(told, "{parts:?} in {problems:#?}");
}
