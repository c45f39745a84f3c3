//! `task`: submit, read, wait for, list, cancel, retry and change tasks.

mod change;
mod progress;
mod read;
mod submit;

use super::{Globals, input};
use crate::output::{Failure, Output};

const GET_EXAMPLES: &str = "\
Examples:
  meshwork task get 0193...                 where it stands, and why it waits
  meshwork task get 0193... --json | jq .history";

const WAIT_EXAMPLES: &str = "\
Examples:
  meshwork task wait 0193...                until it is finished; prints the result
  meshwork task wait 0193... --timeout 60   exit code 5 if it is not finished by then

Exit code 0: completed, 4: failed or cancelled, 5: still unfinished.";

const LIST_EXAMPLES: &str = "\
Examples:
  meshwork task list
  meshwork task list --status failed --type resize --limit 500
  meshwork task list --json | jq -r '.tasks[].task_id'";

const CANCEL_EXAMPLES: &str = "\
Examples:
  meshwork task cancel 0193... --reason 'no longer needed'
  meshwork task list --status queued --json | jq -r '.tasks[].task_id' | xargs meshwork task cancel";

const RETRY_EXAMPLES: &str = "\
Examples:
  meshwork task retry 0193...               again, with its history kept
  meshwork task retry 0193... --delay 60";

const UPDATE_EXAMPLES: &str = "\
Examples:
  meshwork task update 0193... --priority 9
  meshwork task update 0193... --label gpu --max-attempts 10";

/// What can be done with tasks.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub(crate) enum TaskCommand {
    /// Put a task into the queue
    Submit(Box<submit::SubmitArgs>),
    /// Show a task: where it stands, why it waits, its history and its result
    #[command(after_help = GET_EXAMPLES)]
    Get {
        /// Id of the task
        id: String,
        /// The peer (id or address) that owns it
        #[arg(long, value_name = "PEER")]
        peer: Option<String>,
    },
    /// Wait until a task is finished, and print its result
    #[command(after_help = WAIT_EXAMPLES)]
    Wait {
        /// Id of the task
        id: String,
        /// How long at most [default: until it is finished]
        #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
        timeout: Option<f64>,
        /// The peer (id or address) that owns it
        #[arg(long, value_name = "PEER")]
        peer: Option<String>,
    },
    /// List tasks, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List(read::ListOptions),
    /// Give up tasks, waiting or running
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel {
        /// Ids of the tasks
        #[arg(required = true)]
        ids: Vec<String>,
        /// Why; it is kept with the task
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The peer (id or address) that owns them
        #[arg(long, value_name = "PEER")]
        peer: Option<String>,
    },
    /// Put finished tasks back into the queue
    #[command(after_help = RETRY_EXAMPLES)]
    Retry {
        /// Ids of the tasks
        #[arg(required = true)]
        ids: Vec<String>,
        /// Not before so many seconds
        #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
        delay: Option<f64>,
        /// The peer (id or address) that owns them
        #[arg(long, value_name = "PEER")]
        peer: Option<String>,
    },
    /// Change what may be changed of an unfinished task
    #[command(after_help = UPDATE_EXAMPLES)]
    Update(change::UpdateOptions),
}

pub(super) async fn execute(command: &TaskCommand, globals: &Globals, output: Output) -> Result<(), Failure> {
    if let TaskCommand::Submit(args) = command {
        // Looked at before connecting: a wrong payload is told also without a node.
        let arguments = args.arguments()?;
        return submit::execute(args, &arguments, &globals.connect().await?, output).await;
    }
    let client = globals.connect().await?;
    match command {
        TaskCommand::Submit(_) => Ok(()),
        TaskCommand::Get { id, peer } => read::get(&client, id, peer.as_deref(), output).await,
        TaskCommand::Wait { id, timeout, peer } => {
            let end =
                progress::wait(&client, id, peer.as_deref(), timeout.map(input::duration), output).await?;
            progress::report(&end, output)
        }
        TaskCommand::List(options) => read::list(&client, options, output).await,
        TaskCommand::Cancel { ids, reason, peer } => {
            change::cancel(&client, ids, reason.as_deref(), peer.as_deref(), output).await
        }
        TaskCommand::Retry { ids, delay, peer } => {
            change::retry(&client, ids, *delay, peer.as_deref(), output).await
        }
        TaskCommand::Update(options) => change::update(&client, options, output).await,
    }
}
