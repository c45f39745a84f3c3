//! What was promised, and whether it is kept: knows every answer that a queue gave, and looks into the queue after every
//! step.

mod promise;

use super::net::NODES;
use super::node::{Node, peer};
use super::worker::Worker;
use crate::queue::logic::{Answer, Effect, Op, Peek};
use crate::queue::records::{StateRecord, finished_key, read, read_id};
use meshwork_proto::queue::{Finish, Outcome, Renewal, Submitted};
use meshwork_proto::store::{Family, WriteOp};
use meshwork_proto::task::{TaskSpec, TaskStatus};
use meshwork_proto::workflow::TaskEnded;
use meshwork_proto::{Fence, TaskId, WorkerId};
use promise::{Live, Promise, node_lost};
use std::collections::{BTreeMap, BTreeSet};

const LEASE: u64 = 30_000;
const GRACE: u64 = 5_000;

/// Why a queue was called.
#[derive(Debug)]
pub(super) enum Cause {
    Start,
    Finish(Finish),
    Tick,
    /// A read came back: a claim whose asker has gone may give its lease back.
    Read,
    Other,
}

/// Everything that was promised.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    tasks: BTreeMap<TaskId, Promise>,
    keys: BTreeMap<(usize, String), TaskId>,
    /// Every fence that any queue granted, by node.
    fences: BTreeMap<usize, BTreeSet<Fence>>,
    /// When which node lost the connection to which.
    lost: BTreeMap<(usize, usize), u64>,
    grants: u64,
}

/// What a queue looked like before a step.
pub(super) type Before = BTreeMap<TaskId, Option<Peek>>;

impl Oracle {
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let ended = self.tasks.values().filter(|promise| promise.ended.is_some()).count();
        (self.tasks.len() as u64, self.grants, ended as u64)
    }

    fn of(&self, node: usize) -> impl Iterator<Item = (&TaskId, &Promise)> {
        self.tasks.iter().filter(move |(_, promise)| promise.owner == node)
    }

    pub(super) fn look(&self, node: &Node) -> Before {
        let Some(state) = &node.state else { return Before::new() };
        self.of(node.index).map(|(id, _)| (*id, state.peek(*id))).collect()
    }

    pub(super) fn peer_lost(&mut self, now: u64, at: usize, of: usize) {
        self.lost.entry((at, of)).or_insert(now);
    }

    pub(super) fn peer_back(&mut self, at: usize, of: usize) {
        self.lost.remove(&(at, of));
    }

    /// A request reached a queue.
    pub(super) fn asked(&mut self, _node: usize, op: &Op) {
        match op {
            Op::Resubmit(resubmit) => {
                if let Some(promise) = self.tasks.get_mut(&resubmit.id) {
                    promise.revivals += 1;
                }
            }
            Op::Update(update) => {
                if let Some(promise) = self.tasks.get_mut(&update.id) {
                    promise.changed = true;
                }
            }
            _ => {}
        }
    }

    /// A queue answered: that is a promise.
    pub(super) fn answered(&mut self, node: usize, now: u64, op: &Op, answer: &Answer) -> Result<(), String> {
        match (op, answer) {
            (Op::Submit(spec), Answer::Submitted(submitted)) => self.accepted(node, spec, submitted),
            (Op::Step(spec), Answer::Submitted(submitted)) => {
                self.accepted(node, spec, submitted)?;
                self.watched(submitted)
            }
            (Op::Watch(_), Answer::Submitted(submitted)) => self.watched(submitted),
            (Op::Claim(_), Answer::Claimed(claimed)) => {
                claimed.grants.iter().try_for_each(|grant| self.granted(node, grant.id, grant.fence))
            }
            (Op::Renew(renew), Answer::Renewed(renewals)) => {
                for (report, renewal) in renew.leases.iter().zip(renewals) {
                    self.renewed(now, report.id, report.fence, *renewal)?;
                }
                Ok(())
            }
            (Op::Finish(finish), Answer::Finished(finished)) => self.reported(finish, finished.status),
            (Op::Resubmit(resubmit), Answer::Submitted(_)) => {
                // Usually it is seen in the queue, but it may have been cancelled in the same step.
                if let Some(promise) = self.tasks.get_mut(&resubmit.id) {
                    promise.revive();
                }
                Ok(())
            }
            (Op::Cancel(cancel), Answer::Submitted(submitted)) => self.cancelled(cancel.id, submitted.status),
            (_, Answer::Task(view)) if view.status.is_finished() => {
                self.ended(view.id, view.status)?;
                let Some(promise) = self.tasks.get_mut(&view.id) else { return Ok(()) };
                promise.has_output(view.id, view.output_cid)
            }
            _ => Ok(()),
        }
    }

    fn accepted(&mut self, node: usize, spec: &TaskSpec, submitted: &Submitted) -> Result<(), String> {
        let id = submitted.id;
        let key = (node, spec.idempotency_key.clone().unwrap_or_default());
        let first = *self.keys.entry(key).or_insert(id);
        if first != id {
            return Err(format!("one key gave two tasks: {first} and {id}"));
        }
        self.tasks.entry(id).or_insert_with(|| Promise {
            owner: node,
            spec: spec.clone(),
            ended: None,
            output: None,
            cancelled: false,
            highest: Fence::default(),
            attempts: 0,
            live: None,
            completions: BTreeSet::new(),
            failures: BTreeSet::new(),
            changed: false,
            revivals: 0,
            unknown: submitted.existing,
            watched: false,
        });
        Ok(())
    }

    fn watched(&mut self, submitted: &Submitted) -> Result<(), String> {
        if submitted.status.is_finished() {
            return self.ended(submitted.id, submitted.status);
        }
        if let Some(promise) = self.tasks.get_mut(&submitted.id) {
            promise.watched = true;
        }
        Ok(())
    }

    /// The coordinator was told of an end.
    pub(super) fn told(&mut self, told: &TaskEnded) -> Result<(), String> {
        self.ended(told.id, told.status)?;
        let Some(promise) = self.tasks.get_mut(&told.id) else { return Ok(()) };
        promise.watched = false;
        if (told.status == TaskStatus::Completed) != (told.output.is_some() && told.error.is_none()) {
            return Err(format!("the end of {} was told as {told:?}", told.id));
        }
        promise.has_output(told.id, told.output_cid)
    }

    fn granted(&mut self, node: usize, id: TaskId, fence: Fence) -> Result<(), String> {
        self.grants += 1;
        if self.fences.entry(node).or_default().insert(fence) {
            Ok(())
        } else {
            Err(format!("fence {fence} was granted twice, now for {id}"))
        }
    }

    fn renewed(&mut self, now: u64, id: TaskId, fence: Fence, renewal: Renewal) -> Result<(), String> {
        let Some(promise) = self.tasks.get_mut(&id) else { return Ok(()) };
        let Some(live) = promise.live.as_mut().filter(|live| live.fence == fence) else {
            return match renewal {
                Renewal::Lost => Ok(()),
                _ => Err(format!("{id}: a lease with fence {fence} was renewed that does not hold")),
            };
        };
        if matches!(renewal, Renewal::Renewed { .. }) {
            live.until = now + LEASE;
        }
        Ok(())
    }

    fn reported(&mut self, finish: &Finish, status: TaskStatus) -> Result<(), String> {
        let id = finish.id;
        let Some(promise) = self.tasks.get_mut(&id) else { return Ok(()) };
        if status == TaskStatus::Completed {
            promise.completions.insert(finish.fence);
            if promise.completions.len() > 1 {
                return Err(format!("{id} was completed twice: fences {:?}", promise.completions));
            }
        }
        if status == TaskStatus::Queued && matches!(finish.outcome, Outcome::Failed { .. }) {
            promise.failures.insert(finish.fence);
            let limit = promise.spec.max_attempts.max(if promise.changed { 5 } else { 0 });
            if promise.failures.len() >= limit as usize {
                return Err(format!("{id} is tried again after {} failures", promise.failures.len()));
            }
        }
        if status.is_finished() { self.ended(id, status) } else { Ok(()) }
    }

    fn cancelled(&mut self, id: TaskId, status: TaskStatus) -> Result<(), String> {
        if status == TaskStatus::Cancelled {
            return self.ended(id, status);
        }
        if let Some(promise) = self.tasks.get_mut(&id) {
            promise.cancelled = true;
        }
        Ok(())
    }

    /// Somebody was told how the task ended: so it stays.
    fn ended(&mut self, id: TaskId, status: TaskStatus) -> Result<(), String> {
        let Some(promise) = self.tasks.get_mut(&id) else { return Ok(()) };
        if promise.cancelled && status != TaskStatus::Cancelled {
            return Err(format!("{id} was promised to be cancelled and is {status}"));
        }
        match promise.ended.replace(status) {
            Some(before) if before != status => Err(format!("{id} was {before} and is {status}")),
            _ => Ok(()),
        }
    }

    /// A queue begins: what it did not write down is forgotten, leases start afresh.
    pub(super) fn restarted(&mut self, now: u64, node: &Node) {
        let Some(state) = &node.state else { return };
        for (id, promise) in self.tasks.iter_mut().filter(|(_, promise)| promise.owner == node.index) {
            let peek = state.peek(*id);
            promise.attempts = peek.as_ref().map_or(0, |peek| peek.attempts);
            promise.watched = false;
            // A lease from before the last one may be back, if what ended it was not written: its limit is forgotten.
            let before =
                promise.live.take().filter(|live| peek.as_ref().is_some_and(|peek| live.fence == peek.fence));
            let vague = before.as_ref().is_none_or(|live| live.vague);
            // The limit may have passed while the node was down: then it is acted upon after the start.
            let limit = before.and_then(|live| live.limit).map(|limit| limit.max(now));
            promise.live = peek.and_then(|peek| {
                Some(Live { fence: peek.fence, worker: peek.holder?, until: now + LEASE, limit, vague })
            });
        }
        self.lost.retain(|(at, _), _| *at != node.index);
    }

    /// After every step of a queue.
    pub(super) fn check(
        &mut self,
        now: u64,
        node: &Node,
        cause: &Cause,
        before: &Before,
        effects: &[Effect],
    ) -> Result<(), String> {
        let Some(state) = &node.state else { return Ok(()) };
        if effects.iter().any(|effect| matches!(effect, Effect::Fatal(_))) {
            // Memory is given up: the next state is looked at.
            return Ok(());
        }
        let written = leases_written(effects);
        let mut keys: BTreeMap<String, TaskId> = BTreeMap::new();
        let mut started = Vec::new();
        let lost: BTreeMap<usize, u64> =
            (0..NODES).filter_map(|of| Some((of, *self.lost.get(&(node.index, of))?))).collect();
        for (id, promise) in self.tasks.iter_mut().filter(|(_, promise)| promise.owner == node.index) {
            let peek = state.peek(*id);
            promise.check_there(*id, peek.as_ref(), node)?;
            let Some(peek) = peek else {
                if promise.live.is_some() && !node_lost(promise, &lost, now) {
                    promise.check_lease_end(*id, now, cause, before)?;
                }
                promise.live = None;
                continue;
            };
            promise.check_growth(*id, &peek)?;
            let is_new = promise.check_lease(*id, now, &peek, cause, before, &lost)?;
            if is_new && !std::mem::take(&mut promise.unknown) {
                if !written.contains(id) {
                    return Err(format!("{id} was granted without being written down"));
                }
                started.push((*id, peek.holder.clone()));
            }
            promise.unknown = false;
            if let (Some(key), Some(_)) = (&promise.spec.concurrency_key, &peek.holder)
                && let Some(other) = keys.insert(key.clone(), *id)
            {
                return Err(format!("{id} and {other} run at the same time with the key {key}"));
            }
        }
        self.check_priority(node, &started)
    }

    /// Whoever was started had no better one ready that its worker could have run.
    fn check_priority(&self, node: &Node, started: &[(TaskId, Option<WorkerId>)]) -> Result<(), String> {
        let Some(state) = &node.state else { return Ok(()) };
        for (id, holder) in started {
            let Some(promise) = self.tasks.get(id) else { continue };
            let at = (0..NODES).find(|at| holder.as_ref().and_then(WorkerId::peer) == Some(peer(*at)));
            let labels = Worker::offer(at.unwrap_or(0), 1).labels;
            for (other, rival) in self.of(node.index) {
                let better = rival.spec.priority > promise.spec.priority
                    && rival.spec.tool == promise.spec.tool
                    && rival.spec.labels.is_subset(&labels);
                if better && state.peek(*other).is_some_and(|peek| peek.open) {
                    let (low, high) = (promise.spec.priority, rival.spec.priority);
                    return Err(format!(
                        "{id} (priority {low}) was started while {other} ({high}) was ready"
                    ));
                }
            }
        }
        Ok(())
    }

    /// At the very end: everything that was accepted has ended, as it was said.
    pub(super) fn check_end(&self, node: &Node) -> Result<(), String> {
        for (id, promise) in self.of(node.index) {
            let value = node.written.get(Family::Tasks, &finished_key(*id));
            let value = value.ok_or_else(|| format!("{id} was accepted and never ended: {promise:?}"))?;
            let state: StateRecord = read(&value).map_err(|error| error.to_string())?;
            let told_yet = node.state.as_ref().is_some_and(|state| !state.is_busy(*id));
            if promise.watched && told_yet {
                return Err(format!("{id} ended and nobody was told: {promise:?}"));
            }
            if promise.ended.is_some_and(|ended| ended != state.status && promise.revivals == 0) {
                return Err(format!("{id} was {:?} and is {}", promise.ended, state.status));
            }
        }
        Ok(())
    }
}

/// Tasks whose claims are written by these effects.
fn leases_written(effects: &[Effect]) -> BTreeSet<TaskId> {
    let ops = effects.iter().filter_map(|effect| match effect {
        Effect::Commit { ops, .. } => Some(ops),
        _ => None,
    });
    let key = |op: &WriteOp| match op {
        WriteOp::Put { family: Family::Leases, key, .. } => read_id(key),
        _ => None,
    };
    ops.flatten().filter_map(key).collect()
}
