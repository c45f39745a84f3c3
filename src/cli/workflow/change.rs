//! `workflow cancel`, `pause`, `resume`, `retry`, `signal` and `coordinate`.

use crate::cli::input;
use crate::cli::many::{Many, Says};
use crate::client::{Answer, CoordinateArgs, NodeClient, RunControl};
use crate::output::{Failure, Output};

const CANCEL_EXAMPLES: &str = "\
Examples:
  meshwork workflow cancel 0193... --reason 'no longer needed'
  meshwork workflow cancel 0193... --compensate
      What completed and has a compensation is taken back, the latest first.";

const RETRY_EXAMPLES: &str = "\
Examples:
  meshwork workflow retry 0193...                    steps that completed stay so
  meshwork workflow retry 0193... --from resize      that step and all that need it run again";

const SIGNAL_EXAMPLES: &str = "\
Examples:
  meshwork workflow signal 0193... approved
  meshwork workflow signal 0193... approved --payload '{\"by\": \"ada\"}'
      The payload is the output of the step that waits for the signal.";

const COORDINATE_EXAMPLES: &str = "\
Examples:
  meshwork workflow coordinate 0193...                          who coordinates it, and who may work on it
  meshwork workflow coordinate 0193... --target-peer 12D3KooW... --target-peer 12D3KooX...
  meshwork workflow coordinate 0193... --discover               the peers that are connected now
  meshwork workflow coordinate 0193... --any-peer               every peer may work on it
  meshwork workflow coordinate 0193... --coordinator 12D3KooW...
      Hands the run over: that peer coordinates it from now on.
  meshwork workflow coordinate 0193... --take-back
      Keeps a run whose next coordinator does not answer. If that peer has taken the run over without being heard, both
      go on with it, and steps may run twice, until the run is handed over to it once more.";

/// Which runs, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct RunIds {
    /// Ids of the runs
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// The peer (id or address) that coordinates them
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `workflow cancel`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = CANCEL_EXAMPLES)]
pub(crate) struct CancelOptions {
    /// Which.
    #[command(flatten)]
    pub(crate) runs: RunIds,
    /// Why; it is kept with the run
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Take back what completed and has a compensation
    #[arg(long)]
    pub(crate) compensate: bool,
}

/// Arguments of `workflow retry`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = RETRY_EXAMPLES)]
pub(crate) struct RetryOptions {
    /// Which.
    #[command(flatten)]
    pub(crate) runs: RunIds,
    /// The step from which on it runs again, whatever became of it [default: what has not completed]
    #[arg(long, value_name = "STEP")]
    pub(crate) from: Option<String>,
}

/// Arguments of `workflow signal`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = SIGNAL_EXAMPLES)]
pub(crate) struct SignalOptions {
    /// Id of the run
    pub(crate) id: String,
    /// Name of the signal
    #[arg(value_name = "SIGNAL")]
    pub(crate) signal: String,
    /// What comes with it: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) payload: Option<String>,
    /// The peer (id or address) that coordinates the run
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `workflow coordinate`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = COORDINATE_EXAMPLES)]
pub(crate) struct CoordinateOptions {
    /// Id of the run
    pub(crate) id: String,
    /// A peer (id) that may work on its steps and coordinate its sub-workflows, may be given several times
    #[arg(long, value_name = "PEER_ID", conflicts_with_all = ["any_peer", "discover"])]
    pub(crate) target_peer: Vec<String>,
    /// Those peers may work on it that are connected to its coordinator now, and it itself
    #[arg(long, conflicts_with = "any_peer")]
    pub(crate) discover: bool,
    /// Every peer may work on it
    #[arg(long)]
    pub(crate) any_peer: bool,
    /// Who is to coordinate it from now on
    #[arg(long, value_name = "PEER_ID")]
    pub(crate) coordinator: Option<String>,
    /// Keep a run that is being handed over to a peer that does not answer, although that peer may have it
    #[arg(long, conflicts_with = "coordinator")]
    pub(crate) take_back: bool,
    /// The peer (id or address) that coordinates it now
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn cancel(
    options: &CancelOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let runs = &options.runs;
    let mut all = Many::new(output, "workflow_id", Says::Member("state"), runs.ids.len());
    for id in &runs.ids {
        let (reason, peer) = (options.reason.as_deref(), runs.peer.as_deref());
        all.done(id, client.cancel_run(id, reason, options.compensate, peer).await)?;
    }
    all.end()
}

/// Pauses, resumes or retries runs.
pub(super) async fn control(
    runs: &RunIds,
    control: &RunControl,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let mut all = Many::new(output, "workflow_id", Says::Member("state"), runs.ids.len());
    for id in &runs.ids {
        all.done(id, client.control_run(id, control, runs.peer.as_deref()).await)?;
    }
    all.end()
}

pub(super) async fn signal(
    options: &SignalOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let payload = options.payload.as_deref().map(|text| input::json("--payload", text)).transpose()?;
    let mut one = Many::new(output, "workflow_id", Says::Member("state"), 1);
    let answer = client.signal_run(&options.id, &options.signal, payload, options.peer.as_deref()).await;
    one.done(&options.id, answer)?;
    one.end()
}

pub(super) async fn coordinate(
    options: &CoordinateOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let named = options.any_peer || !options.target_peer.is_empty();
    let arguments = CoordinateArgs {
        workflow_id: options.id.clone(),
        target_peers: named.then(|| options.target_peer.clone()),
        discover: options.discover,
        coordinator: options.coordinator.clone(),
        take_back: options.take_back,
        peer: options.peer.clone(),
    };
    let answer = client.coordinate_run(&arguments).await?;
    if output.is_json() { output.json(&answer.0) } else { output.line(coordinated(&answer)) }
}

/// Who coordinates a run, in lines.
fn coordinated(answer: &Answer) -> String {
    let mut lines = vec![format!(
        "coordinated by {}, epoch {}",
        answer.shown("peer_id"),
        answer.whole("epoch").unwrap_or(0)
    )];
    if let Some(next) = answer.text("moving_to") {
        lines.push(format!("moving to {next}: its running steps end first"));
    }
    let others: Vec<String> = answer.texts("coordinating_peers").into_iter().skip(1).collect();
    if !others.is_empty() {
        lines.push(format!("with {}", others.join(", ")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_coordinates_a_run_is_told_with_where_it_moves() {
        let answer = Answer(json!({
            "workflow_id": "0193", "peer_id": "a", "moving_to": "b", "coordinating_peers": ["a", "c", "d"], "epoch": 2,
        }));
        let expected = "coordinated by a, epoch 2\nmoving to b: its running steps end first\nwith c, d";
        assert_eq!(coordinated(&answer), expected);
        let alone =
            Answer(json!({"peer_id": "a", "coordinating_peers": ["a"], "epoch": 1, "moving_to": null}));
        assert_eq!(coordinated(&alone), "coordinated by a, epoch 1");
    }
}
