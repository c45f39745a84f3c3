//! Lists, newest first: unfinished tasks from memory, finished ones from the store, merged by id.
//!
//! Each round looks at a bounded number of both; a request makes a bounded number of rounds and then gives what it
//! has, with the cursor from which to go on.

use super::table::Live;
use super::{Answer, Found, QueueState, ReadPlan, Reading, Ticket, Turn};
use crate::queue::records::{
    OutputRecord, StateRecord, finished_key, id_key, metadata_key, read_id, read_some, spec_key, status_key,
    status_prefix,
};
use bytes::Bytes;
use meshwork_proto::queue::{List, TaskPage};
use meshwork_proto::store::{Family, Scan, StoreError};
use meshwork_proto::task::{TaskStatus, TaskView};
use meshwork_proto::{Caller, TaskId, UnixMillis};
use std::collections::BTreeSet;

/// Tasks in a page when no limit is given.
const DEFAULT_LIMIT: u32 = 50;
/// Most tasks in a page.
const MAX_LIMIT: u32 = 1000;
/// Tasks in memory that one round looks at.
const VISITS: usize = 2000;
/// Finished tasks that one round looks at.
const SCANNED: u32 = 500;
/// Rounds that find nothing before the request is answered with an empty page and a cursor.
const ROUNDS: u32 = 40;
/// A page ends when payloads and results in it pass this size: it has to fit into a frame.
const PAGE_BYTES: u64 = 1024 * 1024;

/// A list under way.
#[derive(Debug)]
pub(crate) struct ListJob {
    ticket: Ticket,
    caller: Caller,
    status: Option<TaskStatus>,
    task_type: Option<String>,
    limit: usize,
    cursor: Option<TaskId>,
    rounds: u32,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Finished tasks are looked for; this is what memory had.
    Scan(Part),
    /// The states of finished tasks found by status are read.
    States { live: Part, ids: Vec<TaskId>, end: Option<TaskId> },
    /// These make the page; their specifications are read.
    Views { ids: Vec<TaskId>, next: Option<TaskId> },
}

/// What one source found in a round.
#[derive(Debug, Default)]
struct Part {
    ids: BTreeSet<TaskId>,
    /// The last one that was looked at, when there may be more behind it.
    end: Option<TaskId>,
}

impl QueueState {
    pub(super) fn list(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: Caller, list: List) {
        let List { status, task_type, limit, cursor } = list;
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit.min(MAX_LIMIT) } as usize;
        let step = Step::Scan(Part::default());
        self.list_round(turn, ListJob { ticket, caller, status, task_type, limit, cursor, rounds: 0, step });
    }

    fn list_round(&mut self, turn: &mut Turn<'_>, mut job: ListJob) {
        job.rounds += 1;
        let live = self.list_memory(&job);
        if job.status.is_some_and(|status| !status.is_finished()) {
            return self.list_views(turn, job, live, Part::default());
        }
        let scan = finished_scan(&job);
        job.step = Step::Scan(live);
        self.read(turn, ReadPlan::Range(scan), Reading::List(Box::new(job)));
    }

    fn list_memory(&self, job: &ListJob) -> Part {
        match job.status {
            Some(status) if status.is_finished() => Part::default(),
            Some(TaskStatus::Running) => {
                use std::ops::Bound::{Excluded, Unbounded};
                let end = job.cursor.map_or(Unbounded, Excluded);
                let leased = self.leased.range((Unbounded, end)).rev();
                self.pick(job, leased.filter_map(|(_, slot)| self.tasks.get(*slot)))
            }
            _ => self.pick(job, self.tasks.newest_before(job.cursor)),
        }
    }

    fn pick<'a>(&self, job: &ListJob, tasks: impl Iterator<Item = &'a Live>) -> Part {
        let mut part = Part::default();
        for (visited, live) in tasks.enumerate() {
            if visited >= VISITS || part.ids.len() > job.limit {
                return part;
            }
            part.end = Some(live.id);
            if self.is_listed(job, live) {
                part.ids.insert(live.id);
            }
        }
        part.end = None;
        part
    }

    fn is_listed(&self, job: &ListJob, live: &Live) -> bool {
        let leased = live.lease().is_some();
        let status = if leased { TaskStatus::Running } else { TaskStatus::Queued };
        job.status.is_none_or(|wanted| wanted == status)
            && job.task_type.as_deref().is_none_or(|wanted| wanted == self.names.text(live.task_type))
            && (job.caller.is_admin() || job.caller.may_touch(self.submitter_of(live).as_ref()))
    }

    pub(super) fn on_list(
        &mut self,
        turn: &mut Turn<'_>,
        mut job: ListJob,
        result: Result<Found, StoreError>,
    ) {
        let found = match result {
            Ok(found) => found,
            Err(error) => return turn.refuse(job.ticket, error),
        };
        let step = std::mem::replace(&mut job.step, Step::Scan(Part::default()));
        let done = match step {
            Step::Scan(live) => self.on_list_scan(turn, job, live, found),
            Step::States { live, ids, end } => self.on_list_states(turn, job, live, &ids, end, &found),
            Step::Views { ids, next } => self.on_list_views(turn, &job, &ids, next, &found),
        };
        if let Err((ticket, error)) = done {
            turn.refuse(ticket, error);
        }
    }

    fn on_list_scan(&mut self, turn: &mut Turn<'_>, mut job: ListJob, live: Part, found: Found) -> Listed {
        let entries = found.entries();
        let full = entries.len() >= SCANNED as usize;
        let prefix = job.status.map_or(vec![b'm'], status_prefix);
        let mut ids = Vec::new();
        let mut part = Part::default();
        for (key, value) in &entries {
            let Some(id) = key.strip_prefix(&prefix[..]).and_then(read_id) else {
                // Behind the last finished task lie keys of another kind.
                part.end = None;
                break;
            };
            part.end = full.then_some(id);
            ids.push(id);
            if job.status.is_none() && matches(&job, value).map_err(|error| (job.ticket, error))? {
                part.ids.insert(id);
            }
        }
        if job.status.is_none() || ids.is_empty() {
            self.list_views(turn, job, live, part);
            return Ok(());
        }
        let keys = ids.iter().map(|id| finished_key(*id)).collect();
        job.step = Step::States { live, ids, end: part.end };
        self.read(turn, ReadPlan::Keys(vec![(Family::Tasks, keys)]), Reading::List(Box::new(job)));
        Ok(())
    }

    fn on_list_states(
        &mut self,
        turn: &mut Turn<'_>,
        job: ListJob,
        live: Part,
        ids: &[TaskId],
        end: Option<TaskId>,
        found: &Found,
    ) -> Listed {
        let mut part = Part { ids: BTreeSet::new(), end };
        for (place, id) in ids.iter().enumerate() {
            if let Some(value) = found.value(0, place)
                && matches(&job, value).map_err(|error| (job.ticket, error))?
            {
                part.ids.insert(*id);
            }
        }
        self.list_views(turn, job, live, part);
        Ok(())
    }

    /// Both sources are known down to some id: what lies above makes the page.
    fn list_views(&mut self, turn: &mut Turn<'_>, mut job: ListJob, live: Part, finished: Part) {
        let floor = live.end.max(finished.end);
        let mut ids: Vec<TaskId> = live.ids.union(&finished.ids).copied().collect();
        ids.reverse();
        ids.retain(|id| floor.is_none_or(|floor| *id >= floor));
        let cut = ids.len() > job.limit;
        ids.truncate(job.limit);
        let next = if cut { ids.last().copied() } else { floor };
        if ids.is_empty() {
            if next.is_some() && job.rounds < ROUNDS {
                job.cursor = next;
                return self.list_round(turn, job);
            }
            return turn.answer(job.ticket, Answer::Page(TaskPage { tasks: Vec::new(), next }));
        }
        let keys = ids.iter().flat_map(|id| [spec_key(*id), metadata_key(*id), finished_key(*id)]).collect();
        let results = ids.iter().map(|id| id_key(*id)).collect();
        let plan = ReadPlan::Keys(vec![(Family::Tasks, keys), (Family::Results, results)]);
        job.step = Step::Views { ids, next };
        self.read(turn, plan, Reading::List(Box::new(job)));
    }

    fn on_list_views(
        &self,
        turn: &mut Turn<'_>,
        job: &ListJob,
        ids: &[TaskId],
        next: Option<TaskId>,
        found: &Found,
    ) -> Listed {
        let mut page = TaskPage { tasks: Vec::new(), next };
        let mut bytes = 0;
        for (place, id) in ids.iter().enumerate() {
            let view = self.listed_view(turn.now, *id, place, found).map_err(|error| (job.ticket, error))?;
            // Pruned, or on its way from memory to the store, while the page was read.
            let Some(view) = view else { continue };
            bytes += size_of_view(&view);
            if bytes > PAGE_BYTES && !page.tasks.is_empty() {
                page.next = page.tasks.last().map(|task| task.id);
                break;
            }
            page.tasks.push(view);
        }
        turn.answer(job.ticket, Answer::Page(page));
        Ok(())
    }

    fn listed_view(
        &self,
        now: UnixMillis,
        id: TaskId,
        place: usize,
        found: &Found,
    ) -> Result<Option<TaskView>, StoreError> {
        if found.value(0, place * 3).is_none() {
            return Ok(None);
        }
        let spec = super::claim::read_spec(found, place * 3)?;
        if let Some(live) = self.tasks.find(id).and_then(|slot| self.tasks.get(slot)) {
            return Ok(Some(self.live_view(now, live, &spec)));
        }
        let Some(state) = read_some::<StateRecord>(found.value(0, place * 3 + 2))? else { return Ok(None) };
        let output = read_some::<OutputRecord>(found.value(1, place))?.map(|record| record.output);
        Ok(Some(super::read::view_of(id, &spec, &state, output)))
    }
}

type Listed = Result<(), (Ticket, StoreError)>;

/// Backwards through the finished tasks, from behind the cursor.
fn finished_scan(job: &ListJob) -> Scan {
    let from = match (job.status, job.cursor) {
        (None, Some(cursor)) => finished_key(cursor),
        (None, None) => Bytes::from_static(&[b'm' + 1]),
        (Some(status), Some(cursor)) => status_key(status, cursor),
        (Some(status), None) => {
            let mut end = status_prefix(status);
            if let Some(last) = end.last_mut() {
                *last += 1;
            }
            end.into()
        }
    };
    let after = job.cursor.is_some();
    Scan { family: Family::Tasks, from, after, to: None, limit: SCANNED, reverse: true }
}

/// Whether a finished task belongs into the list.
fn matches(job: &ListJob, value: &[u8]) -> Result<bool, StoreError> {
    let state: StateRecord = crate::queue::records::read(value)?;
    Ok(job.status.is_none_or(|wanted| wanted == state.status)
        && job.task_type.as_ref().is_none_or(|wanted| *wanted == state.task_type)
        && job.caller.may_touch(state.submitter.as_ref()))
}

/// About how much of a frame the variable parts of a view take.
fn size_of_view(view: &TaskView) -> u64 {
    use meshwork_proto::task::Payload;
    let inline = |payload: &Payload| payload.stored_cid().map_or(payload.len(), |_| 0);
    let metadata = view.spec.metadata.as_ref().map_or(0, |json| json.len() as u64);
    let history = view.history.len() as u64 * 512;
    1024 + inline(&view.spec.payload) + view.output.as_ref().map_or(0, inline) + metadata + history
}
