//! Templates: JSON with expressions in it.

use super::world;
use crate::workflow::expression::Budget;
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn a_string_that_is_one_expression_keeps_the_type_and_text_is_spliced() {
    let world = world();
    let (template, problems) = world.template(json!({
        "whole": "${inputs.list}",
        "text": "hello ${inputs.who}, ${inputs.n} of ${steps.done.output.tags} ${inputs.none}",
        "deep": [{"n": "${item.n + 1}"}, "plain", 5],
        "braces": "${ {'a': '}'}.a }",
        "literal": "$${inputs.who} costs $5 and ${'$'}",
    }));
    assert_eq!(problems, []);
    let value = template.evaluate(&world.scope()).unwrap();
    assert_eq!(
        value,
        json!({
            "whole": [3, 1, 2],
            "text": "hello world, 5 of [\"a\",\"b\"] null",
            "deep": [{"n": 8}, "plain", 5],
            "braces": "}",
            "literal": "${inputs.who} costs $5 and $",
        })
    );
    let needs = template.needs();
    assert!(needs.inputs && needs.item && !needs.run);
    assert_eq!(needs.steps.iter().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn what_refers_to_nothing_is_worked_out_when_it_is_read() {
    let world = world();
    let (template, problems) =
        world.template(json!({"list": "${[1, 2, 3]}", "text": "a${1 + 1}b", "sum": ["${2 * 21}"]}));
    assert_eq!(problems, []);
    assert_eq!(template.constant(), Some(&json!({"list": [1, 2, 3], "text": "a2b", "sum": [42]})));
    assert!(template.needs().is_empty());
    let (template, _) = world.template(json!("${lists.range(1000).map(x, x * x)}"));
    assert_eq!(template.constant(), None, "too much to be worked out for nobody");
    assert_eq!(template.evaluate(&world.scope()).unwrap()[999], json!(998_001));
}

#[test]
fn every_wrong_expression_is_reported_with_its_field() {
    let world = world();
    let (_, problems) = world.template(json!({
        "a": ["ok", "${inputs.whoo}"],
        "b": {"c": "x ${steps.dnoe.output} y ${1 +}"},
        "d": "${inputs.who",
        "${e}": 1,
    }));
    let shown: Vec<String> = problems.iter().map(|(field, message)| format!("{field}: {message}")).collect();
    assert_eq!(shown.len(), 5, "{shown:#?}");
    assert!(
        shown.iter().any(|text| text.starts_with(".a[1]: ") && text.contains("did you mean \"who\"?")),
        "{shown:#?}"
    );
    assert!(
        shown.iter().any(|text| text.starts_with(".b.c: ") && text.contains("did you mean \"done\"?")),
        "{shown:#?}"
    );
    assert!(
        shown.iter().any(|text| text.starts_with(".b.c: ") && text.contains("\"1 +\", column 4")),
        "{shown:#?}"
    );
    assert!(shown.iter().any(|text| text.starts_with(".d: ") && text.contains("has no end")), "{shown:#?}");
    assert!(shown.iter().any(|text| text.starts_with(".${e}: ")), "{shown:#?}");
}

#[test]
fn the_steps_that_a_value_came_from_are_known_by_its_place() {
    let world = world();
    let (template, _) =
        world.template(json!({"a": ["${steps.done.output}", 1], "b": {"c": "${steps.failed.state}"}}));
    let origins = |place: &[&str]| template.origins(place.iter().copied()).into_iter().collect::<Vec<_>>();
    assert_eq!(origins(&["a", "0", "deeper"]), [0]);
    assert_eq!(origins(&["b"]), [2]);
    assert!(origins(&["a", "1"]).is_empty());
    assert_eq!(origins(&[]), [0, 2]);
}

#[test]
fn a_template_that_copies_without_end_runs_out_of_budget() {
    let mut world = world();
    world.inputs = json!({"list": vec!["a text of some length"; 10_000]});
    let copies: Vec<Value> = vec![json!("${inputs.list}"); 20_000];
    let (template, problems) = world.template(json!(copies));
    assert_eq!(problems, []);
    let error = template.evaluate(&world.scope()).unwrap_err();
    assert!(error.is_out_of_budget(), "{error}");
    let (template, _) = world.template(json!("${inputs.list}${inputs.list}"));
    assert!(template.evaluate_within(&world.scope(), &mut Budget::inline()).is_ok());
}

proptest! {
    #[test]
    fn text_without_expressions_is_kept_as_it_is(text in "[a-z {}$\\\\\"']{0,20}") {
        prop_assume!(!text.contains("${"));
        let (template, problems) = world().template(json!({"t": text}));
        prop_assert!(problems.is_empty());
        prop_assert_eq!(template.constant(), Some(&json!({"t": text})));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "([$][{]|[{}$'\"a-z.+]|\\\\|inputs\\.who){0,30}") {
        let world = world();
        let (template, _) = world.template(json!(text));
        let _ = template.evaluate(&world.scope());
    }
}
