//! Pausing, signals, cancelling, and going on after the end.

use super::bench::{Bench, member, other};
use crate::workflow::logic::Op;
use meshwork_proto::workflow::{ControlRun, GetRun, RunAction, RunState, StepState, WorkflowError};
use meshwork_proto::{ErrorCode, Json};
use serde_json::{Value, json};

fn chain() -> Value {
    json!({"name": "chain", "steps": [
        {"id": "a", "tool": "t", "input": {}},
        {"id": "b", "tool": "t", "input": {"a": "${steps.a.output}"}},
        {"id": "c", "tool": "t", "input": {"b": "${steps.b.output}"}}
    ]})
}

fn cancel(compensate: bool) -> RunAction {
    RunAction::Cancel { reason: Some("enough".into()), compensate }
}

fn signal(name: &str, payload: &Value) -> RunAction {
    RunAction::Signal { name: name.into(), payload: Json::from_value(payload) }
}

#[test]
fn a_paused_run_starts_nothing_and_goes_on_when_it_is_resumed() {
    let mut bench = Bench::new();
    let id = bench.submit(&chain(), &json!({}));
    assert_eq!(bench.control(id, RunAction::Pause).unwrap().state, RunState::Paused);
    bench.complete("a", json!(1));
    assert!(bench.queued().is_empty());
    assert_eq!(bench.get(id).waiting_for.unwrap(), "to be resumed");
    bench.restart();
    assert!(bench.queued().is_empty());
    bench.control(id, RunAction::Pause).unwrap();
    assert_eq!(bench.control(id, RunAction::Resume).unwrap().state, RunState::Running);
    assert_eq!(bench.input_of(bench.task("b")), json!({"a": 1}));
    let error = bench.control(id, RunAction::Resume).unwrap_err();
    assert!(matches!(error, WorkflowError::WrongState { .. }), "{error}");
}

#[test]
fn a_cancelled_run_ends_with_everything_that_it_runs() {
    let mut bench = Bench::new();
    let id = bench.submit(&chain(), &json!({}));
    bench.complete("a", json!(1));
    let state = bench.control(id, cancel(false)).unwrap().state;
    assert_eq!(state, RunState::Running, "its task is being cancelled");
    let view = bench.get(id);
    assert_eq!(view.state, RunState::Cancelled);
    let error = view.error.unwrap();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::Cancelled, "the run was cancelled: enough"));
    use StepState::{Cancelled, Completed};
    let states: Vec<StepState> = view.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [Completed, Cancelled, Cancelled]);
    assert!(bench.queued().is_empty());
    assert_eq!(bench.control(id, cancel(false)).unwrap().state, RunState::Cancelled, "once more is no error");
    let error = bench.control(id, signal("x", &json!(1))).unwrap_err();
    assert!(error.to_string().contains("only an unfinished run takes signals"), "{error}");
}

#[test]
fn a_step_waits_for_its_signal_and_gets_what_came_with_it() {
    let mut bench = Bench::new();
    let definition = json!({"name": "gate", "steps": [
        {"id": "gate", "wait": {"signal": "approved", "timeout_s": 60}},
        {"id": "go", "tool": "t", "input": {"by": "${steps.gate.output.by}"}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    let view = bench.get(id);
    assert_eq!(view.steps[0].state, StepState::Waiting);
    assert_eq!(view.waiting_for.unwrap(), "signal \"approved\" (step gate)");
    bench.restart();
    bench.control(id, signal("other", &json!(0))).unwrap();
    assert!(bench.queued().is_empty());
    bench.control(id, signal("approved", &json!({"by": "me"}))).unwrap();
    assert_eq!(bench.input_of(bench.task("go")), json!({"by": "me"}));
    bench.advance(100_000);
    assert_eq!(bench.get(id).state, RunState::Running, "its wait is over");
}

#[test]
fn a_signal_that_comes_early_is_kept_and_each_is_for_one_step() {
    let mut bench = Bench::new();
    let definition = json!({"name": "gates", "steps": [
        {"id": "a", "tool": "t", "input": {}},
        {"id": "one", "needs": ["a"], "wait": {"signal": "s"}},
        {"id": "two", "needs": ["one"], "wait": {"signal": "s"}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.control(id, signal("s", &json!(1))).unwrap();
    bench.restart();
    bench.complete("a", json!(0));
    let states: Vec<StepState> = bench.get(id).steps.iter().map(|step| step.state).collect();
    assert_eq!(states[1..], [StepState::Completed, StepState::Waiting]);
    bench.control(id, signal("s", &json!(2))).unwrap();
    assert_eq!(bench.output(id), json!({"two": 2}));
}

#[test]
fn a_signal_that_does_not_come_fails_its_step() {
    let mut bench = Bench::new();
    let definition = json!({"name": "g", "steps": [{"id": "gate", "wait": {"signal": "s", "timeout_s": 5}}]});
    let id = bench.submit(&definition, &json!({}));
    bench.advance(5_001);
    let view = bench.get(id);
    assert_eq!((view.state, view.error.unwrap().code), (RunState::Failed, ErrorCode::Timeout));
}

#[test]
fn time_passes_for_steps_that_wait_for_it_also_while_the_node_is_down() {
    let mut bench = Bench::new();
    let definition = json!({"name": "w", "steps": [
        {"id": "pause", "wait": {"seconds": 100}},
        {"id": "until", "wait": {"until": "${1700000200}"}},
        {"id": "end", "needs": ["pause", "until"], "tool": "t", "input": {}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.advance(99_000);
    assert_eq!(bench.get(id).steps[0].state, StepState::Waiting);
    bench.now.0 += 50_000;
    bench.restart();
    bench.advance(1);
    let states: Vec<StepState> = bench.get(id).steps.iter().map(|step| step.state).collect();
    assert_eq!(states[..2], [StepState::Completed, StepState::Waiting]);
    bench.advance(60_000);
    bench.complete("end", json!(1));
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn too_many_signals_are_refused() {
    let mut bench = Bench::new();
    let id = bench.submit(&chain(), &json!({}));
    for n in 0..64 {
        bench.control(id, signal("s", &json!(n))).unwrap();
    }
    let error = bench.control(id, signal("s", &json!(64))).unwrap_err();
    assert!(error.to_string().contains("at most 64 signals"), "{error}");
    let large = bench.control(id, signal("s", &json!("x".repeat(40_000)))).unwrap_err();
    assert!(matches!(large, WorkflowError::TooLarge { .. }));
    let broken = RunAction::Signal { name: "s".into(), payload: Json::from_checked("{".into()) };
    let error = bench.control(id, broken).unwrap_err();
    assert!(error.to_string().contains("not JSON"), "{error}");
}

#[test]
fn a_failed_run_goes_on_with_what_has_not_completed() {
    let mut bench = Bench::new();
    let id = bench.submit(&chain(), &json!({}));
    bench.complete("a", json!(1));
    bench.fail("b", "broke");
    assert_eq!(bench.get(id).state, RunState::Failed);
    bench.restart();
    let state = bench.control(id, RunAction::Retry { from: None }).unwrap().state;
    assert_eq!(state, RunState::Running);
    assert_eq!(bench.disk.active(), [id]);
    bench.restart();
    bench.complete("b", json!(2));
    bench.complete("c", json!(3));
    assert_eq!(bench.output(id), json!({"c": 3}));
    assert!(
        bench.queue.tasks.values().filter(|task| task.done > 0).count() == 4,
        "a ran once, b twice, c once"
    );
    let error = bench.control(id, RunAction::Retry { from: None }).unwrap_err();
    assert!(error.to_string().contains("only a failed or cancelled run"), "{error}");
}

#[test]
fn a_run_goes_on_from_a_step_that_completed_and_all_that_need_it_run_again() {
    let mut bench = Bench::new();
    let id = bench.submit(&chain(), &json!({}));
    bench.complete("a", json!(1));
    bench.complete("b", json!(2));
    bench.fail("c", "broke");
    let unknown = bench.control(id, RunAction::Retry { from: Some("bb".into()) }).unwrap_err();
    assert!(unknown.to_string().contains("no step \"bb\""), "{unknown}");
    bench.control(id, RunAction::Retry { from: Some("b".into()) }).unwrap();
    bench.complete("b", json!(20));
    assert_eq!(bench.input_of(bench.task("c")), json!({"b": 20}));
    bench.complete("c", json!(3));
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn items_that_completed_stay_so_when_a_run_goes_on() {
    let mut bench = Bench::new();
    let definition = json!({"name": "i", "steps": [
        {"id": "a", "for_each": [1, 2, 3], "max_parallel": 1, "tool": "t", "input": {"n": "${item}"}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.complete("a/0", json!("kept"));
    bench.fail("a/1", "broke");
    bench.control(id, RunAction::Retry { from: None }).unwrap();
    bench.restart();
    bench.work(|step, _| Ok(json!(step)));
    assert_eq!(bench.output(id), json!({"a": ["kept", "a/1", "a/2"]}));
}

#[test]
fn only_who_may_touch_a_run_knows_of_it() {
    let mut bench = Bench::new();
    let id = bench.submit(&chain(), &json!({}));
    let stranger = member(other());
    let get = Op::Get(GetRun { id, wait_ms: 0, seen: None, steps: false });
    let ticket = bench.ask_as(stranger.clone(), get);
    assert_eq!(bench.answer(ticket), Err(WorkflowError::UnknownRun(id)));
    let ticket = bench.ask_as(stranger, Op::Control(ControlRun { id, action: cancel(false) }));
    assert_eq!(bench.answer(ticket), Err(WorkflowError::UnknownRun(id)));
    assert_eq!(bench.get(id).state, RunState::Running);
}

#[test]
fn readers_wait_for_the_end_or_for_news() {
    let mut bench = Bench::new();
    let id = bench.submit(&chain(), &json!({}));
    let version = bench.get(id).version;
    let end = bench.ask(Op::Get(GetRun { id, wait_ms: 60_000, seen: None, steps: false }));
    let news = bench.ask(Op::Get(GetRun { id, wait_ms: 60_000, seen: Some(version), steps: true }));
    let short = bench.ask(Op::Get(GetRun { id, wait_ms: 1_000, seen: None, steps: false }));
    let stale = bench.ask(Op::Get(GetRun { id, wait_ms: 60_000, seen: Some(0), steps: false }));
    assert!(bench.answered(stale) && !bench.answered(end) && !bench.answered(news));
    bench.complete("a", json!(1));
    bench.advance(51);
    assert!(bench.answered(news) && !bench.answered(end) && !bench.answered(short));
    bench.advance(1_000);
    assert!(bench.answered(short), "its wait is over");
    let gone = bench.ask(Op::Get(GetRun { id, wait_ms: 60_000, seen: None, steps: false }));
    assert!(bench.state.forget(gone));
    bench.complete("b", json!(1));
    bench.complete("c", json!(1));
    assert!(bench.answered(end) && !bench.answered(gone));
}
