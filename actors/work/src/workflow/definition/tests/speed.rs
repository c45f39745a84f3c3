//! What reading and evaluating cost. The bounds are far away from what is measured, so that they hold on a busy machine
//! and where nothing is optimised; run with `--nocapture` the figures are shown.

use super::right;
use crate::workflow::definition::{Action, Limits, StepIx, Workflow};
use crate::workflow::expression::{RunFacts, Scope, StepOutcome, StepOutputs};
use meshwork_proto::{RunId, UnixMillis};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn timed<T>(what: &str, times: u32, mut run: impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        std::hint::black_box(run());
    }
    let each = start.elapsed() / times;
    println!("{what}: {each:?}");
    each
}

struct Done(Value);

impl StepOutputs for Done {
    fn of(&self, _: StepIx) -> StepOutcome<'_> {
        StepOutcome::Output(&self.0)
    }
}

/// Each step with a few inputs of the usual kinds, needing the one before.
fn chain(steps: usize, program: bool) -> Value {
    let step = |n: usize| {
        let before = n.saturating_sub(1);
        let mut input =
            json!({"text": "hello ${inputs.who}", "n": "${inputs.n}", "constant": [1, 2, {"a": "b"}]});
        if n > 0 {
            input["of"] = json!(format!("${{steps.s{before}.output.text}}"));
        }
        let mut step =
            json!({"id": format!("s{n}"), "tool": "echo", "input": input, "retry": {"max_attempts": 3}});
        if program && n > 0 {
            step["when"] = json!(format!("size(steps.s{before}.output.text) > {n} || inputs.n != {n}"));
        }
        step
    };
    let steps: Vec<Value> = (0..steps).map(step).collect();
    json!({"name": "chain", "inputs": {"who": {"type": "string"}, "n": {"type": "integer"}}, "steps": steps})
}

#[test]
fn ten_thousand_steps_are_read_at_once() {
    for (what, program) in [("10 000 steps with paths", false), ("10 000 steps with a condition each", true)]
    {
        let document = chain(10_000, program);
        let took = timed(what, 3, || right(&document));
        assert!(took < Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 }), "{what}: {took:?}");
    }
}

#[test]
fn an_evaluation_takes_microseconds() {
    let workflow = right(&chain(2, true));
    let step = &workflow.steps[1];
    let Action::Task(task) = &step.action else { panic!("a task") };
    let (inputs, done) = (json!({"who": "world", "n": 5}), Done(json!({"text": "some text"})));
    let run = RunFacts { id: RunId::from_bytes([0; 16]), created: UnixMillis(0) };
    let scope = Scope { inputs: &inputs, steps: &done, item: None, run };
    let when = step.when.as_ref().unwrap();
    assert_eq!(when.test(&scope), Ok(true));
    let path = timed("input of three paths", 2000, || task.input.evaluate(&scope).unwrap());
    let program = timed("condition of a program", 2000, || when.test(&scope).unwrap());
    let most = Duration::from_micros(if cfg!(debug_assertions) { 2000 } else { 200 });
    assert!(path < most && program < most, "{path:?} {program:?}");
}

#[test]
fn a_page_of_problems_costs_no_more_than_a_right_definition() {
    let steps: Vec<Value> =
        (0..10_000).map(|n| json!({"id": format!("s{n}"), "tool": "t", "needs": ["nobody"]})).collect();
    let document = json!({"name": "w", "steps": steps});
    let took = timed("10 000 steps that are wrong", 1, || {
        Workflow::parse(&document, &Limits::default()).unwrap_err()
    });
    assert!(took < Duration::from_secs(20), "{took:?}");
}
