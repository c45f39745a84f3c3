//! Sections `workflows` and `schedules`: how many there may be, how large, and how long they are kept.

use serde::{Deserialize, Serialize};

/// Section `workflows`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowsConfig {
    /// Most runs under way.
    pub(crate) max_running: u32,
    /// Most runs pending or under way.
    pub(crate) max_unfinished: u32,
    /// Most tasks of all runs in the queue.
    pub(crate) max_in_flight: u32,
    /// Most steps of a workflow.
    pub(crate) max_steps: u32,
    /// Most items of all `for_each` of a run.
    pub(crate) max_items: u32,
    /// How deep workflows may start workflows.
    pub(crate) max_depth: u8,
    /// Largest definition in bytes.
    pub(crate) definition_bytes: u64,
    /// Largest inputs in bytes.
    pub(crate) inputs_bytes: u64,
    /// Largest output of a run in bytes.
    pub(crate) output_bytes: u64,
    /// Days that finished runs are kept.
    pub(crate) keep_days: f64,
    /// Most finished runs that are kept.
    pub(crate) keep_runs: u32,
    /// Days that results of pure steps are used again.
    pub(crate) pure_days: f64,
    /// Most results of pure steps that are kept.
    pub(crate) pure_results: u32,
}

/// Section `schedules`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchedulesConfig {
    /// Most schedules.
    pub(crate) max: u32,
}
