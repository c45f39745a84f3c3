//! `p2p_workflow_list`: runs, newest first.

use super::record::RunSummaryOut;
use super::run_id;
use crate::node::{Node, PATIENCE};
use crate::tools::input::{invalid, page};
use crate::tools::{Failure, Hints, MeshTool, READS};
use meshwork_proto::workflow::{ListRuns, RunState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lists runs.
pub(crate) struct ListTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListIn {
    /// Only runs in this state.
    #[schemars(extend("enum" = ["pending", "running", "paused", "completed", "failed", "cancelled", null]))]
    state: Option<String>,
    /// Only runs of workflows with this name.
    name: Option<String>,
    /// At most so many. 50 if absent.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// next_cursor of the page before.
    cursor: Option<String>,
    /// Peer whose runs to list, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// A page of runs, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListOut {
    /// The peer that has them.
    peer_id: String,
    /// The runs.
    runs: Vec<RunSummaryOut>,
    /// Give it as cursor to get the next page; null at the end.
    next_cursor: Option<String>,
}

impl MeshTool for ListTool {
    const NAME: &'static str = "p2p_workflow_list";
    const TITLE: &'static str = "List workflow runs";
    const DESCRIPTION: &'static str = "Lists runs of workflows, newest first, page by page, of one state or name if wanted. \
        A member of the mesh sees the runs it submitted; clients of the node itself see all.";
    const EXAMPLE: &'static str = r#"{"state": "running", "limit": 20}"#;
    const HINTS: Hints = READS;
    type Input = ListIn;
    type Output = ListOut;

    async fn run(node: &Node, input: ListIn) -> Result<ListOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let state: Option<RunState> = input
            .state
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|problem| invalid(format!("state: {problem}")))?;
        let Ok(cursor) = input.cursor.as_deref().map(run_id).transpose() else {
            return Err(Failure::invalid(
                "cursor is not one that this tool gave: use next_cursor as it came",
            ));
        };
        let list = ListRuns { state, name: input.name, limit: page(input.limit)?, cursor };
        let answer = node.ask(&at, list, PATIENCE).await?;
        Ok(ListOut {
            peer_id: answer.peer.to_string(),
            runs: answer.value.runs.iter().map(RunSummaryOut::from).collect(),
            next_cursor: answer.value.next.map(|id| id.to_string()),
        })
    }
}
