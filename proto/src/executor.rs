//! Messages to the executor: the tools of this node and the tasks it runs.

use crate::{Coded, ErrorCode, Fence, Json, MeshError, Request, TaskId};
use serde::{Deserialize, Serialize};

/// Which kind of thing runs a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// Code of the node.
    BuiltIn,
    /// A configured command.
    Process,
    /// A tool of an upstream MCP server.
    Mcp,
}

/// A tool as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolInfo {
    /// Name, unique on its node; `<server>__<tool>` for upstream ones.
    pub name: String,
    /// Category it is listed under.
    pub category: String,
    /// What it does.
    pub description: String,
    /// Kind.
    pub kind: ToolKind,
    /// JSON Schema of the arguments.
    pub input_schema: Json,
    /// JSON Schema of the result, when known.
    pub output_schema: Option<Json>,
    /// Behaviour hints of MCP (`readOnlyHint`, ...), as JSON object.
    pub annotations: Option<Json>,
    /// Calls that run at the same time at most.
    pub concurrency: u32,
}

/// Lists the tools of this node, sorted by name.
#[derive(Debug, Clone, Copy)]
pub struct ListTools;

impl Request for ListTools {
    type Reply = Vec<ToolInfo>;
    const NAME: &'static str = "list_tools";
}

/// Runs a tool now, without a task: nothing is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTool {
    /// Which.
    pub tool: String,
    /// Arguments, a JSON object.
    pub arguments: Json,
    /// How long it may take, in milliseconds; capped by the executor.
    pub timeout_ms: u64,
}

impl Request for CallTool {
    type Reply = Result<ToolOutput, ToolError>;
    const NAME: &'static str = "call_tool";
}

/// What a tool gave back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolOutput {
    /// The result: for upstream tools `structuredContent` if there is one, else the content array.
    pub result: Json,
    /// The whole result as the upstream sent it, when it came from an MCP server: relayed to MCP clients unchanged.
    pub mcp_result: Option<Json>,
}

/// Why a tool gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// No such tool here.
    #[error("no tool {name:?} on this node; {hint}")]
    Unknown {
        /// Name asked for.
        name: String,
        /// Nearest names, or how to list them.
        hint: String,
    },
    /// The arguments are not what the tool takes.
    #[error("arguments of {tool} are wrong: {problem}")]
    Arguments {
        /// Which tool.
        tool: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// It ran and said that it failed.
    #[error("{tool} failed: {message}")]
    Failed {
        /// Which tool.
        tool: String,
        /// What it said (bounded).
        message: String,
        /// The MCP result with `isError`, when it came from an MCP server.
        mcp_result: Option<Json>,
    },
    /// Its process ended badly.
    #[error("{tool} crashed: {how}{stderr}")]
    Crashed {
        /// Which tool.
        tool: String,
        /// Exit status or signal.
        how: String,
        /// The end of its standard error (bounded), with a leading separator; or empty.
        stderr: String,
    },
    /// It took too long and was stopped.
    #[error("{tool} was stopped after {after_ms} ms: it ran longer than it may")]
    Timeout {
        /// Which tool.
        tool: String,
        /// The limit.
        after_ms: u64,
    },
    /// Its output is not what was agreed.
    #[error("output of {tool} is not usable: {problem}")]
    Output {
        /// Which tool.
        tool: String,
        /// What is wrong with it.
        problem: String,
    },
    /// All its slots are taken.
    #[error("{tool} is busy: {limit} calls run already; try again, or submit it as a task to have it queued")]
    Busy {
        /// Which tool.
        tool: String,
        /// Its limit.
        limit: u32,
    },
    /// Somebody cancelled it.
    #[error("{tool} was cancelled")]
    Cancelled {
        /// Which tool.
        tool: String,
    },
    /// It cannot be reached (its server is down).
    #[error("{tool} cannot be reached: {problem}")]
    Unavailable {
        /// Which tool.
        tool: String,
        /// Why.
        problem: String,
    },
}

impl Coded for ToolError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown { .. } => ErrorCode::UnknownTool,
            Self::Arguments { .. } => ErrorCode::InvalidArgument,
            Self::Failed { .. } => ErrorCode::ToolFailed,
            Self::Crashed { .. } => ErrorCode::ToolCrashed,
            Self::Timeout { .. } => ErrorCode::ToolTimeout,
            Self::Output { .. } => ErrorCode::ToolOutput,
            Self::Busy { .. } => ErrorCode::Busy,
            Self::Cancelled { .. } => ErrorCode::Cancelled,
            Self::Unavailable { .. } => ErrorCode::Unavailable,
        }
    }
}

impl ToolError {
    /// Whether another attempt may end differently.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        !matches!(self, Self::Unknown { .. } | Self::Arguments { .. } | Self::Cancelled { .. })
    }

    /// The portable form.
    #[must_use]
    pub fn to_mesh_error(&self) -> MeshError {
        MeshError::from_coded(self)
    }
}

/// A task that runs here was cancelled, or its lease was taken away: stop working on it (tell).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopTask {
    /// Which task.
    pub id: TaskId,
    /// The fence of the attempt to stop.
    pub fence: Fence,
    /// Whether the owner waits for a report (`cancelled`), or nothing is to be reported any more.
    pub report: bool,
}

impl Request for StopTask {
    type Reply = ();
    const NAME: &'static str = "stop_task";
}

/// The tools of one upstream MCP server, whenever they are known or change (tell, from the gateway).
#[derive(Debug, Clone)]
pub struct UpstreamTools {
    /// Server's name in the configuration.
    pub server: String,
    /// Its tools, named `<server>__<tool>`; empty when the server is gone.
    pub tools: Vec<UpstreamTool>,
}

/// One tool of an upstream server.
#[derive(Debug, Clone)]
pub struct UpstreamTool {
    /// As others see it.
    pub info: ToolInfo,
    /// Its name at the server.
    pub upstream_name: String,
}

impl Request for UpstreamTools {
    type Reply = ();
    const NAME: &'static str = "upstream_tools";
}

/// A peer that may have work connected or went away (tell, from transport).
#[derive(Debug, Clone)]
pub enum WorkSource {
    /// Claim from it.
    Connected(crate::PeerId),
    /// It is gone.
    Lost(crate::PeerId),
}

impl Request for WorkSource {
    type Reply = ();
    const NAME: &'static str = "work_source";
}

/// Takes no new tasks; answered when none runs any more or, at the deadline, after the rest was released.
#[derive(Debug, Clone, Copy)]
pub struct DrainExecutor {
    /// How long running tasks may still take, in milliseconds.
    pub deadline_ms: u64,
}

impl Request for DrainExecutor {
    type Reply = Drained;
    const NAME: &'static str = "drain_executor";
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Tasks that ended by themselves.
    pub finished: u32,
    /// Tasks that were given back to their owners.
    pub released: u32,
}

/// Asks how many calls run and how many more could.
#[derive(Debug, Clone, Copy)]
pub struct GetSlots;

impl Request for GetSlots {
    type Reply = SlotCounts;
    const NAME: &'static str = "get_slots";
}

/// The places of an executor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SlotCounts {
    /// All places.
    pub total: u32,
    /// Places without a running call.
    pub free: u32,
    /// Calls that run, of tasks and direct ones.
    pub running: u32,
    /// Labels of this worker.
    pub labels: std::collections::BTreeSet<String>,
}
