//! Accepting runs, from requests and for steps that are sub-workflows.

use super::end::summary_of;
use super::live::Live;
use super::load::Awaiting;
use super::run::{Phase, Run};
use super::{
    After, Answer, CheckId, Checked, Coordinator, Effect, FlightId, Found, ReadPlan, Reading, SubSubmit,
    Ticket, Turn,
};
use crate::workflow::records::{
    Batch, Event, EventRecord, HeaderRecord, KeyRecord, SummaryRecord, active_key, event_key, header_key,
    holder, key_key, read_some, summary_key,
};
use bytes::Bytes;
use meshwork_proto::store::{Acknowledge, Admission, StoreError};
use meshwork_proto::task::MAX_NAME;
use meshwork_proto::workflow::{RunState, RunSubmitted, SubmitRun, WorkflowError};
use meshwork_proto::{Caller, PeerId, RunId, UnixMillis};
use rand::Rng;

/// Most target peers: a task may name no more.
const MAX_TARGETS: usize = 64;

/// Who wants a run.
#[derive(Debug)]
pub(crate) struct Asker {
    who: Who,
    submitter: Option<PeerId>,
    /// What is submitted; its inputs are only right if `read` is none.
    pub submit: SubmitRun,
    /// The event that has the inputs.
    read: Option<(RunId, u64)>,
}

#[derive(Debug, Clone, Copy)]
enum Who {
    /// A request.
    Request(Ticket),
    /// A unit of a run that is coordinated here.
    Unit(FlightId),
}

/// A run that comes into being when its commit is acknowledged.
#[derive(Debug)]
pub(crate) struct Arrived {
    asker: Asker,
    id: RunId,
    header: HeaderRecord,
    workflow: std::sync::Arc<crate::workflow::definition::Workflow>,
}

impl Asker {
    pub(super) fn request(ticket: Ticket, caller: Caller, submit: SubmitRun) -> Self {
        let submitter = caller.peer().cloned();
        Self { who: Who::Request(ticket), submitter, submit, read: None }
    }

    pub(super) fn unit(flight: FlightId, submitter: Option<PeerId>, submit: SubSubmit) -> Self {
        let SubSubmit { submit, read } = submit;
        Self { who: Who::Unit(flight), submitter, submit, read }
    }

    fn key(&self) -> Option<Bytes> {
        let SubmitRun { idempotency_key, parent, .. } = &self.submit;
        let key = idempotency_key.as_deref()?;
        Some(key_key(self.submitter.as_ref(), parent.as_ref(), key))
    }
}

impl Coordinator {
    pub(super) fn submit(&mut self, turn: &mut Turn<'_>, asker: Asker) {
        if let Err(error) = self.check_submission(&asker) {
            return self.refuse_submission(turn, asker.who, error);
        }
        let Some(key) = asker.key() else { return self.check(turn, asker) };
        if let Some(followers) = self.keys.get_mut(&key) {
            // The same key is on its way: what becomes of that request decides what becomes of this one.
            return followers.push(asker);
        }
        self.keys.insert(key.clone(), Vec::new());
        self.read(turn, ReadPlan::Keys(vec![key.clone()]), Reading::Key(Box::new(asker), key));
    }

    fn check_submission(&self, asker: &Asker) -> Result<(), WorkflowError> {
        let SubmitRun { definition, inputs, target_peers, idempotency_key, parent, .. } = &asker.submit;
        if self.draining && matches!(asker.who, Who::Request(_)) {
            return Err(WorkflowError::Draining);
        }
        for (what, len, max) in [
            ("definition", definition.len(), self.options.max_definition_bytes),
            ("inputs", inputs.len(), self.options.max_inputs_bytes),
        ] {
            if len > max {
                return Err(WorkflowError::TooLarge { what, len, max });
            }
        }
        if let Some(key) = idempotency_key
            && (key.is_empty() || key.len() > MAX_NAME || key.chars().any(char::is_control))
        {
            let problem = "idempotency_key is not a name: expected 1 to 200 visible characters";
            return Err(WorkflowError::InvalidArgument(problem.into()));
        }
        if target_peers.len() > MAX_TARGETS {
            let problem = format!("target_peers has {} entries: at most {MAX_TARGETS}", target_peers.len());
            return Err(WorkflowError::InvalidArgument(problem));
        }
        let Some(parent) = parent else { return Ok(()) };
        if parent.step.is_empty() || parent.step.len() > MAX_NAME {
            let problem = "parent names a step with an id that is no id: expected 1 to 200 characters";
            return Err(WorkflowError::InvalidArgument(problem.into()));
        }
        if parent.depth > self.options.max_depth {
            let problem = format!(
                "workflow is nested {} deep: at most {} levels are run",
                parent.depth, self.options.max_depth
            );
            return Err(WorkflowError::InvalidArgument(problem));
        }
        if matches!(asker.who, Who::Request(_)) && asker.submitter.as_ref() != Some(&parent.peer) {
            let problem = "a run can only be made part of a run that its submitter coordinates";
            return Err(WorkflowError::Forbidden(problem.into()));
        }
        Ok(())
    }

    /// Whether there is room for one more. Parts of other runs may use as much again: their runs wait for them.
    fn check_room(&self, submit: &SubmitRun) -> Result<(), WorkflowError> {
        let factor = if submit.parent.is_some() { 2 } else { 1 };
        let held = self.counts.unfinished() + self.checks.len() as u64;
        let max = u64::from(self.options.max_unfinished) * factor;
        if held >= max { Err(WorkflowError::Full { held, max }) } else { Ok(()) }
    }

    /// The store knows whether the key was used.
    pub(super) fn on_key(
        &mut self,
        turn: &mut Turn<'_>,
        asker: Asker,
        key: &Bytes,
        result: Result<Found, StoreError>,
    ) {
        let known = result.and_then(|found| read_some::<KeyRecord>(found.value(0)));
        match known {
            Ok(None) => return self.check(turn, asker),
            Err(error) => self.refuse_submission(turn, asker.who, error.into()),
            Ok(Some(first)) => self.give_existing(turn, asker, &first),
        }
        self.release_key(turn, key);
    }

    /// The key was used: the first run, or an error if that is another one.
    fn give_existing(&mut self, turn: &mut Turn<'_>, asker: Asker, first: &KeyRecord) {
        let same =
            first.definition_cid == asker.submit.definition_cid && first.given_cid == asker.submit.inputs_cid;
        if !same {
            let key = asker.submit.idempotency_key.clone().unwrap_or_default();
            let error = WorkflowError::IdempotencyConflict { key, first: first.run };
            return self.refuse_submission(turn, asker.who, error);
        }
        self.existing(turn, asker, first.run);
    }

    fn existing(&mut self, turn: &mut Turn<'_>, asker: Asker, id: RunId) {
        if self.runs.contains_key(&id) {
            return self.adopt(turn, asker, id);
        }
        if asker.submit.parent.is_some() {
            // Whoever coordinates the parent now may have to be written down.
            return self.fetch(turn, id, Awaiting::Submission(Box::new(asker)));
        }
        let plan = ReadPlan::Keys(vec![summary_key(id)]);
        self.read(turn, plan, Reading::Existing(Box::new(asker), id));
    }

    /// A run that is in memory is given to a submission that asks for it again.
    pub(super) fn adopt(&mut self, turn: &mut Turn<'_>, asker: Asker, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let state = live.run.state();
        let parents = (live.run.parent.as_ref(), asker.submit.parent.as_ref());
        if let (Some(known), Some(asks)) = parents
            && known.peer != asks.peer
            && let Err(error) = self.parent_moved(turn, &asker, id, asks.peer.clone())
        {
            return self.refuse_submission(turn, asker.who, error);
        }
        let submitted = RunSubmitted { id, state, existing: true };
        match asker.who {
            Who::Request(ticket) => self.after(After::Answer(ticket, Answer::Submitted(submitted))),
            Who::Unit(flight) => self.sub_accepted(turn, flight, id),
        }
    }

    /// Another peer coordinates the run that a run is a part of.
    fn parent_moved(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        id: RunId,
        peer: PeerId,
    ) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get_mut(&id) else { return Ok(()) };
        if live.exported || live.replacing {
            // Nothing is added to it. Who asks from here follows it to where it goes, and says there what is to be known.
            let problem = format!("workflow run {id} is being handed over: try again in a moment");
            let from_here = matches!(asker.who, Who::Unit(_));
            return if from_here { Ok(()) } else { Err(WorkflowError::Unavailable(problem)) };
        }
        if matches!(live.run.phase, Phase::Finished(_)) {
            // What ended does not change any more; who needs its result may read it.
            live.reader = Some(peer);
            return Ok(());
        }
        self.emit(turn.now, id, Event::ParentMoved { peer });
        let Some(live) = self.runs.get(&id) else { return Ok(()) };
        if let Phase::Moved(to) = &live.run.phase {
            // Its list says where it is, to those who may know.
            let summary = summary_of(&live.run, turn.now, Some(to.clone()));
            self.outgoing.batch.put(summary_key(id), &summary);
        }
        Ok(())
    }

    pub(super) fn on_existing(
        &mut self,
        turn: &mut Turn<'_>,
        asker: Asker,
        id: RunId,
        result: Result<Found, StoreError>,
    ) {
        match result.and_then(|found| read_some::<SummaryRecord>(found.value(0))) {
            Ok(summary) => {
                // Retried meanwhile, if it is not finished any more.
                let state = summary.map_or(RunState::Running, |summary| summary.state);
                if let Who::Request(ticket) = asker.who {
                    turn.answer(ticket, Answer::Submitted(RunSubmitted { id, state, existing: true }));
                }
            }
            Err(error) => self.refuse_submission(turn, asker.who, error.into()),
        }
    }

    /// A run that a submission asked for could not be read.
    pub(super) fn refuse_fetched(&mut self, turn: &mut Turn<'_>, asker: &Asker, error: WorkflowError) {
        self.refuse_submission(turn, asker.who, error);
    }

    /// Definition, tools and inputs are looked at outside.
    fn check(&mut self, turn: &mut Turn<'_>, asker: Asker) {
        if let Err(error) = self.check_room(&asker.submit) {
            let key = asker.key();
            self.refuse_submission(turn, asker.who, error);
            return key.into_iter().for_each(|key| self.release_key(turn, &key));
        }
        let id = CheckId(self.number());
        let submit = Box::new(SubSubmit { submit: asker.submit.clone(), read: asker.read });
        self.checks.insert(id, Box::new(asker));
        turn.out.push(Effect::Check { id, submit });
    }

    /// A submission was looked at.
    pub(crate) fn checked(
        &mut self,
        turn: &mut Turn<'_>,
        id: CheckId,
        result: Result<Checked, WorkflowError>,
    ) {
        let Some(asker) = self.checks.remove(&id) else { return };
        match result {
            Ok(checked) => self.accept(turn, *asker, checked),
            Err(error) => {
                let key = asker.key();
                self.refuse_submission(turn, asker.who, error);
                key.into_iter().for_each(|key| self.release_key(turn, &key));
            }
        }
        self.settle(turn);
    }

    /// Writes a new run down.
    fn accept(&mut self, turn: &mut Turn<'_>, asker: Asker, checked: Checked) {
        let Checked { workflow, inputs, inputs_cid } = checked;
        let id = self.new_id(turn.now);
        let submit = &asker.submit;
        let header = HeaderRecord {
            name: workflow.name.clone(),
            steps: u32::try_from(workflow.steps.len()).unwrap_or(u32::MAX),
            definition: submit.definition.clone(),
            definition_cid: submit.definition_cid,
            inputs,
            inputs_cid,
            given_cid: submit.inputs_cid,
            submitter: asker.submitter.clone(),
            target_peers: submit.target_peers.clone(),
            key: submit.idempotency_key.clone(),
            parent: submit.parent.clone(),
            created: turn.now,
        };
        let mut batch = Batch::default();
        batch.put(header_key(id), &header);
        batch.put(event_key(id, 1), &EventRecord { at: turn.now, epoch: 1, event: Event::Submitted });
        batch.mark(active_key(id));
        batch.pin_payload(&header.definition, || holder(id));
        batch.pin_payload(&header.inputs, || holder(id));
        if let Some(key) = asker.key() {
            let (definition_cid, given_cid) = (submit.definition_cid, submit.inputs_cid);
            batch.put(key, &KeyRecord { run: id, definition_cid, given_cid });
        }
        let arrived = Arrived { asker, id, header, workflow };
        let how = (Acknowledge::Durable, Admission::New);
        self.commit(turn, batch, how, vec![After::Arrived(Box::new(arrived))], Vec::new());
    }

    /// A run's commit was acknowledged: it exists.
    pub(super) fn arrived(&mut self, turn: &mut Turn<'_>, arrived: Arrived) {
        let Arrived { asker, id, header, workflow } = arrived;
        let mut run = Run::new(id, &header, workflow);
        run.apply(1, &EventRecord { at: header.created, epoch: 1, event: Event::Submitted });
        self.totals.submitted += 1;
        self.counts.arrived(&run);
        let part = run.parent.is_some();
        self.runs.insert(id, Box::new(Live::new(run)));
        if part {
            self.start(turn, id);
        } else {
            self.pending.insert((header.created, id));
            self.promote(turn);
        }
        let key = asker.key();
        let state = self.runs.get(&id).map_or(RunState::Pending, |live| live.run.state());
        match asker.who {
            Who::Request(ticket) => {
                turn.answer(ticket, Answer::Submitted(RunSubmitted { id, state, existing: false }));
            }
            Who::Unit(flight) => self.sub_accepted(turn, flight, id),
        }
        key.into_iter().for_each(|key| self.release_key(turn, &key));
    }

    /// The store has no room for a run: nothing was changed.
    pub(super) fn refuse_arrival(&mut self, turn: &mut Turn<'_>, arrived: Arrived, error: &StoreError) {
        let key = arrived.asker.key();
        self.refuse_submission(turn, arrived.asker.who, error.clone().into());
        key.into_iter().for_each(|key| self.release_key(turn, &key));
    }

    fn refuse_submission(&mut self, turn: &mut Turn<'_>, who: Who, error: WorkflowError) {
        match who {
            Who::Request(ticket) => turn.refuse(ticket, error),
            Who::Unit(flight) => self.sub_refused(turn, flight, &error),
        }
    }

    /// Nobody decides about this key any more: submissions that waited for it go on.
    fn release_key(&mut self, turn: &mut Turn<'_>, key: &Bytes) {
        for asker in self.keys.remove(key).unwrap_or_default() {
            self.submit(turn, asker);
        }
    }

    fn new_id(&mut self, now: UnixMillis) -> RunId {
        let mut random = [0; 10];
        self.rng.fill_bytes(&mut random);
        RunId::from_parts(now, random)
    }
}
