//! Attempts as tasks of the own queue.

use super::flight::AttemptEnd;
use super::io::{Effect, FlightId, SubmitTask};
use super::live::{Flight, Kind, Stage};
use super::run::{Run, Tries};
use super::units::may_retry;
use super::{Coordinator, Turn};
use crate::workflow::definition::{Action, Place, Step, TaskAction};
use crate::workflow::logic::doc::Doc;
use crate::workflow::records::{Ended, Event, Unit};
use bytes::Bytes;
use meshwork_proto::queue::{QueueError, Submitted};
use meshwork_proto::store::StoreError;
use meshwork_proto::task::{Payload, TaskSpec};
use meshwork_proto::workflow::TaskEnded;
use meshwork_proto::{Cid, Coded, Json, MeshError, PeerId, RunId, TaskId};
use rand::RngExt;
use std::collections::BTreeSet;
use std::time::Duration;

/// Most ends of tasks that are kept because they may have come before the answer to their submission.
const MAX_EARLY: usize = 4096;
/// The queue that tasks of workflows are grouped in.
const QUEUE: &str = "workflow";

impl Coordinator {
    /// An attempt begins as a task.
    pub(super) fn begin_task(&mut self, turn: &mut Turn<'_>, id: FlightId, input: Option<(Payload, Cid)>) {
        let Some((run, unit)) = self.flights.get(&id).map(|flight| (flight.run, flight.unit)) else { return };
        let at_hand = input.clone();
        self.emit(turn.now, run, Event::TaskBegun { unit, input });
        self.send_task(turn, id, at_hand);
    }

    /// Submits the attempt of a flight when what was decided about it has been sent.
    pub(super) fn send_task(&mut self, turn: &mut Turn<'_>, id: FlightId, at_hand: Option<(Payload, Cid)>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.stage =
            Stage::Submitting { unsure: matches!(flight.stage, Stage::Submitting { unsure: true }) };
        // From now on it is under way: what was wrong before is told no more.
        flight.trouble = None;
        let flight = flight.clone();
        let Some(task) = self.task_of(&flight, at_hand) else {
            return self.attempt_ended(turn, id, AttemptEnd::lost(), Ended::default());
        };
        self.unanswered += 1;
        self.then(Effect::SubmitTask(Box::new(SubmitTask { flight: id, ..task })));
    }

    /// The task of an attempt.
    fn task_of(&self, flight: &Flight, at_hand: Option<(Payload, Cid)>) -> Option<SubmitTask> {
        let live = self.runs.get(&flight.run)?;
        let (run, unit) = (&live.run, flight.unit);
        let step = run.definition(unit.step)?;
        let (action, tries) = match flight.kind {
            Kind::Undo => (step.compensate.as_ref()?, &run.undoing.as_ref()?.tries),
            _ => (task_action(step)?, run.tries(unit)?),
        };
        let (payload, input_cid, read) = match at_hand {
            Some((payload, cid)) => (payload, cid, None),
            None => match self.at_hand(flight.run, tries.input.clone()?) {
                Doc::Inline(json) => {
                    let cid = Cid::of(json.bytes());
                    (Payload::Inline(json), cid, None)
                }
                Doc::Stored { cid, len } => (Payload::Stored { cid, len }, cid, None),
                Doc::Event { seq, .. } => {
                    let (payload, cid) = super::null();
                    (payload, cid, Some(seq))
                }
                Doc::Header { .. } => return None,
            },
        };
        let key = match flight.kind {
            Kind::Undo => undo_key(flight, tries, run),
            _ => task_key(flight, tries, run.round, ""),
        };
        let (labels, target_peers) = self.place_of(flight.run, step, action);
        let attempt = tries.begun;
        let spec = TaskSpec {
            tool: action.tool.clone(),
            model_name: action.model.clone(),
            payload,
            priority: step.priority,
            idempotency_key: Some(key),
            max_attempts: 1,
            timeout_ms: step.timeout_ms,
            labels,
            target_peers,
            queue: Some(QUEUE.to_owned()),
            metadata: Some(metadata(flight.run, &step.id, unit, attempt, flight.kind)),
            ..TaskSpec::new(action.task_type.clone(), Json::from_checked(Bytes::new()), input_cid)
        };
        Some(SubmitTask { flight: FlightId(0), run: flight.run, spec, read })
    }

    /// Which workers may do it.
    pub(super) fn place_of(
        &self,
        id: RunId,
        step: &Step,
        action: &TaskAction,
    ) -> (BTreeSet<String>, BTreeSet<PeerId>) {
        let Place { peer, capability, labels, same_as } = &step.place;
        let mut labels = labels.clone();
        // Whoever claims it serves its tool; any other capability is a label.
        labels.extend(capability.iter().filter(|capability| **capability != action.tool).cloned());
        let Some(live) = self.runs.get(&id) else { return (labels, BTreeSet::new()) };
        let same = same_as.and_then(|step| live.run.step(step)?.peer.clone());
        let targets = match peer.clone().or(same) {
            Some(peer) => [peer].into(),
            None => live.run.targets.clone(),
        };
        (labels, targets)
    }

    /// The queue took a task, or did not.
    pub(crate) fn submitted(
        &mut self,
        turn: &mut Turn<'_>,
        id: FlightId,
        result: Result<Submitted, Refused>,
    ) {
        self.unanswered = self.unanswered.saturating_sub(1);
        match result {
            Ok(submitted) => self.task_known(turn, id, &submitted),
            Err(refused) => self.task_refused(turn, id, refused),
        }
        if self.unanswered == 0 {
            self.early.clear();
        }
        self.settle(turn);
    }

    /// The attempt of a flight may have been submitted before the start.
    pub(super) fn ask_again(&mut self, id: FlightId) {
        if !self.steps_known {
            self.unheard.insert(id);
        }
    }

    fn task_known(&mut self, turn: &mut Turn<'_>, id: FlightId, submitted: &Submitted) {
        let task = submitted.id;
        if !submitted.status.is_finished() {
            // (The end of one that is finished is told in a message of its own.)
            self.unheard.remove(&id);
        }
        let early = self.early.remove(&task);
        let every = self.options.reconcile();
        let Some(flight) = self.flights.get_mut(&id) else {
            // The run ended without waiting for the answer: nobody wants it.
            return self.cancel_task(id, task, "its run has ended");
        };
        flight.stage = Stage::Away { task: Some(task) };
        flight.trouble = None;
        let (run, stop) = (flight.run, flight.stop);
        self.by_task.insert(task, id);
        if let Some(ended) = early {
            return self.end_of_task(turn, id, ended);
        }
        if stop {
            return self.cancel_task(id, task, "its run is ending");
        }
        if self.runs.get(&run).is_some_and(|live| live.run.moving.is_some()) {
            self.then(Effect::WatchTask { flight: id, task });
        }
        let jittered = every.mul_f64(self.rng.random_range(1.0..1.5));
        self.watch.push_back((turn.now.after(jittered), id));
    }

    fn task_refused(&mut self, turn: &mut Turn<'_>, id: FlightId, refused: Refused) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        self.draining |= refused.draining;
        if !refused.again {
            return self.attempt_ended(turn, id, AttemptEnd::Failed(refused.error), Ended::default());
        }
        if refused.unsure {
            flight.stage = Stage::Submitting { unsure: true };
        }
        let surely_not = flight.stage == Stage::Submitting { unsure: false };
        if flight.stop && surely_not {
            return self.attempt_ended(turn, id, AttemptEnd::Cancelled, Ended::default());
        }
        self.try_again_later(turn, id, refused.error.message);
    }

    /// What was refused, or could not be evaluated, is tried again.
    pub(super) fn submit_again(&mut self, turn: &mut Turn<'_>, id: FlightId) {
        let Some(flight) = self.flights.get(&id) else { return };
        match (flight.stage, flight.kind) {
            (Stage::Preparing, _) => self.prepare_again(turn, id),
            (Stage::Submitting { .. }, Kind::Task | Kind::Undo) => self.send_task(turn, id, None),
            (_, Kind::Sub) => self.sub_again(turn, id),
            _ => {}
        }
    }

    pub(super) fn cancel_task(&mut self, flight: FlightId, task: TaskId, reason: &str) {
        self.then(Effect::CancelTask { flight, task, reason: reason.to_owned() });
    }

    /// The queue was asked to give up a task, or to tell its end again.
    pub(crate) fn asked_after(
        &mut self,
        turn: &mut Turn<'_>,
        id: FlightId,
        result: Result<Submitted, Refused>,
    ) {
        let unknown = matches!(&result, Err(refused) if refused.unknown_task);
        if unknown && self.flights.get(&id).is_some_and(|flight| flight.task().is_some()) {
            // The queue does not have it any more: it was pruned, or its store was replaced.
            self.attempt_ended(turn, id, AttemptEnd::lost(), Ended::default());
        } else if let Ok(submitted) = result {
            self.seen(id, submitted);
        }
        self.settle(turn);
    }

    /// A task is finished.
    pub(crate) fn task_ended(&mut self, turn: &mut Turn<'_>, ended: TaskEnded) {
        match self.by_task.get(&ended.id) {
            Some(id) => {
                let id = *id;
                self.end_of_task(turn, id, ended);
            }
            None if self.unanswered > 0 => {
                if self.early.len() >= MAX_EARLY {
                    // Of attempts that nobody waits for; one that is waited for is asked after in a while.
                    self.early.clear();
                }
                self.early.insert(ended.id, ended);
            }
            // Of an attempt that nobody waits for any more.
            None => {}
        }
        self.settle(turn);
    }

    fn end_of_task(&mut self, turn: &mut Turn<'_>, id: FlightId, ended: TaskEnded) {
        let TaskEnded { id: task, status, worker, output, output_cid, error, .. } = ended;
        let by = Ended { task: Some(task), peer: worker.and_then(|worker| worker.peer()) };
        let end = AttemptEnd::of(status, output.zip(output_cid), error);
        self.attempt_ended(turn, id, end, by);
    }
}

/// The queue said no, or did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Why.
    pub error: MeshError,
    /// Asking again may help.
    pub again: bool,
    /// It may have done what was asked all the same.
    pub unsure: bool,
    /// It takes no new work.
    pub draining: bool,
    /// It does not know the task.
    pub unknown_task: bool,
}

impl Refused {
    /// No answer came in time.
    pub(crate) fn no_answer(error: MeshError) -> Self {
        Self { error, again: true, unsure: true, draining: false, unknown_task: false }
    }

    /// It could not be asked now.
    pub(crate) fn for_now(error: MeshError) -> Self {
        Self { unsure: false, ..Self::no_answer(error) }
    }

    /// It said no.
    pub(crate) fn of(error: &QueueError) -> Self {
        let database =
            matches!(error, QueueError::Store(error) if !matches!(error, StoreError::DiskFull { .. }));
        Self {
            again: error.code().is_transient() || database,
            unsure: database,
            draining: matches!(error, QueueError::Draining),
            unknown_task: matches!(error, QueueError::UnknownTask(_)),
            error: MeshError::from_coded(error),
        }
    }
}

pub(super) fn task_action(step: &Step) -> Option<&TaskAction> {
    match &step.action {
        Action::Task(action) => Some(action),
        Action::Workflow(_) | Action::Wait(_) => None,
    }
}

/// The same for the same attempt of the same coordination, however often it is submitted.
fn task_key(flight: &Flight, tries: &Tries, round: u32, undo: &str) -> String {
    let Tries { begun, epoch, .. } = tries;
    format!("wf/{}/{}/{undo}{begun}/{round}/{epoch}", flight.run, flight.unit)
}

/// The same for an attempt to take a unit back. A unit whose step began anew may have to be taken back more than once.
fn undo_key(flight: &Flight, tries: &Tries, run: &Run) -> String {
    let earlier = run.undo.iter().filter(|done| done.unit == flight.unit).count();
    let undo = if earlier == 0 { "u".to_owned() } else { format!("u{earlier}-") };
    task_key(flight, tries, run.round, &undo)
}

fn metadata(run: RunId, step: &str, unit: Unit, attempt: u32, kind: Kind) -> Json {
    // Ids of steps need no escaping: the definition allows letters, digits and underscores.
    let undo = if kind == Kind::Undo { ",\"compensation\":true" } else { "" };
    let item = unit.item.map(|item| format!(",\"item\":{item}")).unwrap_or_default();
    let text = format!("{{\"attempt\":{attempt}{undo}{item},\"step\":\"{step}\",\"workflow_id\":\"{run}\"}}");
    Json::from_checked(text.into())
}

/// How soon an answer of the queue is needed: see [`Refused::no_answer`].
pub(crate) const QUEUE_WITHIN: Duration = Duration::from_secs(60);

/// Whether another attempt may end otherwise.
pub(super) fn is_worth_it(end: &AttemptEnd) -> bool {
    match end {
        AttemptEnd::Failed(error) => may_retry(error),
        AttemptEnd::Completed(..) | AttemptEnd::Cancelled => false,
    }
}
