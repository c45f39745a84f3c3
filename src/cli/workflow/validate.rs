//! `workflow validate` and `workflow schema`, and the problems of a workflow with their lines.

use super::run::WorkOptions;
use crate::cli::Globals;
use crate::cli::document::Document;
use crate::client::{Answer, ClientError, NodeClient, RunArgs};
use crate::output::{Exit, Failure, Output, counted};
use meshwork_proto::{Coded, ErrorCode};
use serde_json::{Value, json};

const VALIDATE_EXAMPLES: &str = "\
Examples:
  meshwork workflow validate greet.yaml
  meshwork workflow validate greet.yaml --input who=ada --json | jq -r '.problems[].message'
  meshwork workflow validate greet.yaml --allow-unknown-tools
      Tools that no peer serves now are no problem.

Exit code 0: it can be run, 2: it cannot; each problem is a line with its place in the file, its step and its field.";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  meshwork workflow schema > workflow.schema.json
      For editors that complete and check YAML and JSON files. No node is needed.";

/// Arguments of `workflow validate`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = VALIDATE_EXAMPLES)]
pub(crate) struct ValidateOptions {
    /// What is checked.
    #[command(flatten)]
    pub(crate) work: WorkOptions,
}

/// Arguments of `workflow schema`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = SCHEMA_EXAMPLES)]
pub(crate) struct SchemaOptions {}

pub(super) async fn execute(
    options: &ValidateOptions,
    globals: &Globals,
    output: Output,
) -> Result<(), Failure> {
    let (document, arguments) = options.work.read()?;
    let mut answer = globals.connect().await?.validate_workflow(&arguments).await?;
    let problems = problems(&document, &answer);
    if output.is_json() {
        if let Value::Object(members) = &mut answer.0 {
            members.insert("problems".into(), problems.iter().map(Problem::json).collect());
        }
        output.json(&answer.0)?;
    } else if problems.is_empty() {
        let steps = answer.items("steps").len() as u64;
        output.line(format!("{} can be run: {}", answer.shown("name"), counted(steps, "step")))?;
    } else {
        for problem in &problems {
            output.line(problem.line())?;
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Shown(Exit::Usage)) }
}

/// The JSON Schema of workflows.
pub(super) fn schema(output: Output) -> Result<(), Failure> {
    output.json(&meshwork_work::workflow::schema())
}

/// What is wrong with a workflow, and where that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    place: String,
    step: Option<String>,
    field: String,
    message: String,
}

impl Problem {
    fn line(&self) -> String {
        let step = self.step.as_ref().map(|step| format!("step {step}: ")).unwrap_or_default();
        format!("{}: {step}{}: {}", self.place, self.field, self.message)
    }

    fn json(&self) -> Value {
        json!({"place": self.place, "step": self.step, "field": self.field, "message": self.message})
    }
}

fn problems(document: &Document, answer: &Answer) -> Vec<Problem> {
    let items = answer.items("problems");
    let of = |problem: &Answer| {
        let (step, field) = (problem.text("step").map(str::to_owned), problem.shown("field"));
        let place = document.place(step.as_deref(), &field);
        Problem { place, step, field, message: problem.shown("message") }
    };
    items.iter().map(of).collect()
}

/// A submit that failed because of what was submitted, with each problem at its line; other failures as they are.
pub(in crate::cli) async fn explained(
    client: &NodeClient,
    document: &Document,
    arguments: &RunArgs,
    error: ClientError,
) -> Failure {
    if error.code() != ErrorCode::InvalidWorkflow {
        return error.into();
    }
    match client.validate_workflow(arguments).await.map(|answer| problems(document, &answer)) {
        Ok(problems) if !problems.is_empty() => refused(&problems),
        // It could be run by now (a tool came), or cannot be asked for: what was said at first holds.
        Ok(_) | Err(_) => error.into(),
    }
}

fn refused(problems: &[Problem]) -> Failure {
    let lines: Vec<String> = problems.iter().map(Problem::line).collect();
    let message = match lines.as_slice() {
        [only] => format!("workflow cannot be run: {only}"),
        several => format!(
            "workflow cannot be run, {}:\n  {}",
            counted(several.len() as u64, "problem"),
            several.join("\n  ")
        ),
    };
    let details: Vec<Value> = problems.iter().map(Problem::json).collect();
    Failure::new(ErrorCode::InvalidWorkflow, message).with("problems", details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_is_told_with_its_place_its_step_and_its_field() {
        let text = "name: w\nsteps:\n  - id: a\n    tool: echoo\n";
        let document = Document::of_text("w.yaml", text).unwrap();
        let answer = Answer(json!({"problems": [
            {"step": "a", "field": "tool", "message": "no tool \"echoo\": did you mean echo?"},
            {"step": null, "field": "output", "message": "is empty"},
        ]}));
        let found = problems(&document, &answer);
        let lines: Vec<String> = found.iter().map(Problem::line).collect();
        let expected = [
            "w.yaml:4:11: step a: tool: no tool \"echoo\": did you mean echo?",
            "w.yaml:1:1: output: is empty",
        ];
        assert_eq!(lines, expected);
        let failure = refused(&found);
        assert_eq!(failure.exit(), Exit::Usage);
        let shown: Value = serde_json::from_str(&failure.render(true).unwrap()).unwrap();
        assert_eq!(shown["error"]["problems"][0]["place"], "w.yaml:4:11");
        let text = failure.render(false).unwrap();
        assert!(text.starts_with("error: workflow cannot be run, 2 problems:\n  w.yaml:4:11"), "{text}");
    }
}
