//! Counting changes nothing: a program gives what the crate gives when it is left alone, with its own values and its
//! other parser.

use super::World;
use super::bounds::any_program;
use cel::objects::{Key, Map};
use cel::{Context, Env};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// JSON as the crate's own values.
fn own(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(own).collect())),
        Value::Object(members) => {
            let members = members.iter().map(|(name, item)| (Key::from(name.as_str()), own(item)));
            cel::Value::Map(Map { map: Arc::new(members.collect::<HashMap<_, _>>()) })
        }
    }
}

/// The crate's own values as JSON, where JSON has them.
fn shown(value: &cel::Value) -> Option<Value> {
    Some(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => json!(value),
        cel::Value::Int(whole) => json!(whole),
        cel::Value::UInt(whole) => json!(whole),
        cel::Value::Float(number) => json!(number),
        cel::Value::String(text) => json!(**text),
        cel::Value::List(items) => Value::Array(items.iter().map(shown).collect::<Option<_>>()?),
        cel::Value::Map(map) => {
            let members = map.map.iter().map(|(key, item)| Some((key.to_string(), shown(item)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// What differs on purpose: `has` of null, what is behind a step without output, patterns, and the order of keys.
fn differs(source: &str) -> bool {
    ["has(", "steps.skipped", "matches(", "(inputs)", ".or("].iter().any(|part| source.contains(part))
}

/// The types that programs are generated of.
#[derive(Debug, Clone, Copy)]
enum Of {
    Number,
    Text,
    Truth,
    /// Of numbers.
    List,
}

/// A program that gives a value of a type; in loops the number is called `x`.
fn typed(of: Of, depth: u32) -> BoxedStrategy<String> {
    let leaves: &[&str] = match of {
        Of::Number => {
            &["inputs.n", "index", "item.n", "x", "1", "0", "-3", "inputs.list[0]", "steps.done.output.n[0]"]
        }
        Of::Text => &["inputs.text", "'a'", "''", "'b,a'", "string(x)", "run.id"],
        Of::Truth => &["true", "false", "x > 1", "inputs.n == 5", "inputs.list == [1, 2, 3]"],
        Of::List => &[
            "inputs.list",
            "[1, 2]",
            "[]",
            "steps.done.output.n",
            "[x, x]",
            "inputs.list[?9].orValue(0) in [1] ? [1] : []",
        ],
    };
    let leaf = prop::sample::select(leaves).prop_map(|leaf| format!("({leaf})")).boxed();
    if depth == 0 {
        return leaf;
    }
    let (number, text) = (typed(Of::Number, depth - 1), typed(Of::Text, depth - 1));
    let (truth, list) = (typed(Of::Truth, depth - 1), typed(Of::List, depth - 1));
    let choice = (truth.clone(), typed(of, depth - 1), typed(of, depth - 1));
    let choice = choice.prop_map(|(a, b, c)| format!("({a} ? {b} : {c})"));
    let one = match of {
        Of::Number => prop_oneof![
            (number.clone(), prop::sample::select(vec!["+", "-", "*", "/", "%"]), number.clone())
                .prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            list.clone().prop_map(|a| format!("size({a})")),
            text.prop_map(|a| format!("{a}.size()")),
            (list, number.clone()).prop_map(|(a, b)| format!("{a}[?{b}].orValue({b})")),
            number.prop_map(|a| format!("{{'k': {a}}}.k")),
        ]
        .boxed(),
        Of::Text => prop_oneof![
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            (text.clone(), text.clone(), text.clone()).prop_map(|(a, b, c)| format!("{a}.replace({b}, {c})")),
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("{a}.split({b}).join('-')")),
            text.prop_map(|a| format!("{a}.upperAscii()")),
            number.prop_map(|a| format!("string({a})")),
        ]
        .boxed(),
        Of::Truth => prop_oneof![
            (number.clone(), prop::sample::select(vec!["<", "<=", "==", "!=", ">"]), number.clone())
                .prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            (truth.clone(), prop::sample::select(vec!["&&", "||"]), truth.clone())
                .prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            (list.clone(), prop::sample::select(vec!["all", "exists", "exists_one"]), truth)
                .prop_map(|(a, name, b)| format!("{a}.{name}(x, {b})")),
            (number, list.clone()).prop_map(|(a, b)| format!("({a} in {b})")),
            (list.clone(), list).prop_map(|(a, b)| format!("({a} == {b})")),
            (text.clone(), text).prop_map(|(a, b)| format!("{a}.contains({b})")),
        ]
        .boxed(),
        Of::List => prop_oneof![
            (list.clone(), number.clone()).prop_map(|(a, b)| format!("{a}.map(x, {b})")),
            (list.clone(), truth.clone()).prop_map(|(a, b)| format!("{a}.filter(x, {b})")),
            (list.clone(), truth, number.clone()).prop_map(|(a, b, c)| format!("{a}.map(x, {b}, {c})")),
            (list.clone(), list).prop_map(|(a, b)| format!("({a} + {b})")),
            (number.clone(), number).prop_map(|(a, b)| format!("[{a}, {b}]")),
        ]
        .boxed(),
    };
    prop_oneof![1 => leaf, 4 => one, 1 => choice].boxed()
}

/// Programs that mostly give something, and some that do not.
fn program() -> impl Strategy<Value = String> {
    let any_type = prop::sample::select(vec![Of::Number, Of::Text, Of::Truth, Of::List]);
    prop_oneof![4 => any_type.prop_flat_map(|of| typed(of, 3)), 1 => any_program()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn programs_give_what_the_crate_gives(source in program()) {
        let source = format!("[inputs.n].map(x, {source})");
        if differs(&source) {
            return Ok(());
        }
        let world = World::new(json!({"n": 5, "list": [1, 2, 3], "text": "a1b"}), json!({"n": [1, 5]}));
        let mut env = Env::stdlib();
        env.add_extension(cel::extensions::strings).unwrap();
        let (Ok(read), Ok(program)) = (world.read(&source), env.compile(&source)) else { return Ok(()) };
        let mut context = Context::with_env(Arc::new(env));
        for (name, value) in [
            ("inputs", own(&world.inputs)),
            ("steps", own(&json!({"done": {"output": world.output}}))),
            ("item", own(&world.item)),
            ("index", 3.into()),
            ("run", own(&json!({"id": "07".repeat(16)}))),
        ] {
            context.add_variable_from_value(name, value);
        }
        match (read.evaluate(&world.scope()), program.execute(&context)) {
            (Ok(ours), Ok(theirs)) => {
                if let Some(theirs) = shown(&theirs) {
                    prop_assert_eq!(ours, theirs, "{}", source);
                }
            }
            (Err(_), Err(_)) => {}
            // Not everything is JSON.
            (Err(ours), Ok(_)) => prop_assert!(ours.to_string().contains("gives "), "{source}: {ours}"),
            (Ok(ours), Err(theirs)) => prop_assert!(false, "{source}: {ours} {theirs}"),
        }
    }
}
