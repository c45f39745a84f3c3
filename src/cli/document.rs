//! Documents that people write into files, YAML or JSON: the JSON that a node takes, and the place of each of its parts, so
//! that a problem which the node finds is shown where it stands in the file.

use super::input;
use crate::output::Failure;
use crate::yaml::{self, Data, Node, Position};
use meshwork_proto::canonical::{self, Limits};
use serde_json::{Map, Number, Value};

/// Largest whole number that every reader of JSON has exactly; nodes accept no larger one.
const LARGEST_WHOLE: i128 = 9_007_199_254_740_991;

/// A document from a file or from standard input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    name: String,
    value: Value,
    /// The same with places; none for JSON that is no YAML.
    root: Option<Node>,
}

impl Document {
    /// Reads a file, or standard input when it is `-`. `what` names the document in errors.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or is neither YAML nor JSON.
    pub(super) fn read(what: &str, path: &str) -> Result<Self, Failure> {
        let (name, bytes) = if path == "-" {
            ("standard input", input::read(what, "standard input", std::io::stdin().lock())?)
        } else {
            let cannot = |error| Failure::usage(format!("{what}: {path} cannot be read: {error}"));
            (path, input::read(what, path, std::fs::File::open(path).map_err(cannot)?)?)
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("{name} is no text in UTF-8: expected YAML or JSON")))?;
        Self::of_text(name, &text)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// When it is neither YAML nor JSON.
    pub(super) fn of_text(name: &str, text: &str) -> Result<Self, Failure> {
        if text.trim_start().starts_with(['{', '[']) {
            let limits = Limits { max_bytes: input::MAX_BYTES, ..Limits::default() };
            if let Ok(value) = canonical::parse_strict(text.as_bytes(), &limits) {
                // Nearly all JSON is YAML too; where it is not, problems are shown without their line.
                return Ok(Self { name: name.to_owned(), value, root: yaml::parse(text).ok() });
            }
        }
        let wrong =
            |at: Position, message: &str| Failure::usage(format!("{}: {message}", place_in(name, Some(at))));
        let root = yaml::parse(text).map_err(|error| wrong(error.at, &error.message))?;
        let value = json(&root).map_err(|(at, message)| wrong(at, &message))?;
        Ok(Self { name: name.to_owned(), value, root: Some(root) })
    }

    /// The document as JSON.
    #[must_use]
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// The document as JSON, an object.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn object(&self) -> Result<&Map<String, Value>, Failure> {
        self.value.as_object().ok_or_else(|| {
            let message =
                format!("{} is no mapping of names to values: expected `name: value` lines", self.name);
            Failure::usage(message)
        })
    }

    /// Where a field of a step stands (`FILE:LINE:COLUMN`), or of the workflow itself: as near as can be said.
    #[must_use]
    pub(super) fn place(&self, step: Option<&str>, field: &str) -> String {
        let at = self.root.as_ref().map(|root| {
            let node = step.and_then(|step| named_step(root, step)).unwrap_or(root);
            // A step that is not found is at no line: the first one of the document would mislead.
            match step {
                Some(_) if std::ptr::eq(node, root) => Position::default(),
                _ => deepest(node, field).at,
            }
        });
        place_in(&self.name, at)
    }
}

fn place_in(name: &str, at: Option<Position>) -> String {
    match at.filter(|at| at.line > 0) {
        Some(at) => format!("{name}:{}:{}", at.line, at.column),
        None => name.to_owned(),
    }
}

/// The mapping of the step with this id. Ids of steps in a sub-workflow may come with a path in front.
fn named_step<'a>(node: &'a Node, step: &str) -> Option<&'a Node> {
    let id = step.rsplit(['.', '/']).next().unwrap_or(step);
    short_step(node, id).or_else(|| find(node, &|members| text(members, "id") == Some(id)))
}

/// The step `task_N` of the short form, which has no ids.
fn short_step<'a>(node: &'a Node, id: &str) -> Option<&'a Node> {
    let index: usize = id.strip_prefix("task_")?.parse().ok()?;
    match &member(node, "tasks")?.data {
        Data::List(tasks) => tasks.get(index.checked_sub(1)?),
        _ => None,
    }
}

/// The first mapping that `fits`. The depth is bounded by the parser.
fn find<'a>(node: &'a Node, fits: &impl Fn(&[yaml::Member]) -> bool) -> Option<&'a Node> {
    match &node.data {
        Data::Map(members) if fits(members) => Some(node),
        Data::Map(members) => members.iter().find_map(|member| find(&member.value, fits)),
        Data::List(items) => items.iter().find_map(|item| find(item, fits)),
        _ => None,
    }
}

fn text<'a>(members: &'a [yaml::Member], name: &str) -> Option<&'a str> {
    members.iter().find(|member| member.key == name).and_then(|member| match &member.value.data {
        Data::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

fn member<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    match &node.data {
        Data::Map(members) => members.iter().find(|member| member.key == name).map(|member| &member.value),
        _ => None,
    }
}

/// The node at a path such as `input.text` or `needs[1]`, or the last one above it that is there.
fn deepest<'a>(node: &'a Node, field: &str) -> &'a Node {
    let mut node = node;
    for part in field.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
        let below = match &node.data {
            Data::List(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => member(node, part),
        };
        match below {
            Some(below) => node = below,
            None => break,
        }
    }
    node
}

/// The JSON of a tree; a number that JSON cannot carry is refused at its place.
fn json(node: &Node) -> Result<Value, (Position, String)> {
    Ok(match &node.data {
        Data::Null => Value::Null,
        Data::Bool(value) => Value::from(*value),
        Data::Whole(value) => match i64::try_from(*value) {
            Ok(whole) if (-LARGEST_WHOLE..=LARGEST_WHOLE).contains(value) => Value::from(whole),
            _ => {
                let message = format!(
                    "the number {value} is beyond {LARGEST_WHOLE}, up to which JSON is exact: put it in quotes"
                );
                return Err((node.at, message));
            }
        },
        Data::Float(value) => match Number::from_f64(*value) {
            Some(number) => Value::Number(number),
            None => return Err((node.at, format!("{value} is no number that JSON has: put it in quotes"))),
        },
        Data::Text(text) => Value::from(text.as_str()),
        Data::List(items) => Value::Array(items.iter().map(json).collect::<Result<_, _>>()?),
        Data::Map(members) => {
            let members = members.iter().map(|member| Ok((member.key.clone(), json(&member.value)?)));
            Value::Object(members.collect::<Result<_, _>>()?)
        }
    })
}

/// Reads inputs of a workflow: those of a file, and over them `NAME=VALUE` pairs. A value is JSON when it can be read as that,
/// and text otherwise; it is always text where `definition` says that the input is a string.
///
/// # Errors
/// When the file or a pair cannot be read.
pub(super) fn inputs(
    definition: &Value,
    file: Option<&str>,
    pairs: &[String],
) -> Result<Option<Value>, Failure> {
    if file.is_none() && pairs.is_empty() {
        return Ok(None);
    }
    let mut inputs = match file {
        Some(path) => Document::read("--inputs-file", path)?.object()?.clone(),
        None => Map::new(),
    };
    for pair in pairs {
        let Some((name, text)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::usage(format!("--input {pair:?} has no `=`: expected NAME=VALUE")));
        };
        inputs.insert(name.to_owned(), input_value(&definition["inputs"][name]["type"], name, text)?);
    }
    Ok(Some(Value::Object(inputs)))
}

fn input_value(declared: &Value, name: &str, text: &str) -> Result<Value, Failure> {
    if declared == "string" || serde_json::from_str::<Value>(text).is_err() {
        return Ok(Value::from(text));
    }
    input::json(&format!("--input {name}"), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GREET: &str = "\
name: greet
inputs: { who: { type: string, default: world }, times: { type: integer } }
steps:
  - id: hello
    tool: echo
    input:
      text: \"hello ${inputs.who}\"
  - id: each
    needs: [hello, hallo]
    for_each: \"${[1, 2, 3]}\"
    tool: echo
    when: \"size(steps.hello.output.text) > 0\"
    retry: { max_attempts: 3, backoff_s: 0.5 }
output: \"${steps.each.output}\"
";

    #[test]
    fn yaml_becomes_the_json_that_a_node_takes() {
        let document = Document::of_text("greet.yaml", GREET).unwrap();
        let expected = json!({
            "name": "greet",
            "inputs": {"who": {"type": "string", "default": "world"}, "times": {"type": "integer"}},
            "steps": [
                {"id": "hello", "tool": "echo", "input": {"text": "hello ${inputs.who}"}},
                {
                    "id": "each", "needs": ["hello", "hallo"], "for_each": "${[1, 2, 3]}", "tool": "echo",
                    "when": "size(steps.hello.output.text) > 0", "retry": {"max_attempts": 3, "backoff_s": 0.5},
                },
            ],
            "output": "${steps.each.output}",
        });
        assert_eq!(document.value(), &expected);
    }

    #[test]
    fn a_field_of_a_step_is_found_at_its_line_and_what_is_missing_at_the_one_above() {
        let document = Document::of_text("greet.yaml", GREET).unwrap();
        let places = [
            (Some("hello"), "input.text", "greet.yaml:7:13"),
            (Some("each"), "needs[1]", "greet.yaml:9:20"),
            (Some("each"), "retry.factor", "greet.yaml:13:12"),
            (Some("each"), "place", "greet.yaml:8:5"),
            (Some("nobody"), "input", "greet.yaml"),
            (None, "output", "greet.yaml:14:9"),
            (None, "inputs.who.type", "greet.yaml:2:24"),
        ];
        for (step, field, place) in places {
            assert_eq!(document.place(step, field), place, "{step:?} {field}");
        }
    }

    #[test]
    fn steps_of_the_short_form_are_counted_and_json_has_lines_too() {
        let text = "{\"tasks\": [\n {\"type\": \"a\"},\n {\"type\": \"b\", \"input\": {\"x\": \"\\/\"}}\n]}";
        let document = Document::of_text("t.json", text).unwrap();
        assert_eq!(document.value()["tasks"][1]["input"], json!({"x": "/"}));
        assert_eq!(document.place(Some("task_2"), "type"), "t.json:3:11");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let told = |text: &str| Document::of_text("w.yaml", text).unwrap_err().render(false).unwrap();
        assert!(told("name: [1, 2\nsteps: {}\n").starts_with("error: w.yaml:"), "{}", told("name: [1, 2\n"));
        assert!(told("a: 1\nb: 9007199254740993\n").contains("w.yaml:2:4: the number 9007199254740993"));
        assert!(told("a: 1\na: 2\n").contains("gives the key \"a\" twice"));
        let bomb = "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\n\
                    d: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e]\n";
        assert!(told(bomb).contains("alias"), "{}", told(bomb));
        let missing = Document::read("workflow", "/nowhere/w.yaml").unwrap_err().render(false).unwrap();
        assert!(missing.contains("/nowhere/w.yaml cannot be read"), "{missing}");
    }

    #[test]
    fn inputs_are_text_where_the_definition_says_so_and_json_where_they_can_be() {
        let definition = Document::of_text("greet.yaml", GREET).unwrap();
        let pairs =
            ["who=3".to_owned(), "times=3".to_owned(), "more=[1, 2]".to_owned(), "plain=a=b".to_owned()];
        let read = inputs(definition.value(), None, &pairs).unwrap().unwrap();
        assert_eq!(read, json!({"who": "3", "times": 3, "more": [1, 2], "plain": "a=b"}));
        assert_eq!(inputs(definition.value(), None, &[]).unwrap(), None);
        let wrong = inputs(definition.value(), None, &["who".to_owned()]).unwrap_err();
        assert!(wrong.render(false).unwrap().contains("NAME=VALUE"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "who: ada\ntimes: 1\n").unwrap();
        let read = inputs(definition.value(), file.path().to_str(), &["times=2".to_owned()]).unwrap();
        assert_eq!(read, Some(json!({"who": "ada", "times": 2})));
    }
}
