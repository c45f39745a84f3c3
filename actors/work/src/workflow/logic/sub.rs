//! Sub-workflows: runs of their own, here or at another peer, that a unit waits for.

use super::flight::AttemptEnd;
use super::io::{Effect, FlightId, PlacedPart, SubAnswer, SubCall, SubEnd, SubSubmit};
use super::live::{Flight, Kind, Stage, What};
use super::run::Phase;
use super::submit::Asker;
use super::{After, Coordinator, Turn};
use crate::workflow::definition::Action;
use crate::workflow::logic::doc::Doc;
use crate::workflow::logic::load::Awaiting;
use crate::workflow::records::{Ended, Event, Unit};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{ParentStep, SubmitRun, WorkflowError};
use meshwork_proto::{Cid, Coded, ErrorCode, MeshError, PeerId, RunId};
use std::time::Duration;

/// A peer that cannot be reached so often, and has not accepted the sub-workflow, is passed over if there are others.
const PASSED_OVER: u32 = 4;

impl Coordinator {
    /// A sub-workflow begins, with these inputs or those of the attempt before.
    pub(super) fn begin_sub(
        &mut self,
        turn: &mut Turn<'_>,
        flight: FlightId,
        inputs: Option<(Payload, Cid)>,
    ) {
        let Some((id, unit)) = self.flights.get(&flight).map(|flight| (flight.run, flight.unit)) else {
            return;
        };
        let Some(live) = self.runs.get(&id) else { return };
        let timeout = live.run.definition(unit.step).and_then(|step| step.timeout_ms);
        let Some(peer) = self.sub_peer(id, unit) else { return };
        let here = peer == self.local_peer;
        self.emit(turn.now, id, Event::SubBegun { unit, peer: peer.clone(), inputs });
        if let Some(ms) = timeout {
            self.set_timer(id, turn.now.after(Duration::from_millis(ms)), What::SubTimeout(flight));
        }
        if here {
            return self.then_place(flight);
        }
        self.submit_sub(flight, peer);
    }

    /// Who coordinates the next attempt: who is named, or one of the run's peers after the other.
    fn sub_peer(&self, id: RunId, unit: Unit) -> Option<PeerId> {
        let run = &self.runs.get(&id)?.run;
        let place = &run.definition(unit.step)?.place;
        let same = place.same_as.and_then(|step| run.step(step)?.peer.clone());
        if let Some(peer) = place.peer.clone().or(same) {
            return Some(peer);
        }
        let begun = run.tries(unit).map_or(0, |tries| tries.begun);
        let turn = u64::from(unit.step) + u64::from(unit.item.unwrap_or(0)) + u64::from(begun);
        let others = run.targets.iter().filter(|peer| **peer != self.local_peer);
        let peers: Vec<&PeerId> = std::iter::once(&self.local_peer).chain(others).collect();
        let place = usize::try_from(turn % peers.len() as u64).unwrap_or(0);
        peers.get(place).map(|peer| (*peer).clone())
    }

    /// The submission of a unit's sub-workflow.
    fn sub_submission(&self, id: FlightId) -> Option<SubSubmit> {
        let flight = self.flights.get(&id)?;
        let run = &self.runs.get(&flight.run)?.run;
        let step = run.definition(flight.unit.step)?;
        let Action::Workflow(sub) = &step.action else { return None };
        let tries = run.tries(flight.unit)?;
        let (inputs, read) = match self.at_hand(flight.run, tries.input.clone()?) {
            Doc::Inline(json) => (Payload::Inline(json), None),
            Doc::Stored { cid, len } => (Payload::Stored { cid, len }, None),
            Doc::Event { seq, .. } => (super::null().0, Some((flight.run, seq))),
            Doc::Header { .. } => return None,
        };
        let depth = run.parent.as_ref().map_or(0, |parent| parent.depth).saturating_add(1);
        let submit = SubmitRun {
            definition: Payload::Inline(sub.definition.clone()),
            definition_cid: sub.definition_cid,
            inputs,
            inputs_cid: tries.child.as_ref()?.inputs_cid,
            target_peers: run.targets.clone(),
            idempotency_key: Some(part_key(flight, tries.begun, run.round)),
            // They were known when this run was accepted: its parts wait for them.
            allow_unknown_tools: true,
            parent: Some(ParentStep {
                peer: self.local_peer.clone(),
                run: flight.run,
                step: step.id.clone(),
                depth,
            }),
        };
        Some(SubSubmit { submit, read })
    }

    /// Submits a sub-workflow here.
    pub(super) fn place_sub(&mut self, turn: &mut Turn<'_>, id: FlightId) {
        let submitter =
            self.flights.get(&id).and_then(|flight| self.runs.get(&flight.run)?.run.submitter.clone());
        if let Some(submission) = self.sub_submission(id) {
            self.submit(turn, Asker::unit(id, submitter, submission));
        }
    }

    fn submit_sub(&mut self, flight: FlightId, peer: PeerId) {
        if let Some(submission) = self.sub_submission(flight) {
            let call = SubCall::Submit(Box::new(submission));
            self.then(Effect::CallSub { flight, peer, call });
        }
    }

    /// A sub-workflow exists, here or at its peer.
    fn sub_placed(&mut self, turn: &mut Turn<'_>, id: FlightId, run: RunId) -> bool {
        let Some(flight) = self.flights.get_mut(&id) else { return false };
        flight.stage = Stage::Away { task: None };
        flight.refused = 0;
        flight.trouble = None;
        let (parent, unit, stop) = (flight.run, flight.unit, flight.stop);
        let tries = self.runs.get(&parent).and_then(|live| live.run.tries(unit));
        let known = tries.and_then(|tries| tries.child.as_ref()?.run);
        if known != Some(run) {
            self.emit(turn.now, parent, Event::SubPlaced { unit, run });
        }
        if stop {
            self.stop_sub(turn, id);
        }
        true
    }

    /// A sub-workflow that is coordinated here was accepted, or is known already.
    pub(super) fn sub_accepted(&mut self, turn: &mut Turn<'_>, id: FlightId, run: RunId) {
        self.children.insert(run, id);
        if !self.sub_placed(turn, id, run) {
            // Nobody waits for it any more, unless the run that it is a part of moved: then somebody else does.
            self.children.remove(&run);
            let parent =
                self.runs.get(&run).and_then(|live| live.run.parent.as_ref().map(|parent| parent.run));
            let moves = |live: &super::live::Live| live.exported || matches!(live.run.phase, Phase::Moved(_));
            if !parent.and_then(|parent| self.runs.get(&parent)).is_some_and(|live| moves(live)) {
                self.cancel_part(turn, run, false);
            }
            return;
        }
        self.look_at_part(turn, id, run);
    }

    /// A unit waits for a run of this node: it may be finished already.
    pub(super) fn look_at_part(&mut self, turn: &mut Turn<'_>, id: FlightId, run: RunId) {
        let Some(live) = self.runs.get(&run) else {
            return self.fetch(turn, run, Awaiting::Part(id));
        };
        match &live.run.phase {
            Phase::Finished(_) => {
                self.children.remove(&run);
                let child = &live.run;
                let failed = || MeshError::new(ErrorCode::Cancelled, "the sub-workflow was cancelled");
                let result = child.output.clone().zip(child.output_cid);
                let result = result.ok_or_else(|| child.error.clone().unwrap_or_else(failed));
                let peer = self.local_peer.clone();
                self.sub_ended(turn, id, SubEnd { result, peer });
            }
            Phase::Moved(to) => {
                let to = to.clone();
                self.children.remove(&run);
                self.follow_part(turn, id, run, to);
            }
            Phase::Pending | Phase::Running | Phase::Ending(_) => {}
        }
    }

    /// A sub-workflow was refused.
    pub(super) fn sub_refused(&mut self, turn: &mut Turn<'_>, id: FlightId, error: &WorkflowError) {
        let again = error.code().is_transient() || matches!(error, WorkflowError::Store(_));
        self.sub_failed(turn, id, MeshError::from_coded(error), !again, false);
    }

    fn sub_failed(
        &mut self,
        turn: &mut Turn<'_>,
        id: FlightId,
        error: MeshError,
        definite: bool,
        unsure: bool,
    ) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let away = matches!(flight.stage, Stage::Away { .. });
        if unsure && !away {
            flight.stage = Stage::Submitting { unsure: true };
        }
        if definite && away && error.code == ErrorCode::UnknownWorkflow && self.ask_by_key(id) {
            return;
        }
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.asked_by_key = false;
        let nobody_has_it = flight.stage == Stage::Submitting { unsure: false };
        let (run, unit) = (flight.run, flight.unit);
        if flight.stop && (nobody_has_it || definite) {
            return self.attempt_ended(turn, id, AttemptEnd::Cancelled, Ended::default());
        }
        if definite {
            return self.attempt_ended(turn, id, AttemptEnd::Failed(error), Ended::default());
        }
        if nobody_has_it && flight.refused >= PASSED_OVER && self.may_go_elsewhere(run, unit) {
            self.land(id);
            return self.withdraw(turn, run, unit);
        }
        self.try_again_later(turn, id, error.message);
    }

    /// Who was given a part, or the run that it is a part of, may not know them as belonging together: the submission says so.
    /// Whether that was worth trying.
    fn ask_by_key(&mut self, id: FlightId) -> bool {
        let Some((_, peer)) = self.part_of(id) else { return false };
        let Some(flight) = self.flights.get_mut(&id) else { return false };
        let taken = self.runs.get(&flight.run).is_some_and(|live| !live.run.taken.is_empty());
        let moved = taken || flight.moved_to.is_some();
        if !moved || std::mem::replace(&mut flight.asked_by_key, true) {
            return false;
        }
        if peer == self.local_peer {
            self.then_place(id)
        } else {
            self.submit_sub(id, peer)
        }
        true
    }

    fn may_go_elsewhere(&self, id: RunId, unit: Unit) -> bool {
        let Some(live) = self.runs.get(&id) else { return false };
        let place = live.run.definition(unit.step).map(|step| &step.place);
        place.is_some_and(|place| place.peer.is_none() && place.same_as.is_none()) && live.run.may_start()
    }

    /// A sub-workflow is finished.
    pub(super) fn sub_ended(&mut self, turn: &mut Turn<'_>, id: FlightId, end: SubEnd) {
        let SubEnd { result, peer } = end;
        let stopped = self.flights.get(&id).is_some_and(|flight| flight.stop);
        let end = match result {
            Ok((output, cid)) => AttemptEnd::Completed(output, cid),
            Err(error) if stopped && error.code == ErrorCode::Cancelled => AttemptEnd::Cancelled,
            Err(error) => AttemptEnd::Failed(error),
        };
        self.attempt_ended(turn, id, end, Ended { task: None, peer: Some(peer) });
    }

    /// A peer answered about a sub-workflow.
    pub(crate) fn sub_answered(&mut self, turn: &mut Turn<'_>, id: FlightId, answer: SubAnswer) {
        match answer {
            SubAnswer::Placed(run) => {
                if self.sub_placed(turn, id, run) {
                    self.watch_sub(id, run);
                }
            }
            SubAnswer::Running => {
                if let Some((run, _)) = self.part_of(id) {
                    self.known_there(id);
                    self.watch_sub(id, run);
                }
            }
            SubAnswer::Ended(end) => self.sub_ended(turn, id, end),
            SubAnswer::Moved(to) => {
                if let Some((run, _)) = self.part_of(id) {
                    self.follow_part(turn, id, run, to);
                }
            }
            SubAnswer::Failed { error, definite, unsure } => {
                self.sub_failed(turn, id, error, definite, unsure)
            }
        }
        self.settle(turn);
    }

    /// A peer accepted a sub-workflow. If nobody waits for it any more, it is given up: its step had no more time, or its run
    /// ended without waiting for the answer.
    pub(crate) fn part_placed(&mut self, turn: &mut Turn<'_>, id: FlightId, part: PlacedPart) {
        let PlacedPart { peer, parent, key, run } = part;
        if self.flights.contains_key(&id) {
            return self.sub_answered(turn, id, SubAnswer::Placed(run));
        }
        // (What moves, or moved, is asked for by its next coordinator.)
        let wanted = self.runs.get(&parent).is_none_or(|live| {
            let moves =
                live.run.moving.is_some() || live.replacing || matches!(live.run.phase, Phase::Moved(_));
            moves || live.flights.values().any(|flight| self.part_key_of(*flight).as_ref() == Some(&key))
        });
        if !wanted {
            self.cancel_far(peer, run, false);
        }
        self.settle(turn);
    }

    /// The key of the sub-workflow that a flight waits for.
    fn part_key_of(&self, id: FlightId) -> Option<String> {
        let flight = self.flights.get(&id).filter(|flight| flight.kind == Kind::Sub)?;
        let run = &self.runs.get(&flight.run)?.run;
        Some(part_key(flight, run.tries(flight.unit)?.begun, run.round))
    }

    /// A sub-workflow is coordinated by another peer now.
    fn follow_part(&mut self, turn: &mut Turn<'_>, id: FlightId, run: RunId, to: PeerId) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let (here, stop) = (to == self.local_peer, flight.stop);
        flight.moved_to = Some(to);
        self.known_there(id);
        if stop {
            // The peer before gave it away, cancelled or not.
            self.stop_sub(turn, id);
        }
        if here {
            self.children.insert(run, id);
            return self.look_at_part(turn, id, run);
        }
        self.watch_sub(id, run);
    }

    /// Its peer knows the part, and who asks for it.
    fn known_there(&mut self, id: FlightId) {
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.asked_by_key = false;
        }
    }

    /// The run of a unit's sub-workflow, and who coordinates it.
    fn part_of(&self, id: FlightId) -> Option<(RunId, PeerId)> {
        let flight = self.flights.get(&id)?;
        let child = self.runs.get(&flight.run)?.run.tries(flight.unit)?.child.as_ref()?;
        Some((child.run?, flight.moved_to.clone().unwrap_or_else(|| child.peer.clone())))
    }

    fn watch_sub(&mut self, id: FlightId, run: RunId) {
        if let Some((_, peer)) = self.part_of(id) {
            self.then(Effect::CallSub { flight: id, peer, call: SubCall::Watch(run) });
        }
    }

    /// What was refused, or did not answer, is asked again.
    pub(super) fn sub_again(&mut self, turn: &mut Turn<'_>, id: FlightId) {
        let Some(flight) = self.flights.get(&id) else { return };
        let child = self.runs.get(&flight.run).and_then(|live| live.run.tries(flight.unit)?.child.clone());
        let Some(child) = child else { return };
        let peer = flight.moved_to.as_ref().unwrap_or(&child.peer);
        match (flight.stage, child.run) {
            (Stage::Away { .. }, Some(run)) if *peer == self.local_peer => {
                self.children.insert(run, id);
                self.look_at_part(turn, id, run);
            }
            (Stage::Away { .. }, Some(run)) => self.watch_sub(id, run),
            _ if child.peer == self.local_peer => self.then_place(id),
            _ => self.submit_sub(id, child.peer.clone()),
        }
    }

    /// Gives a sub-workflow up, wherever it is.
    pub(super) fn stop_sub(&mut self, turn: &mut Turn<'_>, id: FlightId) {
        let Some((run, peer)) = self.part_of(id) else { return };
        let compensate = self
            .flights
            .get(&id)
            .and_then(|flight| self.runs.get(&flight.run))
            .is_some_and(|live| matches!(&live.run.phase, Phase::Ending(ending) if ending.compensate));
        if peer == self.local_peer {
            return self.cancel_part(turn, run, compensate);
        }
        self.cancel_far(peer, run, compensate);
    }

    /// Gives a sub-workflow of another peer up, when it is on the disk that this was decided: after a crash nobody would know
    /// why it was.
    pub(super) fn cancel_far(&mut self, peer: PeerId, run: RunId, compensate: bool) {
        self.after(After::CancelSub { peer, run, compensate });
    }

    pub(super) fn cancel_sub(turn: &mut Turn<'_>, peer: PeerId, run: RunId, compensate: bool) {
        // Nothing waits for the answer: the end of the run is watched for.
        let (flight, call) = (FlightId(0), SubCall::Cancel { run, compensate });
        turn.out.push(Effect::CallSub { flight, peer, call });
    }

    /// A sub-workflow has had the time that its step gives it.
    pub(super) fn sub_timed_out(&mut self, turn: &mut Turn<'_>, id: FlightId) {
        let Some(flight) = self.flights.get(&id).filter(|flight| !flight.stop) else { return };
        let (run, unit) = (flight.run, flight.unit);
        let ms = self.runs.get(&run).and_then(|live| live.run.definition(unit.step)?.timeout_ms);
        if let Some((child, _)) = self.part_of(id) {
            self.children.remove(&child);
        }
        self.stop_sub(turn, id);
        if self.land(id).is_some() {
            let time = super::end::seconds(ms.unwrap_or_default());
            let error = MeshError::new(ErrorCode::Timeout, format!("sub-workflow took longer than {time} s"));
            self.attempt_failed(turn, run, unit, error, true, Ended::default());
        }
    }
}

/// The same for the same attempt, whoever coordinates the run: after a hand-over parts are found again by it.
fn part_key(flight: &Flight, begun: u32, round: u32) -> String {
    format!("wf/{}/{}/{begun}/{round}", flight.run, flight.unit)
}
