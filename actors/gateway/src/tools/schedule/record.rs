//! Schedules as clients read them: plain JSON, times in seconds.

use crate::tools::record::{ErrorOut, at, secs};
use meshwork_proto::PeerId;
use meshwork_proto::schedule::{Missed, ScheduleView, Started, Timing};
use schemars::JsonSchema;
use serde::Serialize;

/// A schedule. Points in time are seconds since 1970-01-01 UTC.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ScheduleRecord {
    /// Its id.
    schedule_id: String,
    /// Its name, unique on its node.
    name: String,
    /// The peer that keeps it.
    peer_id: String,
    /// task or workflow.
    kind: String,
    /// The tool or the workflow that is started.
    what: String,
    /// The cron expression, when it goes by one.
    cron: Option<String>,
    /// The time zone of the expression.
    timezone: Option<String>,
    /// Seconds between two starts, when it goes by an interval.
    every_s: Option<f64>,
    /// What becomes of missed times: skip, once or all.
    missed: String,
    /// Whether nothing is started while the last start is not finished.
    no_overlap: bool,
    /// Whether it is paused.
    paused: bool,
    /// The next time; null while it is paused or when there is none.
    next: Option<f64>,
    /// The latest starts, newest first.
    last: Vec<StartOut>,
    /// Starts so far.
    starts: u64,
    /// Times that were missed and not made up for, or left out because the last start had not finished.
    skipped: u64,
    /// The peer that made it; null = a client of the node that keeps it.
    submitter: Option<String>,
    /// When it was made.
    created: f64,
}

impl ScheduleRecord {
    pub(super) fn new(peer: &PeerId, schedule: &ScheduleView) -> Self {
        let (cron, timezone, every_s) = match &schedule.timing {
            Timing::Cron { expression, timezone } => (Some(expression.clone()), Some(timezone.clone()), None),
            Timing::Every { interval_ms } => (None, None, Some(secs(*interval_ms))),
        };
        Self {
            schedule_id: schedule.id.to_string(),
            name: schedule.name.clone(),
            peer_id: peer.to_string(),
            kind: if schedule.workflow { "workflow" } else { "task" }.to_owned(),
            what: schedule.what.clone(),
            cron,
            timezone,
            every_s,
            missed: missed_name(schedule.missed).to_owned(),
            no_overlap: schedule.no_overlap,
            paused: schedule.paused,
            next: schedule.next.map(at),
            last: schedule.last.iter().map(StartOut::from).collect(),
            starts: schedule.starts,
            skipped: schedule.skipped,
            submitter: schedule.submitter.as_ref().map(ToString::to_string),
            created: at(schedule.created),
        }
    }
}

/// The name of a rule for missed times.
pub(super) const fn missed_name(missed: Missed) -> &'static str {
    match missed {
        Missed::Skip => "skip",
        Missed::Once => "once",
        Missed::All => "all",
    }
}

/// One start.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StartOut {
    /// The time it was due.
    due: f64,
    /// When it was made.
    at: f64,
    /// The task.
    task_id: Option<String>,
    /// The run.
    workflow_id: Option<String>,
    /// Why it could not be made.
    error: Option<ErrorOut>,
}

impl From<&Started> for StartOut {
    fn from(start: &Started) -> Self {
        Self {
            due: at(start.due),
            at: at(start.at),
            task_id: start.task.map(|id| id.to_string()),
            workflow_id: start.run.map(|id| id.to_string()),
            error: start.error.as_ref().map(ErrorOut::from),
        }
    }
}
