//! `workflow run` and `workflow submit`: from a file to a run.

use super::validate::explained;
use super::watch::{self, WatchOptions};
use crate::cli::Globals;
use crate::cli::document::{self, Document};
use crate::client::{NodeClient, RunArgs};
use crate::output::{Failure, Output};

const RUN_EXAMPLES: &str = "\
Examples:
  meshwork workflow run greet.yaml --input who=ada
      Shows the run as a live tree, and prints its output.
  meshwork workflow run build.yaml --inputs-file inputs.json --json | jq .output
  meshwork workflow run greet.yaml --target-peer 12D3KooW... --target-peer 12D3KooX...
      Only these two peers work on its steps.
  meshwork workflow run greet.yaml --detach
      Prints the id of the run and does not wait, as `meshwork workflow submit` does.

Ctrl-C ends the watching, not the run. Exit code 0: completed, 4: failed or cancelled, 5: still unfinished,
2: the workflow is wrong (each problem is told with its line).";

/// Beside the command and not at its options, which those of `run` contain.
pub(super) const SUBMIT_EXAMPLES: &str = "\
Examples:
  id=$(meshwork workflow submit greet.yaml --input who=ada)
      The id is all that is printed to standard output.
  meshwork workflow submit nightly.yaml --idempotency-key \"$DATE\" --json
      The same key, workflow and inputs twice is one run.
  make-workflow | meshwork workflow submit -";

/// What is run, and with what.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct WorkOptions {
    /// The workflow: a file in YAML or JSON, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
    /// An input, may be given several times; the value is JSON if it can be read as that, and text otherwise
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) input: Vec<String>,
    /// A file in YAML or JSON with the inputs by name; --input goes over it
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs_file: Option<String>,
    /// Tools that nobody serves now are no error: their steps wait until somebody does
    #[arg(long)]
    pub(crate) allow_unknown_tools: bool,
    /// The peer (id or address) that coordinates it [default: the node itself]
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

impl WorkOptions {
    /// The definition as it was written, and the arguments of the MCP tools.
    pub(super) fn read(&self) -> Result<(Document, RunArgs), Failure> {
        if self.file == "-" && self.inputs_file.as_deref() == Some("-") {
            return Err(Failure::usage("standard input can be the workflow or the inputs, not both"));
        }
        let document = Document::read("workflow", &self.file)?;
        document.object()?;
        let arguments = RunArgs {
            workflow: document.value().clone(),
            inputs: document::inputs(document.value(), self.inputs_file.as_deref(), &self.input)?,
            allow_unknown_tools: self.allow_unknown_tools,
            peer: self.peer.clone(),
            ..RunArgs::default()
        };
        Ok((document, arguments))
    }
}

/// Arguments of `workflow submit`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct SubmitOptions {
    /// What is run.
    #[command(flatten)]
    pub(crate) work: WorkOptions,
    /// A peer (id) that may work on its steps, may be given several times [default: any]
    #[arg(long, value_name = "PEER_ID")]
    pub(crate) target_peer: Vec<String>,
    /// The same key, workflow and inputs again gives the first run again
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Arguments of `workflow run`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunOptions {
    /// What is submitted.
    #[command(flatten)]
    pub(crate) submit: SubmitOptions,
    /// Print the id of the run and do not wait for its end
    #[arg(long, conflicts_with_all = ["timeout", "cancel_on_interrupt"])]
    pub(crate) detach: bool,
    /// How it is watched.
    #[command(flatten)]
    pub(crate) watch: WatchOptions,
}

impl SubmitOptions {
    fn read(&self) -> Result<(Document, RunArgs), Failure> {
        let (document, arguments) = self.work.read()?;
        let arguments = RunArgs {
            target_peers: self.target_peer.iter().cloned().collect(),
            idempotency_key: self.idempotency_key.clone(),
            ..arguments
        };
        Ok((document, arguments))
    }
}

pub(super) async fn submit(
    options: &SubmitOptions,
    globals: &Globals,
    output: Output,
) -> Result<(), Failure> {
    // Looked at before connecting: a file that cannot be read is told also without a node.
    let (document, arguments) = options.read()?;
    let client = globals.connect().await?;
    begin(&client, &document, &arguments, output).await
}

async fn begin(
    client: &NodeClient,
    document: &Document,
    arguments: &RunArgs,
    output: Output,
) -> Result<(), Failure> {
    let (submitted, answer) = match client.submit_run(arguments).await {
        Ok(submitted) => submitted,
        Err(error) => return Err(explained(client, document, arguments, error).await),
    };
    if output.is_json() {
        return output.json(&answer.0);
    }
    output.note(if submitted.existing == Some(true) {
        format!("{}; it was submitted before with this key", submitted.state)
    } else {
        submitted.state
    });
    output.line(&submitted.workflow_id)
}

pub(super) async fn run(options: &RunOptions, globals: &Globals, output: Output) -> Result<(), Failure> {
    let (document, arguments) = options.submit.read()?;
    let client = globals.connect().await?;
    if options.detach {
        return begin(&client, &document, &arguments, output).await;
    }
    let submitted = match client.submit_run(&arguments).await {
        Ok((submitted, _)) => submitted,
        Err(error) => return Err(explained(&client, &document, &arguments, error).await),
    };
    if submitted.existing == Some(true) {
        output.note("this run was submitted before with this key");
    }
    // By its id: an address may lead to somebody else the next time.
    let peer = arguments.peer.as_ref().map(|_| submitted.peer_id.as_str());
    watch::watch(&client, &submitted.workflow_id, peer, &options.watch, output).await
}
