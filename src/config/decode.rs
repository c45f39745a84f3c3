//! Turning written values into checked ones, each problem with its place.
//!
//! A [`Decoder`] belongs to one layer (file, variable, flag). It knows where that layer writes from, collects the
//! problems, and remembers for each value that it accepted where it stood.

use super::check;
use super::effective::Source;
use super::nearest::nearest;
use super::problem::Problem;
use super::schema::{Fallback, Key, Kind};
use crate::yaml::{self, Data, Member, Node, Position};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where a layer writes from.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The file of this name.
    File(String),
    /// The variable of this name.
    Env(String),
    /// This flag.
    Flag(String),
    /// The table of keys.
    Default,
}

impl Place {
    /// The place for a message.
    pub(super) fn at(&self, at: Position) -> String {
        match self {
            Self::File(file) if at.line > 0 => format!("{file}:{}:{}", at.line, at.column),
            Self::File(name) | Self::Env(name) | Self::Flag(name) => name.clone(),
            Self::Default => "default".into(),
        }
    }

    fn source(&self, at: Position) -> Source {
        match self {
            Self::File(file) => Source::File { file: file.clone(), line: at.line },
            Self::Env(name) => Source::Env(name.clone()),
            Self::Flag(name) => Source::Flag(name.clone()),
            Self::Default => Source::Default,
        }
    }
}

/// What is being decoded: its path for messages, and whether its value may be quoted in them.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) path: &'a str,
    pub(super) secret: bool,
}

/// Decodes the values of one layer.
pub(super) struct Decoder<'a> {
    pub(super) place: Place,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) origins: BTreeMap<String, Source>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(place: Place, problems: &'a mut Vec<Problem>) -> Self {
        Self { place, problems, origins: BTreeMap::new() }
    }

    pub(super) fn problem(&mut self, at: Position, key: Option<&str>, message: impl Into<String>) {
        let problem =
            Problem { place: self.place.at(at), key: key.map(str::to_owned), message: message.into() };
        self.problems.push(problem);
    }

    /// The value of a key; none when it is wrong (a problem was noted).
    pub(super) fn key(&mut self, key: &Key, path: &str, node: &Node) -> Option<Value> {
        let subject = Subject { path, secret: key.secret };
        let value = match (&node.data, key.default) {
            (Data::Null, Fallback::Unset) => Some(Value::Null),
            (Data::Null, _) => {
                let message = format!("has no value: give {}, or remove the line", key.kind.expected());
                self.problem(node.at, Some(path), message);
                None
            }
            _ => self.value(&key.kind, subject, node),
        }?;
        self.origins.insert(path.to_owned(), self.place.source(node.at));
        Some(value)
    }

    fn value(&mut self, kind: &Kind, subject: Subject<'_>, node: &Node) -> Option<Value> {
        match kind {
            Kind::List(item) => self.list(item, subject, node),
            Kind::Sections(keys) => self.sections(keys, subject, node),
            Kind::Variables => self.variables(subject, node),
            Kind::JsonSchema => self.json_schema(subject, node),
            scalar => match check::scalar(scalar, &node.data) {
                Ok(value) => Some(value),
                Err(Some(reason)) => {
                    self.problem(node.at, Some(subject.path), reason);
                    None
                }
                Err(None) => self.unexpected(scalar, subject, node),
            },
        }
    }

    fn unexpected(&mut self, kind: &Kind, subject: Subject<'_>, node: &Node) -> Option<Value> {
        let found = if subject.secret { "a value that is not usable".into() } else { node.describe() };
        let hint = match (kind, &node.data) {
            (
                Kind::Text | Kind::Name | Kind::NodeName | Kind::Namespace | Kind::Path | Kind::AbsolutePath,
                Data::Bool(_) | Data::Whole(_) | Data::Float(_),
            ) => ": put it in quotes",
            _ => "",
        };
        self.problem(node.at, Some(subject.path), format!("is {found}: expected {}{hint}", kind.expected()));
        None
    }

    fn list(&mut self, item: &Kind, subject: Subject<'_>, node: &Node) -> Option<Value> {
        let Data::List(items) = &node.data else {
            let found = node.describe();
            let message =
                format!("is {found}: expected a list such as [a, b], each item {}", item.expected());
            self.problem(node.at, Some(subject.path), message);
            return None;
        };
        // Every item is looked at, so that all problems are told.
        let decoded: Vec<Option<Value>> = items.iter().map(|node| self.value(item, subject, node)).collect();
        decoded.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
    }

    fn sections(&mut self, keys: &'static [Key], subject: Subject<'_>, node: &Node) -> Option<Value> {
        let Data::List(items) = &node.data else {
            let found = node.describe();
            self.problem(
                node.at,
                Some(subject.path),
                format!("is {found}: expected a list of sections (- name: ...)"),
            );
            return None;
        };
        let decoded: Vec<Option<Value>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.section(keys, &format!("{}[{index}]", subject.path), item))
            .collect();
        decoded.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
    }

    fn section(&mut self, keys: &'static [Key], path: &str, node: &Node) -> Option<Value> {
        let Data::Map(members) = &node.data else {
            self.problem(
                node.at,
                Some(path),
                format!("is {}: expected a section with keys of its own", node.describe()),
            );
            return None;
        };
        let mut section = serde_json::Map::new();
        let mut complete = true;
        for member in members {
            let Some(key) = keys.iter().find(|key| key.path == member.key) else {
                self.unknown_member(keys, path, member);
                complete = false;
                continue;
            };
            match self.key(key, &format!("{path}.{}", key.path), &member.value) {
                Some(value) => drop(section.insert(key.path.to_owned(), value)),
                None => complete = false,
            }
        }
        for key in keys.iter().filter(|key| !members.iter().any(|member| member.key == key.path)) {
            match default_value(key) {
                Some(value) => drop(section.insert(key.path.to_owned(), value)),
                None => {
                    self.problem(
                        node.at,
                        Some(path),
                        format!("has no {}: expected {}", key.path, key.kind.expected()),
                    );
                    complete = false;
                }
            }
        }
        complete.then_some(Value::Object(section))
    }

    fn unknown_member(&mut self, keys: &[Key], path: &str, member: &Member) {
        let hint = match nearest(&member.key, keys.iter().map(|key| key.path)) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("known here: {}", keys.iter().map(|key| key.path).collect::<Vec<_>>().join(", ")),
        };
        self.problem(member.at, Some(&format!("{path}.{}", member.key)), format!("is no known key: {hint}"));
    }

    fn variables(&mut self, subject: Subject<'_>, node: &Node) -> Option<Value> {
        let Data::Map(members) = &node.data else {
            // Not quoted: it may be the secret itself, written at the wrong place.
            self.problem(node.at, Some(subject.path), "is no section: expected NAME: text, one per line");
            return None;
        };
        let mut variables = serde_json::Map::new();
        let mut complete = true;
        for member in members {
            let path = format!("{}.{}", subject.path, member.key);
            let name_is_wrong = member.key.is_empty() || member.key.contains(['=', '\0']);
            match &member.value.data {
                _ if name_is_wrong => self.problem(member.at, Some(&path), "cannot be a name here"),
                Data::Text(text) if !text.contains('\0') => {
                    variables.insert(member.key.clone(), Value::from(text.as_str()));
                    continue;
                }
                _ => self.problem(
                    member.value.at,
                    Some(&path),
                    "has a value that is no text: put it in quotes",
                ),
            }
            complete = false;
        }
        complete.then_some(Value::Object(variables))
    }

    fn json_schema(&mut self, subject: Subject<'_>, node: &Node) -> Option<Value> {
        let schema = json(node);
        let of_object = schema.get("type").is_none_or(|kind| kind == "object");
        if schema.is_object() && of_object {
            return Some(schema);
        }
        self.problem(
            node.at,
            Some(subject.path),
            "is no schema of an object: arguments are always an object, expected {type: object, ...}",
        );
        None
    }
}

/// The default of a key; none when the key has to be given or its default is found out at the start.
pub(super) fn default_value(key: &Key) -> Option<Value> {
    match key.default {
        Fallback::Unset => Some(Value::Null),
        Fallback::Required | Fallback::Computed => None,
        Fallback::Value(text) => {
            let mut problems = Vec::new();
            let mut decoder = Decoder::new(Place::Default, &mut problems);
            from_text(&key.kind, text)
                .ok()
                .and_then(|node| decoder.value(&key.kind, Subject { path: key.path, secret: false }, &node))
        }
    }
}

/// The value that a text outside of YAML stands for: a variable, a flag, a default.
///
/// Lists are separated by commas, or written as in YAML (`[a, b]`); sections are always written as in YAML.
pub(super) fn from_text(kind: &Kind, text: &str) -> Result<Node, yaml::SyntaxError> {
    let trimmed = text.trim();
    match kind {
        Kind::List(item) if !trimmed.starts_with('[') => {
            let parts = trimmed.split(',').map(str::trim).filter(|part| !part.is_empty());
            let items = parts.map(|part| from_text(item, part)).collect::<Result<_, _>>()?;
            Ok(Node::anywhere(Data::List(items)))
        }
        Kind::List(_) | Kind::Sections(_) | Kind::Variables | Kind::JsonSchema => yaml::parse(trimmed),
        Kind::Whole { .. } | Kind::Number { .. } => Ok(Node::anywhere(number(trimmed))),
        Kind::Switch => Ok(Node::anywhere(match trimmed {
            "true" => Data::Bool(true),
            "false" => Data::Bool(false),
            other => Data::Text(other.to_owned()),
        })),
        _ => Ok(Node::anywhere(Data::Text(trimmed.to_owned()))),
    }
}

fn number(text: &str) -> Data {
    if let Ok(whole) = text.parse() {
        return Data::Whole(whole);
    }
    match text.parse() {
        Ok(float) => Data::Float(float),
        Err(_) => Data::Text(text.to_owned()),
    }
}

/// The JSON of a node; keys that YAML allows twice or in another order do not exist here.
fn json(node: &Node) -> Value {
    match &node.data {
        Data::Null => Value::Null,
        Data::Bool(value) => Value::from(*value),
        Data::Whole(value) => i64::try_from(*value).map(Value::from).unwrap_or_else(|_| float(*value as f64)),
        Data::Float(value) => float(*value),
        Data::Text(text) => Value::from(text.as_str()),
        Data::List(items) => items.iter().map(json).collect(),
        Data::Map(members) => {
            members.iter().map(|member| (member.key.clone(), json(&member.value))).collect()
        }
    }
}

fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}
