//! Every mistake is told with its step, its field, what is wrong and what would be right.

use super::{assert_told, wrong, wrong_steps};
use crate::workflow::definition::{Limits, Workflow};
use serde_json::{Value, json};

#[test]
fn circles_are_shown_as_a_path() {
    let problems = wrong_steps(&json!([
        {"id": "a", "tool": "t", "needs": ["c"]},
        {"id": "b", "tool": "t", "input": {"x": "${steps.a.output}"}},
        {"id": "c", "tool": "t", "when": "steps.b.output"},
        {"id": "d", "tool": "t", "input": {"x": "${steps.d.output}"}},
    ]));
    assert_told(&problems, &["step a: needs: ", "in a circle", "a -> c -> b -> a"]);
    assert_told(&problems, &["step d: needs: ", "d -> d"]);
}

#[test]
fn unknown_names_are_told_with_the_nearest_known_one() {
    let problems = wrong(&json!({
        "name": "w",
        "descripton": "x",
        "inputs": {"who": {"type": "string", "defualt": "x"}},
        "steps": [
            {"id": "fetch", "tool": "t", "inptu": {}, "zebra": 1},
            {"id": "build", "tool": "t", "needs": ["fecth"], "input": {"a": "${steps.fetch.outptu}", "b": "${inputs.whoo}"}},
            {"id": "c", "tool": "t", "retry": {"max_attempt": 1}, "place": {"same_as": "biuld"}},
            {"id": "d", "workflow": "part"},
        ],
    }));
    assert_told(&problems, &["descripton: unknown member \"descripton\": did you mean \"description\"?"]);
    assert_told(&problems, &["inputs.who.defualt: unknown member", "did you mean \"default\"?"]);
    assert_told(&problems, &["step fetch: inptu: ", "did you mean \"input\"?"]);
    assert_told(&problems, &["step fetch: zebra: ", "expected one of "]);
    assert_told(&problems, &["step build: needs[0]: there is no step \"fecth\": did you mean \"fetch\"?"]);
    assert_told(&problems, &["step build: input.a: ", "column 13", "did you mean \"output\"?"]);
    assert_told(&problems, &["step build: input.b: ", "there is no input \"whoo\""]);
    assert_told(&problems, &["step c: retry.max_attempt: unknown member `max_attempt`"]);
    assert_told(
        &problems,
        &["step d: workflow: there is no workflow \"part\": there is nothing under workflows"],
    );
}

#[test]
fn wrong_values_are_told_with_what_is_expected() {
    let problems = wrong_steps(&json!([
        {"id": "a", "tool": 5, "timeout_s": "1 min", "retry": {"max_attempts": 0, "backoff_s": -1, "factor": 0.5}},
        {"id": "b", "tool": "t", "timeout_s": 0, "priority": 11},
        {"id": "c", "tool": "t", "timeout_s": 1e12, "on_failure": "explode", "needs": [1]},
        {"id": "d", "tool": "t", "retry": {"max_attempts": 0, "factor": 0.5, "backoff_s": 10, "max_backoff_s": 5}},
        {"id": "e", "tool": "t", "peer": "nobody", "label": [""], "max_parallel": 0, "for_each": [1], "when": 5},
        {"id": "f", "wait": {"until": "tomorrow"}},
        {"id": "g", "tool": "", "input": [1]},
        {"id": "h", "tool": "x${1}", "input": "text ${inputs.who}"},
        {"id": "i", "task_type": "tool.call", "input": "${inputs.who == ''}"},
        "not a step",
    ]));
    assert_told(&problems, &["step a: tool: invalid type: integer `5`, expected a string"]);
    assert_told(
        &problems,
        &["step a: timeout_s: ", "expected seconds, a number from 0.001 to 31536000 (a year)"],
    );
    assert_told(&problems, &["step a: retry.backoff_s: ", "expected seconds, a number from 0 to"]);
    assert_told(&problems, &["step b: timeout_s: invalid value", "expected seconds"]);
    assert_told(&problems, &["step c: timeout_s: invalid value"]);
    assert_told(
        &problems,
        &["step c: on_failure: unknown variant `explode`, expected one of `fail`, `continue`, `compensate`"],
    );
    assert_told(&problems, &["step c: needs[0]: "]);
    assert_told(&problems, &["step d: retry.max_attempts: 0 is out of range: expected 1 to 1000"]);
    assert_told(&problems, &["step d: retry.factor: 0.5 is out of range"]);
    assert_told(&problems, &["step d: retry.max_backoff_s: is less than backoff_s"]);
    assert_told(&problems, &["step e: place.peer: peer id \"nobody\" is not valid"]);
    assert_told(&problems, &["step e: place.labels: \"\" is no name"]);
    assert_told(&problems, &["step e: max_parallel: 0 is out of range"]);
    assert_told(&problems, &["step e: when: is 5: expected an expression"]);
    assert_told(&problems, &["step f: wait.until: \"tomorrow\" is no time: expected a time such as"]);
    assert_told(&problems, &["step g: tool: \"\" is no name"]);
    assert_told(&problems, &["step g: input: is [1]: expected an object"]);
    assert_told(&problems, &["step h: tool: ", "holds an expression"]);
    assert_told(&problems, &["step h: input: is a string with expressions in it: expected an object"]);
    assert_told(&problems, &["step i: task_type: tool.call names the tool in its payload: write tool: NAME"]);
    assert_told(&problems, &["steps[9].: is \"not a step\": expected an object"]);
}

#[test]
fn priorities_out_of_range_are_told() {
    let problems = wrong_steps(
        &json!([{"id": "a", "tool": "t", "priority": 0}, {"id": "b", "tool": "t", "priority": 300}]),
    );
    assert_told(&problems, &["step a: priority: is out of range: expected 1 to 10"]);
    assert_told(&problems, &["step b: priority: "]);
}

#[test]
fn a_step_does_exactly_one_thing_and_has_only_what_belongs_to_it() {
    let problems = wrong_steps(&json!([
        {"id": "a"},
        {"id": "b", "tool": "t", "wait": {"seconds": 1}},
        {"id": "c", "wait": {"seconds": 1, "signal": "x"}, "retry": {}, "for_each": [1], "input": {}, "label": "x"},
        {"id": "d", "wait": {}},
        {"id": "e", "tool": "t", "inputs": {}, "max_parallel": 2},
        {"id": "f", "wait": {"seconds": 1, "timeout_s": 1}, "model": "m", "pure": true, "compensate": {"tool": "t"}},
        {"id": "g", "tool": "t", "compensate": {}, "peer": "x", "place": {"peer": "x"}},
    ]));
    assert_told(
        &problems,
        &["step a: tool: has none of tool, task_type, workflow, wait: expected exactly one"],
    );
    assert_told(&problems, &["step b: tool: has tool and wait: expected exactly one of"]);
    assert_told(&problems, &["step c: wait: has signal and seconds"]);
    for field in ["retry", "for_each", "input", "place"] {
        assert_told(&problems, &[&format!("step c: {field}: belongs to a step that calls something")]);
    }
    assert_told(&problems, &["step d: wait: has none of signal, seconds, until"]);
    assert_told(&problems, &["step e: inputs: belongs to a step with workflow: a tool takes input"]);
    assert_told(&problems, &["step e: max_parallel: belongs to a step with for_each"]);
    assert_told(&problems, &["step f: wait.timeout_s: belongs to a signal"]);
    assert_told(&problems, &["step f: model: belongs to a step with tool or task_type"]);
    assert_told(&problems, &["step g: compensate: has none of tool, task_type"]);
    assert_told(&problems, &["step g: peer: is there under place, too"]);
}

#[test]
fn ids_are_names_that_expressions_can_use_and_stand_once() {
    let problems = wrong_steps(&json!([
        {"tool": "t"}, {"id": "a-b", "tool": "t"}, {"id": "x", "tool": "t"}, {"id": "x", "tool": "t"}, {"id": "in", "tool": "t"},
        {"id": 5, "tool": "t"}, {"id": "", "tool": "t"},
    ]));
    assert_told(&problems, &["steps[0].id: is missing: every step has an id"]);
    assert_told(&problems, &["steps[1].id: \"a-b\" is no name: expected a letter or _"]);
    assert_told(&problems, &["step x: id: is used twice, by steps number 3 and 4"]);
    assert_told(&problems, &["steps[4].id: \"in\" is a word of the expressions"]);
    assert_told(&problems, &["steps[5].id: invalid type: integer `5`, expected a string"]);
    assert_told(&problems, &["steps[6].id: \"\" is no name"]);
}

#[test]
fn for_each_is_over_lists_and_items_are_known_only_there() {
    let problems = wrong_steps(&json!([
        {"id": "a", "tool": "t", "for_each": "abc"},
        {"id": "b", "tool": "t", "for_each": "${1 + 1}"},
        {"id": "c", "tool": "t", "for_each": "${inputs.who}"},
        {"id": "d", "tool": "t", "for_each": {"a": "${inputs.who}"}},
        {"id": "e", "tool": "t", "input": {"x": "${item}"}},
        {"id": "f", "tool": "t", "for_each": "${item}"},
        {"id": "g", "tool": "t", "for_each": "x ${inputs.who}"},
    ]));
    let expected = "expected a list, or an expression that gives one";
    assert_told(&problems, &["step a: for_each: is \"abc\": ", expected]);
    assert_told(&problems, &["step b: for_each: is 2: ", expected]);
    assert_told(&problems, &["step c: for_each: inputs.who is declared as string: ", expected]);
    assert_told(&problems, &["step d: for_each: is an object: ", expected]);
    assert_told(&problems, &["step e: input.x: ", "only a step with for_each has it"]);
    assert_told(&problems, &["step f: for_each: ", "there is no \"item\" here"]);
    assert_told(&problems, &["step g: for_each: is a string with expressions in it: ", expected]);
}

#[test]
fn what_is_too_large_is_refused_with_the_limit_named() {
    let steps: Vec<Value> = (0..10_001).map(|n| json!({"id": format!("s{n}"), "tool": "t"})).collect();
    assert_told(
        &wrong_steps(&json!(steps)),
        &["steps: has 10001 entries: expected 1 to 10000, the limit of steps"],
    );
    let million: Vec<u32> = (0..1_000_000).collect();
    let problems = wrong_steps(&json!([{"id": "a", "tool": "t", "for_each": million}]));
    assert_told(&problems, &["step a: for_each: has 1000000 elements: at most 100000, the limit of items"]);
    assert!(problems[0].len() < 200);
    assert_told(&wrong_steps(&json!([])), &["steps: has 0 entries: expected 1 to 10000"]);
    let few = Limits { max_steps: 1, ..Limits::default() };
    let two = json!({"name": "w", "steps": [{"id": "a", "tool": "t"}, {"id": "b", "tool": "t"}]});
    assert!(Workflow::parse(&two, &few).is_err());
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    assert_told(
        &wrong_steps(&json!([{"id": "a", "tool": "t", "input": {"x": deep}}])),
        &["nested deeper than 100"],
    );
}

#[test]
fn a_document_that_is_none_is_told_so() {
    for (document, expected) in [
        (json!(5), "is 5: expected an object"),
        (json!({}), "name: is missing"),
        (json!({}), "steps: is missing: expected a list of steps, or tasks for the short form"),
        (json!({"name": "w", "steps": {}}), "steps: is {}: expected a list of steps"),
        (json!({"name": 5, "steps": []}), "name: invalid type"),
        (json!({"name": "", "steps": [{"id": "a", "tool": "t"}]}), "name: \"\" is no name"),
        (json!({"tasks": 5}), "tasks: is no list"),
        (json!({"tasks": [{"model": "x"}]}), "step task_1: tool: has none of tool, task_type"),
        (
            json!({"tasks": [{"type": "x", "modle": "y"}, {"type": "x"}]}),
            "step task_1: modle: unknown member",
        ),
        (
            json!({"tasks": [{"type": "x", "input": {}, "payload": {}}]}),
            "step task_1: input: is there more than once",
        ),
        (json!({"tasks": [], "step": []}), "step: unknown member"),
        (json!({"name": "w", "inputs": [], "steps": [{"id": "a", "tool": "t"}]}), "inputs: is no object"),
        (
            json!({"name": "w", "inputs": {"a": 5}, "steps": [{"id": "a", "tool": "t"}]}),
            "inputs.a: is 5: expected a JSON Schema",
        ),
        (
            json!({"name": "w", "inputs": {"a": {"type": "strin"}}, "steps": [{"id": "a", "tool": "t"}]}),
            "inputs.a: is no JSON Schema: ",
        ),
        (
            json!({"name": "w", "inputs": {"a": {"type": "string", "default": 5}}, "steps": [{"id": "a", "tool": "t"}]}),
            "inputs.a.default: does not fit the input itself: 5 is not of type \"string\"",
        ),
        (
            json!({"name": "w", "inputs": {"a-b": {}}, "steps": [{"id": "a", "tool": "t"}]}),
            "inputs.a-b: \"a-b\" is no name",
        ),
    ] {
        assert_told(&wrong(&document), &[expected]);
    }
}

#[test]
fn problems_never_fill_more_than_a_page() {
    let steps: Vec<Value> =
        (0..5000).map(|n| json!({"id": format!("s{n}"), "tool": 5, "needs": ["zzz"]})).collect();
    let problems = wrong_steps(&json!(steps));
    assert_eq!(problems.len(), 100);
    let long = "x".repeat(1_000_000);
    let problems = wrong(
        &json!({"name": long, long.clone(): 1, "steps": [{"id": long, "tool": long, "needs": [long]}]}),
    );
    assert!(
        problems.iter().all(|problem| problem.len() < 1500),
        "{:?}",
        problems.iter().map(String::len).collect::<Vec<_>>()
    );
}
