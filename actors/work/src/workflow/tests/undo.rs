//! Taking back what completed: exactly that, the last one first.

use super::bench::{Bench, Pending};
use meshwork_proto::workflow::{RunAction, RunState, StepState};
use meshwork_proto::{ErrorCode, MeshError};
use serde_json::{Value, json};

fn saga() -> Value {
    let undo =
        |id: &str| json!({"tool": "undo", "input": {"of": id, "was": format!("${{steps.{id}.output}}")}});
    json!({"name": "saga", "steps": [
        {"id": "a", "tool": "t", "input": {}, "compensate": undo("a")},
        {"id": "b", "needs": ["a"], "tool": "t", "input": {}, "compensate": undo("b")},
        {"id": "plain", "needs": ["a"], "tool": "t", "input": {}},
        {"id": "c", "needs": ["b", "plain"], "tool": "t", "input": {}, "on_failure": "compensate", "compensate": undo("c")}
    ]})
}

fn up_to_c(bench: &mut Bench) -> meshwork_proto::RunId {
    let id = bench.submit(&saga(), &json!({}));
    bench.complete("a", json!("A"));
    bench.complete("b", json!("B"));
    bench.complete("plain", json!("P"));
    id
}

#[test]
fn what_completed_is_taken_back_in_reverse_order_one_after_the_other() {
    let mut bench = Bench::new();
    let id = up_to_c(&mut bench);
    bench.fail("c", "broke");
    assert_eq!(bench.queued().len(), 1);
    assert_eq!(bench.input_of(bench.task("undo b")), json!({"of": "b", "was": "B"}));
    assert_eq!(bench.get(id).waiting_for.unwrap(), "step b to be taken back, and 1 more");
    bench.restart();
    bench.complete("undo b", json!(0));
    assert_eq!(bench.input_of(bench.task("undo a")), json!({"of": "a", "was": "A"}));
    bench.complete("undo a", json!(0));
    let view = bench.get(id);
    let states: Vec<StepState> = view.steps.iter().map(|step| step.state).collect();
    use StepState::{Compensated, Completed, Failed};
    assert_eq!((view.state, states), (RunState::Failed, vec![Compensated, Compensated, Completed, Failed]));
    assert_eq!(view.error.unwrap().message, "step c: broke");
    assert!(bench.queued().is_empty());
}

#[test]
fn what_completes_while_the_run_fails_is_taken_back_too() {
    let mut bench = Bench::new();
    let definition = json!({"name": "s", "steps": [
        {"id": "bad", "tool": "t", "input": {}, "on_failure": "compensate"},
        {"id": "slow", "tool": "t", "input": {}, "compensate": {"tool": "undo", "input": {}}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    let slow = bench.task("slow");
    bench.queue.tasks.get_mut(&slow).unwrap().status = meshwork_proto::task::TaskStatus::Running;
    bench.fail("bad", "broke");
    bench.finish(slow, Ok(json!("it happened")));
    bench.complete("undo slow", json!(0));
    let view = bench.get(id);
    assert_eq!((view.state, view.steps[1].state), (RunState::Failed, StepState::Compensated));
}

#[test]
fn a_compensation_that_fails_is_tried_again_and_then_the_rest_goes_on() {
    let mut bench = Bench::new();
    let mut definition = saga();
    definition["steps"][1]["retry"] = json!({"max_attempts": 2, "backoff_s": 5});
    let id = bench.submit(&definition, &json!({}));
    bench.complete("a", json!("A"));
    bench.complete("b", json!("B"));
    bench.complete("plain", json!("P"));
    bench.fail("c", "broke");
    bench.fail("undo b", "no way");
    assert!(bench.queued().is_empty());
    bench.restart();
    bench.advance(5_001);
    bench.fail("undo b", "still no way");
    bench.complete("undo a", json!(0));
    let view = bench.get(id);
    let message = view.error.unwrap().message;
    assert_eq!(message, "step c: broke; step b could not be taken back: still no way");
    assert_eq!((view.steps[0].state, view.steps[1].state), (StepState::Compensated, StepState::Completed));
}

#[test]
fn a_run_that_is_cancelled_is_taken_back_if_that_is_asked_for() {
    for compensate in [false, true] {
        let mut bench = Bench::new();
        let id = up_to_c(&mut bench);
        bench.control(id, RunAction::Cancel { reason: None, compensate }).unwrap();
        let undone: Vec<String> = bench.queued().into_iter().map(|(_, step)| step).collect();
        assert_eq!(undone, if compensate { vec!["undo b"] } else { vec![] });
        bench.work(|_, _| Ok(json!(0)));
        let view = bench.get(id);
        let expected = if compensate { StepState::Compensated } else { StepState::Completed };
        assert_eq!((view.state, view.steps[0].state), (RunState::Cancelled, expected));
    }
}

#[test]
fn items_are_taken_back_one_by_one_with_their_own_results() {
    let mut bench = Bench::new();
    let definition = json!({"name": "i", "steps": [
        {
            "id": "all", "for_each": ["x", "y", "z"], "max_parallel": 1, "tool": "t", "input": {},
            "compensate": {"tool": "undo", "input": {"item": "${item}", "was": "${steps.all.output}"}}
        },
        {"id": "bad", "needs": ["all"], "tool": "t", "input": {}, "on_failure": "compensate"}
    ]});
    let id = bench.submit(&definition, &json!({}));
    for (n, step) in ["all/0", "all/1", "all/2"].iter().enumerate() {
        bench.complete(step, json!({"n": n}));
    }
    bench.fail("bad", "broke");
    let mut undone = Vec::new();
    bench.work(|_, input| {
        undone.push(input.clone());
        Ok(json!(0))
    });
    let expected: Vec<Value> = [("z", 2), ("y", 1), ("x", 0)]
        .iter()
        .map(|(item, n)| json!({"item": item, "was": {"n": n}}))
        .collect();
    assert_eq!(undone, expected);
    assert_eq!(bench.get(id).steps[0].state, StepState::Compensated);
}

#[test]
fn what_was_taken_back_runs_again_when_the_run_goes_on() {
    let mut bench = Bench::new();
    let id = up_to_c(&mut bench);
    bench.fail("c", "broke");
    bench.work(|_, _| Ok(json!(0)));
    bench.control(id, RunAction::Retry { from: None }).unwrap();
    let mut ran = Vec::new();
    bench.work(|step, _| {
        ran.push(step.to_owned());
        Ok(json!(step))
    });
    assert_eq!(ran, ["a", "b", "c"], "what completed and was not taken back stays so");
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn a_failing_run_that_takes_nothing_back_keeps_what_completed() {
    let mut bench = Bench::new();
    let mut definition = saga();
    definition["steps"][3]["on_failure"] = json!("fail");
    let id = bench.submit(&definition, &json!({}));
    bench.work(|step, _| match step {
        "c" => Err(MeshError::new(ErrorCode::ToolFailed, "broke")),
        step => Ok(json!(step)),
    });
    let view = bench.get(id);
    assert_eq!((view.state, view.steps[0].state), (RunState::Failed, StepState::Completed));
    assert!(!bench.history(id).iter().any(|kind| kind.starts_with("compensation")));
}

#[test]
fn a_compensation_that_nobody_runs_ends_with_its_time_and_the_rest_goes_on() {
    let mut bench = Bench::new();
    let mut definition = saga();
    definition["steps"][1]["timeout_s"] = json!(100);
    let id = bench.submit(&definition, &json!({}));
    for step in ["a", "b", "plain"] {
        bench.complete(step, json!(step));
    }
    bench.fail("c", "broke");
    let stuck = bench.task("undo b");
    bench.advance(3_600_000);
    assert_eq!(bench.task("undo b"), stuck, "it may wait for an hour, and then run for its own time");
    bench.restart();
    bench.advance(3_701_000);
    assert_eq!(bench.queue.tasks[&stuck].status, meshwork_proto::task::TaskStatus::Cancelled);
    bench.complete("undo a", json!(0));
    let view = bench.get(id);
    let message = view.error.unwrap().message;
    assert_eq!(view.state, RunState::Failed);
    assert!(
        message.ends_with("step b could not be taken back: nobody took it back within 3700 s"),
        "{message}"
    );
}

#[test]
fn a_compensation_that_took_too_long_is_tried_as_often_as_its_step() {
    let mut bench = Bench::new();
    let mut definition = saga();
    definition["steps"][1]["retry"] = json!({"max_attempts": 2, "backoff_s": 5});
    let id = bench.submit(&definition, &json!({}));
    for step in ["a", "b", "plain"] {
        bench.complete(step, json!(step));
    }
    bench.fail("c", "broke");
    let first = bench.task("undo b");
    bench.advance(3_600_001);
    assert!(bench.queued().is_empty());
    bench.advance(5_001);
    assert_ne!(bench.task("undo b"), first);
    bench.work(|_, _| Ok(json!(0)));
    let view = bench.get(id);
    assert_eq!(
        (view.steps[1].state, view.error.unwrap().message.as_str()),
        (StepState::Compensated, "step c: broke")
    );
}

#[test]
fn a_compensation_whose_documents_cannot_be_read_ends_too() {
    let mut bench = Bench::new();
    let id = up_to_c(&mut bench);
    bench.auto = false;
    bench.fail("c", "broke");
    for _ in 0..2 {
        bench.turn(|_, _| {});
        while let Some(place) = bench.pending.iter().position(|pending| match pending {
            Pending::Prepare(prepare) => prepare.wanted != crate::workflow::logic::Wanted::Undo,
            _ => true,
        }) {
            bench.perform(place);
            bench.turn(|_, _| {});
        }
        bench.advance(3_600_001);
    }
    bench.auto = true;
    bench.pending.retain(|pending| !matches!(pending, Pending::Prepare(_)));
    bench.settle();
    let view = bench.get(id);
    assert_eq!(view.state, RunState::Failed, "{:#?} {:?}", bench.history(id), view.waiting_for);
    assert!(view.error.unwrap().message.contains("2 units could not be taken back"));
}

#[test]
fn a_second_cancel_gives_up_what_is_not_taken_back_yet_and_says_so() {
    let mut bench = Bench::new();
    let id = up_to_c(&mut bench);
    bench.control(id, RunAction::Cancel { reason: Some("enough".into()), compensate: true }).unwrap();
    let undo = bench.task("undo b");
    // The same again, of a client that did not hear the answer, changes nothing.
    bench.control(id, RunAction::Cancel { reason: Some("enough".into()), compensate: true }).unwrap();
    assert_eq!(bench.task("undo b"), undo);
    bench.restart();
    bench.control(id, RunAction::Cancel { reason: None, compensate: false }).unwrap();
    assert!(bench.queued().is_empty(), "its task is cancelled");
    let view = bench.get(id);
    assert_eq!((view.state, view.steps[0].state), (RunState::Cancelled, StepState::Completed));
    assert_eq!(
        view.error.unwrap().message,
        "the run was cancelled: enough; taking back was given up, and these steps were not taken back: b, a"
    );
    let history = bench.history(id);
    assert_eq!(&history[history.len() - 2..], ["compensation_given_up", "run_finished"]);
    bench.restart();
    // Nothing of it is forgotten: if the run goes on and fails, it is taken back then.
    bench.control(id, RunAction::Retry { from: None }).unwrap();
    bench.control(id, RunAction::Cancel { reason: None, compensate: true }).unwrap();
    let mut undone = Vec::new();
    bench.work(|step, _| {
        undone.push(step.to_owned());
        Ok(json!(0))
    });
    assert_eq!(undone, ["undo b", "undo a"]);
}

#[test]
fn taking_back_can_be_given_up_in_a_run_that_fails() {
    let mut bench = Bench::new();
    let id = up_to_c(&mut bench);
    bench.fail("c", "broke");
    bench.complete("undo b", json!(0));
    let refused = bench.control(id, RunAction::Cancel { reason: None, compensate: true }).unwrap_err();
    assert!(refused.to_string().contains("being taken back"), "{refused}");
    bench.control(id, RunAction::Cancel { reason: None, compensate: false }).unwrap();
    let view = bench.get(id);
    assert_eq!(view.state, RunState::Failed);
    let message = view.error.unwrap().message;
    assert!(message.ends_with("these steps were not taken back: a"), "{message}");
}

#[test]
fn a_sub_workflow_takes_back_what_it_did_before_what_came_before_it_is_taken_back() {
    let mut bench = Bench::new();
    let child = json!({"name": "child", "steps": [
        {"id": "x", "tool": "t", "input": {}, "compensate": {"tool": "undo", "input": {}}},
        {"id": "y", "needs": ["x"], "tool": "t", "input": {}}
    ]});
    let definition = json!({"name": "parent", "workflows": {"child": child}, "steps": [
        {"id": "a", "tool": "t", "input": {}, "compensate": {"tool": "undo", "input": {}}},
        {"id": "part", "needs": ["a"], "workflow": "child", "inputs": {}},
        {"id": "bad", "needs": ["a"], "tool": "t", "input": {}, "on_failure": "compensate"}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.complete("a", json!(0));
    bench.complete("x", json!(0));
    bench.fail("bad", "broke");
    // It takes longer than running steps have to stop.
    bench.advance(600_000);
    let queued: Vec<String> = bench.queued().into_iter().map(|(_, step)| step).collect();
    assert_eq!(queued, ["undo x"]);
    bench.complete("undo x", json!(0));
    bench.complete("undo a", json!(0));
    assert_eq!(bench.get(id).state, RunState::Failed);
}

#[test]
fn what_a_step_did_before_it_ran_again_is_taken_back_too() {
    let mut bench = Bench::new();
    let undo = |id: &str| json!({"tool": "undo", "input": {"was": format!("${{steps.{id}.output}}")}});
    let mut definition = saga();
    definition["steps"][0]["compensate"] = undo("a");
    definition["steps"][1]["compensate"] = undo("b");
    definition["steps"][3]["on_failure"] = json!("fail");
    let id = bench.submit(&definition, &json!({}));
    for step in ["a", "b", "plain"] {
        bench.complete(step, json!(format!("{step} 1")));
    }
    bench.fail("c", "broke");
    bench.control(id, RunAction::Retry { from: Some("b".into()) }).unwrap();
    bench.complete("b", json!("b 2"));
    bench.restart();
    bench.control(id, RunAction::Cancel { reason: None, compensate: true }).unwrap();
    let mut undone = Vec::new();
    while let Some((task, _)) = bench.queued().first().cloned() {
        undone.push(bench.input_of(task)["was"].clone());
        bench.finish(task, Ok(json!(0)));
        bench.restart();
    }
    assert_eq!(undone, ["b 2", "b 1", "a 1"]);
    let states: Vec<StepState> = bench.get(id).steps.iter().map(|step| step.state).collect();
    assert_eq!(states[..2], [StepState::Compensated, StepState::Compensated]);
}

#[test]
fn items_that_ran_before_their_step_ran_again_are_taken_back_with_their_own_results() {
    let mut bench = Bench::new();
    let definition = json!({"name": "i", "inputs": {"l": {"default": ["x", "y"]}}, "steps": [
        {
            "id": "all", "for_each": "${inputs.l}", "max_parallel": 1, "tool": "t", "input": {},
            "compensate": {"tool": "undo", "input": {"item": "${item}", "was": "${steps.all.output}"}}
        },
        {"id": "bad", "needs": ["all"], "tool": "t", "input": {}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.complete("all/0", json!(10));
    bench.complete("all/1", json!(11));
    bench.fail("bad", "broke");
    bench.control(id, RunAction::Retry { from: Some("all".into()) }).unwrap();
    bench.complete("all/0", json!(20));
    bench.control(id, RunAction::Cancel { reason: None, compensate: true }).unwrap();
    let mut undone = Vec::new();
    bench.work(|_, input| {
        undone.push((input["item"].clone(), input["was"].clone()));
        Ok(json!(0))
    });
    let expected = [("x", 20), ("y", 11), ("x", 10)].map(|(item, was)| (json!(item), json!(was)));
    assert_eq!(undone, expected);
}
