//! Programs: what CEL gives over the documents of a run.

use super::{World, world};
use serde_json::{Value, json};

#[test]
fn the_usual_expressions_give_what_cel_says() {
    let world = world();
    for (source, expected) in [
        ("size(steps.done.output.text) > 0", json!(true)),
        ("inputs.n + 1", json!(6)),
        ("double(inputs.n) * inputs.x", json!(7.5)),
        ("'hello ' + inputs.who", json!("hello world")),
        ("inputs.list + [4]", json!([3, 1, 2, 4])),
        ("[0] + inputs.list", json!([0, 3, 1, 2])),
        ("inputs.list.map(x, x * 2)", json!([6, 2, 4])),
        ("inputs.list.filter(x, x > 1)", json!([3, 2])),
        ("inputs.list.map(x, x > 1, x * 10)", json!([30, 20])),
        ("inputs.list.exists(x, x == 2) && inputs.list.all(x, x > 0)", json!(true)),
        ("inputs.list.exists_one(x, x == 2)", json!(true)),
        ("inputs.list.map(x, inputs.list.map(y, x * y))", json!([[9, 3, 6], [3, 1, 2], [6, 2, 4]])),
        ("steps.done.output.map.map(k, k)", json!(["k", "l"])),
        ("{'b': 1, 'a': 2}.map(k, k)", json!(["a", "b"])),
        ("{'b': inputs.n, 'a': [inputs.nested]}", json!({"a": [world.inputs["nested"]], "b": 5})),
        ("inputs.n > 3 ? 'many' : 'few'", json!("many")),
        ("has(inputs.nested.a) && !has(inputs.nested.z)", json!(true)),
        ("has(inputs.none.x)", json!(false)),
        ("has(steps.done.output) && !has(steps.skipped.output)", json!(true)),
        ("steps.failed.error.code == 'tool_failed'", json!(true)),
        ("inputs.nested.?z.orValue('none')", json!("none")),
        ("inputs.nested.?a.?b[0].orValue(0)", json!(10)),
        ("inputs.list[?9].orValue(0)", json!(0)),
        ("2 in inputs.list && 'k' in steps.done.output.map && !('z' in steps.done.output.map)", json!(true)),
        ("item.n + index", json!(10)),
        ("inputs.list[inputs.list.size() - 1]", json!(2)),
        ("steps['done'].output.count", json!(2)),
        ("steps.done.output.text.split(' ').map(w, w.upperAscii()).join('-')", json!("HELLO-WORLD")),
        ("' a '.trim() + 'abc'.substring(1) + 'abc'.replace('b', 'xx')", json!("abcaxxc")),
        ("inputs.who.matches('^w.*d$') && matches(inputs.who, inputs.who)", json!(true)),
        ("lists.range(3)", json!([0, 1, 2])),
        ("string(duration('90s')) + string(inputs.n)", json!("90s5")),
        ("timestamp('2026-01-01T00:00:00Z') + duration('1h')", json!("2026-01-01T01:00:00+00:00")),
        ("timestamp(run.created_s).getFullYear()", json!(2023)),
        ("type(inputs.n) == int", json!(true)),
        ("optional.of(inputs.n)", json!(5)),
        ("optional.none()", Value::Null),
        ("{1: 'a'}[1] + {true: 'b'}[true]", json!("ab")),
        ("[[1, 2], [3]].map(l, l.size())", json!([2, 1])),
    ] {
        assert_eq!(world.eval(source), Ok(expected), "{source}");
    }
}

#[test]
fn lists_and_maps_of_json_equal_those_that_a_program_makes() {
    let world = world();
    for holds in [
        "[3, 1, 2] == inputs.list",
        "inputs.list == [3, 1, 2]",
        "inputs.list == inputs.list",
        "[inputs.list] == [[3, 1, 2]]",
        "inputs.list != [3, 1]",
        "{'k': 1, 'l': 2} == steps.done.output.map",
        "steps.done.output.map == {'k': 1.0, 'l': 2u}",
        "steps.done.output.map != {'k': 1, 'm': 2}",
        "inputs.nested.a in [inputs.nested.a]",
        "[3, 1, 2] in [[], inputs.list]",
        "inputs.nested.a.b[1] == {'c': 'deep'}",
        "steps.skipped.output == null && inputs.none == null",
        "optional.of([3, 1, 2]) == optional.of(inputs.list)",
        "inputs.n == 5.0 && inputs.n != '5'",
    ] {
        assert_eq!(world.eval(holds), Ok(json!(true)), "{holds}");
    }
}

#[test]
fn a_failure_names_the_expression_and_says_what_would_be_right() {
    let world = world();
    for (source, parts) in [
        ("inputs.nested.z + 1", ["${inputs.nested.z + 1}: ", "no member z", "orValue"]),
        ("inputs.n * inputs.x", ["* does not take (int, double)", "double(...)", "int(...)"]),
        ("'a' + inputs.n", ["+ does not take (string, int)", "string(...)", ""]),
        ("inputs.list[7] + 1", ["no element 7", "", ""]),
        ("inputs.n / 0", ["divides by zero", "", ""]),
        ("inputs.n + 9223372036854775807", ["larger than the type holds", "", ""]),
        ("inputs.who.a.b", ["inputs.who is a string", "has no members", ""]),
        ("(inputs.who).a", ["type string has no members", "", ""]),
        ("int(inputs.who)", ["int: ", "parse", ""]),
        ("inputs.who ? 1 : 2", ["found string, expected bool", "", ""]),
        ("inputs.who && true", ["&& does not take (string, bool)", "", ""]),
        ("1 in inputs.n", ["in does not take (int, int)", "", ""]),
        ("inputs.list.join('')", ["join does not take (list with int)", "", ""]),
        ("inputs.n.map(x, x)", ["found int, expected iterable", "", ""]),
        ("b'abc' + bytes(inputs.who)", ["type bytes", "use string(...)", ""]),
        ("inputs.n + 9007199254740990", ["larger than JSON numbers are exact", "string(...)", ""]),
        ("double(inputs.n) / 0.0", ["gives inf", "", ""]),
        ("inputs.who.matches(inputs.who + '(')", ["matches: pattern \"world(\"", "unclosed", ""]),
        ("{inputs.who: 1, 'world': 2}", ["same key twice", "", ""]),
        ("{'1': inputs.n, 1: 2}", ["two keys that are the same", "", ""]),
        ("optional.none().value() == inputs.n", ["value: ", "", ""]),
    ] {
        let text = world.eval(source).expect_err(source);
        assert!(parts.iter().all(|part| text.contains(part)), "{source}: {text}");
    }
}

#[test]
fn mistakes_are_found_when_the_expression_is_read_with_their_column() {
    let world = world();
    for (source, expected) in [
        ("1 +", "column 4: mismatched input 'the end'"),
        ("a b", "column 3: "),
        ("inputs.who == 'x", "column 15: unterminated string literal"),
        ("inputs.whoo.x", "column 8: there is no input \"whoo\": did you mean \"who\"?"),
        ("1 + steps.dnoe.output", "column 11: there is no step \"dnoe\": did you mean \"done\"?"),
        ("steps.done.outputs", "column 12: steps.done has no \"outputs\": did you mean \"output\"?"),
        ("steps.done", "write steps.done.output"),
        ("steps", "write steps.<id>.output"),
        ("steps[inputs.who].output", "steps stands alone"),
        ("run.name", "a run has no \"name\": expected one of id, created_s"),
        ("inptus.who", "column 1: \"inptus\" is unknown: did you mean \"inputs\"?"),
        ("siz(inputs.list)", "column 1: there is no function \"siz\": did you mean \"size\"?"),
        ("inputs.who.startswith('a')", "did you mean \"startsWith\"?"),
        ("inputs.who.string()", "there is no function \"string\": call it as string(x)"),
        ("contains(inputs.who, 'a')", "call it as x.contains(...)"),
        ("inputs.who.contains()", "contains takes 1 arguments, 0 are given"),
        ("inputs.list.map(x)", "map is called in another way"),
        ("has(inputs)", "invalid argument to has()"),
        ("inputs.list.map(inputs, 1)", "\"inputs\" is taken"),
        ("inputs.who.matches('(')", "pattern \"(\": "),
        ("'%s'.format([1])", "there is no function \"format\""),
        ("Foo{a: 1}", "\"Foo\" is no type that can be made"),
        ("1 / 0", "divides by zero"),
        ("", "is empty"),
        ("if", "reserved"),
        ("@meter", "unexpected character"),
        ("a\n  + b", "column 1: \"a\" is unknown"),
        ("1\n  + b", "line 2, column 5: \"b\" is unknown"),
    ] {
        let text = world.read(source).expect_err(source);
        assert!(text.contains(expected), "{source}: {text}");
    }
}

#[test]
fn items_are_known_only_where_there_are_some() {
    let world = world();
    let problem = world.with_names(|names| {
        let names = super::Names { item: false, ..*names };
        super::Expression::parse("item.n", &names).unwrap_err()
    });
    assert!(problem.contains("only a step with for_each has it"), "{problem}");
}

#[test]
fn a_condition_may_stand_in_braces_or_not_and_gives_a_truth() {
    let world = world();
    let condition = |text: &str| world.with_names(|names| super::Expression::parse_condition(text, names));
    for text in ["inputs.n > 3", "${inputs.n > 3}", " ${ inputs.n > 3 } ", "true", "steps.done.output.ok"] {
        assert_eq!(condition(text).unwrap().test(&world.scope()), Ok(true), "{text}");
    }
    let text = condition("inputs.n").unwrap().test(&world.scope()).unwrap_err().to_string();
    assert_eq!(text, "${inputs.n}: gives 5: expected true or false");
    assert!(condition("1 + 1").unwrap_err().contains("is always 2"));
    // Not one pair of braces around it: a map.
    assert!(condition("${inputs.n} > ${inputs.n}").is_err());
}

#[test]
fn what_a_program_needs_is_known() {
    let world = world();
    let needs = |source: &str| world.read(source).unwrap().needs().clone();
    let read = needs("steps.failed.state == 'failed' || has(steps.done.output.x) && run.created_s > 0");
    assert_eq!(read.steps.into_iter().collect::<Vec<_>>(), [0, 2]);
    assert!(read.run && !read.inputs && !read.item);
    assert!(needs("[1].map(x, x)").is_empty());
    assert!(needs("inputs.list.map(x, index)").item);
}

#[test]
fn a_large_document_is_not_copied_to_be_looked_at() {
    let rows: Vec<Value> =
        (0..100_000).map(|n| json!({"id": n, "text": "some text that would be copied"})).collect();
    let world = World::new(json!({"rows": rows}), Value::Null);
    let mut budget = crate::workflow::expression::Budget::inline();
    let read = world.read("inputs.rows[99999].id == 99999 && size(inputs.rows) == 100000").unwrap();
    assert_eq!(read.test_within(&world.scope(), &mut budget), Ok(true));
}
