//! `p2p_workflow_status`: where a run stands, with its steps and its result.

use super::ask_for;
use super::record::RunRecord;
use super::run_id;
use crate::node::{Answer, At, Node, PATIENCE, millis};
use crate::tools::input::{MAX_WAIT_S, seconds};
use crate::tools::{Failure, Hints, Listener, MeshTool, READS, document};
use meshwork_proto::workflow::{GetRun, RunState, RunView, StepState};
use meshwork_proto::{MeshError, PeerId, RunId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// A client hears at most so often how far a run is, however fast that is.
const PAUSE: Duration = Duration::from_millis(250);

/// Reads a run.
pub(crate) struct StatusTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusIn {
    /// The run's id.
    workflow_id: String,
    /// Seconds to wait for the end of the run, at most 60; 0 if absent. Ask again while it is not finished.
    #[schemars(range(min = 0, max = 60))]
    wait_s: Option<f64>,
    /// With wait_s: the version that you know; waits until the run has another one, instead of for its end.
    seen_version: Option<u64>,
    /// Whether to give the steps (true if absent).
    steps: Option<bool>,
    /// Peer at which it was submitted, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl MeshTool for StatusTool {
    const NAME: &'static str = "p2p_workflow_status";
    const TITLE: &'static str = "Read a run of a workflow";
    const DESCRIPTION: &'static str = "Gives where a run stands: each step with its state, peer, attempt and error, who \
        coordinates it, what it waits for, and the result when it completed. Waits for its end if asked to, and says \
        meanwhile how far it is (progress). A run that failed is no error of this tool: state is then failed, and error \
        says why.";
    const EXAMPLE: &'static str = r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "wait_s": 30}"#;
    const HINTS: Hints = READS;
    type Input = StatusIn;
    type Output = RunRecord;

    async fn run(node: &Node, input: StatusIn) -> Result<RunRecord, Failure> {
        Self::run_heard(node, input, &Listener::nobody()).await
    }

    async fn run_heard(node: &Node, input: StatusIn, listener: &Listener) -> Result<RunRecord, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = run_id(&input.workflow_id)?;
        let wait = seconds("wait_s", input.wait_s.unwrap_or(0.0), MAX_WAIT_S)?;
        let steps = input.steps.unwrap_or(true);
        let answer = match input.seen_version {
            Some(_) if wait.is_zero() => {
                return Err(Failure::invalid(
                    "seen_version is for waiting: give wait_s too, or leave it out",
                ));
            }
            seen @ Some(_) => get(node, &at, id, wait, seen, steps).await?,
            None => watch(node, &at, id, wait, steps, listener).await?,
        };
        shown(node, answer).await
    }
}

/// Reads a run with its steps and its result.
pub(crate) async fn read(node: &Node, at: &At, id: RunId) -> Result<RunRecord, Failure> {
    shown(node, get(node, at, id, Duration::ZERO, None, true).await?).await
}

async fn shown(node: &Node, answer: Answer<RunView>) -> Result<RunRecord, Failure> {
    let run = &answer.value;
    let (output, hint) = output(node, &answer.peer, run).await?;
    Ok(RunRecord::new(&answer.peer, run, output, hint))
}

/// The result of a run as an answer shows it, and what to do next when there is none yet.
pub(super) async fn output(
    node: &Node,
    peer: &PeerId,
    run: &RunView,
) -> Result<(Value, Option<String>), MeshError> {
    match &run.output {
        Some(output) => document::show(node, peer, output).await,
        None if run.state.is_finished() => Ok((Value::Null, None)),
        None => Ok((Value::Null, Some(not_yet(run.state)))),
    }
}

fn not_yet(state: RunState) -> String {
    match state {
        RunState::Paused => "the run is paused: p2p_workflow_resume lets it go on".to_owned(),
        _ => format!("the run is {state}: ask again with wait_s; waiting_for says what holds it up"),
    }
}

async fn get(
    node: &Node,
    at: &At,
    id: RunId,
    wait: Duration,
    seen: Option<u64>,
    steps: bool,
) -> Result<Answer<RunView>, MeshError> {
    let call = GetRun { id, wait_ms: millis(wait), seen, steps };
    ask_for(node, at, id, call, wait.saturating_add(PATIENCE)).await
}

/// Waits for the end of a run, at most so long. A listener hears meanwhile how many of its steps are finished.
pub(super) async fn watch(
    node: &Node,
    at: &At,
    id: RunId,
    wait: Duration,
    steps: bool,
    listener: &Listener,
) -> Result<Answer<RunView>, MeshError> {
    if wait.is_zero() || !listener.hears() {
        return get(node, at, id, wait, None, steps).await;
    }
    let end = Instant::now() + wait;
    let left = || end.saturating_duration_since(Instant::now());
    let mut run = get(node, at, id, Duration::ZERO, None, false).await?;
    while !run.value.state.is_finished() && !left().is_zero() && listener.hears() {
        tell(listener, &run.value).await;
        let told = run.value.version;
        // Ends early only when the run does.
        run = get(node, at, id, left().min(PAUSE), None, false).await?;
        if !run.value.state.is_finished() && run.value.version == told {
            run = get(node, at, id, left(), Some(told), false).await?;
        }
    }
    tell(listener, &run.value).await;
    // With its steps, or since nobody listens any more.
    if steps || !run.value.state.is_finished() {
        run = get(node, at, id, left(), None, steps).await?;
    }
    Ok(run)
}

async fn tell(listener: &Listener, run: &RunView) {
    let (done, all) = counted(run);
    listener.hear(done, all, in_words(run)).await;
}

/// Finished steps, and all.
fn counted(run: &RunView) -> (u32, u32) {
    run.counts.iter().fold((0, 0), |(done, all): (u32, u32), (state, count)| {
        let finished = if state.is_finished() { *count } else { 0 };
        (done.saturating_add(finished), all.saturating_add(*count))
    })
}

/// Where a run stands, as a sentence.
pub(crate) fn in_words(run: &RunView) -> String {
    let (done, all) = counted(run);
    let mut text = format!("{}: {done} of {all} steps are finished", run.state);
    let busy: Vec<String> = run
        .counts
        .iter()
        .filter(|(state, count)| !state.is_finished() && *state != StepState::Pending && *count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if !busy.is_empty() {
        text.push_str(&format!(" ({})", busy.join(", ")));
    }
    if let Some(waiting) = &run.waiting_for {
        text.push_str(&format!("; waits for: {waiting}"));
    }
    text
}
