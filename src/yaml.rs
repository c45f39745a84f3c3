//! YAML with positions: a tree in which each key and each value knows its line and column.
//!
//! Configurations and workflows are read into this tree, so that a wrong value is reported where it stands, whatever it
//! is, together with all the others. Only the syntax itself stops at its first error. Aliases and depth are bounded by
//! the parser.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;
use std::fmt;

/// Most parts of a document that may come from aliases (`*name`): a few lines can stand for any number of them.
const MAX_REPEATED: usize = 100_000;

/// A place in a text; line and column from 1, both 0 when the text is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) data: Data,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Whole(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// A member of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

/// Text that is no YAML, or gives a key twice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SyntaxError {
    pub(crate) at: Position,
    /// A sentence about the text, without a subject: "is no YAML: ...".
    pub(crate) message: String,
}

/// Parses one document; an empty one is null.
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node { at: Position::default(), data: Data::Null });
    }
    // `yes` and `on` are texts in YAML 1.2; tags that we do not know must not be ignored silently.
    let mut options = serde_saphyr::Options::default();
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    // Ours to refuse: we know where both of them stand.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.alias_limits.max_total_replayed_events = MAX_REPEATED;
    let root = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let at = error.location().map(Position::from).unwrap_or_default();
        SyntaxError { at, message: format!("is no YAML: {}", without_place(&error.render())) }
    })?;
    match given_twice(&root) {
        Some(error) => Err(error),
        None => Ok(root),
    }
}

/// The first key that its mapping has twice. The depth of the tree is bounded by the parser.
fn given_twice(node: &Node) -> Option<SyntaxError> {
    match &node.data {
        Data::List(items) => items.iter().find_map(given_twice),
        Data::Map(members) => {
            let mut seen = BTreeMap::new();
            members.iter().find_map(|member| match seen.insert(member.key.as_str(), member.at) {
                Some(first) => Some(SyntaxError {
                    at: member.at,
                    message: format!(
                        "gives the key {:?} twice: in line {} and in line {}",
                        clip(&member.key),
                        first.line,
                        member.at.line
                    ),
                }),
                None => given_twice(&member.value),
            })
        }
        _ => None,
    }
}

/// The parser's message without the place it appends: we print it in front.
fn without_place(message: &str) -> String {
    let message = message.lines().next().unwrap_or(message);
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message.get(..end).unwrap_or(message).trim_end_matches([',', ':', ' ']).to_owned()
}

impl Node {
    /// A value that stands in no file.
    pub(crate) const fn anywhere(data: Data) -> Self {
        Self { at: Position { line: 0, column: 0 }, data }
    }

    /// What kind of value it is, as a person says it.
    pub(crate) fn describe(&self) -> String {
        match &self.data {
            Data::Null => "nothing".into(),
            Data::Bool(value) => format!("{value}"),
            Data::Whole(value) => format!("the number {value}"),
            Data::Float(value) => format!("the number {value}"),
            Data::Text(text) => format!("{:?}", clip(text)),
            Data::List(_) => "a list".into(),
            Data::Map(_) => "a section with keys of its own".into(),
        }
    }
}

/// The beginning of a text, so that a message stays a line.
fn clip(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        text.to_owned()
    } else {
        text.chars().take(MOST).chain(['…']).collect()
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Data>::deserialize(deserializer)?;
        Ok(Self { at: spanned.referenced.into(), data: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_none<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Whole(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Data, E> {
        Ok(Data::Whole(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Data, E> {
        Ok(Data::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Data, E> {
        Ok(Data::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Node>()? {
            list.push(item);
        }
        Ok(Data::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Data, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let value = entries.next_value::<Node>()?;
            map.push(Member { key: key.value, at: key.referenced.into(), value });
        }
        Ok(Data::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member<'a>(node: &'a Node, key: &str) -> &'a Member {
        let Data::Map(members) = &node.data else { panic!("{node:?} is no mapping") };
        members.iter().find(|member| member.key == key).unwrap()
    }

    #[test]
    fn each_key_and_value_knows_its_line_and_column() {
        let tree =
            parse("# a comment\nserver:\n  http: 127.0.0.1:8000\np2p:\n  peers:\n    - one\n    - 2\n")
                .unwrap();
        let http = member(&member(&tree, "server").value, "http");
        assert_eq!(http.at, Position { line: 3, column: 3 });
        assert_eq!(http.value.at, Position { line: 3, column: 9 });
        assert_eq!(http.value.data, Data::Text("127.0.0.1:8000".into()));
        let peers = member(&member(&tree, "p2p").value, "peers");
        let Data::List(items) = &peers.value.data else { panic!("{peers:?}") };
        assert_eq!(items[1], Node { at: Position { line: 7, column: 7 }, data: Data::Whole(2) });
    }

    #[test]
    fn a_file_of_comments_is_empty_and_yes_is_a_text() {
        assert_eq!(parse("# nothing\n\n").unwrap().data, Data::Null);
        assert_eq!(parse("yes").unwrap().data, Data::Text("yes".into()));
    }

    #[test]
    fn broken_syntax_names_its_line_once() {
        let error = parse("server:\n  http: [1, 2\nlog: {}\n").unwrap_err();
        assert!(error.at.line >= 2, "{error:?}");
        assert!(!error.message.contains("at line"), "{error:?}");
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_at_the_second_one() {
        let error = parse("log: {}\nlog: {}\n").unwrap_err();
        assert_eq!(error.at.line, 2);
        assert_eq!(error.message, "gives the key \"log\" twice: in line 1 and in line 2");
        let deep = parse("a:\n  - b: 1\n    c: 2\n    b: 3\n").unwrap_err();
        assert_eq!(deep.message, "gives the key \"b\" twice: in line 2 and in line 4");
    }
}
