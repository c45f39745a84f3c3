//! Ends of runs: failing or cancelled ones stop first, then take back what completed if that is wanted; then they are
//! finished.

use super::live::What;
use super::load::Awaiting;
use super::run::{Phase, Run};
use super::{After, Asked, Coordinator, Note, SubEnd, Turn};
use crate::workflow::definition::OnFailure;
use crate::workflow::records::{Event, SummaryRecord, finish_key, summary_key};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::RunState;
use meshwork_proto::{Cid, ErrorCode, MeshError, RunId};

/// Steps of finished runs that stay in memory, of all runs together.
const DONE_STEPS: usize = 100_000;
/// Most steps that an error names.
const NAMED: usize = 20;

impl Coordinator {
    /// The run fails or is cancelled: nothing more is started, and what is under way is given up.
    pub(super) fn begin_ending(&mut self, turn: &mut Turn<'_>, id: RunId, event: Event) {
        let Some(live) = self.runs.get(&id) else { return };
        let never_started = live.run.phase == Phase::Pending;
        if live.run.moving.is_some() {
            let error = MeshError::new(ErrorCode::WrongState, "the run ends before it could be handed over");
            self.end_move(turn, id, error, 1);
        }
        if never_started && let Some(live) = self.runs.get(&id) {
            self.pending.remove(&(live.run.created, id));
        }
        self.emit(turn.now, id, event);
        self.drop_timers(id);
        if let Some(live) = self.runs.get_mut(&id) {
            live.ready.clear();
            live.wanted.clear();
            live.starts.clear();
            live.again.clear();
        }
        // Set first: what is stopped may end the run here and now, and with it its timers.
        let bound = turn.now.after(self.options.stop_within());
        self.set_timer(id, bound, What::Stop);
        self.stop_flights(turn, id);
        self.try_end(turn, id);
    }

    /// What is still running is not waited for any more. Sub-workflows that take back what they did have the time of a
    /// compensation on top: what they did came after what this run takes back next.
    pub(super) fn stop_waiting(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let Phase::Ending(ending) = &live.run.phase else { return };
        let waits_for_parts = ending.compensate && !live.waits_for_parts;
        if live.run.undoing.is_some() || self.undo_flight(id).is_some() {
            return;
        }
        self.abandon_flights(turn, id, waits_for_parts);
        let Some(live) = self.runs.get_mut(&id).filter(|live| !live.flights.is_empty()) else {
            return self.try_end(turn, id);
        };
        live.waits_for_parts = true;
        let bound = turn.now.after(self.options.undo_within());
        self.set_timer(id, bound, What::Stop);
    }

    /// An ending run for which nothing is under way any more takes the next unit back, or is finished.
    pub(super) fn try_end(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let Phase::Ending(ending) = &live.run.phase else { return };
        if !live.flights.is_empty() {
            return;
        }
        if ending.compensate && (live.run.undoing.is_some() || !live.run.undo.is_empty()) {
            return self.undo_next(turn, id);
        }
        let (state, mut error) = (ending.state, ending.error.clone());
        if let Some(first) = live.run.stuck.first() {
            error.message.push_str(&stuck(&live.run, first.unit.step));
        }
        if ending.given_up {
            error.message.push_str(&left(&live.run));
        }
        self.finish(turn, id, state, None, Some(error));
    }

    pub(super) fn run_timed_out(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        if live.run.phase != Phase::Running {
            return;
        }
        let after = live.run.workflow.timeout_ms.unwrap_or_default();
        let message = format!("the run took longer than the {} s that it may", seconds(after));
        // As if every step that is not finished failed.
        let compensate = (0..live.run.total_steps()).any(|step| {
            let unfinished = live.run.step(step).is_some_and(|run| !run.state.is_finished());
            let definition = live.run.definition(step);
            unfinished && definition.is_some_and(|step| matches!(step.on_failure, OnFailure::Compensate))
        });
        let error = MeshError::new(ErrorCode::Timeout, message);
        self.begin_ending(turn, id, Event::Failing { step: None, error, compensate });
    }

    /// The run is finished.
    pub(super) fn finish(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        state: RunState,
        output: Option<(Payload, Cid)>,
        error: Option<MeshError>,
    ) {
        let (output, output_cid) = output.unzip();
        let told = output.clone().zip(output_cid);
        self.emit(turn.now, id, Event::Finished { state, output, output_cid, error: error.clone() });
        self.drop_timers(id);
        let Some(live) = self.runs.get_mut(&id) else { return };
        live.ready.clear();
        live.starts.clear();
        live.wanted.clear();
        live.ending = true;
        let took = turn.now.since(live.run.started.unwrap_or(live.run.created));
        turn.note(Note::RunEnded { took, outcome: state.as_str() });
        match state {
            RunState::Completed => self.totals.completed += 1,
            RunState::Failed => self.totals.failed += 1,
            _ => self.totals.cancelled += 1,
        }
        self.write_summary(turn, id, None);
        self.after(After::Ended(id));
        if let Some(flight) = self.children.remove(&id) {
            let failed = || MeshError::new(ErrorCode::Cancelled, "the sub-workflow was cancelled");
            let result = told.ok_or_else(|| error.unwrap_or_else(failed));
            let peer = self.local_peer.clone();
            self.sub_ended(turn, flight, SubEnd { result, peer });
        }
    }

    /// What lists show of a run that is finished, or moved.
    pub(super) fn write_summary(
        &mut self,
        turn: &Turn<'_>,
        id: RunId,
        moved_to: Option<meshwork_proto::PeerId>,
    ) {
        let Some(live) = self.runs.get(&id) else { return };
        let moved = moved_to.is_some();
        let summary = summary_of(&live.run, turn.now, moved_to);
        let state = summary.state;
        self.outgoing.batch.put(summary_key(id), &summary);
        self.outgoing.batch.mark(finish_key(summary.finished, id));
        *self.counts.kept_mut().of_mut(state, moved) += 1;
    }

    /// The end of a run is on the disk: it may be told, and the run may leave memory.
    pub(super) fn end_written(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        live.ending = false;
        let parked = std::mem::take(&mut live.parked);
        let steps = live.run.steps.len();
        self.tell_all(turn, id);
        self.is_done(id, steps);
        for Asked { ticket, caller, op } in parked {
            self.on_run(turn, Asked { ticket, caller, op });
        }
        self.forget_done();
    }

    /// A run stays in memory until others push it out.
    pub(super) fn is_done(&mut self, id: RunId, steps: usize) {
        self.done.push_back((id, steps));
        self.done_steps += steps;
    }

    /// Finished runs leave memory, the oldest first.
    pub(super) fn forget_done(&mut self) {
        let most = self.options.finished_in_memory as usize;
        while self.done.len() > most || self.done_steps > DONE_STEPS {
            let Some((id, steps)) = self.done.pop_front() else { return };
            self.done_steps = self.done_steps.saturating_sub(steps);
            let Some(live) = self.runs.get(&id) else { continue };
            let taken_over = self.incoming.contains_key(&id);
            if !live.run.is_active() && !live.ending && !taken_over && live.waiters.is_empty() {
                self.drop_timers(id);
                self.forget_run(id);
            }
        }
    }

    pub(super) fn forget_run(&mut self, id: RunId) {
        if let Some(live) = self.runs.remove(&id)
            && let Some(armed) = live.armed
        {
            self.due.remove(&(armed, id));
        }
    }

    /// A run that is part of another one is given up, because that one ends.
    pub(super) fn cancel_part(&mut self, turn: &mut Turn<'_>, id: RunId, compensate: bool) {
        if !self.runs.contains_key(&id) {
            return self.fetch(turn, id, Awaiting::Cancel(compensate));
        }
        // Nothing is decided about a run that another peer may have: it is given up by who has it.
        let stays = self.stay(turn, id).is_ok();
        let Some(live) = self.runs.get_mut(&id) else { return };
        match &live.run.phase {
            Phase::Moved(to) => {
                let to = to.clone();
                self.cancel_far(to, id, compensate);
            }
            Phase::Pending | Phase::Running if stays && !live.replacing => {
                let reason = Some("the run that it is a part of ends".to_owned());
                self.begin_ending(turn, id, Event::Cancelling { reason, compensate, by: None });
            }
            Phase::Pending | Phase::Running => live.handing.give_up = Some(compensate),
            Phase::Ending(_) | Phase::Finished(_) => {}
        }
    }
}

/// A run in a list.
pub(super) fn summary_of(
    run: &Run,
    now: meshwork_proto::UnixMillis,
    moved_to: Option<meshwork_proto::PeerId>,
) -> SummaryRecord {
    SummaryRecord {
        name: run.workflow.name.clone(),
        state: run.state(),
        steps: run.total_steps(),
        finished_steps: run.finished_steps(),
        moved_to,
        epoch: run.epoch,
        error: run.error.clone(),
        submitter: run.submitter.clone(),
        parent: run.parent.as_ref().map(|parent| parent.peer.clone()),
        created: run.created,
        finished: run.finished.unwrap_or(now),
    }
}

/// What is added to the error of a run in which something could not be taken back.
fn stuck(run: &Run, step: u32) -> String {
    let name = run.definition(step).map_or("", |step| step.id.as_str());
    let why =
        run.step(step).and_then(|step| step.tries.error.as_ref()).map_or("", |error| error.message.as_str());
    match run.stuck.len() {
        1 => format!("; step {name} could not be taken back: {why}"),
        count => format!("; {count} units could not be taken back, the first of step {name}: {why}"),
    }
}

/// What is added to the error of a run whose taking back was given up.
fn left(run: &Run) -> String {
    let mut names: Vec<&str> = Vec::new();
    for done in run.undo.iter().rev() {
        let name = run.definition(done.unit.step).map_or("", |step| step.id.as_str());
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > NAMED {
            break;
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let more = if names.len() > NAMED { " and more" } else { "" };
    names.truncate(NAMED);
    format!("; taking back was given up, and these steps were not taken back: {}{more}", names.join(", "))
}

/// Milliseconds as seconds, as people write them.
pub(super) fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1000) { (ms / 1000).to_string() } else { format!("{}.{:03}", ms / 1000, ms % 1000) }
}
