//! No expression runs without end, exhausts memory or the stack, or panics.

use super::{World, world};
use crate::workflow::expression::Budget;
use proptest::prelude::*;
use serde_json::json;
use std::time::{Duration, Instant};

/// A list of some thousand numbers, a long text, and a nested list.
fn large() -> World {
    let list: Vec<u32> = (0..5000).collect();
    World::new(json!({"list": list, "text": "a".repeat(1 << 20), "n": 1}), json!(null))
}

#[test]
fn what_grows_or_goes_on_without_end_is_stopped() {
    let doubling = format!("[inputs.text]{}", ".map(x, x + x)".repeat(40));
    let lists = format!("[inputs.n]{}", ".map(x, [x, x])".repeat(40));
    let maps = format!("[inputs.n]{}", ".map(x, {'a': x, 'b': x})".repeat(40));
    let optionals = format!("[inputs.n]{}", ".map(x, [optional.of([x, x]).value()])".repeat(20));
    let world = large();
    for source in [
        "inputs.list.map(x, inputs.list.map(y, x * y))",
        "inputs.list.all(x, inputs.list.exists(y, y == -1) || true)",
        "inputs.list.exists(x, inputs.list.all(y, y + inputs.text == 'a'))",
        "inputs.list.map(x, inputs.list == inputs.list + [])",
        "inputs.list.filter(x, -1 in inputs.list)",
        "inputs.list.exists_one(x, inputs.text.contains('b'))",
        "inputs.list.map(x, inputs.text + 'b')",
        "inputs.list.map(x, inputs.text.replace('a', inputs.text))",
        "inputs.text.replace('', inputs.text)",
        "inputs.list.map(x, inputs.text).join(inputs.text)",
        "inputs.text.split('').map(x, inputs.text)",
        "inputs.list.map(x, inputs.text.matches('(a?){20}' + string(x)))",
        "inputs.list.map(x, inputs.text - inputs.text == 1 || true)",
        "inputs.list.map(x, inputs.text.size() + inputs.text.upperAscii().size())",
        "lists.range(1000000000)",
        "lists.range(inputs.n * 1000000).map(x, lists.range(1000000))",
        "inputs.list.map(x, inputs.list)",
        doubling.as_str(),
        lists.as_str(),
        maps.as_str(),
        optionals.as_str(),
    ] {
        let read = world.read(source).expect(source);
        #[expect(clippy::disallowed_methods, reason = "the bound is on real time")]
        let start = Instant::now();
        // A part of what there is, so that it does not take long where nothing is optimised.
        let error = read.value(&world.scope(), &mut Budget::of_units(300_000)).expect_err(source);
        assert!(error.is_out_of_budget() || error.to_string().contains("nested deeper"), "{source}: {error}");
        // Most take some milliseconds; the machine may do other things too.
        assert!(start.elapsed() < Duration::from_secs(20), "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn an_expression_cannot_ignore_that_it_was_stopped() {
    let world = large();
    let text = world.eval("inputs.list.map(x, inputs.list.map(y, y)).size() > 0 || true").unwrap_err();
    assert!(text.contains("takes more work or memory than an expression may"), "{text}");
}

#[test]
fn depth_is_bounded_for_parser_and_interpreter_on_a_small_stack() {
    let world = world();
    let deep = |open: &str, close: &str, times: usize| {
        format!("{}inputs.n{}", open.repeat(times), close.repeat(times))
    };
    let mut sources: Vec<String> = Vec::new();
    for times in [10, 23, 30, 60, 100, 400, 1000] {
        sources.extend([
            deep("(", ")", times),
            deep("[", "]", times),
            deep("{'a': ", "}", times),
            deep("size([", "])", times),
            deep("!", "", times),
            deep("-!", "", times),
            deep("", "+inputs.n", times),
            deep("", ".a", times),
            deep("", "[0]", times),
            deep("", ".size()", times),
            deep("", " ? 1 : 2", times),
            deep("true ? ", " : 2", times),
            deep("false ? 1 : ", "", times),
            deep("true && ", "", times),
            deep("[1].map(x, ", ")", times),
            format!("[1]{}", ".map(x, [[[[[x]]]]])".repeat(times)),
        ]);
    }
    let check = move || {
        for source in &sources {
            if let Ok(read) = world.read(source) {
                let _ = read.evaluate(&world.scope());
            }
        }
    };
    // A quarter of what threads of the node have. (The crate is compiled optimised in every profile: see Cargo.toml.)
    std::thread::Builder::new().stack_size(512 * 1024).spawn(check).unwrap().join().unwrap();
}

#[test]
fn what_is_nested_too_deep_is_refused_with_the_reason() {
    let world = world();
    assert!(world.read(&"(".repeat(100)).unwrap_err().contains("24 brackets"));
    assert!(
        world.read(&format!("1{}", "+inputs.n".repeat(90))).unwrap_err().contains("nested deeper than 64")
    );
    let loops = "[1].map(x, [1].map(y, [1].map(z, z)))";
    assert!(world.read(loops).unwrap_err().contains("more than 2 loops"));
    assert!(world.read(&"a".repeat(5000)).unwrap_err().contains("longer than the limit of 4096"));
}

#[test]
fn the_programs_of_a_definition_are_bounded_together() {
    let world = world();
    let problem = world.with_names(|names| {
        let mut sources = (0..).map(|n| format!("inputs.n + {n} + '{}'", "a".repeat(4000)));
        sources.find_map(|source| super::Expression::parse(&source, names).err()).unwrap()
    });
    assert!(problem.contains("1048576 bytes together"), "{problem}");
    let problem = world.with_names(|names| {
        let mut sources = (0..).map(|n| format!("inputs.who.matches('a{n}')"));
        sources.find_map(|source| super::Expression::parse(&source, names).err()).unwrap()
    });
    assert!(problem.contains("256 different patterns"), "{problem}");
}

/// Pieces of programs, put together without sense.
const PIECES: &[&str] = &[
    "inputs",
    ".n",
    ".list",
    ".text",
    "steps.done.output",
    "item",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    ".?",
    "[?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    "!",
    " in ",
    "1",
    "2u",
    "1.5",
    "-3",
    "9223372036854775807",
    "'a'",
    "\"b\"",
    "b'c'",
    "r'\\d'",
    "true",
    "null",
    "x",
    ".map(x, ",
    ".filter(x, ",
    ".all(x, ",
    ".exists_one(x, ",
    "has(",
    "size(",
    ".size()",
    "int(",
    "string(",
    "double(",
    "bytes(",
    "timestamp(",
    "duration('1s')",
    ".matches(",
    ".split('a')",
    ".join()",
    ".replace('a', 'b')",
    ".substring(1)",
    ".charAt(0)",
    "optional.of(",
    ".orValue(1)",
    ".value()",
    "type(",
    "lists.range(3)",
    ".getFullYear()",
    ".getHours('Europe/Berlin')",
    "timestamp('9999-12-31T23:59:59Z')",
    "\u{e9}",
    "\\",
    "'",
];

/// Values that programs are made of; `x` is known inside of loops.
const LEAVES: &[&str] = &[
    "inputs.n",
    "inputs.list",
    "inputs.text",
    "inputs",
    "steps.done.output",
    "steps.skipped.output.a",
    "item",
    "index",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "2u",
    "1.5",
    "'a'",
    "''",
    "b'x'",
    "true",
    "null",
    "[]",
    "{}",
    "timestamp('2026-01-01T00:00:00Z')",
    "duration('1h')",
    "x",
    "run.id",
];
const OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", " in "];
const CALLS: &[&str] =
    &["size", "int", "uint", "double", "string", "bool", "bytes", "type", "dyn", "timestamp", "duration"];
const MEMBERS: &[&str] = &[
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "split",
    "join",
    "substring",
    "charAt",
    "orValue",
    "or",
];
const LOOPS: &[&str] = &["map", "filter", "all", "exists", "exists_one"];

/// Programs that are well-formed, over whatever values.
pub(super) fn any_program() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(LEAVES).prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let of = prop::sample::select::<&str>;
        prop_oneof![
            (two.clone(), of(OPERATORS)).prop_map(|((a, b), operator)| format!("({a} {operator} {b})")),
            (inner.clone(), of(CALLS)).prop_map(|(a, call)| format!("{call}({a})")),
            (two.clone(), of(MEMBERS)).prop_map(|((a, b), name)| format!("({a}).{name}({b})")),
            (two.clone(), of(LOOPS)).prop_map(|((a, b), name)| format!("({a}).{name}(x, {b})")),
            (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            two.clone().prop_map(|(a, b)| format!("({a})[{b}]")),
            two.clone().prop_map(|(a, b)| format!("({a})[?{b}]")),
            two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            two.prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            inner.clone().prop_map(|a| format!("has(({a}).n)")),
            inner.clone().prop_map(|a| format!("({a}).?n")),
            inner.clone().prop_map(|a| format!("optional.of({a})")),
            inner.clone().prop_map(|a| format!("!{a}")),
            inner.prop_map(|a| format!("-({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn pieces_in_any_order_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..25)) {
        let world = world();
        if let Ok(read) = world.read(&pieces.concat()) {
            let shown = read.evaluate(&world.scope()).map_err(|error| error.to_string());
            prop_assert!(!format!("{shown:?}").contains("in another way"), "{}", pieces.concat());
        }
    }

    #[test]
    fn programs_over_any_values_never_panic_and_always_give_the_same(source in any_program()) {
        let world = World::new(json!({"n": 5, "list": [1, "a", null], "text": "a1b"}), json!({"n": [1]}));
        let source = format!("[1].map(x, {source})");
        match world.read(&source) {
            Ok(read) => {
                let first = read.evaluate(&world.scope());
                prop_assert!(!format!("{first:?}").contains("in another way"), "{source}: {first:?}");
                prop_assert_eq!(&first, &read.evaluate(&world.scope()), "{}", source);
                if let Ok(value) = first {
                    // What comes out can be stored and read again.
                    let bytes = meshwork_proto::canonical::to_canonical(&value);
                    prop_assert!(bytes.is_ok(), "{source}: {value}");
                }
            }
            Err(problem) => prop_assert!(!problem.contains("in another way"), "{source}: {problem}"),
        }
    }
}
