//! What a right definition becomes.

use super::{right, wrong};
use crate::workflow::definition::{Action, OnFailure, OutputRule, Retry, Wait};
use meshwork_proto::workflow::StepKind;
use serde_json::{Value, json};

#[test]
fn the_example_of_the_format_is_read_with_all_defaults() {
    let workflow = right(&json!({
        "name": "greet",
        "inputs": {"who": {"type": "string", "default": "world"}},
        "steps": [
            {"id": "hello", "tool": "echo", "input": {"text": "hello ${inputs.who}"}},
            {
                "id": "each", "needs": ["hello"], "for_each": "${[1, 2, 3]}", "tool": "echo",
                "input": {"n": "${item}", "of": "${steps.hello.output.text}"},
                "retry": {"max_attempts": 3, "backoff_s": 1}, "timeout_s": 30,
                "when": "size(steps.hello.output.text) > 0",
            },
        ],
        "output": "${steps.each.output}",
    }));
    assert_eq!((workflow.name.as_str(), workflow.timeout_ms, workflow.max_parallel), ("greet", None, None));
    assert_eq!(workflow.fill_inputs(&Value::Null), Ok(json!({"who": "world"})));
    assert!(matches!(workflow.output, OutputRule::Template(_)));
    let [hello, each] = workflow.steps.as_slice() else { panic!("two steps") };
    assert_eq!((hello.needs.as_slice(), hello.needed_by.as_slice()), (&[][..], &[1][..]));
    assert_eq!((each.needs.as_slice(), each.needed_by.as_slice()), (&[0][..], &[][..]));
    assert_eq!(hello.retry, Retry { max_attempts: 1, backoff_ms: 1000, max_backoff_ms: 60_000, factor: 2.0 });
    assert_eq!((each.retry.max_attempts, each.timeout_ms), (3, Some(30_000)));
    assert_eq!((hello.priority, hello.pure, hello.on_failure), (5, false, OnFailure::Fail));
    assert_eq!((hello.kind, hello.what.as_str()), (StepKind::Task, "echo"));
    let items = each.for_each.as_ref().unwrap();
    assert_eq!(items.items.constant(), Some(&json!([1, 2, 3])));
    assert!(each.when.is_some());
    assert_eq!(workflow.tool_names().into_iter().collect::<Vec<_>>(), ["echo"]);
}

#[test]
fn the_short_form_is_a_chain_of_tasks() {
    let workflow = right(&json!({"tasks": [
        {"type": "inference", "model": "gpt2", "payload": {"text": "x"}},
        {"type": "embedding", "inputs": {"of": "${steps.task_1.output}"}},
        {"type": "report", "input": {}},
        {"type": "report"},
    ]}));
    assert_eq!(workflow.name, "tasks");
    let ids: Vec<&str> = workflow.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["task_1", "task_2", "task_3", "task_4"]);
    let needs: Vec<_> = workflow.steps.iter().map(|step| step.needs.clone()).collect();
    assert_eq!(needs, [vec![], vec![0], vec![1], vec![2]]);
    let Action::Task(first) = &workflow.steps[0].action else { panic!("a task") };
    assert_eq!((first.task_type.as_str(), first.tool.as_str()), ("inference", "inference"));
    assert_eq!(first.model.as_deref(), Some("gpt2"));
    assert_eq!(first.input.constant(), Some(&json!({"text": "x"})));
    let Action::Task(last) = &workflow.steps[3].action else { panic!("a task") };
    assert_eq!(last.input.constant(), Some(&json!({})));
    assert!(matches!(&workflow.output, OutputRule::Steps(ends) if *ends == [3]));
}

#[test]
fn everything_that_a_step_refers_to_is_needed_by_it() {
    let task = |id: &str| json!({"id": id, "tool": "t"});
    let workflow = right(&json!({"name": "w", "steps": [
        task("a"), task("b"), task("c"), task("d"), task("e"), task("f"),
        {
            "id": "g", "tool": "t", "needs": "a", "when": "steps.b.state == 'completed'", "for_each": "${steps.c.output}",
            "input": {"x": "${steps.d.output}"}, "same_as": "e",
            "compensate": {"tool": "undo", "input": {"own": "${steps.g.output.id}", "of": "${steps.f.output}"}},
        },
        {"id": "h", "wait": {"until": "${steps.g.output[0]}"}},
    ]}));
    assert_eq!(workflow.steps[6].needs, [0, 1, 2, 3, 4, 5]);
    assert_eq!(workflow.steps[6].place.same_as, Some(4));
    assert_eq!(workflow.steps[7].needs, [6]);
    assert_eq!(workflow.order, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(workflow.tool_names().into_iter().collect::<Vec<_>>(), ["t", "undo"]);
}

#[test]
fn steps_may_be_written_in_any_order() {
    let workflow = right(&json!({"name": "w", "steps": [
        {"id": "last", "tool": "t", "input": {"of": "${steps.first.output}"}},
        {"id": "first", "tool": "t"},
        {"id": "beside", "tool": "t"},
    ]}));
    assert_eq!(workflow.order, [1, 0, 2]);
    assert!(matches!(&workflow.output, OutputRule::Steps(ends) if *ends == [0, 2]));
}

#[test]
fn a_place_may_be_written_flat_or_together_and_waits_are_of_three_kinds() {
    let peer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let workflow = right(&json!({"name": "w", "steps": [
        {"id": "a", "tool": "t", "peer": peer, "label": "gpu", "labels": ["big"], "capability": "cuda", "priority": 9, "pure": true},
        {"id": "b", "tool": "t", "place": {"labels": ["x", "y"], "same_as": "a"}},
        {"id": "c", "wait": {"signal": "approved", "timeout_s": 60}},
        {"id": "d", "wait": {"seconds": 0.5}},
        {"id": "e", "wait": {"until": "2026-01-01T00:00:00Z"}},
        {"id": "f", "wait": {"until": "${timestamp(run.created_s) + duration('1h')}"}, "on_failure": "continue"},
    ]}));
    let place = &workflow.steps[0].place;
    assert_eq!(place.peer.as_ref().map(ToString::to_string).as_deref(), Some(peer));
    assert_eq!((place.capability.as_deref(), place.labels.len()), (Some("cuda"), 2));
    assert!(workflow.steps[0].pure && workflow.steps[0].priority == 9);
    assert_eq!(workflow.steps[1].place.labels.len(), 2);
    let wait = |step: usize| match &workflow.steps[step].action {
        Action::Wait(wait) => wait,
        other => panic!("{other:?}"),
    };
    assert!(matches!(wait(2), Wait::Signal { name, timeout_ms: Some(60_000) } if name == "approved"));
    assert!(matches!(wait(3), Wait::For { ms: 500 }));
    assert!(matches!(wait(4), Wait::Until(time) if time.constant().is_some()));
    let whats: Vec<&str> = workflow.steps[2..].iter().map(|step| step.what.as_str()).collect();
    assert_eq!(
        whats,
        ["signal approved", "500 ms", "until 2026-01-01T00:00:00Z", "until a time that is computed"]
    );
}

#[test]
fn what_the_workflow_says_of_failures_holds_for_steps_that_say_nothing() {
    let workflow =
        right(&json!({"name": "w", "on_failure": "continue", "timeout_s": 10, "max_parallel": 3, "steps": [
            {"id": "a", "tool": "t"}, {"id": "b", "tool": "t", "on_failure": "compensate"},
        ]}));
    assert_eq!(workflow.steps[0].on_failure, OnFailure::Continue);
    assert_eq!(workflow.steps[1].on_failure, OnFailure::Compensate);
    assert_eq!((workflow.timeout_ms, workflow.max_parallel), (Some(10_000), Some(3)));
}

#[test]
fn inputs_are_filled_and_checked_by_their_schemas() {
    let workflow = right(&json!({
        "name": "w",
        "inputs": {
            "who": {"type": "string", "description": "whom to greet"},
            "n": {"type": "integer", "default": 3, "minimum": 1},
            "mode": {"enum": ["fast", "slow"], "default": "fast"},
        },
        "steps": [{"id": "a", "tool": "t", "input": {"n": "${inputs.n}"}}],
    }));
    let given = json!({"who": "x", "mode": "slow"});
    assert_eq!(workflow.fill_inputs(&given), Ok(json!({"who": "x", "n": 3, "mode": "slow"})));
    let problems = workflow.fill_inputs(&json!({"n": 0, "mode": "fsat", "whoo": 1})).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    super::assert_told(&shown, &["inputs.who: is missing", "of type string (whom to greet)"]);
    super::assert_told(&shown, &["inputs.n: 0 is less than the minimum of 1"]);
    super::assert_told(&shown, &["inputs.mode: \"fsat\" is not one of \"fast\" or \"slow\""]);
    super::assert_told(&shown, &["inputs.whoo: there is no input \"whoo\": did you mean \"who\"?"]);
    assert!(workflow.fill_inputs(&json!([])).unwrap_err()[0].to_string().contains("expected an object"));
}

#[test]
fn numbers_and_texts_at_their_limits_are_read() {
    let id = "a".repeat(64);
    let steps: Vec<Value> = (0..10_000).map(|n| json!({"id": format!("s{n}"), "tool": "t"})).collect();
    assert_eq!(right(&json!({"name": "w", "steps": steps})).steps.len(), 10_000);
    right(&json!({"name": "w", "timeout_s": 31_536_000, "steps": [
        {"id": id, "tool": "t", "timeout_s": 0.001, "retry": {"max_attempts": 1000, "backoff_s": 0, "factor": 1}},
    ]}));
    assert!(
        wrong(&json!({"name": "w", "steps": [{"id": "a".repeat(65), "tool": "t"}]}))[0]
            .contains("64 at most")
    );
}
