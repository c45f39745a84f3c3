//! Lists, newest first: unfinished runs from memory, finished ones from the store, merged by id.
//!
//! Each round looks at a bounded number of both; a request makes a bounded number of rounds and then gives what it
//! has, with the cursor from which to go on.

use super::end::summary_of;
use super::live::Live;
use super::{Answer, Coordinator, Found, ReadPlan, Reading, Ticket, Turn};
use crate::workflow::records::{SummaryRecord, read, read_summary_key, summary_range};
use meshwork_proto::store::StoreError;
use meshwork_proto::workflow::{ListRuns, RunPage, RunState, RunSummary};
use meshwork_proto::{Caller, RunId};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// Runs in a page when no limit is given.
const DEFAULT_LIMIT: u32 = 100;
/// Most runs in a page.
const MAX_LIMIT: u32 = 1000;
/// Runs in memory that one round looks at.
const VISITS: usize = 2000;
/// Finished runs that one round looks at.
const SCANNED: u32 = 500;
/// Rounds that find nothing before the request is answered with an empty page and a cursor.
const ROUNDS: u32 = 40;

/// A list under way.
#[derive(Debug)]
pub(crate) struct ListJob {
    ticket: Ticket,
    caller: Caller,
    state: Option<RunState>,
    name: Option<String>,
    limit: usize,
    cursor: Option<RunId>,
    rounds: u32,
    /// What memory had.
    live: Part,
}

/// What one source found in a round.
#[derive(Debug, Default)]
struct Part {
    runs: BTreeMap<RunId, RunSummary>,
    /// The last one that was looked at, when there may be more behind it.
    end: Option<RunId>,
}

impl Coordinator {
    pub(super) fn list(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: Caller, list: ListRuns) {
        let ListRuns { state, name, limit, cursor } = list;
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit.min(MAX_LIMIT) } as usize;
        let live = Part::default();
        self.list_round(turn, ListJob { ticket, caller, state, name, limit, cursor, rounds: 0, live });
    }

    fn list_round(&mut self, turn: &mut Turn<'_>, mut job: ListJob) {
        job.rounds += 1;
        job.live = self.list_memory(&job);
        if job.state.is_some_and(|state| !state.is_finished()) {
            return self.list_merge(turn, job, Part::default());
        }
        let scan = summary_range(job.cursor, SCANNED);
        self.read(turn, ReadPlan::Range(scan), Reading::List(Box::new(job)));
    }

    /// Unfinished runs; of finished ones the store knows.
    fn list_memory(&self, job: &ListJob) -> Part {
        let mut part = Part::default();
        if job.state.is_some_and(RunState::is_finished) {
            return part;
        }
        let before = job.cursor.map_or(Unbounded, Excluded);
        let newest = self.runs.range((Unbounded, before)).rev();
        for (visited, (id, live)) in newest.enumerate() {
            if visited >= VISITS || part.runs.len() > job.limit {
                return part;
            }
            part.end = Some(*id);
            if is_unfinished(live) && job.wants(live) {
                let mut record = summary_of(&live.run, live.run.updated, None);
                record.state = state_told(live);
                part.runs.insert(*id, summary(*id, &record, false));
            }
        }
        part.end = None;
        part
    }

    pub(super) fn on_list(&mut self, turn: &mut Turn<'_>, job: ListJob, result: Result<Found, StoreError>) {
        match result.and_then(|found| self.list_stored(&job, found)) {
            Ok(finished) => self.list_merge(turn, job, finished),
            Err(error) => turn.refuse(job.ticket, error),
        }
    }

    fn list_stored(&self, job: &ListJob, found: Found) -> Result<Part, StoreError> {
        let entries = found.entries();
        let full = entries.len() >= SCANNED as usize;
        let mut part = Part::default();
        for (key, value) in &entries {
            let Some(id) = read_summary_key(key) else {
                // Behind the last finished run lie keys of another kind.
                part.end = None;
                break;
            };
            part.end = full.then_some(id);
            let record: SummaryRecord = read(value)?;
            // Retried while it was read: memory knows better.
            let active = self.runs.get(&id).is_some_and(|live| is_unfinished(live));
            if !active && job.wants_stored(&record) {
                part.runs.insert(id, summary(id, &record, true));
            }
        }
        Ok(part)
    }

    /// Both sources are known down to some id: what lies above makes the page.
    fn list_merge(&mut self, turn: &mut Turn<'_>, mut job: ListJob, finished: Part) {
        let live = std::mem::take(&mut job.live);
        let floor = live.end.max(finished.end);
        let mut merged = live.runs;
        merged.extend(finished.runs);
        let mut runs: Vec<RunSummary> = merged.into_values().rev().collect();
        runs.retain(|run| floor.is_none_or(|floor| run.id >= floor));
        let cut = runs.len() > job.limit;
        runs.truncate(job.limit);
        let next = if cut { runs.last().map(|run| run.id) } else { floor };
        if runs.is_empty() && next.is_some() && job.rounds < ROUNDS {
            job.cursor = next;
            return self.list_round(turn, job);
        }
        turn.answer(job.ticket, Answer::Page(RunPage { runs, next }));
    }
}

impl ListJob {
    fn wants(&self, live: &Live) -> bool {
        self.state.is_none_or(|wanted| wanted == state_told(live))
            && self.name.as_deref().is_none_or(|wanted| wanted == live.run.workflow.name)
            && live.run.may_be_touched_by(&self.caller)
    }

    fn wants_stored(&self, record: &SummaryRecord) -> bool {
        let parent = record.parent.as_ref();
        self.state.is_none_or(|wanted| wanted == record.state)
            && self.name.as_deref().is_none_or(|wanted| wanted == record.name)
            && (self.caller.may_touch(record.submitter.as_ref())
                || (parent.is_some() && self.caller.peer() == parent))
    }
}

/// Whether a run is unfinished as far as may be told: its end is told when it is on the disk.
fn is_unfinished(live: &Live) -> bool {
    live.run.is_active() || live.ending
}

fn state_told(live: &Live) -> RunState {
    if live.ending { RunState::Running } else { live.run.state() }
}

fn summary(id: RunId, record: &SummaryRecord, ended: bool) -> RunSummary {
    RunSummary {
        id,
        name: record.name.clone(),
        state: record.state,
        steps: record.steps,
        finished_steps: record.finished_steps,
        moved_to: record.moved_to.clone(),
        error: record.error.clone(),
        created: record.created,
        finished: (ended && record.moved_to.is_none()).then_some(record.finished),
    }
}
