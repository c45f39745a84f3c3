//! Looks at every name, call and loop of a program before it ever runs.

use crate::workflow::expression::budget::Patterns;
use crate::workflow::expression::error::Fault;
use crate::workflow::expression::functions::{KNOWN, MACROS, Style};
use crate::workflow::expression::names::{Names, Needs, instead};
use crate::workflow::expression::scan::find_word;
use crate::workflow::expression::{StepIx, clip};
use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators};
use std::collections::BTreeMap;

/// Deepest tree: the interpreter calls itself for each level.
const MAX_DEPTH: usize = 64;
/// Loops within loops.
const MAX_LOOPS: usize = 2;
/// Names that stand for documents.
const DOCUMENTS: &[&str] = &["inputs", "steps", "item", "index", "run"];
/// What there is of a step.
const OF_STEP: &[&str] = &["output", "error", "state"];
/// What there is of a run.
const OF_RUN: &[&str] = &["id", "created_s"];
/// Types, which `type(x)` can be compared with.
const TYPES: &[&str] = &[
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "optional_type",
];

/// Calls that the parser makes of signs.
const OPERATORS: &[&str] = &[
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::OPT_INDEX,
    operators::OPT_SELECT,
    operators::IN,
];

/// What a program refers to.
pub(super) struct Found {
    pub(super) steps: Box<[(Box<str>, StepIx)]>,
    pub(super) patterns: Patterns,
    pub(super) needs: Needs,
}

/// Checks a tree.
pub(super) fn check(source: &str, tree: &IdedExpr, names: &Names<'_>) -> Result<Found, Fault> {
    let mut checker = Checker {
        source,
        names,
        bound: Vec::new(),
        loops: 0,
        steps: BTreeMap::new(),
        patterns: Patterns::new(),
        needs: Needs::default(),
    };
    checker.expression(tree, 0)?;
    let Checker { steps, patterns, mut needs, .. } = checker;
    needs.steps.extend(steps.values());
    Ok(Found { steps: steps.into_iter().map(|(name, step)| (name.into(), step)).collect(), patterns, needs })
}

struct Checker<'a> {
    source: &'a str,
    names: &'a Names<'a>,
    /// Names that loops around have given to their elements.
    bound: Vec<&'a str>,
    loops: usize,
    steps: BTreeMap<&'a str, StepIx>,
    patterns: Patterns,
    needs: Needs,
}

impl<'a> Checker<'a> {
    fn expression(&mut self, expression: &'a IdedExpr, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(format!("is nested deeper than {MAX_DEPTH}: use several steps")));
        }
        match &expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select, depth),
            Expr::Call(call) => self.call(call, depth),
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.expression(item, depth + 1)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, depth + 1)?;
                    self.expression(&entry.value, depth + 1)
                }
                EntryExpr::StructField(_) => Err(Fault::new("holds a message where a map is expected")),
            }),
            Expr::Struct(message) => {
                let name = &message.type_name;
                Err(self.fault(
                    name,
                    format!("{:?} is no type that can be made: write a map {{...}}", clip(name)),
                ))
            }
            Expr::Comprehension(each) => {
                self.expression(&each.iter_range, depth + 1)?;
                let variable = each.iter_var.as_str();
                if DOCUMENTS.contains(&variable) {
                    return Err(
                        self.fault(variable, format!("{variable:?} is taken: call the element otherwise"))
                    );
                }
                if self.loops == MAX_LOOPS {
                    let message =
                        format!("more than {MAX_LOOPS} loops inside of each other: use several steps");
                    return Err(self.fault(variable, message));
                }
                self.loops += 1;
                self.bound.push(variable);
                self.expression(&each.loop_step, depth + 1)?;
                self.bound.pop();
                self.loops -= 1;
                Ok(())
            }
            // What the parser leaves where it found an error; it reported that, too.
            Expr::Unspecified => Err(Fault::new("cannot be read")),
        }
    }

    fn fault(&self, word: &str, message: String) -> Fault {
        Fault { at: find_word(self.source, word), message }
    }

    /// Whether a name stands for a document, not for an element of a loop.
    fn is_document(&self, expression: &IdedExpr, document: &str) -> bool {
        matches!(&expression.expr, Expr::Ident(name) if name == document)
    }

    fn name(&mut self, name: &str) -> Result<(), Fault> {
        // What macros bind themselves starts with a sign that no author can write.
        if name.starts_with('@') || self.bound.contains(&name) {
            return Ok(());
        }
        match name {
            "inputs" => self.needs.inputs = true,
            "run" => self.needs.run = true,
            "item" | "index" if self.names.item => self.needs.item = true,
            "item" | "index" => {
                return Err(
                    self.fault(name, format!("there is no {name:?} here: only a step with for_each has it"))
                );
            }
            "steps" => {
                let message = "steps stands alone: write steps.<id>.output, with the id as it is";
                return Err(self.fault(name, message.to_owned()));
            }
            _ if TYPES.contains(&name) => {}
            _ => {
                let known = self.known_names();
                let message =
                    format!("{:?} is unknown: {}", clip(name), instead(name, known.iter().copied()));
                return Err(self.fault(name, message));
            }
        }
        Ok(())
    }

    fn known_names(&self) -> Vec<&'a str> {
        let documents =
            DOCUMENTS.iter().copied().filter(|name| self.names.item || !["item", "index"].contains(name));
        self.bound.iter().copied().chain(documents).collect()
    }

    fn select(&mut self, select: &'a SelectExpr, depth: usize) -> Result<(), Fault> {
        let (operand, field) = (&*select.operand, select.field.as_str());
        if let Some(id) = self.step_of(operand) {
            return self.step(id, field);
        }
        if self.is_document(operand, "steps") {
            let message = format!("steps.{} stands alone: write steps.{0}.output", clip(field));
            return Err(self.fault(field, message));
        }
        if self.is_document(operand, "inputs") && !self.names.inputs.contains(field) {
            let known = instead(field, self.names.inputs.iter().copied());
            return Err(self.fault(field, format!("there is no input {:?}: {known}", clip(field))));
        }
        if self.is_document(operand, "run") && !OF_RUN.contains(&field) {
            let known = instead(field, OF_RUN.iter().copied());
            return Err(self.fault(field, format!("a run has no {:?}: {known}", clip(field))));
        }
        self.expression(operand, depth + 1)
    }

    /// The id in `steps.id` and `steps["id"]`.
    fn step_of(&self, expression: &'a IdedExpr) -> Option<&'a str> {
        match &expression.expr {
            Expr::Select(select) if self.is_document(&select.operand, "steps") => Some(&select.field),
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [steps, id] if self.is_document(steps, "steps") => literal(id),
                _ => None,
            },
            _ => None,
        }
    }

    fn step(&mut self, id: &'a str, member: &str) -> Result<(), Fault> {
        let Some(step) = self.names.steps.get(id) else {
            let known = instead(id, self.names.steps.keys().copied());
            return Err(self.fault(id, format!("there is no step {:?}: {known}", clip(id))));
        };
        if !OF_STEP.contains(&member) {
            let known = instead(member, OF_STEP.iter().copied());
            return Err(self.fault(member, format!("steps.{id} has no {:?}: {known}", clip(member))));
        }
        self.steps.insert(id, *step);
        Ok(())
    }

    fn call(&mut self, call: &'a CallExpr, depth: usize) -> Result<(), Fault> {
        if OPERATORS.contains(&call.func_name.as_str()) {
            return call.args.iter().try_for_each(|argument| self.expression(argument, depth + 1));
        }
        let namespace = call.target.as_ref().and_then(|target| match &target.expr {
            Expr::Ident(name) if ["optional", "lists"].contains(&name.as_str()) => Some(name),
            _ => None,
        });
        match (namespace, &call.target) {
            (Some(namespace), _) => {
                self.function(&format!("{namespace}.{}", call.func_name), Style::Global, call)?;
            }
            (None, Some(target)) => {
                self.function(&call.func_name, Style::Member, call)?;
                self.expression(target, depth + 1)?;
            }
            (None, None) => self.function(&call.func_name, Style::Global, call)?,
        }
        if call.func_name == "matches"
            && let Some(pattern) = call.args.last().and_then(literal)
        {
            let compiled = self.names.reading.pattern(pattern);
            let compiled = compiled.map_err(|problem| self.fault("matches", problem))?;
            self.patterns.insert(pattern.to_owned(), compiled);
        }
        call.args.iter().try_for_each(|argument| self.expression(argument, depth + 1))
    }

    /// Whether there is a function of this name that takes as many arguments.
    fn function(&self, name: &str, style: Style, call: &CallExpr) -> Result<(), Fault> {
        let word = call.func_name.as_str();
        let given = call.args.len();
        if MACROS.contains(&word) || word == "has" {
            let form = if word == "has" { "has(a.b)" } else { "list.all(x, x > 0)" };
            return Err(self.fault(word, format!("{word} is called in another way: as in {form}")));
        }
        let mut named = KNOWN.iter().filter(|(known, its, ..)| *known == name && *its == style).peekable();
        if named.peek().is_none() {
            let other = KNOWN.iter().any(|(known, ..)| *known == name);
            let hint = match (other, style) {
                (true, Style::Global) => format!("call it as x.{name}(...)"),
                (true, Style::Member) => format!("call it as {name}(x)"),
                (false, _) => {
                    let known = KNOWN.iter().filter(|(_, its, ..)| *its == style).map(|(known, ..)| *known);
                    instead(name, known)
                }
            };
            return Err(self.fault(word, format!("there is no function {:?}: {hint}", clip(name))));
        }
        let Some((_, _, least, most)) = named.find(|(_, _, least, most)| !(*least..=*most).contains(&given))
        else {
            return Ok(());
        };
        let takes = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Err(self.fault(word, format!("{name} takes {takes} arguments, {given} are given")))
    }
}

/// The text of a literal string.
fn literal(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
