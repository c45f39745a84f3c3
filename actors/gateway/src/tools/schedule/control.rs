//! `p2p_schedule_pause`, `_resume`, `_remove` and `_trigger`.

use super::record::ScheduleRecord;
use crate::node::{Node, PATIENCE};
use crate::tools::{Failure, Hints, MeshTool};
use meshwork_proto::schedule::{ControlSchedule, ScheduleAction};
use schemars::JsonSchema;
use serde::Deserialize;

/// Arguments of all of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleIn {
    /// The schedule's name or id.
    schedule: String,
    /// Peer that keeps it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

async fn change(node: &Node, input: ScheduleIn, action: ScheduleAction) -> Result<ScheduleRecord, Failure> {
    let at = node.at(input.peer.as_deref())?;
    let answer = node.ask(&at, ControlSchedule { which: input.schedule, action }, PATIENCE).await?;
    Ok(ScheduleRecord::new(&answer.peer, &answer.value))
}

/// Starts nothing until it is resumed.
pub(crate) struct PauseTool;

impl MeshTool for PauseTool {
    const NAME: &'static str = "p2p_schedule_pause";
    const TITLE: &'static str = "Pause a schedule";
    const DESCRIPTION: &'static str = "Has a schedule start nothing until it is resumed with p2p_schedule_resume. What it \
        started already goes on.";
    const EXAMPLE: &'static str = r#"{"schedule": "nightly"}"#;
    const HINTS: Hints = Hints { read_only: false, destructive: false, idempotent: true, open_world: false };
    type Input = ScheduleIn;
    type Output = ScheduleRecord;

    async fn run(node: &Node, input: ScheduleIn) -> Result<ScheduleRecord, Failure> {
        change(node, input, ScheduleAction::Pause).await
    }
}

/// Goes on.
pub(crate) struct ResumeTool;

impl MeshTool for ResumeTool {
    const NAME: &'static str = "p2p_schedule_resume";
    const TITLE: &'static str = "Resume a schedule";
    const DESCRIPTION: &'static str = "Lets a paused schedule go on. Times that passed meanwhile are treated by its rule \
        for missed times.";
    const EXAMPLE: &'static str = r#"{"schedule": "nightly"}"#;
    // Missed times may be made up for, by tools that may do anything.
    const HINTS: Hints = Hints { read_only: false, destructive: false, idempotent: true, open_world: true };
    type Input = ScheduleIn;
    type Output = ScheduleRecord;

    async fn run(node: &Node, input: ScheduleIn) -> Result<ScheduleRecord, Failure> {
        change(node, input, ScheduleAction::Resume).await
    }
}

/// Forgets a schedule.
pub(crate) struct RemoveTool;

impl MeshTool for RemoveTool {
    const NAME: &'static str = "p2p_schedule_remove";
    const TITLE: &'static str = "Remove a schedule";
    const DESCRIPTION: &'static str = "Forgets a schedule, and gives it as it was. What it started already goes on: cancel \
        that with p2p_taskqueue_cancel or p2p_workflow_cancel.";
    const EXAMPLE: &'static str = r#"{"schedule": "nightly"}"#;
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: false };
    type Input = ScheduleIn;
    type Output = ScheduleRecord;

    async fn run(node: &Node, input: ScheduleIn) -> Result<ScheduleRecord, Failure> {
        change(node, input, ScheduleAction::Remove).await
    }
}

/// Starts once now.
pub(crate) struct TriggerTool;

impl MeshTool for TriggerTool {
    const NAME: &'static str = "p2p_schedule_trigger";
    const TITLE: &'static str = "Start a schedule now";
    const DESCRIPTION: &'static str = "Starts what a schedule starts once now, beside its times; the latest of its starts \
        (last) then names the task or the run.";
    const EXAMPLE: &'static str = r#"{"schedule": "nightly"}"#;
    // The tool that it has run may do anything.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: false, open_world: true };
    type Input = ScheduleIn;
    type Output = ScheduleRecord;

    async fn run(node: &Node, input: ScheduleIn) -> Result<ScheduleRecord, Failure> {
        change(node, input, ScheduleAction::Trigger).await
    }
}
