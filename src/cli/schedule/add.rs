//! `schedule add`.

use super::show;
use crate::cli::document::{self, Document};
use crate::cli::workflow::explained;
use crate::cli::{Globals, input};
use crate::client::{RunArgs, ScheduleArgs, SubmitArgs};
use crate::output::{Failure, Output};

const EXAMPLES: &str = "\
Examples:
  meshwork schedule add nightly --cron '0 3 * * *' --timezone Europe/Berlin --workflow nightly.yaml
  meshwork schedule add beat --every 30s --task echo --payload '{\"text\": \"alive\"}'
  meshwork schedule add report --cron '0 9 * * MON-FRI' --workflow report.yaml --input days=1 --no-overlap --missed skip

A cron expression has five fields (minute, hour, day, month, weekday), or six with seconds first. The same name with the
same content again is no error; with other content it is.";

/// Arguments of `schedule add`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("when").required(true).args(["cron", "every"]))]
#[command(group = clap::ArgGroup::new("what").required(true).args(["workflow", "task"]))]
pub(crate) struct AddOptions {
    /// Name of the schedule, unique on its node
    pub(crate) name: String,
    /// Start by a cron expression
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: Option<String>,
    /// Time zone of the expression, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "NAME", conflicts_with = "every")]
    pub(crate) timezone: Option<String>,
    /// Start every so often, such as 30s, 5m or 1d
    #[arg(long, value_name = "TIME", value_parser = input::seconds)]
    pub(crate) every: Option<f64>,
    /// What becomes of times that pass while the node is down or the schedule is paused [default: once]
    #[arg(long, value_name = "RULE", value_parser = ["skip", "once", "all"])]
    pub(crate) missed: Option<String>,
    /// Leave a start out while the last one is not finished
    #[arg(long)]
    pub(crate) no_overlap: bool,
    /// The peer (id or address) that keeps it [default: the node itself]
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// Start this workflow: a file in YAML or JSON, or - for standard input
    #[arg(long, value_name = "FILE", help_heading = "What is started")]
    pub(crate) workflow: Option<String>,
    /// An input of the workflow, may be given several times; JSON if it can be read as that, and text otherwise
    #[arg(long, short, value_name = "NAME=VALUE", conflicts_with = "task", help_heading = "What is started")]
    pub(crate) input: Vec<String>,
    /// A file in YAML or JSON with the inputs by name; --input goes over it
    #[arg(long, value_name = "FILE", conflicts_with = "task", help_heading = "What is started")]
    pub(crate) inputs_file: Option<String>,
    /// A peer (id) that may work on the steps of the workflow, may be given several times [default: any]
    #[arg(long, value_name = "PEER_ID", conflicts_with = "task", help_heading = "What is started")]
    pub(crate) target_peer: Vec<String>,
    /// Tools of the workflow that nobody serves now are no error
    #[arg(long, conflicts_with = "task", help_heading = "What is started")]
    pub(crate) allow_unknown_tools: bool,
    /// Start a task of this type
    #[arg(long, value_name = "TYPE", help_heading = "What is started")]
    pub(crate) task: Option<String>,
    /// Payload of the task: JSON, @FILE, or - for standard input [default: {}]
    #[arg(long, value_name = "JSON", conflicts_with = "workflow", help_heading = "What is started")]
    pub(crate) payload: Option<String>,
    /// Priority of the task, 1 to 10; 10 runs first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    #[arg(conflicts_with = "workflow", help_heading = "What is started")]
    pub(crate) priority: Option<u8>,
    /// How often the task may be tried
    #[arg(long, value_name = "N", conflicts_with = "workflow", help_heading = "What is started")]
    pub(crate) max_attempts: Option<u32>,
    /// How long an attempt at the task may run
    #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
    #[arg(conflicts_with = "workflow", help_heading = "What is started")]
    pub(crate) task_timeout: Option<f64>,
    /// A label that the worker of the task must have, may be given several times
    #[arg(long, value_name = "LABEL", conflicts_with = "workflow", help_heading = "What is started")]
    pub(crate) label: Vec<String>,
}

impl AddOptions {
    /// The workflow, as it was written and as it is run.
    fn run(&self) -> Result<Option<(Document, RunArgs)>, Failure> {
        let Some(file) = &self.workflow else { return Ok(None) };
        let document = Document::read("--workflow", file)?;
        document.object()?;
        let arguments = RunArgs {
            workflow: document.value().clone(),
            inputs: document::inputs(document.value(), self.inputs_file.as_deref(), &self.input)?,
            target_peers: self.target_peer.iter().cloned().collect(),
            allow_unknown_tools: self.allow_unknown_tools,
            ..RunArgs::default()
        };
        Ok(Some((document, arguments)))
    }

    fn task(&self) -> Result<Option<SubmitArgs>, Failure> {
        let Some(task_type) = &self.task else { return Ok(None) };
        Ok(Some(SubmitArgs {
            task_type: task_type.clone(),
            payload: input::json("--payload", self.payload.as_deref().unwrap_or("{}"))?,
            priority: self.priority,
            max_attempts: self.max_attempts,
            timeout_s: self.task_timeout,
            labels: self.label.iter().cloned().collect(),
            ..SubmitArgs::default()
        }))
    }

    /// The arguments of the MCP tool.
    fn arguments(&self, task: Option<SubmitArgs>, run: Option<RunArgs>) -> ScheduleArgs {
        ScheduleArgs {
            name: self.name.clone(),
            cron: self.cron.clone(),
            timezone: self.timezone.clone(),
            every_s: self.every,
            missed: self.missed.clone(),
            no_overlap: self.no_overlap,
            task,
            run,
            peer: self.peer.clone(),
        }
    }
}

pub(super) async fn execute(options: &AddOptions, globals: &Globals, output: Output) -> Result<(), Failure> {
    // Looked at before connecting: a file that cannot be read is told also without a node.
    let run = options.run()?;
    let arguments = options.arguments(options.task()?, run.as_ref().map(|(_, run)| run.clone()));
    let client = globals.connect().await?;
    let answer = match (client.add_schedule(&arguments).await, &run) {
        (Ok(answer), _) => answer,
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some((document, run))) => {
            // The problems are those of the peer that was asked.
            let asked = RunArgs { peer: options.peer.clone(), ..run.clone() };
            return Err(explained(&client, document, &asked, error).await);
        }
    };
    if output.is_json() { output.json(&answer.0) } else { output.line(show::next(&answer)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, ClientCommand, Command, schedule::ScheduleCommand};
    use clap::Parser;
    use serde_json::json;

    fn options(line: &[&str]) -> AddOptions {
        let words = ["meshwork", "schedule", "add"].iter().chain(line);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Client(ClientCommand::Schedule(ScheduleCommand::Add(options))) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_task_every_so_often_asks_for_no_more_than_was_given() {
        let options =
            options(&["beat", "--every", "5m", "--task", "echo", "--payload", "{\"a\":1}", "--label", "gpu"]);
        let arguments = options.arguments(options.task().unwrap(), None);
        let expected = json!({
            "name": "beat", "every_s": 300.0, "task": {"task_type": "echo", "payload": {"a": 1}, "labels": ["gpu"]},
        });
        assert_eq!(serde_json::to_value(arguments).unwrap(), expected);
    }

    #[test]
    fn a_workflow_by_cron_is_read_from_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "name: n\nsteps: [{id: a, tool: echo}]\n").unwrap();
        let path = file.path().to_str().unwrap();
        let line = [
            "n",
            "--cron",
            "0 3 * * *",
            "--timezone",
            "Europe/Berlin",
            "--workflow",
            path,
            "-i",
            "x=1",
            "--no-overlap",
        ];
        let options = options(&line);
        let (_, run) = options.run().unwrap().unwrap();
        let arguments = serde_json::to_value(options.arguments(None, Some(run))).unwrap();
        assert_eq!(arguments["workflow"]["steps"][0]["tool"], "echo");
        assert_eq!(arguments["inputs"], json!({"x": 1}));
        assert_eq!((&arguments["cron"], &arguments["no_overlap"]), (&json!("0 3 * * *"), &json!(true)));
        assert!(options.task().unwrap().is_none());
    }
}
