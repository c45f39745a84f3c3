//! What people and other runs do with a run: cancel, pause, resume, signal, retry.

use super::live::by;
use super::run::Phase;
use super::{After, Answer, Coordinator, Ticket, Turn};
use crate::workflow::expression::nearest;
use crate::workflow::records::{Ended, Event, How, finish_key, summary_key};
use meshwork_proto::canonical::to_canonical;
use meshwork_proto::task::{INLINE_LIMIT, MAX_NAME, Payload};
use meshwork_proto::workflow::{ControlRun, RunAction, RunChanged, RunState, WorkflowError};
use meshwork_proto::{Caller, Cid, Json, RunId};

/// Bytes of signals that nobody has waited for yet, of one run together.
const MAX_SIGNAL_BYTES: usize = 256 * 1024;
/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 1024;

impl Coordinator {
    pub(super) fn control(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: &Caller,
        control: ControlRun,
    ) {
        let ControlRun { id, action } = control;
        let settled = match action {
            // It ends here if it is certain that nobody else has it.
            RunAction::Cancel { .. } => self.stay(turn, id),
            RunAction::TakeBack => Ok(()),
            RunAction::Pause | RunAction::Resume | RunAction::Signal { .. } | RunAction::Retry { .. } => {
                self.check_settled(id)
            }
        };
        let done = settled.and_then(|()| match action {
            RunAction::Cancel { reason, compensate } => self.cancel(turn, id, caller, reason, compensate),
            RunAction::Pause => self.pause(turn, id, caller),
            RunAction::Resume => self.resume(turn, id, caller),
            RunAction::Signal { name, payload } => self.signal(turn, id, caller, &name, payload),
            RunAction::Retry { from } => self.retry(turn, id, caller, from.as_deref()),
            RunAction::TakeBack => self.take_back(turn, id),
        });
        match done {
            Ok(()) => {
                let state = self.runs.get(&id).map_or(RunState::Running, |live| live.run.state());
                self.after(After::Answer(ticket, Answer::Changed(RunChanged { id, state })));
            }
            Err(error) => turn.refuse(ticket, error),
        }
    }

    /// Once everything of a run was sent to its next coordinator, nothing may be added.
    pub(super) fn check_settled(&self, id: RunId) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id).filter(|live| live.exported) else { return Ok(()) };
        let to = live.run.moving.as_ref().map_or_else(String::new, |moving| moving.to.to_string());
        let what = if live.handing.unsure {
            "that peer may have it already, and is asked until it answers. If it never will, take the run back (take_back \
             of p2p_workflow_coordinate): should that peer have it all the same, steps may run twice"
        } else if live.handing.asking {
            "try again in a moment, here or there"
        } else {
            "it can be asked to stay, or be cancelled"
        };
        Err(WorkflowError::Unavailable(format!(
            "workflow run {id} is being handed over to peer {to}: {what}"
        )))
    }

    fn wrong_state(&self, id: RunId, wanted: &str) -> WorkflowError {
        let state = self.runs.get(&id).map_or(RunState::Running, |live| live.run.state());
        WorkflowError::WrongState { id, state, wanted: wanted.to_owned() }
    }

    fn cancel(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        caller: &Caller,
        reason: Option<String>,
        compensate: bool,
    ) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id) else { return Err(WorkflowError::UnknownRun(id)) };
        match &live.run.phase {
            Phase::Pending | Phase::Running => {
                let reason = reason.map(|reason| clip(&reason, MAX_REASON).to_owned());
                self.begin_ending(turn, id, Event::Cancelling { reason, compensate, by: by(caller) });
                Ok(())
            }
            Phase::Ending(ending) if ending.compensate && !compensate => {
                self.give_up_undo(turn, id, by(caller));
                Ok(())
            }
            Phase::Ending(ending) if ending.state == RunState::Cancelled => Ok(()),
            Phase::Ending(ending) if ending.compensate => Err(self.wrong_state(
                id,
                "it fails already and is being taken back: a cancel without compensation gives that up",
            )),
            Phase::Finished(RunState::Cancelled) => Ok(()),
            Phase::Ending(_) => Err(self.wrong_state(id, "it fails already, and what runs is being stopped")),
            Phase::Finished(_) | Phase::Moved(_) => {
                Err(self.wrong_state(id, "only an unfinished run can be cancelled"))
            }
        }
    }

    fn pause(&mut self, turn: &mut Turn<'_>, id: RunId, caller: &Caller) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id) else { return Err(WorkflowError::UnknownRun(id)) };
        if !matches!(live.run.phase, Phase::Pending | Phase::Running) {
            return Err(self.wrong_state(id, "only a pending or running run can be paused"));
        }
        if !live.run.paused {
            self.pending.remove(&(live.run.created, id));
            self.emit(turn.now, id, Event::Paused { by: by(caller) });
        }
        Ok(())
    }

    fn resume(&mut self, turn: &mut Turn<'_>, id: RunId, caller: &Caller) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id) else { return Err(WorkflowError::UnknownRun(id)) };
        if !live.run.paused {
            return Err(self.wrong_state(id, "only a paused run can be resumed"));
        }
        let (waits, created) = (live.run.phase == Phase::Pending, live.run.created);
        self.emit(turn.now, id, Event::Resumed { by: by(caller) });
        if waits {
            self.pending.insert((created, id));
        }
        self.enqueue(id);
        Ok(())
    }

    fn signal(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        caller: &Caller,
        name: &str,
        payload: Json,
    ) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id) else { return Err(WorkflowError::UnknownRun(id)) };
        if !matches!(live.run.phase, Phase::Pending | Phase::Running) {
            return Err(self.wrong_state(id, "only an unfinished run takes signals"));
        }
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let problem = "signal has no usable name: expected 1 to 200 visible characters";
            return Err(WorkflowError::InvalidArgument(problem.into()));
        }
        if payload.len() > INLINE_LIMIT {
            let (len, max) = (payload.len() as u64, INLINE_LIMIT as u64);
            return Err(WorkflowError::TooLarge { what: "payload of the signal", len, max });
        }
        let parsed = payload.parse().ok().and_then(|value| to_canonical(&value).ok());
        let Some(payload) = parsed.map(|bytes| Json::from_checked(bytes.into())) else {
            return Err(WorkflowError::InvalidArgument("payload of the signal is not JSON".into()));
        };
        let unit = live.wanted.get(name).and_then(|units| units.first().copied());
        let held: usize = live.run.signals.iter().map(|signal| signal.payload.len()).sum();
        let full = live.run.signals.len() >= self.options.max_signals as usize;
        if unit.is_none() && (full || held + payload.len() > MAX_SIGNAL_BYTES) {
            let problem = format!(
                "run holds {} signals of {held} bytes that no step has waited for: at most {} signals and \
                 {MAX_SIGNAL_BYTES} bytes are kept",
                live.run.signals.len(),
                self.options.max_signals
            );
            return Err(WorkflowError::InvalidArgument(problem));
        }
        let event = Event::Signal { name: name.to_owned(), payload: payload.clone(), by: by(caller) };
        let seq = self.emit(turn.now, id, event);
        if let (Some(unit), Some(seq)) = (unit, seq) {
            if let Some(live) = self.runs.get_mut(&id) {
                live.want_no_more(name, unit);
            }
            self.drop_unit_timer(id, unit);
            let cid = Cid::of(payload.bytes());
            self.complete(
                turn,
                id,
                unit,
                (Payload::Inline(payload), cid),
                How::Signal(seq),
                Ended::default(),
            );
        }
        Ok(())
    }

    fn retry(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        caller: &Caller,
        from: Option<&str>,
    ) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id) else { return Err(WorkflowError::UnknownRun(id)) };
        let Phase::Finished(was @ (RunState::Failed | RunState::Cancelled)) = live.run.phase else {
            return Err(self.wrong_state(id, "only a failed or cancelled run can be retried"));
        };
        let steps = &live.run.workflow.steps;
        let from = match from {
            None => None,
            Some(name) => {
                let place = steps.iter().position(|step| step.id == name);
                let place = place.and_then(|place| u32::try_from(place).ok());
                Some(place.ok_or_else(|| {
                    let near = nearest(name, steps.iter().map(|step| step.id.as_str()));
                    let hint = near.map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
                    let name = clip(name, MAX_NAME);
                    WorkflowError::InvalidArgument(format!("run has no step {name:?}{hint}"))
                })?)
            }
        };
        let (held, max) = (self.counts.unfinished(), u64::from(self.options.max_unfinished));
        if held >= max {
            return Err(WorkflowError::Full { held, max });
        }
        let (running, max) = (self.counts.placed(), u64::from(self.options.max_running));
        if running >= max {
            let problem = format!(
                "{running} workflow runs are running, of at most {max}: try again when one has ended"
            );
            return Err(WorkflowError::Unavailable(problem));
        }
        let finished = live.run.finished.unwrap_or_default();
        self.drop_timers(id);
        self.emit(turn.now, id, Event::Retried { from, by: by(caller) });
        self.outgoing.batch.delete(summary_key(id));
        self.outgoing.batch.delete(finish_key(finished, id));
        let count = self.counts.kept_mut().of_mut(was, false);
        *count = count.saturating_sub(1);
        self.revive(turn, id);
        Ok(())
    }
}

/// The first bytes of a text, whole characters.
fn clip(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
