//! Crashes and starts, and what is looked at every second: bounds, and whether everything has ended.

use super::net::{NODES, Party};
use super::oracle::stand;
use super::worker::Worker;
use super::world::{CHAOS, Event, STOP_WITHIN, World};
use super::{Fault, Report};
use crate::workflow::logic::Phase;
use crate::workflow::records::Event as RunEvent;
use meshwork_proto::RunId;
use meshwork_proto::task::TaskStatus;
use meshwork_proto::workflow::{RunAction, RunState};
use rand::RngExt;
use std::collections::BTreeSet;
use std::time::Duration;

/// What an end may take beyond its bound: writes, and the time between two looks.
const SLACK: u64 = 5000;
/// So long after the chaos a run that waits for nobody is given up by its client.
const PATIENCE: u64 = 90_000;

impl World {
    pub(super) fn crash(&mut self, nodes: u16, power: bool) -> Result<(), String> {
        for node in (0..NODES).filter(|node| nodes & (1 << node) != 0) {
            if !self.nodes[node].up || self.healed {
                continue;
            }
            self.report.crashes += 1;
            let at_risk = self.nodes[node].store.at_risk();
            let kept =
                power.then(|| if self.rng.random_bool(0.6) { 0 } else { self.rng.random_range(0..=at_risk) });
            let this = &mut self.nodes[node];
            this.crash(kept, self.fault == Some(Fault::TornLog));
            self.ledger.reload(node, &mut this.bench, self.now)?;
            self.workers[node] = None;
            let down = if self.rng.random_bool(0.5) { 100 } else { self.rng.random_range(100..15_000) };
            self.after(down, Event::Boot(node));
            for at in (0..NODES).filter(|at| *at != node) {
                let noticed = self.rng.random_range(200..1500);
                self.after(noticed, Event::Lost { at, of: node });
                self.after(noticed.max(down) + 1, Event::Back { at, of: node });
            }
        }
        Ok(())
    }

    pub(super) fn boot(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].start(self.now);
        if !self.vanished.contains(&node) {
            self.workers[node] = Some(Worker::new(node, self.nodes[node].boot + 1, self.healed));
        }
        self.build_queue(node, true)?;
        self.build_runs(node)?;
        self.wake_worker(node);
        Ok(())
    }

    pub(super) fn look(&mut self) -> Result<(), String> {
        let bound = u64::try_from(Duration::from_secs_f64(STOP_WITHIN).as_millis()).unwrap_or(0) + SLACK;
        for (id, node, history) in self.ledger.all() {
            let (Phase::Ending(ending), Some(since)) = (&history.run.phase, history.ending_since) else {
                continue;
            };
            // What takes back has a time of its own, in the run itself and in its parts, which are waited for.
            let undoes = history.records.iter().any(|record| match record.event {
                RunEvent::UndoBegun { .. } => true,
                RunEvent::SubBegun { .. } => ending.compensate,
                _ => false,
            });
            let this = &self.nodes[node];
            if this.up && !undoes && !this.store.broken && self.now > since.max(this.since) + bound {
                return Err(format!("run {id} has been ending since {since}: {}", stand(&self.ledger, id)));
            }
        }
        if self.healed {
            self.nurse();
        }
        Ok(())
    }

    /// After the chaos nobody leaves a run paused, or waiting for what does not exist.
    fn nurse(&mut self) {
        let hopeless = if self.now > CHAOS + PATIENCE { self.hopeless() } else { BTreeSet::new() };
        let mut wants = Vec::new();
        let mut given_up = BTreeSet::new();
        for (id, node, history) in self.ledger.all() {
            if !history.run.is_active() {
                continue;
            }
            if history.run.state() == RunState::Paused {
                wants.push((node, id, RunAction::Resume));
            }
            if hopeless.contains(&id) {
                given_up.insert(id);
                wants.push((node, id, RunAction::Cancel { reason: None, compensate: false }));
            }
        }
        self.given_up.extend(given_up);
        for (node, id, action) in wants {
            // The client of that node asks, and so it may.
            if self.clients[node].is_content() {
                self.at(self.now, Event::ActClient(node));
            }
            self.clients[node].want(node, self.now, id, action);
        }
    }

    /// Runs that wait for workers that are gone for ever, and the runs that they are parts of.
    fn hopeless(&self) -> BTreeSet<RunId> {
        let unfinished = |node: usize, task| {
            self.nodes[node].queue.as_ref().is_some_and(|queue| queue.peek(task).is_some())
        };
        let waiting = self.oracle.waits_for_ever(&self.vanished, unfinished);
        let mut hopeless: BTreeSet<RunId> =
            self.ledger.all().map(|(id, ..)| id).filter(|id| waiting.contains(&id.to_string())).collect();
        loop {
            let parents = self.ledger.all().filter(|(id, ..)| hopeless.contains(id));
            let parents: BTreeSet<RunId> =
                parents.filter_map(|(_, _, history)| Some(history.run.parent.as_ref()?.run)).collect();
            let before = hopeless.len();
            hopeless.extend(parents);
            if hopeless.len() == before {
                return hopeless;
            }
        }
    }

    /// Whether nothing will happen any more that is of interest.
    pub(super) fn is_over(&self) -> bool {
        let busy = |node: &super::node::Node| {
            let tasks = node.queue.as_ref().map(|queue| queue.by_status());
            let open = tasks.map_or(1, |tasks| tasks[&TaskStatus::Queued] + tasks[&TaskStatus::Running]);
            open > 0 || !node.store.is_idle()
        };
        self.clients.iter().all(super::client::Client::is_content)
            && !self.ledger.all().any(|(_, _, history)| history.run.is_active())
            && !self.nodes.iter().any(busy)
    }

    /// The chaos is over long since: every promise must have been kept.
    pub(super) fn finish(mut self) -> Result<Report, String> {
        self.oracle.check_end(&self.ledger).map_err(|what| format!("{what}; {}", self.open_tasks()))?;
        for (node, client) in self.clients.iter().enumerate() {
            if !client.is_content() {
                return Err(format!(
                    "the client at {:?} was never answered: {client:?}",
                    Party::Client(node)
                ));
            }
        }
        self.check_queues()?;
        self.report.hopeless = self.given_up.len() as u64;
        for (id, _, history) in self.ledger.all() {
            let Phase::Finished(state) = history.run.phase else { continue };
            let of_client = self.oracle.accepted.contains(&id);
            *(if of_client { &mut self.report.runs } else { &mut self.report.parts }) += 1;
            match state {
                RunState::Completed => self.report.completed += 1,
                RunState::Failed => self.report.failed += 1,
                _ => self.report.cancelled += 1,
            }
        }
        Ok(self.report)
    }

    /// Tasks that are in the queues, for whoever looks for a fault.
    fn open_tasks(&self) -> String {
        let shown = self.oracle.tasks().filter_map(|(id, attempt, node)| {
            let peek = self.nodes[node].queue.as_ref()?.peek(id)?;
            Some(format!("{attempt:?} at node {node}: {peek:?}"))
        });
        format!("tasks: {:?}", shown.collect::<Vec<_>>())
    }

    /// No task of a run that ended is left.
    fn check_queues(&self) -> Result<(), String> {
        for node in &self.nodes {
            let Some(queue) = &node.queue else { return Err(format!("node {} is down", node.index)) };
            let tasks = queue.by_status();
            let open = tasks[&TaskStatus::Queued] + tasks[&TaskStatus::Running];
            if open > 0 {
                return Err(format!("{open} tasks of runs that ended are left at node {}", node.index));
            }
        }
        Ok(())
    }
}
