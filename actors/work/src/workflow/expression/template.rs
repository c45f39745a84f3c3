//! Templates: JSON with expressions in its strings.
//!
//! A string that is one `${...}` and nothing else gives the value of the expression, of whatever type. In other strings
//! the text of the value is put in its place: strings as they are, everything else as JSON. `$${` stands for `${`.
//! Whatever holds no expression is kept as it was written and only copied.

use super::budget::Budget;
use super::error::{EvalError, Stop};
use super::names::{Names, Needs};
use super::scan::end_of_expression;
use super::scope::Scope;
use super::{Expression, StepIx};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A template that was read.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    node: Node,
    needs: Needs,
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// JSON without expressions.
    Constant(Value),
    /// A string that is one expression.
    Whole(Expression),
    /// A string with expressions in it.
    Text(Box<[Piece]>),
    /// A list in which there are expressions.
    List(Box<[Node]>),
    /// An object in which there are expressions.
    Object(Box<[(String, Node)]>),
}

/// A piece of a string.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// As it is.
    Text(Box<str>),
    /// In place of which stands the text of its value.
    Expression(Expression),
}

/// A problem is told with the path of the field behind that of the template, such as `.text` or `[3]`.
type Report<'a> = &'a mut dyn FnMut(&str, String);

impl Template {
    /// Reads a template. Expressions that are wrong are reported, and stand for null.
    pub(crate) fn parse(value: Value, names: &Names<'_>, report: &mut dyn FnMut(&str, String)) -> Self {
        let mut reader = Reader { names, field: String::new(), needs: Needs::default() };
        let node = reader.node(value, report);
        Self { node, needs: reader.needs }
    }

    /// Which documents it reads.
    pub(crate) fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Its value, if that is always the same.
    pub(crate) fn constant(&self) -> Option<&Value> {
        match &self.node {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Its parts.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Its value; takes from a budget, and what is left of that can be spent on.
    ///
    /// # Errors
    /// That of the first expression that gives none.
    pub(crate) fn evaluate_within(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<Value, EvalError> {
        self.node.evaluate(scope, budget)
    }

    /// The steps whose results can be found at a place in the value, given by members and indexes.
    pub(crate) fn origins<'p>(&self, place: impl IntoIterator<Item = &'p str>) -> BTreeSet<StepIx> {
        let mut node = &self.node;
        for segment in place {
            let within = match node {
                Node::Object(members) => {
                    members.iter().find(|(name, _)| name.as_str() == segment).map(|(_, node)| node)
                }
                Node::List(items) => segment.parse::<usize>().ok().and_then(|index| items.get(index)),
                Node::Constant(_) | Node::Whole(_) | Node::Text(_) => None,
            };
            match within {
                Some(within) => node = within,
                // The place is inside of what an expression gave.
                None => break,
            }
        }
        let mut steps = BTreeSet::new();
        node.collect_steps(&mut steps);
        steps
    }
}

impl Node {
    fn evaluate(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<Value, EvalError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Whole(expression) => match expression.value(scope, budget)? {
                Cow::Borrowed(value) if budget.take_copy(value) => Ok(value.clone()),
                Cow::Borrowed(_) => Err(EvalError::new(expression.source(), Stop::OutOfBudget)),
                Cow::Owned(value) => Ok(value),
            },
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    piece.append(&mut text, scope, budget)?;
                }
                Ok(Value::String(text))
            }
            Self::List(items) => {
                let items = items.iter().map(|item| item.evaluate(scope, budget));
                items.collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            Self::Object(members) => {
                let members =
                    members.iter().map(|(name, node)| Ok((name.clone(), node.evaluate(scope, budget)?)));
                members.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
        }
    }

    fn collect_steps(&self, steps: &mut BTreeSet<StepIx>) {
        match self {
            Self::Constant(_) => {}
            Self::Whole(expression) => steps.extend(&expression.needs().steps),
            Self::Text(pieces) => {
                for piece in pieces {
                    if let Piece::Expression(expression) = piece {
                        steps.extend(&expression.needs().steps);
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.collect_steps(steps)),
            Self::Object(members) => members.iter().for_each(|(_, node)| node.collect_steps(steps)),
        }
    }
}

impl Piece {
    fn append(&self, text: &mut String, scope: &Scope<'_>, budget: &mut Budget) -> Result<(), EvalError> {
        let expression = match self {
            Self::Text(piece) => {
                text.push_str(piece);
                return Ok(());
            }
            Self::Expression(expression) => expression,
        };
        let value = expression.value(scope, budget)?;
        let before = text.len();
        let paid = budget.take_copy(&value);
        if paid {
            append_text(text, &value);
        }
        if paid && budget.take_text(text.len() - before) {
            return Ok(());
        }
        Err(EvalError::new(expression.source(), Stop::OutOfBudget))
    }
}

/// Strings as they are, everything else as JSON.
fn append_text(text: &mut String, value: &Value) {
    match value {
        Value::String(value) => text.push_str(value),
        other => text.push_str(&other.to_string()),
    }
}

struct Reader<'a> {
    names: &'a Names<'a>,
    field: String,
    needs: Needs,
}

impl Reader<'_> {
    fn node(&mut self, value: Value, report: Report<'_>) -> Node {
        match value {
            Value::String(text) => self.text(text, report),
            Value::Array(items) => self.list(items, report),
            Value::Object(members) => self.object(members, report),
            other => Node::Constant(other),
        }
    }

    fn list(&mut self, items: Vec<Value>, report: Report<'_>) -> Node {
        let mut nodes = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let len = self.field.len();
            self.field.push_str(&format!("[{index}]"));
            nodes.push(self.node(item, report));
            self.field.truncate(len);
        }
        if nodes.iter().all(Node::is_constant) {
            return Node::Constant(nodes.into_iter().map(Node::into_constant).collect());
        }
        Node::List(nodes.into())
    }

    fn object(&mut self, members: Map<String, Value>, report: Report<'_>) -> Node {
        let mut nodes = Vec::with_capacity(members.len());
        for (name, item) in members {
            let len = self.field.len();
            self.field.push('.');
            self.field.push_str(&name);
            if name.contains("${") {
                report(
                    &self.field,
                    "the name of a member cannot be an expression: only values can".to_owned(),
                );
            }
            nodes.push((name, self.node(item, report)));
            self.field.truncate(len);
        }
        if nodes.iter().all(|(_, node)| node.is_constant()) {
            let constants = nodes.into_iter().map(|(name, node)| (name, node.into_constant()));
            return Node::Constant(Value::Object(constants.collect()));
        }
        Node::Object(nodes.into())
    }

    fn text(&mut self, text: String, report: Report<'_>) -> Node {
        if !text.contains("${") {
            return Node::Constant(Value::String(text));
        }
        if let Some(inner) = whole(&text) {
            return match self.expression(inner, report) {
                Some(expression) => match expression.constant() {
                    Some(value) => Node::Constant(value.clone()),
                    None => Node::Whole(expression),
                },
                None => Node::Constant(Value::Null),
            };
        }
        let pieces = self.pieces(&text, report);
        if let [Piece::Text(text)] = pieces.as_slice() {
            return Node::Constant(Value::from(&**text));
        }
        Node::Text(pieces.into())
    }

    /// The pieces of a string; neighbours that are constant are one.
    fn pieces(&mut self, text: &str, report: Report<'_>) -> Vec<Piece> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            let inner = from.get(2..).unwrap_or_default();
            if let Some(before) = before.strip_suffix('$') {
                plain.push_str(before);
                plain.push_str("${");
                rest = inner;
                continue;
            }
            plain.push_str(before);
            let Some(end) = end_of_expression(inner) else {
                let message = format!(
                    "the expression that starts with {:?} has no end: close it with }}, or write $${{ for the text ${{",
                    super::clip(from)
                );
                report(&self.field, message);
                rest = "";
                break;
            };
            let (source, behind) = inner.split_at_checked(end).unwrap_or((inner, ""));
            rest = behind.get(1..).unwrap_or_default();
            let Some(expression) = self.expression(source, report) else { continue };
            match expression.constant() {
                Some(value) => append_text(&mut plain, value),
                None => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                    }
                    pieces.push(Piece::Expression(expression));
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        pieces
    }

    fn expression(&mut self, source: &str, report: Report<'_>) -> Option<Expression> {
        match Expression::parse(source, self.names) {
            Ok(expression) => {
                self.needs.extend(expression.needs());
                Some(expression)
            }
            Err(problem) => {
                report(&self.field, problem);
                None
            }
        }
    }
}

impl Node {
    fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// Only asked of constants.
    fn into_constant(self) -> Value {
        match self {
            Self::Constant(value) => value,
            _ => Value::Null,
        }
    }
}

/// The expression that a string consists of.
fn whole(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?;
    let end = end_of_expression(inner)?;
    (end + 1 == inner.len()).then(|| inner.get(..end)).flatten()
}
