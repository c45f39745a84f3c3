//! Paths: the fast way gives what the interpreter gives.

use super::{World, world};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn a_path_gives_the_value_at_its_end_with_its_type() {
    let world = world();
    for (source, expected) in [
        ("inputs", world.inputs.clone()),
        ("inputs.who", json!("world")),
        (" inputs.nested.a.b[1].c ", json!("deep")),
        ("inputs.nested['a'][\"b\"][0]", json!(10)),
        ("inputs.none", Value::Null),
        ("steps.done.output.tags", json!(["a", "b"])),
        ("steps.done.error", Value::Null),
        ("steps.done.state", json!("completed")),
        ("steps.failed.error.code", json!("tool_failed")),
        ("steps.failed.error.message", json!("it broke")),
        ("steps.failed.state", json!("failed")),
        ("steps.skipped.state", json!("skipped")),
        ("item.n", json!(7)),
        ("index", json!(3)),
        ("run.id", json!("07070707070707070707070707070707")),
        ("run.created_s", json!(1_700_000_000)),
    ] {
        let read = world.read(source).unwrap();
        assert!(read.path().is_some(), "{source} is a path");
        assert_eq!(read.evaluate(&world.scope()).unwrap(), expected, "{source}");
    }
}

#[test]
fn what_a_step_without_output_would_have_given_is_null() {
    let world = world();
    for source in [
        "steps.skipped.output",
        "steps.skipped.output.a.b[3].c",
        "steps.failed.output.x",
        "steps.done.error.code",
    ] {
        assert_eq!(world.eval(source), Ok(Value::Null), "{source}");
        // The same through the interpreter.
        assert_eq!(world.eval(&format!("true ? {source} : 1")), Ok(Value::Null), "{source}");
        assert_eq!(world.eval(&format!("{source} == null")), Ok(json!(true)), "{source}");
        assert_eq!(world.eval(&format!("has({source}.more)")), Ok(json!(false)), "{source}");
    }
}

#[test]
fn a_path_that_leads_nowhere_names_the_expression_and_what_is_there() {
    let world = world();
    let fails = |source: &str| world.eval(source).unwrap_err();
    let text = fails("steps.done.output.txt");
    assert!(text.starts_with("${steps.done.output.txt}: "), "{text}");
    assert!(text.contains("has no member \"txt\", it has count, map, ok, tags, text"), "{text}");
    assert!(text.contains("has(...)"), "{text}");
    assert!(fails("inputs.nested.a.b[2]").contains("inputs.nested.a.b has no element 2: it is a list of 2"));
    assert!(fails("inputs.who.name").contains("inputs.who is a string: it has no members"));
    assert!(fails("inputs.none.name").contains("inputs.none is null"));
    assert!(fails("inputs.list.first").contains("inputs.list is a list: it has no members"));
}

/// Any JSON, with few names, so that paths often lead somewhere.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        (-10.0..10.0_f64).prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_segments() -> impl Strategy<Value = String> {
    let segment = prop_oneof!["\\.[a-c]", "\\[[0-3]\\]", "\\[\"[a-c]\"\\]", "\\['[a-c]'\\]"];
    prop::collection::vec(segment, 0..5).prop_map(|segments| segments.concat())
}

proptest! {
    #[test]
    fn paths_and_programs_agree(document in any_json(), segments in any_segments(), root in 0..4_usize) {
        let mut world = World::new(json!({"a": document, "b": 1, "c": [document]}), document.clone());
        world.item = document;
        let root = ["inputs", "steps.done.output", "steps.skipped.output", "item"][root];
        let source = format!("{root}{segments}");
        let path = world.read(&source).unwrap();
        prop_assert!(path.path().is_some());
        // Brackets do not make another value, but they are no path.
        let program = world.read(&format!("({source})")).unwrap();
        prop_assert!(program.path().is_none());
        let (path, program) = (path.evaluate(&world.scope()), program.evaluate(&world.scope()));
        match (path, program) {
            (Ok(path), Ok(program)) => prop_assert_eq!(path, program),
            (Err(_), Err(_)) => {}
            (path, program) => prop_assert!(false, "{source}: {path:?} {program:?}"),
        }
    }
}
