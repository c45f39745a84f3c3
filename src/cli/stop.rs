//! `stop` and `drain`.

use super::input;
use crate::client::NodeClient;
use crate::output::{Failure, Output, counted, duration};

const EXAMPLES: &str = "\
Examples:
  meshwork stop                     running tasks may take as long as the node allows
  meshwork stop --deadline 5        give the rest back to their queues after five seconds
  meshwork drain --peer 12D3KooW...  another node, which must have made this one its admin";

/// Arguments of `stop` and `drain`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StopArgs {
    /// How long running tasks may still take; the rest is given back to be run elsewhere
    #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
    pub(crate) deadline: Option<f64>,
    /// The peer to stop (id or address) instead of the node itself
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn execute(
    args: &StopArgs,
    exit: bool,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let deadline = args.deadline.map(input::duration);
    let answer = client.shutdown(deadline, exit, args.peer.as_deref()).await?;
    if output.is_json() {
        return output.json(&answer.0);
    }
    let what = if exit { "stopping" } else { "draining, it takes no new work" };
    let time = answer.number("deadline_s").map(duration).unwrap_or_default();
    output.line(match answer.whole("running").unwrap_or(0) {
        0 => format!("{what}; no task is running"),
        running => format!("{what}; {} running, with {time} to end", counted(running, "task")),
    })
}
