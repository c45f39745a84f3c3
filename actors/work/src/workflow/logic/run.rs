//! One run: the state that follows from its events. Nothing else changes it ([`Run::apply`]), and nothing here knows
//! what is under way outside.

mod apply;
mod finish;
mod items;
mod retry;
mod undo;

pub(crate) use items::Items;

use super::doc::Doc;
use crate::workflow::definition::{OnFailure, Step, StepIx, Workflow};
use crate::workflow::records::{HeaderRecord, Unit};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{ParentStep, RunState, StepState};
use meshwork_proto::{Caller, Cid, Json, MeshError, PeerId, RunId, UnixMillis};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// States a step can have.
const STATES: usize = 9;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// Waits for its place.
    Pending,
    /// Steps are started as they become ready.
    Running,
    /// Nothing is started any more: what runs is stopped, then what completed is taken back if that is wanted.
    Ending(Ending),
    /// Nothing happens to it by itself any more.
    Finished(RunState),
    /// Another peer coordinates it.
    Moved(PeerId),
}

/// How a run will have ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ending {
    /// Failed or cancelled.
    pub state: RunState,
    /// Why.
    pub error: MeshError,
    /// Whether what completed is taken back.
    pub compensate: bool,
    /// Somebody had enough of that: what was not taken back stays as it is.
    pub given_up: bool,
    /// Since when.
    pub since: UnixMillis,
}

/// A hand-over under way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moving {
    /// Who is to have the run.
    pub to: PeerId,
    /// Under which epoch.
    pub epoch: u32,
    /// Since when.
    pub since: UnixMillis,
    /// Everything was sent there, or is about to be: that peer may have the run.
    pub sent: bool,
}

/// What happens to a unit before it is finished.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Tries {
    /// Attempts begun, those that were taken back included.
    pub begun: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// The epoch in which the last one began.
    pub epoch: u32,
    /// Input of the attempts.
    pub input: Option<Doc>,
    /// Content id of the input, when the step is pure.
    pub input_cid: Option<Box<Cid>>,
    /// When the next attempt or the end of the wait comes.
    pub due: Option<UnixMillis>,
    /// What went wrong last.
    pub error: Option<Box<MeshError>>,
    /// The sub-workflow.
    pub child: Option<Box<Child>>,
}

/// The sub-workflow of a unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Child {
    /// Who coordinates it.
    pub peer: PeerId,
    /// Its run, once it is accepted.
    pub run: Option<RunId>,
    /// Content id of its inputs.
    pub inputs_cid: Cid,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepRun {
    /// Where it stands.
    pub state: StepState,
    /// Whether its result was made before.
    pub cached: bool,
    /// Steps that it needs and that are not finished.
    pub unmet: u32,
    /// Its attempts, unless it has items.
    pub tries: Tries,
    /// Who ran it last.
    pub peer: Option<PeerId>,
    /// When it began.
    pub started: Option<UnixMillis>,
    /// When it finished.
    pub finished: Option<UnixMillis>,
    /// Its result.
    pub output: Option<Doc>,
    /// Content id of the result.
    pub output_cid: Option<Cid>,
    /// Its items, once they are known.
    pub items: Option<Box<Items>>,
}

/// A signal that nobody has waited for yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Signal {
    /// Number of its event.
    pub seq: u64,
    /// Its name.
    pub name: String,
    /// What came with it.
    pub payload: Json,
}

/// A unit that completed and may have to be taken back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Done {
    /// Which.
    pub unit: Unit,
    /// What it gave, if its step has begun anew since: then this is not in the step any more.
    pub before: Option<Box<Before>>,
}

/// What a step had before it began anew.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Before {
    /// The result of the unit.
    pub output: Option<Doc>,
    /// The list that its items were taken from.
    pub items: Option<Doc>,
}

/// A unit that is being taken back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Undoing {
    /// Which.
    pub unit: Unit,
    /// What it gave, if its step has begun anew since.
    pub before: Option<Box<Before>>,
    /// The attempts.
    pub tries: Tries,
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Id.
    pub id: RunId,
    /// What is run.
    pub workflow: Arc<Workflow>,
    /// Content id of the definition.
    pub definition_cid: Cid,
    /// The inputs.
    pub inputs: Doc,
    /// Content id of the inputs.
    pub inputs_cid: Cid,
    /// Who submitted it.
    pub submitter: Option<PeerId>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The step it is a part of.
    pub parent: Option<ParentStep>,
    /// Peers that may work on it; empty = any.
    pub targets: BTreeSet<PeerId>,
    /// Number of the last event.
    pub seq: u64,
    /// The epoch of its coordination.
    pub epoch: u32,
    /// How often it was retried.
    pub round: u32,
    /// Where it stands.
    pub phase: Phase,
    /// Whether nothing new is to be started.
    pub paused: bool,
    /// Who coordinated it before, each with the epoch under which the run was taken over from there, in that order.
    pub taken: Vec<(PeerId, u32)>,
    /// Peers that were to coordinate it: each of them may have done so.
    pub offered: BTreeSet<PeerId>,
    /// Whether it is being handed over.
    pub moving: Option<Moving>,
    /// Its steps; empty before it started.
    pub steps: Vec<StepRun>,
    /// Steps by state.
    tally: [u32; STATES],
    /// Steps that are not finished.
    pub unfinished: u32,
    /// Units that completed and have a compensation, in order of completion.
    pub undo: Vec<Done>,
    /// The unit that is being taken back.
    pub undoing: Option<Undoing>,
    /// Units that could not be taken back.
    pub stuck: Vec<Done>,
    /// Signals that nobody has waited for yet, oldest first.
    pub signals: VecDeque<Signal>,
    /// When it was submitted.
    pub created: UnixMillis,
    /// When it started.
    pub started: Option<UnixMillis>,
    /// Since when its time limit runs.
    pub timed_from: UnixMillis,
    /// When it last changed.
    pub updated: UnixMillis,
    /// The time of the last event: earlier than that of one before it if a clock was set back.
    pub last: UnixMillis,
    /// When it finished, or moved to another peer.
    pub finished: Option<UnixMillis>,
    /// Its result.
    pub output: Option<Payload>,
    /// Content id of the result.
    pub output_cid: Option<Cid>,
    /// Why it failed or was cancelled.
    pub error: Option<MeshError>,
}

impl Run {
    /// A run before its first event.
    pub(crate) fn new(id: RunId, header: &HeaderRecord, workflow: Arc<Workflow>) -> Self {
        let total = u32::try_from(workflow.steps.len()).unwrap_or(u32::MAX);
        let mut tally = [0; STATES];
        tally[place(StepState::Pending)] = total;
        Self {
            id,
            workflow,
            definition_cid: header.definition_cid,
            inputs: Doc::of_header(&header.inputs),
            inputs_cid: header.inputs_cid,
            submitter: header.submitter.clone(),
            key: header.key.clone(),
            parent: header.parent.clone(),
            targets: header.target_peers.clone(),
            seq: 0,
            epoch: 1,
            round: 0,
            phase: Phase::Pending,
            paused: false,
            taken: Vec::new(),
            offered: BTreeSet::new(),
            moving: None,
            steps: Vec::new(),
            tally,
            unfinished: total,
            undo: Vec::new(),
            undoing: None,
            stuck: Vec::new(),
            signals: VecDeque::new(),
            created: header.created,
            started: None,
            timed_from: header.created,
            updated: header.created,
            last: header.created,
            finished: None,
            output: None,
            output_cid: None,
            error: None,
        }
    }

    /// The state in words that everybody knows.
    pub(crate) fn state(&self) -> RunState {
        match &self.phase {
            Phase::Finished(state) => *state,
            _ if self.paused => RunState::Paused,
            Phase::Pending => RunState::Pending,
            Phase::Running | Phase::Ending(_) | Phase::Moved(_) => RunState::Running,
        }
    }

    /// Whether the run still has something to do here.
    pub(crate) fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Finished(_) | Phase::Moved(_))
    }

    /// Whether steps may be started.
    pub(crate) fn may_start(&self) -> bool {
        self.phase == Phase::Running && !self.paused && self.moving.is_none()
    }

    /// Whether it goes on with what is under way, and may complete.
    pub(crate) fn may_go_on(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether the caller may read and change it: who submitted it, and who coordinates the run it is a part of.
    pub(crate) fn may_be_touched_by(&self, caller: &Caller) -> bool {
        let parent = self.parent.as_ref().map(|parent| &parent.peer);
        caller.may_touch(self.submitter.as_ref()) || (parent.is_some() && caller.peer() == parent)
    }

    /// Whether this peer is known to have coordinated it, or to have been meant to.
    pub(crate) fn names_coordinator(&self, peer: &PeerId) -> bool {
        self.offered.contains(peer) || self.taken.iter().any(|(from, _)| from == peer)
    }

    /// A step's definition.
    pub(crate) fn definition(&self, step: StepIx) -> Option<&Step> {
        self.workflow.steps.get(step as usize)
    }

    /// A step as it stands; none before the run started.
    pub(crate) fn step(&self, step: StepIx) -> Option<&StepRun> {
        self.steps.get(step as usize)
    }

    fn step_mut(&mut self, step: StepIx) -> Option<&mut StepRun> {
        self.steps.get_mut(step as usize)
    }

    /// The attempts of a unit that is not finished, or of a step that is.
    pub(crate) fn tries(&self, unit: Unit) -> Option<&Tries> {
        let step = self.step(unit.step)?;
        match unit.item {
            None => Some(&step.tries),
            Some(item) => step.items.as_ref()?.live.get(&item),
        }
    }

    /// Where a unit stands.
    pub(crate) fn unit_state(&self, unit: Unit) -> Option<StepState> {
        let step = self.step(unit.step)?;
        match unit.item {
            None => Some(step.state),
            Some(item) => step.items.as_ref()?.state(item),
        }
    }

    /// Whether steps that need this one may begin.
    pub(crate) fn lets_go(&self, step: StepIx) -> bool {
        let Some(run) = self.step(step) else { return false };
        match run.state {
            StepState::Completed | StepState::Skipped => true,
            StepState::Failed => self.continues(step),
            _ => false,
        }
    }

    /// Whether the run goes on when this step fails.
    pub(crate) fn continues(&self, step: StepIx) -> bool {
        self.definition(step).is_some_and(|step| matches!(step.on_failure, OnFailure::Continue))
    }

    /// Steps in this state.
    pub(crate) fn count(&self, state: StepState) -> u32 {
        self.tally[place(state)]
    }

    /// Steps that are finished.
    pub(crate) fn finished_steps(&self) -> u32 {
        self.total_steps().saturating_sub(self.unfinished)
    }

    /// All steps.
    pub(crate) fn total_steps(&self) -> u32 {
        self.tally.iter().sum()
    }

    /// Items of all steps together, as far as they are known.
    pub(crate) fn total_items(&self) -> u64 {
        self.steps
            .iter()
            .filter_map(|step| step.items.as_ref())
            .map(|items| u64::from(items.counts.total))
            .sum()
    }

    fn set_state(&mut self, step: StepIx, state: StepState) {
        let Some(run) = self.steps.get_mut(step as usize) else { return };
        let old = std::mem::replace(&mut run.state, state);
        self.tally[place(old)] = self.tally[place(old)].saturating_sub(1);
        self.tally[place(state)] += 1;
        match (old.is_finished(), state.is_finished()) {
            (false, true) => self.unfinished = self.unfinished.saturating_sub(1),
            (true, false) => self.unfinished += 1,
            _ => {}
        }
    }
}

impl Undoing {
    /// As it was before.
    fn into_done(self) -> Done {
        Done { unit: self.unit, before: self.before }
    }
}

impl Done {
    /// Bytes that are taken for the result of an item: its length is only known by its event.
    const ITEM_LEN: u32 = 1024;

    /// What is taken back begins anew: what it gave is kept here.
    fn kept(self, run: &Run) -> Self {
        let step = run.step(self.unit.step);
        let items = step.and_then(|step| step.items.as_ref());
        let output = match self.unit.item {
            None => step.and_then(|step| step.output.clone()),
            Some(item) => items.and_then(|items| items.end(item)).map(Self::item_result),
        };
        let items = items.map(|items| items.list.clone());
        Self { before: self.before.or_else(|| Some(Box::new(Before { output, items }))), ..self }
    }

    /// The result of an item, by the event that has it.
    pub(crate) fn item_result(seq: u64) -> Doc {
        Doc::Event { seq, len: Self::ITEM_LEN }
    }
}

impl StepRun {
    /// A step that needs so many others.
    fn new(needs: usize) -> Self {
        Self {
            state: StepState::Pending,
            cached: false,
            unmet: u32::try_from(needs).unwrap_or(u32::MAX),
            tries: Tries::default(),
            peer: None,
            started: None,
            finished: None,
            output: None,
            output_cid: None,
            items: None,
        }
    }
}

/// The place of a state in a tally.
const fn place(state: StepState) -> usize {
    match state {
        StepState::Pending => 0,
        StepState::Running => 1,
        StepState::Waiting => 2,
        StepState::Retrying => 3,
        StepState::Completed => 4,
        StepState::Failed => 5,
        StepState::Skipped => 6,
        StepState::Cancelled => 7,
        StepState::Compensated => 8,
    }
}
