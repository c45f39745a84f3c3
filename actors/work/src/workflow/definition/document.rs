//! The document as people write it: what serde reads, and what the published JSON Schema is made from.
//!
//! Every member is optional here, so that each can be read alone (see `problems.rs`); what is required is said in the
//! schema and checked behind. The comments of the fields are the descriptions in the schema.

use super::members::{Delay, Later, OneOrMany, Seconds, object};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A workflow: steps, what each needs, and what it uses of earlier results.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Workflow", extend("required" = ["name", "steps"]))]
pub(super) struct DefinitionDoc {
    /// Name of the workflow.
    #[schemars(length(min = 1, max = 200))]
    pub(super) name: Option<String>,
    /// What it is for.
    pub(super) description: Option<String>,
    /// The inputs by name, each with a small JSON Schema. An input without a default is required.
    pub(super) inputs: Option<Later<BTreeMap<String, InputDoc>>>,
    /// Most seconds that a run may take.
    pub(super) timeout_s: Option<Seconds>,
    /// Most tasks of a run that are in flight at a time.
    #[schemars(range(min = 1))]
    pub(super) max_parallel: Option<u32>,
    /// What happens when a step fails that does not say it itself.
    pub(super) on_failure: Option<OnFailureDoc>,
    /// Workflows that steps can run, by name.
    pub(super) workflows: Option<Later<BTreeMap<String, Box<DefinitionDoc>>>>,
    /// The steps.
    #[schemars(length(min = 1))]
    pub(super) steps: Option<Later<Vec<StepDoc>>>,
    /// The result of a run: JSON with ${expressions}. Without it: the outputs of all steps that no other step needs, by
    /// id.
    #[schemars(schema_with = "anything")]
    pub(super) output: Option<Value>,
}

/// The short form: tasks that run one after the other.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Tasks", extend("required" = ["tasks"]))]
pub(super) struct ShortDoc {
    /// Name of the workflow; "tasks" if there is none.
    #[schemars(length(min = 1, max = 200))]
    pub(super) name: Option<String>,
    /// What it is for.
    pub(super) description: Option<String>,
    /// Most seconds that a run may take.
    pub(super) timeout_s: Option<Seconds>,
    /// The tasks, in the order in which they run. Their steps are called task_1, task_2, ...
    #[schemars(length(min = 1))]
    pub(super) tasks: Option<Later<Vec<TaskDoc>>>,
}

/// A task of the short form.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Task", extend("required" = ["type"]))]
pub(super) struct TaskDoc {
    /// The type of the task: the name of the tool that runs it.
    #[serde(rename = "type")]
    pub(super) task_type: Option<String>,
    /// The model that it is for.
    pub(super) model: Option<String>,
    /// Its arguments by name.
    #[schemars(schema_with = "arguments")]
    pub(super) input: Option<Value>,
    /// Another name for input.
    #[schemars(schema_with = "arguments")]
    pub(super) inputs: Option<Value>,
    /// Another name for input.
    #[schemars(schema_with = "arguments")]
    pub(super) payload: Option<Value>,
    /// How often it is tried.
    #[serde(deserialize_with = "object")]
    pub(super) retry: Option<RetryDoc>,
    /// Most seconds that one attempt may take.
    pub(super) timeout_s: Option<Seconds>,
    /// 1 to 10; 10 is done first.
    #[schemars(range(min = 1, max = 10))]
    pub(super) priority: Option<u8>,
}

impl TaskDoc {
    /// As a step that needs the one before; the first one has index 0.
    pub(super) fn into_step(self, index: usize) -> StepDoc {
        let before = (index > 0).then(|| OneOrMany { texts: vec![format!("task_{index}")], is_list: false });
        StepDoc {
            task_type: self.task_type,
            model: self.model,
            input: self.input.or(self.inputs).or(self.payload),
            needs: before,
            retry: self.retry,
            timeout_s: self.timeout_s,
            priority: self.priority,
            ..StepDoc::default()
        }
    }
}

/// A step: exactly one of tool, task_type, workflow and wait.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Step", extend(
    "required" = ["id"],
    "oneOf" = [
        {"required": ["tool"]}, {"required": ["task_type"]}, {"required": ["workflow"]}, {"required": ["wait"]}
    ]
))]
pub(super) struct StepDoc {
    /// Its id, under which others refer to it: `steps.<id>.output`.
    #[serde(rename = "id")]
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]{0,63}$"))]
    _id: Option<String>,
    /// The tool that it calls.
    pub(super) tool: Option<String>,
    /// The type of the task that it has done.
    pub(super) task_type: Option<String>,
    /// The workflow that it runs: a name under `workflows`, or a definition.
    #[schemars(schema_with = "name_or_definition")]
    pub(super) workflow: Option<Value>,
    /// What it waits for.
    #[serde(deserialize_with = "object")]
    pub(super) wait: Option<WaitDoc>,
    /// The model that the task is for.
    pub(super) model: Option<String>,
    /// The arguments of the tool or task by name: JSON with ${expressions}.
    #[schemars(schema_with = "arguments")]
    pub(super) input: Option<Value>,
    /// The inputs of the workflow that it runs, by name: JSON with ${expressions}.
    #[schemars(schema_with = "arguments")]
    pub(super) inputs: Option<Value>,
    /// Steps that have to be finished before; those that its expressions refer to are needed anyway.
    pub(super) needs: Option<OneOrMany>,
    /// A condition; the step is skipped where it is false.
    #[schemars(schema_with = "condition")]
    pub(super) when: Option<Value>,
    /// A list, or an expression that gives one: the step is done for each element, which is called `item` (and its place
    /// `index`). The output is the list of the outputs, in order.
    #[schemars(schema_with = "list_or_expression")]
    pub(super) for_each: Option<Value>,
    /// Most elements of for_each that are worked on at a time.
    #[schemars(range(min = 1))]
    pub(super) max_parallel: Option<u32>,
    /// How often it is tried; once if absent.
    #[serde(deserialize_with = "object")]
    pub(super) retry: Option<RetryDoc>,
    /// Most seconds that one attempt may take.
    pub(super) timeout_s: Option<Seconds>,
    /// What happens when it fails.
    pub(super) on_failure: Option<OnFailureDoc>,
    /// What takes it back, when a later step fails and asks for it. Run in the reverse order of completion.
    #[serde(deserialize_with = "object")]
    pub(super) compensate: Option<CompensateDoc>,
    /// Where it runs.
    #[serde(deserialize_with = "object")]
    pub(super) place: Option<PlaceDoc>,
    /// As place.peer.
    pub(super) peer: Option<String>,
    /// As place.capability.
    pub(super) capability: Option<String>,
    /// As place.labels.
    pub(super) label: Option<OneOrMany>,
    /// As place.labels.
    pub(super) labels: Option<OneOrMany>,
    /// As place.same_as.
    pub(super) same_as: Option<String>,
    /// 1 to 10; 10 is done first. 5 if absent.
    #[schemars(range(min = 1, max = 10))]
    pub(super) priority: Option<u8>,
    /// Whether the same input always gives the same result: then an earlier one may be used.
    pub(super) pure: Option<bool>,
}

/// How often something is tried.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Retry")]
pub(super) struct RetryDoc {
    /// Most attempts, the first included. 3 if absent.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) max_attempts: Option<u32>,
    /// Seconds before the second attempt. 1 if absent.
    pub(super) backoff_s: Option<Delay>,
    /// Most seconds between two attempts. 60 if absent.
    pub(super) max_backoff_s: Option<Delay>,
    /// By how much the time grows with each attempt. 2 if absent.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub(super) factor: Option<f64>,
}

/// What happens when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OnFailure")]
pub(super) enum OnFailureDoc {
    /// The run fails.
    Fail,
    /// The run goes on; for others the output of the step is null.
    Continue,
    /// The run fails, and what completed is taken back, where a step says how.
    Compensate,
}

/// A call that takes a step back. Its input may refer to the output of its step.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Compensation", extend(
    "oneOf" = [{"required": ["tool"]}, {"required": ["task_type"]}]
))]
pub(super) struct CompensateDoc {
    /// The tool that it calls.
    pub(super) tool: Option<String>,
    /// The type of the task that it has done.
    pub(super) task_type: Option<String>,
    /// The model that the task is for.
    pub(super) model: Option<String>,
    /// The arguments by name: JSON with ${expressions}.
    #[schemars(schema_with = "arguments")]
    pub(super) input: Option<Value>,
}

/// Where a step runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Place")]
pub(super) struct PlaceDoc {
    /// At this peer only.
    pub(super) peer: Option<String>,
    /// At a peer with this capability.
    pub(super) capability: Option<String>,
    /// At a peer with all of these labels.
    pub(super) labels: Option<OneOrMany>,
    /// At a peer with this label, too.
    pub(super) label: Option<OneOrMany>,
    /// At the peer that ran this step, which is needed by that.
    pub(super) same_as: Option<String>,
}

/// What a step waits for: exactly one of signal, seconds and until.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Wait", extend(
    "oneOf" = [{"required": ["signal"]}, {"required": ["seconds"]}, {"required": ["until"]}]
))]
pub(super) struct WaitDoc {
    /// The name of a signal; what comes with it is the output of the step.
    #[schemars(length(min = 1, max = 200))]
    pub(super) signal: Option<String>,
    /// Most seconds to wait for the signal; without it, as long as the run may take.
    pub(super) timeout_s: Option<Seconds>,
    /// So many seconds.
    pub(super) seconds: Option<Seconds>,
    /// A time such as 2026-01-01T00:00:00Z, or seconds since 1970; or an expression that gives one.
    #[schemars(schema_with = "time")]
    pub(super) until: Option<Value>,
}

/// An input: read as a JSON Schema, not by serde.
#[derive(Debug)]
pub(super) struct InputDoc;

impl JsonSchema for InputDoc {
    fn schema_name() -> Cow<'static, str> {
        "Input".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An input: a JSON Schema, of which these are the usual members.",
            "type": "object",
            "properties": {
                "type": {"description": "`string`, `integer`, `number`, `boolean`, `array` or `object`."},
                "default": {"description": "Its value when none is given; without a default it is required."},
                "description": {"description": "What it is for.", "type": "string"},
                "enum": {"description": "The values that it may have.", "type": "array"},
            },
        })
    }
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    Schema::from(true)
}

fn arguments(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["object", "string"]})
}

fn condition(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "boolean"]})
}

fn list_or_expression(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["array", "string"]})
}

fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "number"]})
}

fn name_or_definition(generator: &mut SchemaGenerator) -> Schema {
    let long = generator.subschema_for::<DefinitionDoc>();
    let short = generator.subschema_for::<ShortDoc>();
    json_schema!({"anyOf": [{"type": "string"}, long, short]})
}
