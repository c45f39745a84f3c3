//! The published JSON Schema says what the reader reads.

use super::right;
use crate::workflow::definition::{Limits, Workflow, schema};
use jsonschema::error::ValidationErrorKind;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

fn docs() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
}

#[test]
fn the_published_file_is_the_schema() {
    let file = docs().join("workflow.schema.json");
    let now = format!("{:#}\n", schema());
    #[expect(clippy::disallowed_methods, reason = "asked for by whoever changes the format")]
    let update = std::env::var("MESHWORK_UPDATE_DOCS").is_ok();
    if update {
        fs::write(&file, &now).unwrap();
    }
    let published = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        published == now,
        "docs/workflow.schema.json is not what the reader reads: run this test again with MESHWORK_UPDATE_DOCS=1"
    );
}

/// What the schema says against a document: of the form that it has.
fn unfit(validator: &jsonschema::Validator, document: &Value) -> Vec<String> {
    let form = usize::from(document.get("tasks").is_some());
    let within = |error: jsonschema::ValidationError<'_>| match error.kind() {
        ValidationErrorKind::AnyOf { context } => {
            context[form].iter().map(|error| format!("{}: {error}", error.instance_path())).collect()
        }
        _ => vec![error.to_string()],
    };
    validator.iter_errors(document).flat_map(within).collect()
}

#[test]
fn both_forms_fit_the_schema_and_mistakes_do_not() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let long = json!({
        "name": "w", "description": "d", "inputs": {"who": {"type": "string", "minLength": 1}}, "timeout_s": 1.5,
        "max_parallel": 2, "on_failure": "continue",
        "workflows": {"p": {"name": "p", "steps": [{"id": "x", "tool": "t"}]}},
        "steps": [
            {"id": "a", "tool": "t", "model": "m", "input": {"x": "${inputs.who}"}, "needs": "b", "when": true, "priority": 1},
            {"id": "b", "task_type": "t", "for_each": [1], "max_parallel": 1, "retry": {"max_attempts": 2, "backoff_s": 0,
                "max_backoff_s": 1, "factor": 1.5}, "timeout_s": 1, "on_failure": "compensate", "compensate": {"tool": "u"}},
            {"id": "c", "workflow": "p", "inputs": {}, "place": {"labels": ["x"], "same_as": "a"}},
            {"id": "d", "workflow": {"tasks": [{"type": "x"}]}, "label": "y", "labels": ["z"]},
            {"id": "e", "wait": {"signal": "s", "timeout_s": 1}}, {"id": "f", "wait": {"until": 5}},
            {"id": "g", "wait": {"seconds": 5}, "needs": ["a", "b"]},
        ],
        "output": {"x": "${steps.a.output}"},
    });
    let short = json!({"tasks": [
        {"type": "inference", "model": "gpt2", "input": {"a": 1}}, {"type": "x", "payload": {}}, {"type": "x", "inputs": {}},
    ]});
    for document in [long, short] {
        right(&document);
        assert_eq!(unfit(&validator, &document), Vec::<String>::new());
    }
    for wrong in [
        json!({}),
        json!({"name": "w", "steps": []}),
        json!({"name": "w", "steps": [{"id": "a"}]}),
        json!({"name": "w", "steps": [{"id": "a", "tool": "t", "wait": {"seconds": 1}}]}),
        json!({"name": "w", "steps": [{"id": "a-b", "tool": "t"}]}),
        json!({"name": "w", "steps": [{"id": "a", "tool": "t", "timeout_s": 0}]}),
        json!({"name": "w", "steps": [{"id": "a", "tool": "t", "unknown": 1}]}),
        json!({"name": "w", "steps": [{"id": "a", "tool": "t", "priority": 11}]}),
        json!({"name": "w", "steps": [{"id": "a", "wait": ["signal"]}]}),
        json!({"name": "w", "steps": [{"id": "a", "tool": "t", "retry": [2]}]}),
        json!({"name": "w", "steps": [{"id": "a", "tool": "t", "place": []}]}),
        json!({"name": "w", "steps": [{"id": "a", "tool": "t", "compensate": ["u"]}]}),
        json!({"tasks": [{"model": "x"}]}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
        assert!(Workflow::parse(&wrong, &Limits::default()).is_err(), "{wrong}");
    }
}

/// Steps with members of any kind, often wrong.
fn any_step() -> impl Strategy<Value = Value> {
    let member = prop::sample::select(vec![
        "tool",
        "task_type",
        "workflow",
        "wait",
        "model",
        "input",
        "inputs",
        "needs",
        "when",
        "for_each",
        "max_parallel",
        "retry",
        "timeout_s",
        "on_failure",
        "compensate",
        "place",
        "peer",
        "capability",
        "label",
        "same_as",
        "priority",
        "pure",
        "unknown",
    ]);
    let value = prop::sample::select(vec![
        json!("t"),
        json!(1),
        json!(0),
        json!(true),
        json!([]),
        json!({}),
        json!(["s"]),
        json!(-1),
        json!(1.5),
        json!(null),
        json!({"seconds": 1}),
        json!({"tool": "t"}),
        json!({"max_attempts": 2}),
        json!({"same_as": "s"}),
        json!("${1}"),
        json!("${[1]}"),
        json!("fail"),
        json!({"name": "x", "steps": [{"id": "a", "tool": "t"}]}),
        json!({"x": "${item}"}),
    ]);
    prop::collection::btree_map(member, value, 0..6).prop_map(|members| {
        let mut step = json!({"id": "s"});
        for (name, value) in members {
            step[name] = value;
        }
        step
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Nulls are the one thing that the reader takes for a member that is not there.
    #[test]
    fn whatever_is_read_fits_the_schema(step in any_step()) {
        let document = json!({"name": "w", "steps": [step]});
        let has_null = step.as_object().unwrap().values().any(Value::is_null);
        if Workflow::parse(&document, &Limits::default()).is_ok() && !has_null {
            let validator = jsonschema::validator_for(&schema()).unwrap();
            prop_assert_eq!(unfit(&validator, &document), Vec::<String>::new());
        }
    }

    #[test]
    fn no_document_makes_the_reader_panic(document in crate::workflow::expression::any_json()) {
        let _ = Workflow::parse(&document, &Limits::default());
        let _ = Workflow::parse(&json!({"name": "w", "steps": document}), &Limits::default());
        let _ = Workflow::parse(&json!({"name": "w", "inputs": document, "steps": [{"id": "a", "tool": "t"}]}), &Limits::default());
        let _ = Workflow::parse(&json!({"tasks": [document]}), &Limits::default());
    }
}
