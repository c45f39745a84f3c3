//! Inputs against the schemas of tools.

use super::{assert_told, right};
use crate::workflow::definition::{Action, InputCheck, TaskAction, Workflow, check_input};
use meshwork_proto::workflow::ToolShape;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn shape(input: Value, output: Value) -> ToolShape {
    ToolShape { input_schema: Some(input.into()), output_schema: Some(output.into()), ..ToolShape::default() }
}

fn shapes() -> BTreeMap<String, ToolShape> {
    let echo = shape(
        json!({
            "type": "object", "required": ["text"], "additionalProperties": false,
            "properties": {
                "text": {"type": "string", "minLength": 1}, "count": {"type": "integer"}, "flag": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
        }),
        json!({
            "type": "object",
            "properties": {"text": {"type": "string"}, "n": {"type": "number"}, "any": {}, "list": {"type": "array"}},
        }),
    );
    let free = ToolShape::default();
    [("echo".to_owned(), echo), ("free".to_owned(), free)].into()
}

fn problems(steps: Value) -> Vec<String> {
    let inputs = json!({"who": {"type": "string"}, "n": {"type": "integer"}, "any": {}});
    let workflow = right(&json!({"name": "w", "inputs": inputs, "steps": steps}));
    workflow.check_tools(&shapes(), false).iter().map(ToString::to_string).collect()
}

#[test]
fn what_fits_or_may_fit_is_no_problem() {
    let found = problems(json!([
        {"id": "a", "tool": "echo", "input": {"text": "x", "count": 3, "tags": ["a", "${inputs.who}"]}},
        {"id": "b", "tool": "echo", "input": {"text": "${inputs.who}", "count": "${inputs.n}", "flag": "${inputs.n > 1}"}},
        {"id": "c", "tool": "echo", "input": {"text": "${steps.a.output.text}", "count": "${steps.a.output.n}"}},
        {"id": "d", "tool": "echo", "input": {"text": "${steps.a.output.any}", "count": "${inputs.any}"}},
        {"id": "e", "tool": "echo", "input": "${steps.a.output}"},
        {"id": "f", "tool": "echo", "for_each": [1], "input": {"text": "n ${item}", "count": "${index}"}},
        {"id": "g", "tool": "free", "input": {"whatever": 1}},
        {"id": "h", "tool": "echo", "input": {"text": "${steps.f.output}"}},
        {"id": "i", "tool": "echo", "when": "true", "input": {"text": "${steps.g.output.x}"}},
        {"id": "j", "tool": "echo", "input": {"text": "${steps.i.output.list}"}},
    ]));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_cannot_fit_is_told_before_anything_runs() {
    let found = problems(json!([
        {"id": "a", "tool": "echo", "input": {"text": 5, "txet": "x"}},
        {"id": "b", "tool": "echo"},
        {"id": "c", "tool": "echo", "input": {"text": "x", "count": "${inputs.who}"}},
        {"id": "d", "tool": "echo", "input": {"text": "${steps.a.output.n}", "flag": "yes ${inputs.who}"}},
        {"id": "e", "tool": "echo", "input": {"text": "", "tags": ["a", 1, "${inputs.n}"]}},
        {"id": "f", "tool": "echo", "input": {"count": "${inputs.n}"}},
        {"id": "g", "tool": "free", "compensate": {"tool": "echo", "input": {"text": 5}}},
        {"id": "h", "tool": "echo", "input": {"text": "${run.created_s}"}},
    ]));
    assert_told(&found, &["step a: input.text: does not fit tool \"echo\": 5 is not of type \"string\""]);
    assert_told(&found, &["step a: input.txet: unknown member \"txet\": did you mean \"text\"?"]);
    assert_told(&found, &["step b: input: does not fit tool \"echo\": \"text\" is a required property"]);
    assert_told(
        &found,
        &["step c: input.count: ", "is not of type \"integer\": inputs.who is of type string"],
    );
    assert_told(&found, &["step d: input.text: ", "steps.a.output.n is of type number"]);
    assert_told(&found, &["step d: input.flag: ", "text with ${inputs.who} is of type string"]);
    assert_told(&found, &["step e: input.text: ", "\"\" is shorter than 1"]);
    assert_told(&found, &["step e: input.tags[1]: ", "1 is not of type \"string\""]);
    assert_told(&found, &["step e: input.tags[2]: ", "inputs.n is of type integer"]);
    assert_told(&found, &["step f: input: ", "\"text\" is a required property"]);
    assert_told(&found, &["step g: compensate.input.text: ", "5 is not of type"]);
    assert_told(&found, &["step h: input.text: ", "run.created_s is of type integer"]);
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn tools_that_nobody_serves_are_told_unless_they_may_come_later() {
    let workflow = right(&json!({
        "name": "w",
        "workflows": {"sub": {"name": "sub", "steps": [{"id": "x", "tool": "ehco"}]}},
        "steps": [{"id": "a", "tool": "nothing_like_it"}, {"id": "b", "workflow": "sub"}, {"id": "c", "workflow": "sub"}],
    }));
    let found: Vec<String> = workflow.check_tools(&shapes(), false).iter().map(ToString::to_string).collect();
    assert_told(&found, &["step a: tool: no peer serves tool \"nothing_like_it\" now: start it"]);
    assert_told(
        &found,
        &["workflow sub.steps.x.tool: no peer serves tool \"ehco\" now: did you mean \"echo\"?"],
    );
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(workflow.check_tools(&shapes(), true), []);
}

fn task(workflow: &Workflow, step: usize) -> &TaskAction {
    match &workflow.steps[step].action {
        Action::Task(task) => task,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_input_that_a_tool_does_not_take_names_both_steps() {
    let workflow = right(&json!({"name": "w", "steps": [
        {"id": "first", "tool": "free"},
        {"id": "second", "tool": "echo", "input": {"text": "${steps.first.output.text}", "count": 1}},
    ]}));
    let check = InputCheck::of(&shapes()["echo"]).unwrap();
    let task = task(&workflow, 1);
    assert_eq!(check_input(&workflow, task, Some(&check), &json!({"text": "x", "count": 1})), Ok(()));
    let text =
        check_input(&workflow, task, Some(&check), &json!({"text": 5, "count": 1})).unwrap_err().message;
    assert_eq!(
        text,
        "input.text of step second does not fit tool \"echo\": 5 is not of type \"string\" (it comes from the output of \
         step first)"
    );
    let text =
        check_input(&workflow, task, Some(&check), &json!({"text": "x", "count": "y"})).unwrap_err().message;
    assert!(
        text.starts_with("input.count of step second") && text.ends_with("is not of type \"integer\""),
        "{text}"
    );
    let text = check_input(&workflow, task, None, &json!(5)).unwrap_err().message;
    assert!(text.contains("it is 5: expected an object"), "{text}");
    let large = json!({"text": vec!["x".repeat(100); 1000]});
    assert!(check_input(&workflow, task, Some(&check), &large).unwrap_err().message.len() < 400);
}

#[test]
fn schemas_of_others_can_do_no_harm() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"properties": {"a": {"$ref": "#"}}, "anyOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"anyOf": [{"$ref": "#"}]}}}),
        json!({"$ref": "https://example.org/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"properties": {"a": {"pattern": "(a+)+$"}}}),
        json!({"properties": {"a": {"pattern": "(\\pL{100}){100}"}}}),
        json!({"properties": {"a": {"pattern": "(?=x)"}}}),
        json!({"type": "nonsense"}),
        json!({"properties": 5}),
        json!(true),
        json!(false),
        json!(5),
    ] {
        let shape = ToolShape { input_schema: Some(schema.clone().into()), ..ToolShape::default() };
        if let Some(check) = InputCheck::of(&shape) {
            let workflow = right(&json!({"name": "w", "steps": [{"id": "a", "tool": "t"}]}));
            let mut deep = json!({});
            for _ in 0..50 {
                deep = json!({"a": deep});
            }
            for input in [json!({"a": format!("{}!", "a".repeat(10_000))}), deep] {
                let _ = check_input(&workflow, task(&workflow, 0), Some(&check), &input);
            }
        }
    }
    let large = json!({"description": "x".repeat(300_000)});
    assert!(
        InputCheck::of(&ToolShape { input_schema: Some(large.into()), ..ToolShape::default() }).is_none()
    );
}
