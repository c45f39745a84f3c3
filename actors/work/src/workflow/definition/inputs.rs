//! The inputs of a workflow: declared with JSON Schemas, filled when a run starts.

use super::problems::{Problems, unknown_member};
use super::shapes;
use super::step::check_id;
use crate::workflow::expression::{Path, Root, clip, nearest};
use jsonschema::Validator;
use meshwork_proto::workflow::Problem;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Most inputs of a workflow.
const MAX_INPUTS: usize = 256;

/// Members of JSON Schema, of any draft, that an input may have.
const KEYWORDS: &[&str] = &[
    "type",
    "default",
    "description",
    "enum",
    "title",
    "examples",
    "const",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "items",
    "prefixItems",
    "contains",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minContains",
    "maxContains",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "unevaluatedItems",
    "additionalItems",
    "dependencies",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "$ref",
    "$defs",
    "definitions",
    "$schema",
    "$id",
    "$anchor",
    "$comment",
];

/// Declared inputs by name.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    by_name: BTreeMap<String, Input>,
}

#[derive(Debug)]
struct Input {
    schema: Value,
    default: Option<Value>,
    validator: Validator,
}

impl Inputs {
    /// Reads what stands under `inputs`.
    pub(super) fn read(declared: Option<&Value>, problems: &mut Problems) -> Self {
        let mut by_name = BTreeMap::new();
        let declared = match declared {
            None | Some(Value::Null) => return Self::default(),
            Some(Value::Object(declared)) => declared,
            Some(other) => {
                let found = clip(&other.to_string());
                problems.add(
                    None,
                    "inputs",
                    format!("is {found}: expected the inputs by name, each with its schema"),
                );
                return Self::default();
            }
        };
        if declared.len() > MAX_INPUTS {
            problems.add(None, "inputs", format!("has {} entries: at most {MAX_INPUTS}", declared.len()));
            return Self::default();
        }
        for (name, schema) in declared {
            let field = format!("inputs.{}", clip(name));
            match Input::read(name, schema) {
                Ok(input) => {
                    by_name.insert(name.clone(), input);
                }
                Err((within, message)) => problems.add(None, format!("{field}{within}"), message),
            }
        }
        Self { by_name }
    }

    /// Their names.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.by_name.keys().map(String::as_str).collect()
    }

    /// Those without a default.
    pub(crate) fn required(&self) -> impl Iterator<Item = &str> {
        self.by_name.iter().filter(|(_, input)| input.default.is_none()).map(|(name, _)| name.as_str())
    }

    /// The JSON Schema of an input.
    pub(crate) fn schema(&self, name: &str) -> Option<&Value> {
        self.by_name.get(name).map(|input| &input.schema)
    }

    /// The type that is declared for what a path leads to, if the path starts at the inputs and it is simple.
    pub(super) fn kind(&self, path: &Path) -> Option<&str> {
        let members = path.members().filter(|_| path.root == Root::Inputs)?;
        match members.split_first() {
            Some((name, within)) => shapes::declared(self.schema(name)?, within),
            None => Some("object"),
        }
    }

    /// Why a value cannot be given for an input.
    pub(super) fn unfit(&self, name: &str, value: &Value) -> Option<(String, String)> {
        let error = self.by_name.get(name)?.validator.validate(value).err()?;
        Some((shapes::place(&error), shapes::sentence(&error)))
    }

    /// What was given, with defaults for the rest.
    pub(super) fn fill(&self, given: &Value) -> Result<Value, Vec<Problem>> {
        let mut problems = Problems::default();
        let none = Map::new();
        let given = match given {
            Value::Null => &none,
            Value::Object(given) => given,
            other => {
                problems.add(None, "inputs", format!("is {}: expected an object", clip(&other.to_string())));
                return Err(problems.into_vec());
            }
        };
        for (name, value) in given {
            if !self.by_name.contains_key(name) {
                problems.add(None, format!("inputs.{}", clip(name)), self.unknown(name));
            } else if let Some((within, message)) = self.unfit(name, value) {
                problems.add(None, format!("inputs.{name}{within}"), message);
            }
        }
        let mut filled = given.clone();
        for (name, input) in &self.by_name {
            match (&input.default, filled.contains_key(name)) {
                (_, true) => {}
                (Some(default), false) => {
                    filled.insert(name.clone(), default.clone());
                }
                (None, false) => problems.add(None, format!("inputs.{name}"), input.missing()),
            }
        }
        if problems.is_empty() { Ok(Value::Object(filled)) } else { Err(problems.into_vec()) }
    }

    /// The sentence about an input that there is not.
    pub(super) fn unknown(&self, name: &str) -> String {
        let name_shown = clip(name);
        match nearest(name, self.by_name.keys().map(String::as_str)) {
            Some(near) => format!("there is no input {name_shown:?}: did you mean {near:?}?"),
            None if self.by_name.is_empty() => {
                format!("there is no input {name_shown:?}: the workflow declares none under inputs")
            }
            None => {
                let known: Vec<&str> = self.by_name.keys().map(String::as_str).take(20).collect();
                format!("there is no input {name_shown:?}: expected one of {}", known.join(", "))
            }
        }
    }
}

impl Input {
    /// Reads one; the error has the path behind its name.
    fn read(name: &str, schema: &Value) -> Result<Self, (String, String)> {
        let here = |message: String| (String::new(), message);
        check_id(name).map_err(here)?;
        let Value::Object(members) = schema else {
            let found = clip(&schema.to_string());
            return Err(here(format!(
                "is {found}: expected a JSON Schema such as {{type: string, default: world}}"
            )));
        };
        for member in members.keys().filter(|member| !member.starts_with("x-")) {
            if !KEYWORDS.contains(&member.as_str()) {
                let known = ["type", "default", "description", "enum"].into_iter();
                let message = match nearest(member, KEYWORDS.iter().copied()) {
                    Some(near) => unknown_member(member, [near].into_iter()),
                    None => unknown_member(member, known),
                };
                return Err((format!(".{}", clip(member)), message));
            }
        }
        let validator =
            shapes::validator(schema).map_err(|problem| here(format!("is no JSON Schema: {problem}")))?;
        let default = members.get("default").cloned();
        if let Some(error) = default.as_ref().and_then(|default| validator.validate(default).err()) {
            let message = format!("does not fit the input itself: {}", shapes::sentence(&error));
            return Err((format!(".default{}", shapes::place(&error)), message));
        }
        Ok(Self { schema: schema.clone(), default, validator })
    }

    /// The sentence about an input that was not given.
    fn missing(&self) -> String {
        let kind = self.schema.get("type").and_then(Value::as_str).map(|kind| format!(" of type {kind}"));
        let what =
            self.schema.get("description").and_then(Value::as_str).map(|text| format!(" ({})", clip(text)));
        let (kind, what) = (kind.unwrap_or_default(), what.unwrap_or_default());
        format!("is missing: expected a value{kind}{what}, it has no default")
    }
}
