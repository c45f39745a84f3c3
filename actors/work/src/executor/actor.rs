//! The executor's actor: takes messages, starts tasks, shows its state.

use super::claim;
use super::logic::Source;
use super::sandbox::SandboxReport;
use super::work::Work;
use meshwork_kit::{Actor, ActorKind, Ctx};
use meshwork_proto::{Fence, TaskId, UnixMillis};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Running attempts that the status shows.
const RUNS_SHOWN: usize = 50;
/// Owners that the status shows.
const SOURCES_SHOWN: usize = 50;

/// How old the published status may be.
const STATUS_PERIOD: Duration = Duration::from_secs(1);

/// The actor. What runs does not end with it: its state is on the board.
pub(super) struct Executor {
    pub(super) work: Arc<Work>,
    pub(super) sandbox: SandboxReport,
}

/// What others may see of the executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExecutorStatus {
    /// Tools of this node.
    pub tools: usize,
    /// Places for calls.
    pub slots: u32,
    /// Calls that run, of tasks and direct ones.
    pub running: u32,
    /// Places reserved for claims under way.
    pub reserved: u32,
    /// Attempts of tasks that run or are being reported, the first fifty.
    pub tasks: Vec<RunningTask>,
    /// Owners that are asked for work, the first fifty: `local` and peer ids.
    pub sources: Vec<String>,
    /// Takes no new work.
    pub draining: bool,
    /// How process tools are restricted on this machine.
    pub sandbox: String,
}

/// One attempt that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningTask {
    /// Task.
    pub id: TaskId,
    /// Fence.
    pub fence: Fence,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Tool.
    pub tool: String,
    /// Owner: `local` or a peer id.
    pub owner: String,
    /// When it was claimed.
    pub since: UnixMillis,
}

impl Actor for Executor {
    const KIND: ActorKind = ActorKind::Executor;
    type Status = ExecutorStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        claim::connect(&self.work, Source::Local);
        // What runs changes without a message to this actor; each tick makes kit publish the status anew.
        ctx.every(STATUS_PERIOD, |_, _| {});
    }

    fn status(&self) -> ExecutorStatus {
        let counts = self.work.board.counts();
        let mut tasks = self.work.board.runs();
        tasks.truncate(RUNS_SHOWN);
        let shown = |((id, fence), run): (_, super::board::Run)| RunningTask {
            id,
            fence,
            attempt: run.attempt,
            tool: run.tool,
            owner: run.source.to_string(),
            since: run.since,
        };
        ExecutorStatus {
            tools: self.work.board.tool_count(),
            slots: counts.total,
            running: counts.running,
            reserved: counts.reserved,
            tasks: tasks.into_iter().map(shown).collect(),
            sources: self.work.sources().keys().take(SOURCES_SHOWN).map(ToString::to_string).collect(),
            draining: self.work.board.is_draining(),
            sandbox: self.sandbox.to_string(),
        }
    }
}
