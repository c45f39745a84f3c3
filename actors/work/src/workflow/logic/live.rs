//! A run in memory with everything around it that follows from no event: what may be started, what is under way, what is
//! due, who waits.

use super::coordinate::Handing;
use super::io::{FlightId, Op, Ticket};
use super::run::{Items, Run};
use super::{Asked, Unit};
use crate::workflow::definition::StepIx;
use meshwork_proto::workflow::StepState;
use meshwork_proto::{Caller, TaskId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};

/// The unit of what is done for a run as a whole: no step has this place.
pub(crate) const WHOLE: Unit = Unit::step(StepIx::MAX);

/// What is due for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// The run's time is over.
    Timeout,
    /// What is still running is not waited for any more.
    Stop,
    /// Running steps are not waited for any more, the run moves.
    MoveOn,
    /// The hand-over is tried again.
    Move,
    /// The next attempt, or the end of the wait, of a unit.
    Unit(Unit),
    /// The next attempt to take a unit back.
    Undo,
    /// An attempt to take a unit back has had its time.
    UndoTimeout,
    /// What was refused is tried again.
    Again(FlightId),
    /// The sub-workflow has had its time.
    SubTimeout(FlightId),
    /// Who waits for news is told.
    Tell,
}

/// Who waits for news of a run.
#[derive(Debug, Clone)]
pub(crate) struct Waiter {
    /// Whom to answer.
    pub ticket: Ticket,
    /// The version that is known; none = the end is waited for.
    pub seen: Option<u64>,
    /// Whether steps are wanted.
    pub steps: bool,
}

/// The items of a step on their way.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// Items before it have begun.
    pub cursor: u32,
    /// Items whose back-off is over.
    pub again: BTreeSet<u32>,
    /// Items under way.
    pub flying: u32,
    /// Those of them that have not begun: their input is evaluated.
    pub fresh: BTreeSet<u32>,
}

/// A run in memory.
#[derive(Debug)]
pub(crate) struct Live {
    pub run: Run,
    /// Steps that may be started, the most urgent first.
    pub ready: BTreeSet<(u8, StepIx)>,
    /// Whether it waits for its turn to start something.
    pub queued: bool,
    /// It found no place for more than the so much that was under way.
    pub crowded: Option<u32>,
    /// Steps whose back-off is over.
    pub again: BTreeSet<StepIx>,
    /// Steps with items on their way.
    pub starts: BTreeMap<StepIx, Starts>,
    /// What is under way.
    pub flights: BTreeMap<Unit, FlightId>,
    /// How much of that counts against the run's limit.
    pub flying: u32,
    pub timers: BTreeSet<(UnixMillis, What)>,
    /// The first of them, as the coordinator knows it.
    pub armed: Option<UnixMillis>,
    /// When the next attempt or the end of the wait of a unit comes, by this node's clock.
    pub unit_timers: BTreeMap<Unit, UnixMillis>,
    /// It ends, and waits for its sub-workflows alone, which take back what they did.
    pub waits_for_parts: bool,
    /// When the attempt to take a unit back has had its time.
    pub undo_limit: Option<UnixMillis>,
    /// Units that wait for a signal, by its name.
    pub wanted: BTreeMap<String, BTreeSet<Unit>>,
    pub waiters: Vec<Waiter>,
    /// Whether those who wait for news will be told.
    pub telling: bool,
    /// Its end is not acknowledged yet: it may not be told.
    pub ending: bool,
    /// Requests that wait until the end is written, or until it is known whether the run moves.
    pub parked: Vec<Asked>,
    /// Everything was sent to the next coordinator, or is about to be: nothing may be added.
    pub exported: bool,
    /// Attempts at that.
    pub move_tries: u32,
    /// Why the last one came to nothing.
    pub move_trouble: Option<String>,
    /// How far that is.
    pub handing: Handing,
    /// What another peer hands over is being written over it: nothing is decided about it any more.
    pub replacing: bool,
    /// Who coordinates the run that it is a part of since it ended: may read it as well.
    pub reader: Option<meshwork_proto::PeerId>,
}

/// Something under way.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub run: meshwork_proto::RunId,
    pub unit: Unit,
    pub kind: Kind,
    pub stage: Stage,
    /// It is to be given up.
    pub stop: bool,
    /// How often it was refused, or did not answer.
    pub refused: u32,
    /// Why it is not under way, in words.
    pub trouble: Option<String>,
    /// Who coordinates the sub-workflow, if it was handed over since.
    pub moved_to: Option<meshwork_proto::PeerId>,
    /// Its peer did not know it, or did not know this one as its parent's coordinator, and was asked for it by its key.
    pub asked_by_key: bool,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An attempt as a task.
    Task,
    /// A sub-workflow.
    Sub,
    /// An evaluation and nothing more.
    Evaluation,
    /// An attempt to take a unit back.
    Undo,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its input is evaluated.
    Preparing,
    /// It is being submitted, or will be again.
    Submitting {
        /// Whether it may have been accepted although nobody said so.
        unsure: bool,
    },
    /// It is in the queue, or at a peer.
    Away {
        /// Its task, if it is one.
        task: Option<TaskId>,
    },
}

impl Flight {
    /// Its task.
    pub(crate) fn task(&self) -> Option<TaskId> {
        match self.stage {
            Stage::Away { task } => task,
            Stage::Preparing | Stage::Submitting { .. } => None,
        }
    }
}

impl Kind {
    /// Whether it takes a place in the queue: what does counts against the limits.
    pub(crate) fn takes_place(self) -> bool {
        matches!(self, Self::Task | Self::Undo | Self::Evaluation)
    }
}

impl Live {
    pub(crate) fn new(run: Run) -> Self {
        Self {
            run,
            ready: BTreeSet::new(),
            queued: false,
            crowded: None,
            again: BTreeSet::new(),
            starts: BTreeMap::new(),
            flights: BTreeMap::new(),
            flying: 0,
            timers: BTreeSet::new(),
            armed: None,
            unit_timers: BTreeMap::new(),
            waits_for_parts: false,
            undo_limit: None,
            wanted: BTreeMap::new(),
            waiters: Vec::new(),
            telling: false,
            ending: false,
            parked: Vec::new(),
            exported: false,
            move_tries: 0,
            move_trouble: None,
            handing: Handing::default(),
            replacing: false,
            reader: None,
        }
    }

    /// Whether a peer that may not change the run may read it: who coordinates the run that it is a part of since it ended.
    pub(crate) fn may_be_read_by(&self, caller: &Caller, op: &Op) -> bool {
        matches!(op, Op::Get(_)) && self.reader.is_some() && self.reader.as_ref() == caller.peer()
    }

    /// Whether something may be started now.
    pub(crate) fn can_start(&self) -> bool {
        let limit = self.run.workflow.max_parallel.unwrap_or(u32::MAX);
        self.run.may_start() && !self.ready.is_empty() && self.flying < limit
    }

    /// Sees to it that a step is among those that may be started, if it has anything to start.
    pub(crate) fn offer(&mut self, step: StepIx) {
        let Some(priority) = self.run.definition(step).map(|step| step.priority) else { return };
        let key = (u8::MAX - priority, step);
        let offers = match self.run.step(step) {
            Some(run) if run.items.is_some() => self.peek_item(step).is_some(),
            Some(run) => {
                let idle = !self.flights.contains_key(&Unit::step(step));
                let again = run.state == StepState::Retrying && self.again.contains(&step);
                run.unmet == 0 && idle && (run.state == StepState::Pending || again)
            }
            None => false,
        };
        if offers {
            self.ready.insert(key);
        } else {
            self.ready.remove(&key);
        }
    }

    /// The next item of a step that may be started, within the step's own limit.
    pub(crate) fn peek_item(&mut self, step: StepIx) -> Option<u32> {
        let limit = self.run.definition(step)?.for_each.as_ref()?.max_parallel.unwrap_or(u32::MAX);
        let run = self.run.step(step)?;
        if run.state.is_finished() {
            return None;
        }
        let items: &Items = run.items.as_ref()?;
        let starts = self.starts.entry(step).or_default();
        if starts.flying >= limit {
            return None;
        }
        if let Some(item) = starts.again.first() {
            return Some(*item);
        }
        // One that waits for its next attempt is worked on all the same.
        let begun =
            items.counts.running.saturating_add(u32::try_from(starts.fresh.len()).unwrap_or(u32::MAX));
        if begun >= limit {
            return None;
        }
        while starts.cursor < items.counts.total {
            let item = starts.cursor;
            let pending = items.state(item) == Some(StepState::Pending);
            if pending && !self.flights.contains_key(&Unit::item(step, item)) {
                return Some(item);
            }
            starts.cursor += 1;
        }
        None
    }

    /// An item begins, or begins again.
    pub(crate) fn take_item(&mut self, step: StepIx, item: u32) {
        let pending = self.run.unit_state(Unit::item(step, item)) == Some(StepState::Pending);
        let starts = self.starts.entry(step).or_default();
        starts.again.remove(&item);
        starts.flying += 1;
        if pending {
            starts.fresh.insert(item);
        }
    }

    /// The attempt of a unit begins.
    pub(crate) fn has_begun(&mut self, unit: Unit) {
        if let (Some(item), Some(starts)) = (unit.item, self.starts.get_mut(&unit.step)) {
            starts.fresh.remove(&item);
        }
    }

    /// An item is not under way any more.
    pub(crate) fn return_item(&mut self, step: StepIx, item: u32) {
        let pending = self.run.unit_state(Unit::item(step, item)) == Some(StepState::Pending);
        let starts = self.starts.entry(step).or_default();
        starts.flying = starts.flying.saturating_sub(1);
        starts.fresh.remove(&item);
        if pending {
            starts.cursor = starts.cursor.min(item);
        }
    }

    /// A unit has not begun after all.
    pub(crate) fn reopen(&mut self, unit: Unit) {
        if let Some(item) = unit.item {
            let starts = self.starts.entry(unit.step).or_default();
            starts.cursor = starts.cursor.min(item);
        }
        self.offer(unit.step);
    }

    /// The back-off of a unit is over.
    pub(crate) fn try_again(&mut self, unit: Unit) {
        match unit.item {
            Some(item) => self.starts.entry(unit.step).or_default().again.insert(item),
            None => self.again.insert(unit.step),
        };
        self.offer(unit.step);
    }

    /// A unit waits for a signal.
    pub(crate) fn want(&mut self, name: &str, unit: Unit) {
        self.wanted.entry(name.to_owned()).or_default().insert(unit);
    }

    /// A unit does not wait for a signal any more.
    pub(crate) fn want_no_more(&mut self, name: &str, unit: Unit) {
        if let Some(units) = self.wanted.get_mut(name) {
            units.remove(&unit);
            if units.is_empty() {
                self.wanted.remove(name);
            }
        }
    }
}

/// A caller as `by` in events: none for this node's own clients.
pub(crate) fn by(caller: &Caller) -> Option<meshwork_proto::PeerId> {
    caller.peer().cloned()
}
