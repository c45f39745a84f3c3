//! What was promised: each event is judged by what its run has been through, and each answer by those before it.

use super::ledger::{History, Ledger};
use super::net::{NODES, peer};
use super::worker::labels;
use super::{OPEN, Open};
use crate::workflow::logic::Phase;
use crate::workflow::records::{Ended, Event, EventRecord, How, Unit};
use meshwork_proto::queue::{Finish, Outcome};
use meshwork_proto::task::TaskSpec;
use meshwork_proto::workflow::{RunState, RunView};
use meshwork_proto::{Cid, RunId, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// A task may begin so long after the end of its run: until the queue has been told.
const OVER: u64 = 8000;

/// Whether an event may follow on a history.
pub(super) fn judge(history: &History, record: &EventRecord) -> Result<(), String> {
    let run = &history.run;
    match (&run.phase, &record.event) {
        (Phase::Finished(_), Event::Retried { .. }) => {}
        (Phase::Finished(state), _) => return Err(format!("the run is {state} and changes")),
        (Phase::Moved(to), _) => return Err(format!("the run was handed over to {to}")),
        _ => {}
    }
    let sent = matches!(history.records.last(), Some(EventRecord { event: Event::Exported, .. }));
    if sent && !matches!(record.event, Event::Moved { .. } | Event::MoveEnded { .. }) {
        return Err("all of it was sent to the next coordinator".to_owned());
    }
    match &record.event {
        Event::Completed { unit, .. } if history.completed.contains(unit) => {
            Err(format!("{unit} has completed before"))
        }
        Event::TaskBegun { unit, .. }
        | Event::SubBegun { unit, .. }
        | Event::Waiting { unit, .. }
        | Event::Skipped { unit } => check_needs(history, *unit),
        Event::Items { step, .. } => check_needs(history, Unit::step(*step)),
        Event::Finished { state: RunState::Completed, .. } if run.unfinished > 0 => {
            Err(format!("{} steps are not finished", run.unfinished))
        }
        Event::Finished { state, .. } => check_undo(history, *state),
        _ => Ok(()),
    }
}

fn check_needs(history: &History, unit: Unit) -> Result<(), String> {
    let run = &history.run;
    let needs = run.definition(unit.step).map_or(&[][..], |step| &step.needs[..]);
    match needs.iter().find(|need| !run.lets_go(**need)) {
        Some(need) => Err(format!("step {need}, which it needs, is not finished")),
        None => Ok(()),
    }
}

/// What completed and asked for it is taken back, the last one first, and nothing else.
fn check_undo(history: &History, state: RunState) -> Result<(), String> {
    let run = &history.run;
    let (mut completed, mut undone): (Vec<Unit>, Vec<Unit>) = (Vec::new(), Vec::new());
    let (mut wanted, mut retried, mut given_up) = (false, false, false);
    for record in &history.records {
        match &record.event {
            Event::Completed { unit, how: How::Ran, .. }
                if run.definition(unit.step).is_some_and(|step| step.compensate.is_some()) =>
            {
                completed.push(*unit);
            }
            Event::Failing { compensate, .. } | Event::Cancelling { compensate, .. } => wanted = *compensate,
            Event::Undone { unit, .. } | Event::UndoFailed { unit, retry_at: None, .. } => undone.push(*unit),
            Event::UndoGivenUp { .. } => given_up = true,
            Event::Retried { .. } => {
                (retried, given_up) = (true, false);
                undone.clear();
            }
            _ => {}
        }
    }
    if state == RunState::Completed || !wanted {
        return if undone.is_empty() { Ok(()) } else { Err(format!("{undone:?} were taken back")) };
    }
    if retried {
        // What ran again after its compensation may be taken back again; but nothing that never completed.
        let wrong = undone.iter().find(|unit| !completed.contains(unit));
        let twice = undone.iter().collect::<BTreeSet<_>>().len() != undone.len();
        return match wrong {
            Some(unit) => Err(format!("{unit} was taken back and had not completed")),
            None if twice => Err(format!("{undone:?} were taken back")),
            None => Ok(()),
        };
    }
    completed.reverse();
    let all = undone == completed || (given_up && completed.starts_with(&undone));
    if all {
        return Ok(());
    }
    Err(format!("{completed:?} should have been taken back, in this order: these were: {undone:?}"))
}

/// The attempt that a task stands for, by its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    run: String,
    unit: String,
    undo: bool,
    round: String,
}

/// What was told, and what workers gave.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Runs that were accepted, durably.
    pub accepted: BTreeSet<RunId>,
    /// The attempts that tasks stand for, the nodes whose workers may do them, and the node whose queue has them.
    tasks: BTreeMap<TaskId, (Attempt, BTreeSet<usize>, usize)>,
    /// Results that a queue took, durably.
    results: BTreeMap<Attempt, BTreeMap<TaskId, Cid>>,
    /// Ends of runs that a client was told: completed ones never change.
    told: BTreeMap<RunId, Option<Cid>>,
}

impl Oracle {
    /// Tasks, the attempts that they stand for, and the nodes whose queues have them.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (TaskId, impl std::fmt::Debug, usize)> {
        self.tasks.iter().map(|(id, (attempt, able, node))| (*id, (attempt, able), *node))
    }

    /// A queue accepted an attempt.
    pub(super) fn submitted(&mut self, node: usize, id: TaskId, spec: &TaskSpec) {
        let key = spec.idempotency_key.clone().unwrap_or_default();
        let parts: Vec<&str> = key.split('/').collect();
        if let ["wf", run, step, item, begun, round, _epoch] = parts[..] {
            let attempt = Attempt {
                run: run.to_owned(),
                unit: format!("{step}/{item}"),
                undo: begun.starts_with('u'),
                round: round.to_owned(),
            };
            let able = |worker: &usize| {
                let named = spec.target_peers.is_empty() || spec.target_peers.contains(&peer(*worker));
                named && spec.labels.is_subset(&labels(*worker))
            };
            self.tasks.insert(id, (attempt, (0..NODES).filter(able).collect(), node));
        }
    }

    /// A queue told a worker that it has its result: for one unit that happens once, until it is run again on purpose.
    pub(super) fn reported(&mut self, ledger: &Ledger, finish: &Finish) -> Result<(), String> {
        let Outcome::Completed { output_cid, .. } = &finish.outcome else { return Ok(()) };
        let Some((attempt, ..)) = self.tasks.get(&finish.id) else { return Ok(()) };
        let results = self.results.entry(attempt.clone()).or_default();
        results.insert(finish.id, *output_cid);
        // What takes a step back has a time limit, after which another attempt may do it once more; and a worker that does
        // not stop when its run moves is not waited for.
        let moves = |history: &History| {
            history.records.iter().any(|record| matches!(record.event, Event::MoveBegun { .. }))
        };
        let run = attempt.run.parse().ok();
        let moved = run.is_some_and(|run| ledger.of_run(run).any(|(_, history)| moves(history)));
        if results.len() > 1 && !attempt.undo && !moved {
            return Err(format!("{attempt:?} completed more than once, as tasks {:?}", results.keys()));
        }
        Ok(())
    }

    /// A task is given to a worker: not when its run has been over for long.
    pub(super) fn granted(&self, ledger: &Ledger, node: usize, id: TaskId, now: u64) -> Result<(), String> {
        let Some((attempt, ..)) = self.tasks.get(&id) else { return Ok(()) };
        let over = attempt.run.parse().ok().and_then(|run| ledger.get(run, node)?.over_since);
        match over {
            Some(since) if now > since + OVER => {
                Err(format!("task {id} begins at {now}, and its run was over at {since}: {attempt:?}"))
            }
            _ => Ok(()),
        }
    }

    /// An event was written: what completed has the result that a worker gave.
    pub(super) fn event(&self, run: RunId, record: &EventRecord) -> Result<(), String> {
        let Event::Completed {
            unit, output_cid, how: How::Ran, ended: Ended { task: Some(task), .. }, ..
        } = &record.event
        else {
            return Ok(());
        };
        let Some((attempt, ..)) = self.tasks.get(task) else { return Ok(()) };
        if attempt.run != run.to_string() || attempt.unit != unit.to_string() || attempt.undo {
            return Err(format!("run {run}: {unit} completed with the result of {attempt:?}"));
        }
        match self.results.get(attempt).and_then(|results| results.get(task)) {
            Some(cid) if cid != output_cid => {
                Err(format!("run {run}: {unit} completed with {output_cid}, but its worker gave {cid}"))
            }
            _ => Ok(()),
        }
    }

    /// A client was shown a run.
    pub(super) fn shown(&mut self, view: &RunView) -> Result<(), String> {
        if let Some(cid) = self.told.get(&view.id)
            && (view.state != RunState::Completed || view.output_cid != *cid)
        {
            return Err(format!(
                "run {} was completed with {cid:?}, and is shown as {:?}",
                view.id, view.state
            ));
        }
        if view.state == RunState::Completed {
            self.told.insert(view.id, view.output_cid);
        }
        Ok(())
    }

    /// Runs with a task that nobody but workers in `gone` may do, as far as `unfinished` says that it still waits.
    pub(super) fn waits_for_ever(
        &self,
        gone: &BTreeSet<usize>,
        unfinished: impl Fn(usize, TaskId) -> bool,
    ) -> BTreeSet<String> {
        let hopeless =
            self.tasks.iter().filter(|(id, (_, able, node))| able.is_subset(gone) && unfinished(*node, **id));
        hopeless.map(|(_, (attempt, ..))| attempt.run.clone()).collect()
    }

    /// The chaos is over long since: every run that was accepted has ended, at one node, and so have all others, but for
    /// parts where that is left out.
    pub(super) fn check_end(&self, ledger: &Ledger) -> Result<(), String> {
        for id in &self.accepted {
            let ends =
                ledger.of_run(*id).filter(|(_, history)| matches!(history.run.phase, Phase::Finished(_)));
            let ends: Vec<usize> = ends.map(|(node, _)| node).collect();
            match ends.as_slice() {
                [_] => {}
                [] => return Err(format!("run {id} never ended: {}", stand(ledger, *id))),
                several => return Err(format!("run {id} ended at nodes {several:?}")),
            }
        }
        let part = |history: &History| OPEN.contains(&Open::PartsRunOn) && history.run.parent.is_some();
        let open = ledger.all().find(|(_, _, history)| history.run.is_active() && !part(history));
        match open {
            Some((id, ..)) => Err(format!("run {id} never ended: {}", stand(ledger, id))),
            None => Ok(()),
        }
    }
}

/// Where a run stands at each node that has it, for whoever looks for a fault.
pub(super) fn stand(ledger: &Ledger, id: RunId) -> String {
    let shown = ledger.of_run(id).map(|(node, history)| {
        let last = history.records.iter().rev().take(12).map(|record| {
            let unit = record.event.unit().map(|unit| format!(" {unit}")).unwrap_or_default();
            format!("{}{unit} ({}, epoch {})", record.event.kind(), record.at.0, record.epoch)
        });
        let last: Vec<String> = last.collect();
        let parent = history.run.parent.as_ref().map(|parent| parent.run);
        format!(
            "node {node} {:?} (part of {parent:?}, {} events, latest first: {last:?})",
            history.run.phase,
            history.records.len()
        )
    });
    shown.collect::<Vec<_>>().join("; ")
}
