//! Steps, what they need, and what a run gives.

use super::bench::{Bench, Pending, submission};
use crate::workflow::logic::Op;
use meshwork_proto::workflow::{GetRun, RunState, StepState, WorkflowError};
use serde_json::{Value, json};

fn greet() -> Value {
    json!({
        "name": "greet",
        "inputs": {"who": {"type": "string", "default": "world"}},
        "steps": [
            {"id": "hello", "tool": "echo", "input": {"text": "hello ${inputs.who}"}},
            {
                "id": "each",
                "needs": ["hello"],
                "for_each": "${[1, 2, 3]}",
                "tool": "echo",
                "input": {"n": "${item}", "of": "${steps.hello.output.text}"},
                "retry": {"max_attempts": 3, "backoff_s": 1},
                "timeout_s": 30,
                "when": "size(steps.hello.output.text) > 0"
            }
        ],
        "output": "${steps.each.output}"
    })
}

/// A worker that gives back what it is given.
fn echo(_: &str, input: &Value) -> Result<Value, meshwork_proto::MeshError> {
    Ok(input.clone())
}

#[test]
fn the_example_runs_from_its_submission_to_its_result() {
    let mut bench = Bench::new();
    let id = bench.submit(&greet(), &json!({}));
    let view = bench.get(id);
    assert_eq!((view.state, view.name.as_str()), (RunState::Running, "greet"));
    assert_eq!(bench.input_of(bench.task("hello")), json!({"text": "hello world"}));
    bench.complete("hello", json!({"text": "hello world"}));
    let steps: Vec<String> = bench.queued().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, ["each/0", "each/1", "each/2"]);
    assert_eq!(bench.input_of(bench.task("each/1")), json!({"n": 2, "of": "hello world"}));
    // Results are in the order of the items, whatever the order of their ends.
    bench.complete("each/2", json!("c"));
    bench.complete("each/0", json!("a"));
    bench.complete("each/1", json!("b"));
    assert_eq!(bench.output(id), json!(["a", "b", "c"]));
    let view = bench.get(id);
    assert_eq!(view.state, RunState::Completed);
    assert!(view.steps.iter().all(|step| step.state == StepState::Completed));
    assert_eq!(view.steps[1].items.unwrap().completed, 3);
    assert_eq!(bench.disk.count(b'a'), 0, "no unfinished run is left");
}

#[test]
fn a_run_goes_on_after_a_restart_and_no_step_is_submitted_twice() {
    let mut bench = Bench::new();
    let id = bench.submit(&greet(), &json!({"who": "mesh"}));
    bench.complete("hello", json!({"text": "x"}));
    bench.complete("each/1", json!(1));
    let tasks = bench.queue.tasks.len();
    bench.restart();
    assert_eq!(bench.queue.tasks.len(), tasks, "what was submitted before is found again");
    assert_eq!(bench.get(id).state, RunState::Running);
    bench.complete("each/0", json!(0));
    bench.restart();
    bench.complete("each/2", json!(2));
    assert_eq!(bench.output(id), json!([0, 1, 2]));
    bench.restart();
    assert_eq!(bench.output(id), json!([0, 1, 2]), "a finished run is read from the store");
    assert!(bench.queue.tasks.values().all(|task| task.done == 1));
}

#[test]
fn a_task_that_ended_while_the_node_was_down_is_not_run_again() {
    let mut bench = Bench::new();
    let id = bench.submit(&greet(), &json!({}));
    let task = bench.task("hello");
    bench.queue.finish(task, Ok(json!({"text": "done meanwhile"})), "worker");
    bench.restart();
    bench.work(echo);
    assert_eq!(bench.output(id)[0], json!({"n": 1, "of": "done meanwhile"}));
}

#[test]
fn a_step_whose_condition_is_false_is_skipped_and_reads_as_null() {
    let mut bench = Bench::new();
    let definition = json!({
        "name": "maybe",
        "inputs": {"go": {"type": "boolean"}},
        "steps": [
            {"id": "a", "tool": "echo", "when": "inputs.go", "input": {}},
            {"id": "b", "tool": "echo", "input": {"a": "${steps.a.output}", "state": "${steps.a.state}"}}
        ]
    });
    let id = bench.submit(&definition, &json!({"go": false}));
    assert_eq!(bench.input_of(bench.task("b")), json!({"a": null, "state": "skipped"}));
    bench.work(echo);
    assert_eq!(bench.output(id), json!({"b": {"a": null, "state": "skipped"}}));
    assert_eq!(bench.get(id).steps[0].state, StepState::Skipped);
    assert_eq!(
        bench.history(id),
        [
            "run_submitted",
            "run_started",
            "step_skipped a",
            "step_started b",
            "step_completed b",
            "run_finished"
        ]
    );
}

#[test]
fn the_short_form_runs_its_tasks_in_order() {
    let mut bench = Bench::new();
    let tasks = json!({"tasks": [
        {"type": "inference", "model": "gpt2", "payload": {"prompt": "hi"}},
        {"type": "embedding", "model": "bert", "inputs": {"text": "hi"}}
    ]});
    let id = bench.submit(&tasks, &json!({}));
    assert_eq!(bench.queued().len(), 1);
    let first = bench.task("task_1");
    assert_eq!(bench.queue.tasks[&first].spec.model_name.as_deref(), Some("gpt2"));
    bench.finish(first, Ok(json!({"text": "hello"})));
    let second = bench.task("task_2");
    assert_eq!(bench.input_of(second), json!({"text": "hi"}));
    bench.finish(second, Ok(json!([0.5])));
    assert_eq!(bench.output(id), json!({"task_2": [0.5]}));
}

#[test]
fn an_empty_list_gives_an_empty_result_and_a_list_of_nothing_else() {
    let mut bench = Bench::new();
    let definition = |list: Value| {
        json!({
            "name": "each",
            "inputs": {"list": {"default": list}},
            "steps": [{"id": "all", "for_each": "${inputs.list}", "tool": "echo", "input": {"i": "${index}"}}]
        })
    };
    let id = bench.submit(&definition(json!([])), &json!({}));
    assert_eq!(bench.output(id), json!({"all": []}));
    let id = bench.submit(&definition(json!("text")), &json!({}));
    let view = bench.get(id);
    assert_eq!(view.state, RunState::Failed);
    let error = view.error.unwrap().message;
    assert!(error.contains("step all") && error.contains("expected a list"), "{error}");
}

#[test]
fn a_step_waits_for_all_that_it_needs_and_items_keep_their_limit() {
    let mut bench = Bench::new();
    let definition = json!({
        "name": "diamond",
        "steps": [
            {"id": "top", "tool": "t", "input": {}},
            {"id": "left", "needs": ["top"], "for_each": [1, 2, 3, 4, 5], "max_parallel": 2, "tool": "t", "input": {}},
            {"id": "right", "needs": ["top"], "tool": "t", "input": {}},
            {"id": "end", "tool": "t", "input": {"l": "${steps.left.output}", "r": "${steps.right.output}"}}
        ]
    });
    let id = bench.submit(&definition, &json!({}));
    bench.complete("top", json!(0));
    let mut seen = Vec::new();
    while bench.queued().len() > 1 {
        let left = bench.queued().iter().filter(|(_, step)| step.starts_with("left")).count();
        assert!(left <= 2, "{:?}", bench.queued());
        let (task, step) = bench.queued().into_iter().find(|(_, step)| step.starts_with("left")).unwrap();
        seen.push(step);
        bench.finish(task, Ok(json!(seen.len())));
    }
    assert_eq!(seen.len(), 5);
    bench.complete("right", json!("r"));
    assert_eq!(bench.input_of(bench.task("end")), json!({"l": [1, 2, 3, 4, 5], "r": "r"}));
    bench.work(echo);
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn the_same_key_gives_the_same_run_and_other_work_is_a_conflict() {
    let mut bench = Bench::new();
    let mut submit = submission(&greet(), &json!({}));
    submit.idempotency_key = Some("k".into());
    let first = bench.try_submit(submit.clone()).unwrap();
    assert!(!first.existing);
    let again = bench.try_submit(submit.clone()).unwrap();
    assert_eq!((again.id, again.existing), (first.id, true));
    let mut other = submission(&greet(), &json!({"who": "else"}));
    other.idempotency_key = Some("k".into());
    let conflict = bench.try_submit(other).unwrap_err();
    assert!(matches!(conflict, WorkflowError::IdempotencyConflict { first: named, .. } if named == first.id));
    bench.work(echo);
    bench.restart();
    let again = bench.try_submit(submit).unwrap();
    assert_eq!((again.id, again.existing, again.state), (first.id, true, RunState::Completed));
}

#[test]
fn nothing_is_told_before_it_is_on_the_disk() {
    let mut bench = Bench::new();
    bench.auto = false;
    let ticket = bench.ask(Op::Submit(submission(&greet(), &json!({}))));
    bench.perform(0);
    bench.turn(|_, _| {});
    assert!(!bench.answered(ticket), "its commit is under way");
    bench.settle();
    assert!(bench.answered(ticket));
    let id = bench.disk.active()[0];
    let task = bench.task("hello");
    bench.finish(task, Ok(json!({"text": ""})));
    // The condition is false now: the run ends with this step.
    let is_commit = |pending: &Pending| matches!(pending, Pending::Commit { .. });
    while let Some(other) = bench.pending.iter().position(|pending| !is_commit(pending)) {
        bench.perform(other);
        bench.turn(|_, _| {});
    }
    let reading = bench.ask(Op::Get(GetRun { id, wait_ms: 0, seen: None, steps: false }));
    assert!(!bench.answered(reading), "how it ended is not on the disk yet");
    bench.settle();
    assert!(bench.answered(reading));
    bench.auto = true;
    assert_eq!(bench.output(id), json!(null));
}

#[test]
fn the_queue_may_forget_ended_steps_when_all_that_were_under_way_were_asked_after() {
    let mut bench = Bench::new();
    assert_eq!(bench.steps_known, 1, "there are none");
    let id = bench.submit(&greet(), &json!({}));
    bench.complete("hello", json!({"text": "x"}));
    let (ended, waits) = (bench.task("each/0"), bench.task("each/1"));
    bench.queue.finish(ended, Ok(json!("ended while the node was down")), "worker");
    bench.auto = false;
    bench.restart();
    let submits = |pending: &Pending| matches!(pending, Pending::Submit(_));
    while let Some(place) = bench.pending.iter().position(submits) {
        assert_eq!(bench.steps_known, 0);
        bench.perform(place);
        bench.turn(|_, _| {});
    }
    assert_eq!(bench.steps_known, 0, "the end of the first one was not heard yet");
    bench.settle();
    assert_eq!(bench.steps_known, 1);
    assert!(bench.history(id).contains(&"step_completed each/0".to_owned()), "it is on the disk before");
    bench.auto = true;
    assert_eq!(bench.queue.tasks[&waits].done, 0);
    bench.work(echo);
    assert_eq!((bench.get(id).state, bench.steps_known), (RunState::Completed, 1));
}
