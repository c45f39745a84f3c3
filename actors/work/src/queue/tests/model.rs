//! The state machine against a naive model: a plain list of tasks in which every question is answered by looking at all
//! of them. Random operations, with restarts in between; after each the two must agree about everything that can be
//! seen.

mod naive;

use super::bench::{Bench, done, failed, labels, other, task};
use crate::queue::logic::{Mutant, Op};
use crate::queue::options::QueueOptions;
use meshwork_proto::queue::{Claim, List, Offer, Outcome, QueueError, Renewal, Resubmit, TaskChanges};
use meshwork_proto::task::{TaskGrant, TaskStatus, TaskView};
use meshwork_proto::{Caller, Fence, TaskId, UnixMillis};
use naive::{GRACE, Known, LEASE, Model, Shape, Step, TOOLS, step, worker};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Both of them.
struct Pair {
    bench: Bench,
    model: Model,
}

impl Pair {
    fn new(tenant_limit: Option<u32>) -> Self {
        let options = QueueOptions {
            tenant_limit,
            max_lease_losses: 3,
            // Part of the specifications is in memory, part has to be read.
            spec_cache_bytes: 6000,
            ..QueueOptions::default()
        };
        let model = Model {
            tasks: Vec::new(),
            keys: BTreeMap::new(),
            grants: Vec::new(),
            tenant_limit,
            max_losses: 3,
            next_seq: 0,
            highest: Fence::default(),
        };
        Self { bench: Bench::with(options), model }
    }

    fn now(&self) -> u64 {
        self.bench.now.0
    }

    fn some_task(&self, n: usize) -> Option<TaskId> {
        let tasks = &self.model.tasks;
        (!tasks.is_empty()).then(|| tasks[n % tasks.len()].id)
    }

    fn some_grant(&self, n: usize) -> Option<(usize, TaskGrant)> {
        let grants = &self.model.grants;
        // Mostly the latest ones, so that most reports are not stale.
        (!grants.is_empty()).then(|| grants[grants.len() - 1 - n % grants.len().min(6)].clone())
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit(shape) => self.submit(shape),
            Step::Claim { worker, tools, gpu, credits } => self.claim(worker, tools, gpu, credits),
            Step::Renew { grant } => self.renew(grant),
            Step::Finish { grant, how } => self.finish(grant, how),
            Step::Cancel { task } => self.cancel(task),
            Step::Watch { task } => self.watch(task),
            Step::Priority { task, priority } => {
                let changes = TaskChanges { priority: Some(priority), ..TaskChanges::default() };
                self.update(task, changes, |shape| shape.priority = priority);
            }
            Step::Labels { task, gpu } => {
                let wanted = if gpu { labels(&["gpu"]) } else { labels(&[]) };
                let changes = TaskChanges { labels: Some(wanted), ..TaskChanges::default() };
                self.update(task, changes, |shape| shape.gpu = gpu);
            }
            Step::Resubmit { task } => self.resubmit(task),
            Step::Advance { ms } => {
                self.bench.advance(ms);
                let now = self.now();
                self.model.advance(now);
            }
            Step::PeerLost => {
                self.bench.turn(|state, turn| state.peer_lost(turn, &other()));
                let grace = self.now() + GRACE;
                for task in &mut self.model.tasks {
                    if task.status == TaskStatus::Running && task.worker == Some(worker(1)) {
                        task.grace = Some(grace);
                    }
                }
            }
            Step::Restart => {
                self.bench.restart();
                let now = self.now();
                self.model.restart(now, true);
            }
            Step::RestartActor => {
                self.bench.restart_actor();
                let now = self.now();
                self.model.restart(now, false);
            }
        }
        self.check_told();
        self.compare();
    }

    fn submit(&mut self, shape: Shape) {
        let mut spec = task(TOOLS[shape.tool]);
        spec.priority = shape.priority;
        spec.delay_ms = shape.delay_ms;
        spec.expires_ms = shape.expires.then_some(50_000);
        spec.timeout_ms = shape.timeout.then_some(45_000);
        spec.labels = if shape.gpu { labels(&["gpu"]) } else { labels(&[]) };
        spec.tenant = shape.tenant.map(|tenant| format!("tenant {tenant}"));
        spec.concurrency_key = shape.key.map(|key| format!("key {key}"));
        spec.max_attempts = shape.max_attempts;
        spec.idempotency_key = shape.idempotency.map(|key| format!("idempotency {key}"));
        let first = shape.idempotency.and_then(|key| self.model.keys.get(&key).copied());
        let result = if shape.step { self.bench.try_step(spec) } else { self.bench.try_submit(spec) };
        let Some(first) = first else {
            let id = result.unwrap().id;
            return self.submitted(id, shape);
        };
        let known = self.model.find(first);
        if known.shape.tool == shape.tool {
            let submitted = result.unwrap();
            assert_eq!((submitted.id, submitted.status, submitted.existing), (first, known.status, true));
            known.watched |= shape.step;
        } else {
            assert!(
                matches!(result, Err(QueueError::IdempotencyConflict { first: named, .. }) if named == first)
            );
        }
    }

    fn submitted(&mut self, id: TaskId, shape: Shape) {
        if let Some(key) = shape.idempotency {
            self.model.keys.insert(key, id);
        }
        let now = self.now();
        let not_before = if shape.delay_ms == 0 { 0 } else { now + shape.delay_ms };
        self.model.next_seq += 1;
        self.model.tasks.push(Known {
            id,
            watched: shape.step,
            shape,
            seq: self.model.next_seq,
            status: TaskStatus::Queued,
            queued_at: now,
            not_before,
            attempts: 0,
            failures: 0,
            losses: 0,
            fence: Fence::default(),
            reported: Fence::default(),
            worker: None,
            until: 0,
            timeout_at: None,
            grace: None,
            cancelled: false,
        });
    }

    fn claim(&mut self, n: usize, tools: usize, gpu: bool, credits: u32) {
        let mut offered: BTreeMap<String, u32> = BTreeMap::new();
        for (bit, tool) in TOOLS.iter().enumerate().filter(|(bit, _)| tools & (1 << bit) != 0) {
            offered.insert((*tool).to_owned(), u32::try_from(bit + 1).unwrap());
        }
        let with = if gpu { labels(&["gpu"]) } else { labels(&[]) };
        let offer = Offer { tools: offered.clone(), labels: with };
        let ticket = self.bench.ask(Op::Claim(Claim { worker: worker(n), offer, credits, wait_ms: 0 }));
        let claimed = self.bench.claimed(ticket);
        let now = self.now();
        for grant in &claimed.grants {
            self.model.grant(now, &mut offered, gpu, &worker(n), grant);
            self.model.grants.push((n, grant.clone()));
        }
        let left = self.model.eligible(now, &offered, gpu).len();
        assert!(claimed.grants.len() == credits as usize || left == 0, "{left} could have been granted");
        assert_eq!(claimed.more, left > 0, "whether more waits that fits");
    }

    fn renew(&mut self, n: usize) {
        let Some((by, grant)) = self.some_grant(n) else { return };
        let renewal = self.bench.renew(worker(by).as_str(), &grant);
        let now = self.now();
        let task = self.model.find(grant.id);
        if task.status != TaskStatus::Running || task.fence != grant.fence {
            assert_eq!(renewal, Renewal::Lost);
            return;
        }
        task.grace = None;
        if task.cancelled {
            assert_eq!(renewal, Renewal::CancelRequested);
            return;
        }
        task.until = now + LEASE;
        assert_eq!(renewal, Renewal::Renewed { lease_ms: task.lease_end() - now });
    }

    fn finish(&mut self, n: usize, how: usize) {
        let Some((by, grant)) = self.some_grant(n) else { return };
        let outcome = match (how, failed()) {
            (0 | 1, _) => done(),
            (3, Outcome::Failed { error, .. }) => Outcome::Failed { error, retry: false },
            (2, outcome) => outcome,
            _ => Outcome::Released { reason: "drain".into() },
        };
        let result = self.bench.finish(worker(by).as_str(), &grant, outcome);
        let expected = self.model.finish(&worker(by), &grant, how);
        assert_eq!(result.as_ref().map(|finished| finished.status).map_err(|_| ()), expected);
        if let Err(error) = result {
            assert!(matches!(error, QueueError::StaleFence { .. }), "{error}");
        }
    }

    fn cancel(&mut self, n: usize) {
        let Some(id) = self.some_task(n) else { return };
        let result = self.bench.cancel(id, "because").map(|submitted| submitted.status);
        let task = self.model.find(id);
        match task.status {
            TaskStatus::Queued => {
                task.status = TaskStatus::Cancelled;
                assert_eq!(result.unwrap(), TaskStatus::Cancelled);
            }
            TaskStatus::Running => {
                task.cancelled = true;
                assert_eq!(result.unwrap(), TaskStatus::Running);
            }
            TaskStatus::Cancelled => assert_eq!(result.unwrap(), TaskStatus::Cancelled),
            _ => assert!(matches!(result, Err(QueueError::WrongState { .. }))),
        }
    }

    fn watch(&mut self, n: usize) {
        let Some(id) = self.some_task(n) else { return };
        let submitted = self.bench.watch(id).unwrap();
        let task = self.model.find(id);
        assert_eq!((submitted.id, submitted.status, submitted.existing), (id, task.status, true));
        task.watched = true;
    }

    /// Of every end that somebody wants to be told of, the coordinator is told, once; of others it is not.
    fn check_told(&mut self) {
        for told in std::mem::take(&mut self.bench.ended) {
            let task = self.model.find(told.id);
            assert!(std::mem::take(&mut task.watched), "{told:?} was told and nobody wanted it");
            assert_eq!(
                (told.status, told.attempts, &told.worker),
                (task.status, task.attempts, &task.worker)
            );
            assert_eq!(told.output.is_some(), told.status == TaskStatus::Completed);
            assert_eq!(told.error.is_some(), told.status != TaskStatus::Completed);
        }
        let untold = self.model.tasks.iter().find(|task| task.watched && task.status.is_finished());
        assert!(untold.is_none(), "nobody was told of the end of {untold:?}");
    }

    fn update(&mut self, n: usize, changes: TaskChanges, change: impl FnOnce(&mut Shape)) {
        let Some(id) = self.some_task(n) else { return };
        let result = self.bench.update(id, changes);
        let task = self.model.find(id);
        if task.status.is_finished() {
            assert!(matches!(result, Err(QueueError::WrongState { .. })));
        } else {
            change(&mut task.shape);
            assert_eq!(result.unwrap().spec.priority, task.shape.priority);
        }
    }

    fn resubmit(&mut self, n: usize) {
        let Some(id) = self.some_task(n) else { return };
        let result = self.bench.ask(Op::Resubmit(Resubmit { id, delay_ms: 0 }));
        let result = self.bench.submitted(result);
        let (now, seq) = (self.now(), self.model.next_seq + 1);
        let task = self.model.find(id);
        if !task.status.is_finished() {
            assert!(matches!(result, Err(QueueError::WrongState { .. })));
            return;
        }
        assert_eq!(result.unwrap().status, TaskStatus::Queued);
        let kept = task.clone();
        *task = Known {
            seq,
            status: TaskStatus::Queued,
            queued_at: now,
            not_before: 0,
            attempts: 0,
            failures: 0,
            losses: 0,
            reported: Fence::default(),
            cancelled: false,
            watched: false,
            ..kept
        };
        self.model.next_seq = seq;
    }

    /// Everything that can be seen is what the model says.
    fn compare(&mut self) {
        let mut views: BTreeMap<TaskId, TaskView> = BTreeMap::new();
        let mut list = List { limit: 1000, ..List::default() };
        loop {
            let page = self.bench.list_as(Caller::Local, list.clone());
            views.extend(page.tasks.into_iter().map(|view| (view.id, view)));
            let Some(next) = page.next else { break };
            list.cursor = Some(next);
        }
        assert_eq!(views.len(), self.model.tasks.len(), "every task is listed once");
        let mut counts: BTreeMap<TaskStatus, u64> =
            TaskStatus::ALL.iter().map(|status| (*status, 0)).collect();
        let now = self.now();
        for task in &mut self.model.tasks {
            let view = &views[&task.id];
            let seen = (view.status, view.attempts, view.lease_losses, view.fence, view.worker.clone());
            let known = (task.status, task.attempts, task.losses, task.fence, task.worker.clone());
            assert_eq!(seen, known, "{}", task.id);
            assert_eq!(view.cancel_requested, task.status == TaskStatus::Running && task.cancelled);
            assert_eq!(view.spec.priority, task.shape.priority);
            assert_eq!(
                view.lease_until,
                (task.status == TaskStatus::Running).then_some(UnixMillis(task.until))
            );
            if task.not_before == u64::MAX {
                task.not_before = retry_time(now, view, task.failures);
            }
            *counts.get_mut(&task.status).unwrap() += 1;
        }
        assert_eq!(self.bench.stats().by_status, counts);
    }
}

/// The random back-off, which must lie within its bounds; the past when it is over already.
fn retry_time(now: u64, view: &TaskView, failures: u32) -> u64 {
    use meshwork_proto::task::WaitingFor;
    match view.waiting_for {
        Some(WaitingFor::NotBefore { at }) => {
            assert!(at.0 <= now + (1000 << (failures - 1)), "back-off of {} ms after {failures}", at.0 - now);
            at.0
        }
        _ => 0,
    }
}

/// Runs the steps with something wrong on purpose.
fn run(steps: Vec<Step>, limit: Option<u32>, mutant: Option<Mutant>) {
    let mut pair = Pair::new(limit);
    pair.bench.mutant = mutant;
    pair.bench.state.mutate(mutant);
    for step in steps {
        pair.step(step);
    }
}

#[test]
fn the_model_notices_what_is_wrong() {
    use proptest::test_runner::{Config, TestRunner};
    for mutant in [
        Mutant::FlatPriority,
        Mutant::KeysIgnored,
        Mutant::NoFenceCheck,
        Mutant::EndlessRetry,
        Mutant::UntoldEnd,
    ] {
        let config =
            Config { cases: 500, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let steps = proptest::collection::vec(step(), 40..80);
        let outcome = TestRunner::new(config).run(&steps, |steps| {
            let run = std::panic::AssertUnwindSafe(|| run(steps, None, Some(mutant)));
            std::panic::catch_unwind(run).map_err(|_| TestCaseError::fail("they disagree"))
        });
        assert!(outcome.is_err(), "{mutant:?} is not noticed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_agrees_with_a_naive_model_over_random_operations_and_restarts(
        steps in proptest::collection::vec(step(), 1..80),
        limit in proptest::option::of(1..3_u32),
    ) {
        run(steps, limit, None);
    }
}
