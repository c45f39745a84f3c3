//! `p2p_schedule_list`: the schedules of a node.

use super::record::ScheduleRecord;
use crate::node::{Node, PATIENCE};
use crate::tools::{Failure, Hints, MeshTool, READS};
use meshwork_proto::schedule::ListSchedules;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lists schedules.
pub(crate) struct ListTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListIn {
    /// Only the schedule with this name.
    name: Option<String>,
    /// Peer whose schedules to list, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// The schedules, by name.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListOut {
    /// The peer that keeps them.
    peer_id: String,
    /// How many are listed.
    count: usize,
    /// The schedules.
    schedules: Vec<ScheduleRecord>,
}

impl MeshTool for ListTool {
    const NAME: &'static str = "p2p_schedule_list";
    const TITLE: &'static str = "List schedules";
    const DESCRIPTION: &'static str = "Lists the schedules of a node by name: what each starts and when, the next time, the \
        latest starts with their task or run, and how many times were skipped.";
    const EXAMPLE: &'static str = r#"{"name": "nightly"}"#;
    const HINTS: Hints = READS;
    type Input = ListIn;
    type Output = ListOut;

    async fn run(node: &Node, input: ListIn) -> Result<ListOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let answer = node.ask(&at, ListSchedules { name: input.name }, PATIENCE).await?;
        let schedules: Vec<ScheduleRecord> =
            answer.value.iter().map(|schedule| ScheduleRecord::new(&answer.peer, schedule)).collect();
        Ok(ListOut { peer_id: answer.peer.to_string(), count: schedules.len(), schedules })
    }
}
