//! One schedule in memory, and what it is doing.

use super::Ticket;
use crate::schedule::records::{Begun, Made, ProgressRecord, ScheduleRecord};
use crate::schedule::timing::Times;
use meshwork_proto::schedule::{ScheduleView, Scheduled, Started};
use meshwork_proto::task::Payload;
use meshwork_proto::{Caller, MeshError, PeerId, Role, ScheduleId, UnixMillis};
use std::collections::VecDeque;

/// Starts that are kept and shown.
const LAST: usize = 10;
/// Longest error of a start that is kept, and longest name that is shown, in characters.
const MAX_TEXT: usize = 500;

/// A schedule.
#[derive(Debug)]
pub(crate) struct Entry {
    pub id: ScheduleId,
    pub record: ScheduleRecord,
    /// Tool, or name of the workflow.
    pub what: String,
    pub times: Times,
    pub progress: ProgressRecord,
    /// The first time that is not dealt with.
    pub next: Option<UnixMillis>,
    pub work: Work,
    /// Who wants a start beside its times, and waits for the turn.
    pub wanted: VecDeque<Ticket>,
    /// Where it stands in the order of time.
    pub stands: Option<UnixMillis>,
}

/// What a schedule is doing.
#[derive(Debug)]
pub(crate) enum Work {
    /// It waits for its next time.
    Idle,
    /// It asks whether its last start has finished.
    Looking(Start),
    /// That a start begins is being written.
    Beginning(Start),
    /// The start is being made.
    Making(Start),
    /// The start could not be made, or its last one not be looked at: it is tried again at a time.
    Waiting { start: Start, until: UnixMillis },
}

/// A start on its way.
#[derive(Debug)]
pub(crate) struct Start {
    pub begun: Begun,
    /// Who asked for it, if somebody did and waits.
    pub asker: Option<Ticket>,
    /// Tries that failed.
    pub tries: u32,
}

impl Entry {
    pub(crate) fn new(
        id: ScheduleId,
        record: ScheduleRecord,
        times: Times,
        progress: ProgressRecord,
    ) -> Self {
        let next = times.next_after(progress.cursor);
        Self {
            id,
            what: shown(&record.what),
            record,
            times,
            progress,
            next,
            work: Work::Idle,
            wanted: VecDeque::new(),
            stands: None,
        }
    }

    /// When it has something to do.
    pub(crate) fn due(&self) -> Option<UnixMillis> {
        match &self.work {
            Work::Idle if !self.wanted.is_empty() => Some(UnixMillis::default()),
            Work::Idle => self.next.filter(|_| !self.progress.paused),
            Work::Waiting { until, .. } => Some(*until),
            Work::Looking(_) | Work::Beginning(_) | Work::Making(_) => None,
        }
    }

    /// Whether a start is on its way.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.work, Work::Looking(_) | Work::Beginning(_) | Work::Making(_))
    }

    /// All times up to this one are dealt with.
    pub(crate) fn pass(&mut self, until: UnixMillis) {
        self.progress.cursor = self.progress.cursor.max(until);
        self.next = self.times.next_after(self.progress.cursor);
    }

    /// Keeps a start for the list of the latest.
    pub(crate) fn keep(&mut self, due: UnixMillis, at: UnixMillis, outcome: Result<Made, MeshError>) {
        let mut started = Started { due, at, task: None, run: None, error: None };
        match outcome {
            Ok(made) => {
                self.progress.starts += 1;
                self.progress.made = Some(made);
                match made {
                    Made::Task(task) => started.task = Some(task),
                    Made::Run(run) => started.run = Some(run),
                }
            }
            Err(error) => {
                let message: String = error.message.chars().take(MAX_TEXT).collect();
                started.error = Some(MeshError { message, ..error });
            }
        }
        self.progress.last.insert(0, started);
        self.progress.last.truncate(LAST);
    }

    /// What a start submits, and for whom: the key is that of the time, so that it is made once.
    pub(crate) fn submission(&self, begun: &Begun) -> (Caller, Scheduled) {
        let (id, due, starts) = (self.id, begun.due, self.progress.starts);
        // Starts beside the times may fall into one millisecond; their number is the same after a crash.
        let key = if begun.extra {
            format!("schedule/{id}/now/{due}-{starts}")
        } else {
            format!("schedule/{id}/{due}")
        };
        let mut what = self.record.what.clone();
        match &mut what {
            Scheduled::Task(spec) => spec.idempotency_key = Some(key),
            Scheduled::Workflow(run) => run.idempotency_key = Some(key),
        }
        (self.caller(), what)
    }

    /// On whose behalf it is started.
    fn caller(&self) -> Caller {
        let of = |peer: &PeerId| Caller::Peer { peer: peer.clone(), role: Role::Member };
        self.record.submitter.as_ref().map_or(Caller::Local, of)
    }

    /// The schedule as it is shown.
    pub(crate) fn view(&self) -> ScheduleView {
        let (record, progress) = (&self.record, &self.progress);
        ScheduleView {
            id: self.id,
            name: record.name.clone(),
            timing: record.timing.clone(),
            missed: record.missed,
            no_overlap: record.no_overlap,
            what: self.what.clone(),
            workflow: matches!(record.what, Scheduled::Workflow(_)),
            paused: progress.paused,
            submitter: record.submitter.clone(),
            created: record.created,
            next: self.next.filter(|_| !progress.paused),
            last: progress.last.clone(),
            starts: progress.starts,
            skipped: progress.skipped,
        }
    }
}

/// Tool, or name of the workflow as the definition gives it (the short form without one has the name `tasks`); a
/// definition that is an artifact is named by its content id.
fn shown(what: &Scheduled) -> String {
    match what {
        Scheduled::Task(spec) => spec.tool.clone(),
        Scheduled::Workflow(run) => {
            let definition = match &run.definition {
                Payload::Inline(json) => json.to_value(),
                Payload::Stored { .. } => serde_json::Value::Null,
            };
            match definition.get("name").and_then(serde_json::Value::as_str) {
                Some(name) => name.chars().take(MAX_TEXT).collect(),
                None if definition.get("tasks").is_some() => "tasks".into(),
                None => run.definition_cid.to_string(),
            }
        }
    }
}
