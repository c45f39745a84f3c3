//! `workflow`: run, watch, read and steer workflows.

mod change;
mod history;
mod read;
mod run;
mod tree;
mod validate;
mod watch;

use super::Globals;
use crate::client::RunControl;
use crate::output::{Failure, Output};
use meshwork_kit::Clock;

pub(in crate::cli) use validate::explained;

const PAUSE_EXAMPLES: &str = "\
Examples:
  meshwork workflow pause 0193...           no further step is started; running ones end";

const RESUME_EXAMPLES: &str = "\
Examples:
  meshwork workflow resume 0193...";

/// What can be done with workflows.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub(crate) enum WorkflowCommand {
    /// Run a workflow, watch it as a live tree, and print its output
    Run(Box<run::RunOptions>),
    /// Run a workflow without waiting for it
    #[command(after_help = run::SUBMIT_EXAMPLES)]
    Submit(Box<run::SubmitOptions>),
    /// Show a run: its steps, where they are, and its output
    Status(read::StatusOptions),
    /// List runs, newest first
    List(read::ListOptions),
    /// Give up runs
    Cancel(change::CancelOptions),
    /// Show the graph of a run with the states of its steps
    Graph(read::GraphOptions),
    /// Show everything that happened in a run
    History(history::HistoryOptions),
    /// Run failed or cancelled runs on
    Retry(change::RetryOptions),
    /// Start no further steps of runs
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(change::RunIds),
    /// Go on with paused runs
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(change::RunIds),
    /// Send a signal to a run, for a step that waits for it
    Signal(change::SignalOptions),
    /// Spread a run over peers, or hand its coordination over to another one
    Coordinate(change::CoordinateOptions),
    /// Check a workflow without running anything
    Validate(validate::ValidateOptions),
    /// Print the JSON Schema of workflows
    Schema(validate::SchemaOptions),
}

/// What needs no node; none for the rest.
pub(super) fn offline(command: &WorkflowCommand, output: Output) -> Option<Result<(), Failure>> {
    match command {
        WorkflowCommand::Schema(_) => Some(validate::schema(output)),
        _ => None,
    }
}

pub(super) async fn execute(
    command: &WorkflowCommand,
    globals: &Globals,
    output: Output,
) -> Result<(), Failure> {
    use WorkflowCommand as C;
    match command {
        // Files are looked at before connecting: what is wrong with them is told also without a node.
        C::Run(options) => return run::run(options, globals, output).await,
        C::Submit(options) => return run::submit(options, globals, output).await,
        C::Validate(options) => return validate::execute(options, globals, output).await,
        _ => {}
    }
    let client = globals.connect().await?;
    match command {
        C::Run(_) | C::Submit(_) | C::Validate(_) | C::Schema(_) => Ok(()),
        C::Status(options) => read::status(options, &client, output).await,
        C::List(options) => read::list(options, &client, output).await,
        C::Cancel(options) => change::cancel(options, &client, output).await,
        C::Graph(options) => read::graph(options, &client, output).await,
        C::History(options) => history::execute(options, &client, output).await,
        C::Retry(options) => {
            change::control(&options.runs, &RunControl::Retry(options.from.clone()), &client, output).await
        }
        C::Pause(runs) => change::control(runs, &RunControl::Pause, &client, output).await,
        C::Resume(runs) => change::control(runs, &RunControl::Resume, &client, output).await,
        C::Signal(options) => change::signal(options, &client, output).await,
        C::Coordinate(options) => change::coordinate(options, &client, output).await,
    }
}

/// Seconds since the Unix epoch, the unit of the times in answers.
fn now() -> f64 {
    Clock::system().now().0 as f64 / 1e3
}
