//! `schedule`: what is started at times, by cron expressions and intervals.

mod add;
mod show;

use super::Globals;
use crate::cli::many::{Many, Says};
use crate::client::ScheduleControl;
use crate::output::{Failure, Output};

const LIST_EXAMPLES: &str = "\
Examples:
  meshwork schedule list
  meshwork schedule list nightly                    its latest starts too
  meshwork schedule list --json | jq -r '.schedules[] | select(.paused) | .name'";

const PAUSE_EXAMPLES: &str = "\
Examples:
  meshwork schedule pause nightly";

const RESUME_EXAMPLES: &str = "\
Examples:
  meshwork schedule resume nightly          what is made up for is decided by --missed of `schedule add`";

const REMOVE_EXAMPLES: &str = "\
Examples:
  meshwork schedule remove nightly          what it has started goes on";

const TRIGGER_EXAMPLES: &str = "\
Examples:
  meshwork schedule trigger nightly         starts it once now, beside its times";

/// Which schedules, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct Names {
    /// Names or ids of the schedules
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The peer (id or address) that keeps them
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

/// What can be done with schedules.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Start a task or a workflow at times
    Add(Box<add::AddOptions>),
    /// List schedules, with their next and latest starts
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Only this one, with its latest starts
        name: Option<String>,
        /// The peer (id or address) whose schedules are listed
        #[arg(long, value_name = "PEER")]
        peer: Option<String>,
    },
    /// Start nothing until the schedule is resumed
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(Names),
    /// Go on with a paused schedule
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(Names),
    /// Forget a schedule
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(Names),
    /// Start what is scheduled once now
    #[command(after_help = TRIGGER_EXAMPLES)]
    Trigger(Names),
}

pub(super) async fn execute(
    command: &ScheduleCommand,
    globals: &Globals,
    output: Output,
) -> Result<(), Failure> {
    use ScheduleCommand as C;
    match command {
        C::Add(options) => add::execute(options, globals, output).await,
        C::List { name, peer } => {
            let client = globals.connect().await?;
            show::list(&client, name.as_deref(), peer.as_deref(), output).await
        }
        C::Pause(names) => control(names, ScheduleControl::Pause, globals, output).await,
        C::Resume(names) => control(names, ScheduleControl::Resume, globals, output).await,
        C::Remove(names) => control(names, ScheduleControl::Remove, globals, output).await,
        C::Trigger(names) => control(names, ScheduleControl::Trigger, globals, output).await,
    }
}

async fn control(
    names: &Names,
    control: ScheduleControl,
    globals: &Globals,
    output: Output,
) -> Result<(), Failure> {
    let client = globals.connect().await?;
    let done = match control {
        ScheduleControl::Pause => "paused",
        ScheduleControl::Resume => "resumed",
        ScheduleControl::Remove => "removed",
        ScheduleControl::Trigger => "started",
    };
    let mut all = Many::new(output, "name", Says::Word(done), names.names.len());
    for name in &names.names {
        all.done(name, client.control_schedule(name, control, names.peer.as_deref()).await)?;
    }
    all.end()
}
