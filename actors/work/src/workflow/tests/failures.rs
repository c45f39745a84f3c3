//! Attempts that fail, and what becomes of the run.

use super::bench::{Bench, Pending};
use crate::workflow::logic::Op;
use meshwork_proto::workflow::{RunState, StepState};
use meshwork_proto::{ErrorCode, MeshError};
use serde_json::{Value, json};

fn one(step: Value) -> Value {
    json!({"name": "one", "steps": [step]})
}

#[test]
fn an_attempt_that_fails_is_followed_by_another_until_there_are_no_more() {
    let mut bench = Bench::new();
    let retry = json!({"max_attempts": 3, "backoff_s": 10, "factor": 2});
    let id =
        bench.submit(&one(json!({"id": "a", "tool": "t", "input": {"n": 1}, "retry": retry})), &json!({}));
    bench.fail("a", "first");
    let view = bench.get(id);
    let step = &view.steps[0];
    assert_eq!((step.state, step.attempt, step.max_attempts), (StepState::Retrying, 1, 3));
    assert_eq!(step.error.as_ref().unwrap().message, "first");
    let wait = step.due.unwrap().since(bench.now).as_secs_f64();
    assert!((8.0..=10.0).contains(&wait), "{wait}");
    bench.advance(7_000);
    assert!(bench.queued().is_empty(), "not before its time");
    bench.restart();
    bench.advance(3_001);
    assert_eq!(bench.input_of(bench.task("a")), json!({"n": 1}), "with the same input");
    bench.fail("a", "second");
    bench.advance(20_001);
    bench.fail("a", "third");
    let view = bench.get(id);
    assert_eq!(
        (view.state, view.steps[0].state, view.steps[0].attempt),
        (RunState::Failed, StepState::Failed, 3)
    );
    let error = view.error.unwrap();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::ToolFailed, "step a: third"));
}

#[test]
fn what_was_asked_wrongly_is_not_tried_again() {
    let mut bench = Bench::new();
    let step = json!({"id": "a", "tool": "t", "input": {}, "retry": {"max_attempts": 5, "backoff_s": 0}});
    let id = bench.submit(&one(step), &json!({}));
    let task = bench.task("a");
    bench.finish(task, Err(MeshError::new(ErrorCode::InvalidArgument, "no such argument")));
    assert_eq!(bench.get(id).state, RunState::Failed);
}

#[test]
fn a_run_that_fails_stops_what_is_running_and_starts_nothing_more() {
    let mut bench = Bench::new();
    let definition = json!({"name": "f", "steps": [
        {"id": "bad", "tool": "t", "input": {}},
        {"id": "slow", "tool": "t", "input": {}},
        {"id": "running", "tool": "t", "input": {}},
        {"id": "late", "needs": ["slow"], "tool": "t", "input": {}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    let running = bench.task("running");
    bench.queue.tasks.get_mut(&running).unwrap().status = meshwork_proto::task::TaskStatus::Running;
    bench.fail("bad", "broke");
    let view = bench.get(id);
    assert_eq!(view.state, RunState::Running, "it waits for what runs to stop");
    assert!(view.waiting_for.unwrap().contains("1 running steps to stop"));
    assert_eq!(view.error.unwrap().message, "step bad: broke");
    bench.queue.give_up(running);
    bench.tell(running);
    bench.turn(|_, _| {});
    let view = bench.get(id);
    let states: Vec<StepState> = view.steps.iter().map(|step| step.state).collect();
    use StepState::{Cancelled, Failed};
    assert_eq!((view.state, states), (RunState::Failed, vec![Failed, Cancelled, Cancelled, Cancelled]));
}

#[test]
fn what_does_not_stop_is_not_waited_for_for_ever_and_its_late_result_changes_nothing() {
    let mut bench = Bench::new();
    let definition = json!({"name": "f", "steps": [
        {"id": "bad", "tool": "t", "input": {}},
        {"id": "deaf", "tool": "t", "input": {}, "compensate": {"tool": "undo", "input": {}}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    let deaf = bench.task("deaf");
    bench.queue.tasks.get_mut(&deaf).unwrap().status = meshwork_proto::task::TaskStatus::Running;
    bench.fail("bad", "broke");
    bench.advance(59_000);
    assert_eq!(bench.get(id).state, RunState::Running);
    bench.advance(2_000);
    assert_eq!(bench.get(id).state, RunState::Failed);
    let before = bench.history(id);
    bench.finish(deaf, Ok(json!("too late")));
    bench.restart();
    assert_eq!(bench.history(id), before);
    assert_eq!(bench.get(id).steps[1].state, StepState::Cancelled);
}

#[test]
fn a_step_that_may_fail_gives_null_and_the_run_goes_on() {
    let mut bench = Bench::new();
    let definition = json!({"name": "c", "steps": [
        {"id": "a", "tool": "t", "input": {}, "on_failure": "continue"},
        {"id": "b", "tool": "t", "input": {"a": "${steps.a.output}", "why": "${steps.a.error.message}"}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.fail("a", "broke");
    assert_eq!(bench.input_of(bench.task("b")), json!({"a": null, "why": "broke"}));
    bench.complete("b", json!(1));
    let view = bench.get(id);
    assert_eq!((view.state, view.steps[0].state), (RunState::Completed, StepState::Failed));
}

#[test]
fn items_that_may_fail_give_null_in_their_places() {
    let mut bench = Bench::new();
    let step = json!({"id": "a", "for_each": [1, 2, 3], "tool": "t", "input": {"n": "${item}"}, "on_failure": "continue"});
    let id = bench.submit(&one(step), &json!({}));
    bench.work(|_, input| match input["n"].as_u64() {
        Some(2) => Err(MeshError::new(ErrorCode::ToolFailed, "two is bad")),
        n => Ok(json!(n)),
    });
    assert_eq!(bench.output(id), json!({"a": [1, null, 3]}));
    let items = bench.get(id).steps[0].items.unwrap();
    assert_eq!((items.completed, items.failed), (2, 1));
}

#[test]
fn an_item_that_fails_fails_the_run_and_is_named() {
    let mut bench = Bench::new();
    let step =
        json!({"id": "a", "for_each": [1, 2, 3], "max_parallel": 1, "tool": "t", "input": {"n": "${item}"}});
    let id = bench.submit(&one(step), &json!({}));
    bench.complete("a/0", json!(0));
    bench.fail("a/1", "broke");
    let view = bench.get(id);
    assert_eq!((view.state, view.steps[0].state), (RunState::Failed, StepState::Failed));
    assert_eq!(view.error.unwrap().message, "step a, item 1: broke");
    let items = view.steps[0].items.unwrap();
    assert_eq!((items.completed, items.failed, items.pending), (1, 2, 0));
    assert!(bench.queued().is_empty());
}

#[test]
fn an_expression_without_a_value_fails_its_step() {
    let mut bench = Bench::new();
    let definition = json!({"name": "e", "steps": [
        {"id": "a", "tool": "t", "input": {}},
        {"id": "b", "tool": "t", "input": {"x": "${steps.a.output.missing.deeper}"}, "retry": {"max_attempts": 9}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.complete("a", json!({"there": 1}));
    let view = bench.get(id);
    let error = view.error.unwrap();
    assert_eq!((view.state, error.code), (RunState::Failed, ErrorCode::Expression));
    assert!(error.message.contains("step b"), "{error}");
}

#[test]
fn a_run_takes_no_longer_than_it_may() {
    let mut bench = Bench::new();
    let definition = json!({"name": "t", "timeout_s": 100, "steps": [
        {"id": "a", "tool": "t", "input": {}},
        {"id": "b", "needs": ["a"], "tool": "t", "input": {}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.advance(60_000);
    bench.complete("a", json!(1));
    bench.restart();
    bench.advance(39_000);
    assert_eq!(bench.get(id).state, RunState::Running);
    bench.advance(1_001);
    let view = bench.get(id);
    assert_eq!((view.state, view.error.unwrap().code), (RunState::Failed, ErrorCode::Timeout));
    assert_eq!(view.steps[1].state, StepState::Cancelled);
}

#[test]
fn a_queue_that_takes_nothing_now_is_asked_again() {
    let mut bench = Bench::new();
    bench.queue.full = true;
    let id = bench.submit(&one(json!({"id": "a", "tool": "t", "input": {}})), &json!({}));
    let view = bench.get(id);
    assert!(view.waiting_for.as_ref().unwrap().contains("step a"), "{:?}", view.waiting_for);
    bench.advance(30_000);
    assert!(bench.queue.tasks.is_empty());
    bench.queue.full = false;
    bench.advance(10_001);
    bench.complete("a", json!(1));
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn what_is_being_submitted_again_is_no_trouble_any_more() {
    let mut bench = Bench::new();
    bench.queue.full = true;
    let id = bench.submit(&one(json!({"id": "a", "tool": "t", "input": {}})), &json!({}));
    assert!(bench.get(id).waiting_for.is_some());
    bench.queue.full = false;
    bench.auto = false;
    bench.advance(10_001);
    let submitted = bench.pending.iter().filter(|pending| matches!(pending, Pending::Submit(_))).count();
    assert_eq!(submitted, 1, "it is under way");
    assert_eq!(bench.get(id).waiting_for, None);
    // Whoever gives it up now has to hear the answer first: the queue may have it.
    bench.ask(crate::workflow::logic::Op::Control(meshwork_proto::workflow::ControlRun {
        id,
        action: meshwork_proto::workflow::RunAction::Cancel { reason: None, compensate: false },
    }));
    bench.settle();
    bench.auto = true;
    assert!(bench.queued().is_empty(), "its task is cancelled");
    assert_eq!(bench.get(id).state, RunState::Cancelled);
}

#[test]
fn a_node_that_drains_takes_no_new_runs_and_keeps_those_that_it_has() {
    let mut bench = Bench::new();
    bench.queue.draining = true;
    let id = bench.submit(&one(json!({"id": "a", "tool": "t", "input": {}})), &json!({}));
    let step = json!({"id": "a", "tool": "t", "input": {"n": 1}});
    let refused = bench.try_submit(super::bench::submission(&one(step), &json!({}))).unwrap_err();
    assert_eq!(refused, meshwork_proto::workflow::WorkflowError::Draining);
    assert!(bench.get(id).waiting_for.unwrap().contains("draining"));
    bench.queue.draining = false;
    bench.restart();
    bench.complete("a", json!(1));
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn an_error_that_is_told_at_length_is_kept_short() {
    let mut bench = Bench::new();
    let id = bench.submit(&one(json!({"id": "a", "tool": "t", "input": {}})), &json!({}));
    bench.fail("a", &"ä".repeat(100_000));
    assert!(bench.get(id).error.unwrap().message.len() < 3_000);
}

#[test]
fn an_end_that_was_not_heard_is_asked_for() {
    let mut bench = Bench::new();
    let id = bench.submit(&one(json!({"id": "a", "tool": "t", "input": {}})), &json!({}));
    let task = bench.task("a");
    bench.queue.finish(task, Ok(json!(1)), "w");
    bench.advance(29_000);
    assert_eq!(bench.get(id).state, RunState::Running);
    bench.advance(20_000);
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn an_item_that_waits_for_its_next_attempt_keeps_its_place() {
    let mut bench = Bench::new();
    let step = json!({"id": "a", "for_each": [1, 2, 3], "max_parallel": 1, "tool": "t", "input": {"n": "${item}"},
        "retry": {"max_attempts": 2, "backoff_s": 10}});
    let id = bench.submit(&one(step), &json!({}));
    bench.fail("a/0", "broke");
    assert!(bench.queued().is_empty(), "one at a time, the first one first");
    bench.restart();
    assert!(bench.queued().is_empty());
    bench.advance(10_001);
    bench.complete("a/0", json!(0));
    bench.complete("a/1", json!(1));
    bench.complete("a/2", json!(2));
    assert_eq!(bench.output(id), json!({"a": [0, 1, 2]}));
}

/// Pauses the run, or lets it go on.
fn control(id: meshwork_proto::RunId, action: meshwork_proto::workflow::RunAction) -> Op {
    Op::Control(meshwork_proto::workflow::ControlRun { id, action })
}

#[test]
fn a_wait_that_was_evaluated_while_its_run_was_paused_goes_on_with_it() {
    let mut bench = Bench::new();
    bench.auto = false;
    let step = json!({"id": "w", "wait": {"signal": "go"}, "when": "inputs.go"});
    let definition = json!({"name": "w", "inputs": {"go": {"default": true}}, "steps": [step]});
    bench.ask(Op::Submit(super::bench::submission(&definition, &json!({}))));
    let is_prepare = |pending: &Pending| matches!(pending, Pending::Prepare(_));
    while !bench.pending.iter().any(is_prepare) {
        bench.perform(0);
        bench.turn(|_, _| {});
    }
    let id = bench.disk.active()[0];
    bench.ask(control(id, meshwork_proto::workflow::RunAction::Pause));
    bench.settle();
    bench.auto = true;
    bench.ask(control(id, meshwork_proto::workflow::RunAction::Resume));
    assert_eq!(bench.get(id).steps[0].state, StepState::Waiting);
}

#[test]
fn results_of_items_that_cannot_be_put_together_while_the_run_is_paused_fail_their_step_then() {
    let mut bench = Bench::new();
    let step = json!({"id": "a", "for_each": [1], "tool": "t", "input": {}, "on_failure": "continue"});
    let id = bench.submit(&one(step), &json!({}));
    bench.auto = false;
    bench.complete("a/0", json!(0));
    while !bench.pending.iter().any(|pending| matches!(pending, Pending::Prepare(_))) {
        bench.perform(0);
        bench.turn(|_, _| {});
    }
    bench.ask(control(id, meshwork_proto::workflow::RunAction::Pause));
    let gathers = |pending: &Pending| match pending {
        Pending::Prepare(prepare) => Some(prepare.flight),
        _ => None,
    };
    let flight = bench.pending.iter().find_map(gathers).unwrap();
    bench.pending.retain(|pending| gathers(pending).is_none());
    let lost = MeshError::new(ErrorCode::Corrupt, "the result of an item cannot be read");
    bench.turn(|state, turn| {
        state.prepared(turn, flight, crate::workflow::logic::Prepared::Failed(lost));
    });
    bench.settle();
    bench.auto = true;
    bench.ask(control(id, meshwork_proto::workflow::RunAction::Resume));
    let view = bench.get(id);
    assert_eq!((view.state, view.steps[0].state), (RunState::Completed, StepState::Failed));
}

#[test]
fn results_that_were_taken_back_do_not_count_against_the_limit_of_a_step() {
    let options = crate::workflow::WorkflowOptions {
        max_output_bytes: 1000,
        ..crate::workflow::WorkflowOptions::default()
    };
    let mut bench = Bench::with(options);
    let definition = json!({"name": "i", "steps": [
        {"id": "all", "for_each": [1, 2], "tool": "t", "input": {}, "compensate": {"tool": "undo", "input": {}}},
        {"id": "bad", "needs": ["all"], "tool": "t", "input": {}, "on_failure": "compensate"}
    ]});
    let id = bench.submit(&definition, &json!({}));
    let half = json!("x".repeat(400));
    for round in 0..3 {
        bench.complete("all/0", half.clone());
        bench.complete("all/1", half.clone());
        bench.fail("bad", "broke");
        bench.work(|_, _| Ok(json!(0)));
        assert_eq!(bench.get(id).error.unwrap().message, "step bad: broke", "round {round}");
        bench.control(id, meshwork_proto::workflow::RunAction::Retry { from: None }).unwrap();
    }
}

#[test]
fn a_run_that_goes_on_after_its_end_takes_a_place_as_others_do() {
    let options =
        crate::workflow::WorkflowOptions { max_running: 1, ..crate::workflow::WorkflowOptions::default() };
    let mut bench = Bench::with(options);
    let id = bench.submit(&one(json!({"id": "a", "tool": "t", "input": {}})), &json!({}));
    bench.fail("a", "broke");
    let other = bench.submit(&one(json!({"id": "b", "tool": "t", "input": {}})), &json!({}));
    let again = meshwork_proto::workflow::RunAction::Retry { from: None };
    let refused = bench.control(id, again.clone()).unwrap_err();
    assert!(refused.to_string().contains("1 workflow runs are running, of at most 1"), "{refused}");
    bench.complete("b", json!(0));
    assert_eq!(bench.get(other).state, RunState::Completed);
    bench.control(id, again).unwrap();
    bench.complete("a", json!(0));
    assert_eq!(bench.get(id).state, RunState::Completed);
}
