//! Puts the counting of work into a program.
//!
//! The interpreter of the crate counts nothing: `list.map(x, list.map(y, list))` takes as long as it takes, and
//! `[s].map(x, x + x).map(x, x + x)...` doubles a text with every fifteen letters of source. So the tree is changed
//! before it runs. Values that an operation looks at are wrapped (`f(x)` becomes `f(@look(@meter, x))`), so are values
//! that it copies, and every round of a loop (`@tick`). Equality, `in`, `has` and the operations whose result can be
//! many times as large as what they take are replaced by our own.
//!
//! The loops of the crate are recognised by their shape (see its `AppendStep` and `LogicalFold`), which is kept.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};

/// The name under which the meter is reached.
pub(super) const METER: &str = "@meter";

/// What our functions replace: the name as written, whether as a member, and ours.
const REPLACED: &[(&str, &str)] =
    &[("matches", "@matches"), ("replace", "@replace"), ("split", "@split"), ("join", "@join")];

/// Changes a tree that was checked; its value goes to the meter as JSON.
pub(super) fn put_into_program(expression: &mut IdedExpr) {
    put_into(expression);
    *expression = metered("@give", vec![std::mem::take(expression)]);
}

fn put_into(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified | Expr::Struct(_) => {}
        Expr::Select(select) => {
            put_into(&mut select.operand);
            if select.test {
                let operand = std::mem::take(&mut *select.operand);
                let field = text(&select.field);
                *expression = metered("@has", vec![operand, field]);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(put_copy),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    put_copy(&mut entry.key);
                    put_copy(&mut entry.value);
                }
            }
        }
        Expr::Comprehension(each) => put_into_loop(each),
        Expr::Call(_) => put_into_call(expression),
    }
}

fn put_into_call(expression: &mut IdedExpr) {
    let Expr::Call(call) = &mut expression.expr else { return };
    match call.func_name.as_str() {
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE
        | operators::CONDITIONAL
        | operators::INDEX => call.args.iter_mut().for_each(put_into),
        operators::EQUALS => replace(expression, "@equal"),
        operators::NOT_EQUALS => replace(expression, "@unequal"),
        operators::IN => replace(expression, "@within"),
        // The accumulator of a loop stays bare: that is how the crate knows it.
        operators::ADD if call.args.first().is_some_and(is_accumulator) => {
            call.args.iter_mut().skip(1).for_each(put_into);
        }
        operators::ADD => call.args.iter_mut().for_each(put_copy),
        operators::OPT_INDEX | operators::OPT_SELECT => {
            call.args.iter_mut().for_each(put_into);
            wrap(expression, "@copy");
        }
        "range" if is_namespace(call, "lists") => {
            call.target = None;
            replace(expression, "@numbers");
        }
        "of" | "ofNonZeroValue" | "none" if is_namespace(call, "optional") => {
            call.args.iter_mut().for_each(put_copy)
        }
        name => {
            if let Some((_, ours)) = REPLACED.iter().find(|(replaced, _)| *replaced == name) {
                return replace(expression, ours);
            }
            if let Some(target) = call.target.as_deref_mut() {
                put_look(target);
            }
            call.args.iter_mut().for_each(put_look);
        }
    }
}

/// Counts each round at a place where the crate still recognises the loop, and where an error ends it at once.
fn put_into_loop(each: &mut ComprehensionExpr) {
    let price = LiteralValue::Int(i64::try_from(nodes(&each.loop_step)).unwrap_or(i64::MAX).into());
    let tick = |expression: &mut IdedExpr| {
        let value = std::mem::take(expression);
        *expression = metered("@tick", vec![node(Expr::Literal(price.clone())), value]);
    };
    put_into(&mut each.iter_range);
    wrap(&mut each.iter_range, "@each");
    put_into(&mut each.loop_step);
    put_into(&mut each.result);
    if !matches!(each.loop_cond.expr, Expr::Literal(_)) {
        tick(&mut each.loop_cond);
        return;
    }
    // `guard ? step : accumulator`, or `accumulator + [element]`.
    if let Expr::Call(step) = &mut each.loop_step.expr {
        if step.func_name == operators::CONDITIONAL {
            step.args.first_mut().map(tick);
        } else if let Some(Expr::List(added)) = step.args.last_mut().map(|added| &mut added.expr) {
            added.elements.first_mut().map(tick);
        }
    }
}

fn put_look(expression: &mut IdedExpr) {
    put_into(expression);
    wrap(expression, "@look");
}

fn put_copy(expression: &mut IdedExpr) {
    put_into(expression);
    wrap(expression, "@copy");
}

/// Puts a function around a value that is not known to be small.
fn wrap(expression: &mut IdedExpr, function: &str) {
    let small = match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => text.len() <= 64,
        Expr::Literal(LiteralValue::Bytes(_)) => false,
        Expr::Literal(_) => true,
        _ => is_accumulator(expression),
    };
    if !small {
        *expression = metered(function, vec![std::mem::take(expression)]);
    }
}

/// Makes a call one of ours, the target being the first argument.
fn replace(expression: &mut IdedExpr, function: &str) {
    let Expr::Call(call) = &mut expression.expr else { return };
    let target = call.target.take().map(|target| *target);
    let mut arguments: Vec<IdedExpr> = target.into_iter().chain(std::mem::take(&mut call.args)).collect();
    arguments.iter_mut().for_each(put_into);
    *expression = metered(function, arguments);
}

/// A call of one of our functions.
fn metered(function: &str, arguments: Vec<IdedExpr>) -> IdedExpr {
    let meter = node(Expr::Ident(METER.to_owned()));
    let args = std::iter::once(meter).chain(arguments).collect();
    node(Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }))
}

fn text(text: &str) -> IdedExpr {
    node(Expr::Literal(LiteralValue::String(text.to_owned().into())))
}

fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn is_accumulator(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn is_namespace(call: &CallExpr, namespace: &str) -> bool {
    matches!(call.target.as_deref(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name == namespace)
}

/// How many nodes the interpreter visits, at least.
fn nodes(expression: &IdedExpr) -> usize {
    let within = match &expression.expr {
        Expr::Select(select) => nodes(&select.operand),
        Expr::Call(call) => {
            call.args.iter().map(nodes).sum::<usize>() + call.target.as_deref().map_or(0, nodes)
        }
        Expr::List(list) => list.elements.iter().map(nodes).sum(),
        Expr::Map(map) => {
            let entry = |entry: &EntryExpr| match entry {
                EntryExpr::MapEntry(entry) => nodes(&entry.key) + nodes(&entry.value),
                EntryExpr::StructField(field) => nodes(&field.value),
            };
            map.entries.iter().map(|one| entry(&one.expr)).sum()
        }
        Expr::Comprehension(each) => nodes(&each.iter_range) + nodes(&each.loop_step),
        Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified | Expr::Struct(_) => 0,
    };
    1 + within
}
