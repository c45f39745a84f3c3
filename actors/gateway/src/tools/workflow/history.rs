//! `p2p_workflow_history`: everything that happened in a run.

use super::{RunAt, ask_for, run_id};
use crate::node::{Node, PATIENCE};
use crate::tools::input::page;
use crate::tools::record::at;
use crate::tools::{Failure, Hints, MeshTool, READS};
use meshwork_proto::MeshError;
use meshwork_proto::workflow::{GetHistory, HistoryEntry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Entries on a page of the resource.
const WHOLE_PAGE: u32 = 1000;

/// Reads a history.
pub(crate) struct HistoryTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryIn {
    /// The run's id.
    workflow_id: String,
    /// next_after of the page before; from the start if absent.
    after: Option<u64>,
    /// At most so many entries. 50 if absent.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// Peer at which it was submitted, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EntryOut {
    /// Number of the entry, from 1.
    seq: u64,
    /// When, in seconds since 1970-01-01 UTC.
    at: f64,
    /// What: a name that stays the same, such as step_started.
    kind: String,
    /// The step it happened to.
    step: Option<String>,
    /// The item of that step, from 0.
    item: Option<u32>,
    /// The same as a sentence.
    text: String,
    /// Everything that is known of it.
    detail: Value,
}

impl From<&HistoryEntry> for EntryOut {
    fn from(entry: &HistoryEntry) -> Self {
        Self {
            seq: entry.seq,
            at: at(entry.at),
            kind: entry.kind.clone(),
            step: entry.step.clone(),
            item: entry.item,
            text: entry.text.clone(),
            detail: entry.detail.to_value(),
        }
    }
}

/// A page of a history, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HistoryOut {
    /// The run's id.
    workflow_id: String,
    /// The peer that coordinates it.
    peer_id: String,
    /// What happened.
    entries: Vec<EntryOut>,
    /// Give it as after to get the next page; null at the end.
    next_after: Option<u64>,
}

impl MeshTool for HistoryTool {
    const NAME: &'static str = "p2p_workflow_history";
    const TITLE: &'static str = "History of a workflow";
    const DESCRIPTION: &'static str = "Gives what happened in a run, oldest first, page by page: each decision of the \
        coordinator, each attempt of a step with who ran it and how it ended, waits, signals, hand-overs.";
    const EXAMPLE: &'static str = r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "limit": 100}"#;
    const HINTS: Hints = READS;
    type Input = HistoryIn;
    type Output = HistoryOut;

    async fn run(node: &Node, input: HistoryIn) -> Result<HistoryOut, Failure> {
        let run = RunAt { id: run_id(&input.workflow_id)?, at: node.at(input.peer.as_deref())? };
        Ok(get(node, &run, input.after, page(input.limit)?).await?)
    }
}

async fn get(node: &Node, run: &RunAt, after: Option<u64>, limit: u32) -> Result<HistoryOut, MeshError> {
    let id = run.id;
    let answer = ask_for(node, &run.at, id, GetHistory { id, after, limit }, PATIENCE).await?;
    Ok(HistoryOut {
        workflow_id: id.to_string(),
        peer_id: answer.peer.to_string(),
        entries: answer.value.entries.iter().map(EntryOut::from).collect(),
        next_after: answer.value.next,
    })
}

/// Reads a page of the history behind an entry, as long as pages are.
pub(crate) async fn read(node: &Node, run: &RunAt, after: Option<u64>) -> Result<HistoryOut, MeshError> {
    get(node, run, after, WHOLE_PAGE).await
}
