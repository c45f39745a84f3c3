//! What is wrong with a definition: all of it, each with its step and field, and never more than a page.

use crate::workflow::expression::{clip, nearest};
use meshwork_proto::workflow::Problem;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Most problems that are told.
pub(super) const MAX_PROBLEMS: usize = 100;

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    /// Adds one, unless there are enough.
    pub(super) fn add(&mut self, step: Option<&str>, field: impl Into<String>, message: impl Into<String>) {
        if !self.is_full() {
            let step = step.map(ToOwned::to_owned);
            self.found.push(Problem { step, field: field.into(), message: message.into() });
        }
    }

    /// Adds those of a part: a sub-workflow, whose fields are paths from here.
    pub(super) fn add_within(&mut self, step: Option<&str>, field: &str, within: Vec<Problem>) {
        for problem in within {
            let place = match problem.step {
                Some(inner) => format!("{field}.steps.{inner}.{}", problem.field),
                None => format!("{field}.{}", problem.field),
            };
            self.add(step, place, problem.message);
        }
    }

    /// Whether no more are told: what only finds problems can stop.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MAX_PROBLEMS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.found
    }

    /// Problems of one step, or of the workflow itself.
    pub(super) fn at<'a>(&'a mut self, step: Option<&'a str>, prefix: &'a str) -> At<'a> {
        At { problems: self, step, prefix }
    }
}

/// Where problems are found at the moment.
#[derive(Debug)]
pub(super) struct At<'a> {
    problems: &'a mut Problems,
    step: Option<&'a str>,
    /// Stands in front of every field.
    prefix: &'a str,
}

impl At<'_> {
    /// Adds one.
    pub(super) fn add(&mut self, field: impl std::fmt::Display, message: impl Into<String>) {
        let field = format!("{}{field}", self.prefix);
        self.problems.add(self.step, field, message);
    }

    /// Adds those of a sub-workflow.
    pub(super) fn add_within(&mut self, field: &str, within: Vec<Problem>) {
        let field = format!("{}{field}", self.prefix);
        self.problems.add_within(self.step, &field, within);
    }

    /// Reads a part of the document. If that fails every member of it is read alone, so that all that are wrong are
    /// told, not the first only. (All members of `T` have to be optional for that.)
    pub(super) fn read<T>(&mut self, value: &Value) -> Option<T>
    where
        T: for<'de> Deserialize<'de> + JsonSchema,
    {
        let Value::Object(members) = value else {
            self.add("", format!("is {}: expected an object", clip(&value.to_string())));
            return None;
        };
        if let Ok(read) = T::deserialize(value) {
            return Some(read);
        }
        let schema = schemars::schema_for!(T);
        let known: Vec<&str> = match schema.get("properties") {
            Some(Value::Object(properties)) => properties.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        for (name, value) in members {
            if known.contains(&name.as_str()) {
                self.read_member::<T>(name, value);
            } else {
                self.add(clip(name), unknown_member(name, known.iter().copied()));
            }
        }
        None
    }

    fn read_member<T>(&mut self, name: &str, value: &Value)
    where
        T: for<'de> Deserialize<'de>,
    {
        let alone = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
        if let Err(error) = serde_path_to_error::deserialize::<_, T>(&alone) {
            let place = match error.path().to_string() {
                place if place == "." => name.to_owned(),
                place => place,
            };
            self.add(place, plain(&error.into_inner().to_string()));
        }
    }
}

/// The sentence about a member that nothing knows.
pub(super) fn unknown_member<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("unknown member {:?}: did you mean {near:?}?", clip(name)),
        None => {
            let known: Vec<&str> = known.collect();
            format!("unknown member {:?}: expected one of {}", clip(name), known.join(", "))
        }
    }
}

/// A message of serde in the words of JSON.
fn plain(message: &str) -> String {
    let message = message
        .replace("a sequence", "a list")
        .replace("sequence", "list")
        .replace("struct", "object")
        .replace(" a map", " an object")
        .replace("type: map", "type: object")
        .replace("unknown field", "unknown member")
        .replace("u32", "a whole number")
        .replace("u8", "a small whole number");
    clip_long(&message)
}

fn clip_long(message: &str) -> String {
    match message.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Default, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Part {
        name: Option<String>,
        count: Option<u32>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Default, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        labels: Option<Vec<String>>,
    }

    #[test]
    fn every_member_that_is_wrong_is_told_with_its_path() {
        let mut problems = Problems::default();
        let wrong =
            json!({"nam": "x", "count": -1, "inner": {"labels": ["a", 5]}, "name": "fine", "zebra": 1});
        assert!(problems.at(Some("s"), "part.").read::<Part>(&wrong).is_none());
        let shown: Vec<String> = problems.into_vec().iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 4, "{shown:#?}");
        let has = |text: &str| assert!(shown.iter().any(|line| line.contains(text)), "{text}: {shown:#?}");
        has("step s: part.nam: unknown member \"nam\": did you mean \"name\"?");
        has("step s: part.count: invalid value: integer `-1`, expected a whole number");
        has("step s: part.inner.labels[1]: invalid type: integer `5`, expected a string");
        has("step s: part.zebra: unknown member \"zebra\": expected one of count, inner, name");
    }

    #[test]
    fn problems_end_at_a_page() {
        let mut problems = Problems::default();
        (0..1000).for_each(|n| problems.add(None, format!("f{n}"), "is wrong"));
        assert_eq!(problems.into_vec().len(), MAX_PROBLEMS);
    }
}
