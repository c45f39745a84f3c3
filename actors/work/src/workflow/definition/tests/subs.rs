//! Workflows within workflows.

use super::{assert_told, right, wrong};
use crate::workflow::definition::{Action, Limits, SubAction, Workflow};
use meshwork_proto::Cid;
use meshwork_proto::workflow::StepKind;
use serde_json::{Value, json};

fn sub(workflow: &Workflow, step: usize) -> &SubAction {
    match &workflow.steps[step].action {
        Action::Workflow(sub) => sub,
        other => panic!("{other:?}"),
    }
}

fn part(steps: Value) -> Value {
    json!({"name": "part", "inputs": {"n": {"type": "integer"}, "m": {"type": "integer", "default": 1}}, "steps": steps})
}

#[test]
fn a_sub_workflow_is_named_or_stands_in_its_step() {
    let workflow = right(&json!({
        "name": "w",
        "workflows": {"one": part(json!([{"id": "a", "tool": "inner"}]))},
        "steps": [
            {"id": "first", "tool": "outer"},
            {"id": "named", "workflow": "one", "inputs": {"n": "${steps.first.output.n}"}},
            {"id": "again", "workflow": "one", "input": {"n": 2}, "for_each": [1, 2]},
            {"id": "inline", "workflow": {"tasks": [{"type": "x"}]}},
        ],
    }));
    let named = sub(&workflow, 1);
    assert_eq!((named.name.as_str(), workflow.steps[1].kind), ("one", StepKind::Workflow));
    assert_eq!(named.definition_cid, sub(&workflow, 2).definition_cid);
    assert_eq!(named.definition_cid, Cid::of(named.definition.bytes()));
    assert_eq!(workflow.steps[1].needs, [0]);
    assert_eq!(sub(&workflow, 3).name, "tasks");
    assert_eq!(workflow.tool_names().into_iter().collect::<Vec<_>>(), ["inner", "outer", "x"]);
    // What is sent can be read by itself.
    right(&named.definition.to_value());
}

#[test]
fn what_a_sub_workflow_uses_by_name_goes_with_it() {
    let workflow = right(&json!({
        "name": "w",
        "workflows": {
            "a": part(json!([{"id": "x", "workflow": "b", "inputs": {"n": 1}}])),
            "b": part(json!([{"id": "x", "workflow": {"name": "i", "steps": [{"id": "y", "workflow": "c", "inputs": {"n": 1}}]}}])),
            "c": part(json!([{"id": "x", "tool": "deep"}])),
            "unused": part(json!([{"id": "x", "tool": "never"}])),
        },
        "steps": [{"id": "s", "workflow": "a", "inputs": {"n": 1}}],
    }));
    let sent = sub(&workflow, 0).definition.to_value();
    let with: Vec<&String> = sent["workflows"].as_object().unwrap().keys().collect();
    assert_eq!(with, ["b", "c"]);
    let alone = right(&sent);
    assert_eq!(alone.tool_names().into_iter().collect::<Vec<_>>(), ["deep"]);
    // And so on down.
    let next = right(&sub(&alone, 0).definition.to_value());
    assert_eq!(next.tool_names().into_iter().collect::<Vec<_>>(), ["deep"]);
}

#[test]
fn what_is_wrong_inside_is_told_with_the_way_to_it() {
    let problems = wrong(&json!({
        "name": "w",
        "workflows": {"one": part(json!([{"id": "a", "tool": "t", "input": {"x": "${inputs.k}"}}]))},
        "steps": [
            {"id": "named", "workflow": "one"},
            {"id": "inline", "workflow": {"name": "i", "steps": [{"id": "b", "tool": "t", "needs": ["z"]}]}},
            {"id": "other", "workflow": "oen"},
        ],
    }));
    assert_told(&problems, &["workflows.one.steps.a.input.x: ", "there is no input \"k\""]);
    assert_told(&problems, &["step inline: workflow.steps.b.needs[0]: there is no step \"z\""]);
    assert_told(&problems, &["step other: workflow: there is no workflow \"oen\": did you mean \"one\"?"]);
    assert_eq!(problems.len(), 3, "each once: {problems:#?}");
}

#[test]
fn workflows_that_run_each_other_without_end_are_shown() {
    let problems = wrong(&json!({
        "name": "w",
        "workflows": {
            "a": part(json!([{"id": "x", "workflow": "b", "inputs": {"n": 1}}])),
            "b": part(json!([{"id": "x", "workflow": "a", "inputs": {"n": 1}}])),
            "own": part(json!([{"id": "x", "workflow": "own", "inputs": {"n": 1}}])),
        },
        "steps": [{"id": "s", "workflow": "a", "inputs": {"n": 1}}],
    }));
    assert_told(&problems, &["workflows.b.steps.x.workflow: ", "a -> b -> a"]);
    assert_told(&problems, &["workflows.own.steps.x.workflow: ", "own -> own"]);
}

#[test]
fn the_depth_is_bounded() {
    let nest = |levels: usize| {
        let mut inner = json!({"name": "leaf", "steps": [{"id": "x", "tool": "t"}]});
        for _ in 0..levels {
            inner = json!({"name": "level", "steps": [{"id": "x", "workflow": inner}]});
        }
        inner
    };
    right(&nest(8));
    assert_told(&wrong(&nest(9)), &["more than 8 workflows are inside of each other"]);
    let flat = Limits { max_depth: 0, ..Limits::default() };
    assert!(Workflow::parse(&nest(1), &flat).is_err());
}

#[test]
fn what_is_given_is_compared_with_what_the_sub_workflow_declares() {
    let problems = wrong(&json!({
        "name": "w",
        "workflows": {"one": part(json!([{"id": "a", "tool": "t"}]))},
        "steps": [
            {"id": "missing", "workflow": "one", "inputs": {"m": 2}},
            {"id": "unknown", "workflow": "one", "inputs": {"n": 1, "nn": 2}},
            {"id": "unfit", "workflow": "one", "inputs": {"n": "one"}},
            {"id": "both", "workflow": "one", "inputs": {"n": 1}, "input": {"n": 1}},
            {"id": "text", "workflow": "one", "inputs": "n"},
        ],
    }));
    assert_told(&problems, &["step missing: inputs.n: is missing: the workflow requires it"]);
    assert_told(&problems, &["step unknown: inputs.nn: there is no input \"nn\""]);
    assert_told(&problems, &["step unfit: inputs.n: \"one\" is not of type \"integer\""]);
    assert_told(&problems, &["step both: input: is there beside inputs"]);
    assert_told(&problems, &["step text: inputs: is \"n\": expected an object"]);
}

#[test]
fn two_workflows_of_one_name_are_refused_where_one_would_hide_the_other() {
    let inner_c = part(json!([{"id": "x", "tool": "inner"}]));
    let problems = wrong(&json!({
        "name": "w",
        "workflows": {
            "b": part(json!([{"id": "x", "workflow": "c", "inputs": {"n": 1}}])),
            "c": part(json!([{"id": "x", "tool": "outer"}])),
            "a": {"name": "a", "workflows": {"c": inner_c}, "steps": [
                {"id": "x", "workflow": "c", "inputs": {"n": 1}}, {"id": "y", "workflow": "b", "inputs": {"n": 1}},
            ]},
        },
        "steps": [{"id": "s", "workflow": "a"}],
    }));
    assert_told(&problems, &["workflows.a.steps.y.workflow: two workflows are called \"c\""]);
}

#[test]
fn many_that_run_many_are_read_in_no_time() {
    // Each runs the next one many times: without a memory that would be 20 to the power of 8.
    let mut named = serde_json::Map::new();
    for level in 0..8 {
        let action =
            if level == 7 { json!({"tool": "t"}) } else { json!({"workflow": format!("l{}", level + 1)}) };
        let step = |n: usize| {
            let mut step = action.clone();
            step["id"] = json!(format!("s{n}"));
            step
        };
        let steps: Vec<Value> = (0..20).map(step).collect();
        named.insert(format!("l{level}"), json!({"name": "x", "steps": steps}));
    }
    let workflow = right(&json!({"name": "w", "workflows": named, "steps": [{"id": "s", "workflow": "l0"}]}));
    assert_eq!(workflow.tool_names().into_iter().collect::<Vec<_>>(), ["t"]);
}
