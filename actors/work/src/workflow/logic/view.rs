//! How runs are shown.

use super::end::seconds;
use super::live::{Flight, Kind, Live, Stage};
use super::run::{Phase, StepRun};
use super::tasks::task_action;
use super::{Answer, Coordinator, Shown, ShownTask, Ticket, Turn};
use crate::workflow::definition::{Step, StepIx};
use crate::workflow::records::Unit;
use meshwork_proto::workflow::{RunView, StepState, StepView};
use meshwork_proto::{PeerId, RunId, TaskId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};

/// Tasks of which the queue is asked how far they are, for one view.
const ASKED_TASKS: usize = 16;
/// Things named that a run waits for.
const NAMED: usize = 5;
/// Things under way that are looked at for what is wrong with them.
const LOOKED_AT: usize = 256;

impl Coordinator {
    /// Answers with a run that is in memory.
    pub(super) fn show(&self, turn: &mut Turn<'_>, ticket: Ticket, id: RunId, steps: bool) {
        if let Some(live) = self.runs.get(&id) {
            let shown = self.shown(turn.now, live, steps);
            turn.answer(ticket, Answer::Run(Box::new(shown)));
        }
    }

    fn shown(&self, now: UnixMillis, live: &Live, steps: bool) -> Shown {
        let run = &live.run;
        let (views, tasks) = if steps { self.step_views(live) } else { (Vec::new(), Vec::new()) };
        let counts = StepState::ALL.iter().map(|state| (*state, run.count(*state)));
        let view = RunView {
            id: run.id,
            name: run.workflow.name.clone(),
            state: run.state(),
            version: run.seq,
            definition_cid: run.definition_cid,
            inputs_cid: run.inputs_cid,
            submitter: run.submitter.clone(),
            parent: run.parent.clone(),
            coordinating_peers: self.coordinating_peers(live),
            epoch: run.epoch,
            steps: views,
            counts: counts.filter(|(_, count)| *count > 0).collect(),
            output: run.output.clone(),
            output_cid: run.output_cid,
            error: match &run.phase {
                Phase::Ending(ending) => Some(ending.error.clone()),
                _ => run.error.clone(),
            },
            created: run.created,
            started: run.started,
            updated: run.updated,
            finished: run.finished,
            waiting_for: self.waiting_for(now, live),
        };
        Shown { view, tasks }
    }

    /// This node, then who coordinates sub-workflows, then the target peers.
    pub(super) fn coordinating_peers(&self, live: &Live) -> Vec<PeerId> {
        let mut peers = vec![self.local_peer.clone()];
        let mut known: BTreeSet<&PeerId> = [&self.local_peer].into();
        let child = |step: &'_ StepRun| step.tries.child.as_ref().map(|child| child.peer.clone());
        let parts: BTreeSet<PeerId> = live.run.steps.iter().filter_map(child).collect();
        for peer in parts.iter().chain(&live.run.targets) {
            if known.insert(peer) {
                peers.push(peer.clone());
            }
        }
        peers
    }

    fn step_views(&self, live: &Live) -> (Vec<StepView>, Vec<ShownTask>) {
        let mut tasks = Vec::new();
        let mut views = Vec::with_capacity(live.run.workflow.steps.len());
        for (place, definition) in live.run.workflow.steps.iter().enumerate() {
            let step = StepIx::try_from(place).unwrap_or(StepIx::MAX);
            let flight = live.flights.get(&Unit::step(step)).and_then(|flight| self.flights.get(flight));
            let flight = flight.filter(|flight| flight.task().is_some());
            tasks.extend(
                flight
                    .or_else(|| self.flight_of_item(live, step))
                    .and_then(|flight| self.shown_task(live, place, definition, flight)),
            );
            views.push(step_view(live, step, definition, flight.and_then(Flight::task)));
        }
        (views, asked(tasks))
    }

    fn shown_task(&self, live: &Live, place: usize, step: &Step, flight: &Flight) -> Option<ShownTask> {
        let action = if flight.kind == Kind::Undo { step.compensate.as_ref() } else { task_action(step) }?;
        let (labels, targets) = self.place_of(live.run.id, step, action);
        let (task, tool) = (flight.task()?, action.tool.clone());
        Some(ShownTask { step: place, task, tool, labels, targets, alike: Vec::new() })
    }

    /// Some task of a step with items, to be asked for what it waits for.
    fn flight_of_item(&self, live: &Live, step: StepIx) -> Option<&Flight> {
        let items = Unit::item(step, 0)..=Unit::item(step, u32::MAX);
        let mut flying =
            live.flights.range(items).take(NAMED).filter_map(|(_, flight)| self.flights.get(flight));
        flying.find(|flight| flight.task().is_some())
    }

    /// What a run waits for as a whole, in words.
    fn waiting_for(&self, now: UnixMillis, live: &Live) -> Option<String> {
        let run = &live.run;
        match &run.phase {
            Phase::Finished(_) | Phase::Moved(_) => None,
            _ if run.moving.is_some() => waiting_to_move(now, live),
            _ if run.paused => Some("to be resumed".to_owned()),
            Phase::Pending => Some(format!(
                "a place: {} runs are running, of at most {}",
                self.counts.placed(),
                self.options.max_running
            )),
            Phase::Ending(_) => Some(self.waiting_to_end(live)),
            Phase::Running => self.waiting_to_run(live),
        }
    }

    fn waiting_to_end(&self, live: &Live) -> String {
        let run = &live.run;
        if let Some(undoing) = &run.undoing {
            let step = run.definition(undoing.unit.step).map_or("", |step| step.id.as_str());
            let more = run.undo.len();
            return format!("step {step} to be taken back, and {more} more");
        }
        format!("{} running steps to stop", live.flights.len())
    }

    /// Signals, and what is wrong with what is under way.
    fn waiting_to_run(&self, live: &Live) -> Option<String> {
        let mut reasons = Vec::new();
        for (name, units) in live.wanted.iter().take(NAMED) {
            let step = units.first().and_then(|unit| live.run.definition(unit.step));
            reasons.push(format!("signal {name:?} (step {})", step.map_or("", |step| step.id.as_str())));
        }
        for (unit, flight) in live.flights.iter().take(LOOKED_AT) {
            if reasons.len() >= NAMED {
                break;
            }
            let Some(flight) = self.flights.get(flight) else { continue };
            let Some(trouble) = &flight.trouble else { continue };
            let step = live.run.definition(unit.step).map_or("its result", |step| step.id.as_str());
            let doing = if flight.stage == Stage::Preparing { "documents" } else { "its place" };
            reasons.push(format!("{doing} of step {step}: {trouble}"));
        }
        if reasons.is_empty() && live.flights.is_empty() && live.run.count(StepState::Waiting) > 0 {
            return Some("a time".to_owned());
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// The tasks that the queue is asked about: one for each kind of worker that is waited for, then others.
fn asked(tasks: Vec<ShownTask>) -> Vec<ShownTask> {
    let mut kinds: BTreeMap<(String, BTreeSet<String>, BTreeSet<PeerId>), usize> = BTreeMap::new();
    let mut asked: Vec<ShownTask> = Vec::new();
    let mut others = Vec::new();
    for task in tasks {
        let kind = (task.tool.clone(), task.labels.clone(), task.targets.clone());
        let known = kinds.get(&kind).copied();
        if let Some(first) = known.and_then(|first| asked.get_mut(first)) {
            first.alike.push(task.step);
            others.push(task);
        } else if asked.len() < ASKED_TASKS {
            kinds.insert(kind, asked.len());
            asked.push(task);
        }
    }
    let room = ASKED_TASKS.saturating_sub(asked.len());
    asked.extend(others.into_iter().take(room));
    asked
}

fn waiting_to_move(now: UnixMillis, live: &Live) -> Option<String> {
    let moving = live.run.moving.as_ref()?;
    let since = seconds(millis(now.since(moving.since)));
    let what = match (&live.move_trouble, live.exported) {
        (Some(trouble), _) => format!("peer {} to take it over: {trouble}", moving.to),
        (None, true) => format!("peer {} to take it over", moving.to),
        (None, false) => format!("its running steps to end before peer {} takes it over", moving.to),
    };
    Some(format!("{what} (since {since} s)"))
}

fn step_view(live: &Live, step: StepIx, definition: &Step, task: Option<TaskId>) -> StepView {
    let run = live.run.step(step);
    let tries = run.map(|run| &run.tries);
    let items = run.and_then(|run| run.items.as_ref());
    let child = tries.and_then(|tries| tries.child.as_ref());
    let steps = &live.run.workflow.steps;
    let ended = !live.run.is_active() && run.is_none();
    StepView {
        id: definition.id.clone(),
        kind: definition.kind,
        what: definition.what.clone(),
        state: run.map_or(if ended { StepState::Cancelled } else { StepState::Pending }, |run| run.state),
        attempt: items.map_or(tries.map_or(0, |tries| tries.begun), |items| items.begun),
        max_attempts: definition.retry.max_attempts,
        peer: run.and_then(|run| run.peer.clone()),
        task,
        run: child.and_then(|child| Some((child.peer.clone(), child.run?))),
        items: items.map(|items| items.counts),
        cached: run.is_some_and(|run| run.cached),
        output_cid: run.and_then(|run| run.output_cid),
        output_len: run.and_then(|run| run.output.as_ref()).map(super::doc::Doc::len),
        error: tries.and_then(|tries| tries.error.as_deref().cloned()),
        started: run.and_then(|run| run.started),
        finished: run.and_then(|run| run.finished),
        due: tries.and_then(|tries| tries.due),
        progress: None,
        waiting_for: None,
        needs: definition
            .needs
            .iter()
            .filter_map(|need| steps.get(*need as usize))
            .map(|step| step.id.clone())
            .collect(),
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
