//! The graph of a run, and the chain of steps that it takes its time for.

use super::live::Live;
use super::run::Run;
use super::{Answer, Coordinator, Ticket, Turn};
use crate::workflow::definition::StepIx;
use meshwork_proto::workflow::{DagEdge, DagNode, DagView, StepState};
use meshwork_proto::{RunId, UnixMillis};

impl Coordinator {
    pub(super) fn dag(&self, turn: &mut Turn<'_>, ticket: Ticket, id: RunId) {
        if let Some(live) = self.runs.get(&id) {
            let view = dag_of(turn.now, live);
            turn.answer(ticket, Answer::Dag(Box::new(view)));
        }
    }
}

fn dag_of(now: UnixMillis, live: &Live) -> DagView {
    let run = &live.run;
    let steps = &run.workflow.steps;
    let name = |step: StepIx| steps.get(step as usize).map(|step| step.id.clone()).unwrap_or_default();
    let durations: Vec<u64> = (0..).zip(steps).map(|(step, _)| duration(now, run, step)).collect();
    let mut nodes = Vec::with_capacity(steps.len());
    let mut edges = Vec::new();
    for ((step, definition), duration_ms) in (0..).zip(steps).zip(&durations) {
        let state = run.step(step);
        nodes.push(DagNode {
            id: definition.id.clone(),
            kind: definition.kind,
            what: definition.what.clone(),
            state: state.map_or(StepState::Pending, |step| step.state),
            items: state.and_then(|step| step.items.as_ref()).map(|items| items.counts.total),
            duration_ms: *duration_ms,
        });
        let needs = definition.needs.iter();
        edges.extend(needs.map(|need| DagEdge { from: name(*need), to: definition.id.clone() }));
    }
    let (critical_ms, chain) = critical_path(run, &durations);
    DagView {
        id: run.id,
        name: run.workflow.name.clone(),
        state: run.state(),
        nodes,
        edges,
        critical_path: chain.into_iter().map(name).collect(),
        critical_ms,
    }
}

/// How long a step took so far.
fn duration(now: UnixMillis, run: &Run, step: StepIx) -> u64 {
    let Some(step) = run.step(step) else { return 0 };
    let Some(started) = step.started else { return 0 };
    let until = step.finished.or(run.finished).unwrap_or(now);
    u64::try_from(until.since(started).as_millis()).unwrap_or(u64::MAX)
}

/// The longest chain by time; of equal ones the one with more steps.
fn critical_path(run: &Run, durations: &[u64]) -> (u64, Vec<StepIx>) {
    let steps = &run.workflow.steps;
    // Time and length of the longest chain up to and with each step, and the step before it.
    let mut best: Vec<(u64, u32, Option<StepIx>)> = vec![(0, 0, None); steps.len()];
    let mut last: Option<StepIx> = None;
    for step in run.workflow.order.iter().copied() {
        let place = step as usize;
        let (Some(definition), Some(own)) = (steps.get(place), durations.get(place)) else { continue };
        let before = definition.needs.iter().filter_map(|need| {
            let (time, length, _) = best.get(*need as usize)?;
            Some((*time, *length, Some(*need)))
        });
        // Of equal ones the first.
        let longer = |one: (u64, u32, _), other: (u64, u32, _)| {
            if (other.0, other.1) > (one.0, one.1) { other } else { one }
        };
        let (time, length, from) = before.reduce(longer).unwrap_or_default();
        let reached = (time.saturating_add(*own), length + 1, from);
        best[place] = reached;
        let known = last.and_then(|last| best.get(last as usize)).map(|best| (best.0, best.1));
        if known.is_none_or(|known| (reached.0, reached.1) > known) {
            last = Some(step);
        }
    }
    let total = last.and_then(|last| best.get(last as usize)).map_or(0, |best| best.0);
    let mut chain = Vec::new();
    while let Some(step) = last {
        chain.push(step);
        last = best.get(step as usize).and_then(|best| best.2);
    }
    chain.reverse();
    (total, chain)
}
