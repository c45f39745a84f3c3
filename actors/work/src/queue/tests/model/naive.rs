//! The naive model, and the operations that are tried on both.

use crate::queue::tests::bench::{other, owner};
use meshwork_proto::task::{TaskGrant, TaskStatus};
use meshwork_proto::{Fence, TaskId, WorkerId};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) const LEASE: u64 = 30_000;
pub(super) const GRACE: u64 = 5_000;
pub(super) const TOOLS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
pub(super) enum Step {
    Submit(Shape),
    Claim { worker: usize, tools: usize, gpu: bool, credits: u32 },
    Renew { grant: usize },
    Finish { grant: usize, how: usize },
    Cancel { task: usize },
    Watch { task: usize },
    Priority { task: usize, priority: u8 },
    Labels { task: usize, gpu: bool },
    Resubmit { task: usize },
    Advance { ms: u64 },
    PeerLost,
    Restart,
    RestartActor,
}

#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) tool: usize,
    pub(super) priority: u8,
    pub(super) delay_ms: u64,
    pub(super) expires: bool,
    pub(super) timeout: bool,
    pub(super) gpu: bool,
    pub(super) tenant: Option<u8>,
    pub(super) key: Option<u8>,
    pub(super) max_attempts: u32,
    pub(super) idempotency: Option<u8>,
    /// Submitted as a step of a workflow.
    pub(super) step: bool,
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let kind = (0..3_usize, 1..=3_u8, prop_oneof![4 => Just(0), 1 => 1..60_000_u64], any::<[bool; 4]>());
    let rest = (
        proptest::option::weighted(0.4, 0..2_u8),
        proptest::option::weighted(0.3, 0..2_u8),
        1..3_u32,
        proptest::option::weighted(0.3, 0..4_u8),
    );
    (kind, rest).prop_map(|((tool, priority, delay_ms, [gpu, expires, timeout, step]), rest)| {
        let (tenant, key, max_attempts, idempotency) = rest;
        Shape {
            tool,
            priority,
            delay_ms,
            expires,
            timeout,
            gpu,
            tenant,
            key,
            max_attempts,
            idempotency,
            step,
        }
    })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => shape().prop_map(Step::Submit),
        6 => (0..3_usize, 1..8_usize, any::<bool>(), 1..4_u32)
            .prop_map(|(worker, tools, gpu, credits)| Step::Claim { worker, tools, gpu, credits }),
        2 => any::<usize>().prop_map(|grant| Step::Renew { grant }),
        6 => (any::<usize>(), 0..5_usize).prop_map(|(grant, how)| Step::Finish { grant, how }),
        2 => any::<usize>().prop_map(|task| Step::Cancel { task }),
        2 => any::<usize>().prop_map(|task| Step::Watch { task }),
        1 => (any::<usize>(), 1..=3_u8).prop_map(|(task, priority)| Step::Priority { task, priority }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(task, gpu)| Step::Labels { task, gpu }),
        2 => any::<usize>().prop_map(|task| Step::Resubmit { task }),
        4 => prop_oneof![1..2000_u64, 1..40_000_u64].prop_map(|ms| Step::Advance { ms }),
        1 => Just(Step::PeerLost),
        1 => Just(Step::Restart),
        1 => Just(Step::RestartActor),
    ]
}

/// A task as the model knows it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: TaskId,
    pub(super) shape: Shape,
    pub(super) seq: u64,
    pub(super) status: TaskStatus,
    pub(super) queued_at: u64,
    pub(super) not_before: u64,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) losses: u32,
    pub(super) fence: Fence,
    pub(super) reported: Fence,
    pub(super) worker: Option<WorkerId>,
    pub(super) until: u64,
    pub(super) timeout_at: Option<u64>,
    pub(super) grace: Option<u64>,
    pub(super) cancelled: bool,
    /// The coordinator wants to be told of its end.
    pub(super) watched: bool,
}

impl Known {
    pub(super) fn lease_end(&self) -> u64 {
        [self.timeout_at, self.grace].into_iter().flatten().fold(self.until, u64::min)
    }

    /// When something happens to it by itself.
    pub(super) fn due(&self) -> Option<u64> {
        match self.status {
            TaskStatus::Running => Some(self.lease_end()),
            TaskStatus::Queued if self.shape.expires && self.attempts == 0 => Some(self.queued_at + 50_000),
            _ => None,
        }
    }
}

pub(super) struct Model {
    pub(super) tasks: Vec<Known>,
    pub(super) keys: BTreeMap<u8, TaskId>,
    pub(super) grants: Vec<(usize, TaskGrant)>,
    pub(super) tenant_limit: Option<u32>,
    pub(super) max_losses: u32,
    pub(super) next_seq: u64,
    pub(super) highest: Fence,
}

pub(super) fn worker(n: usize) -> WorkerId {
    match n {
        0 => WorkerId::of_peer(&owner(), 1),
        1 => WorkerId::of_peer(&other(), 1),
        _ => "client".parse().unwrap(),
    }
}

impl Model {
    pub(super) fn find(&mut self, id: TaskId) -> &mut Known {
        self.tasks.iter_mut().find(|task| task.id == id).unwrap()
    }

    pub(super) fn running(&self, filter: impl Fn(&Known) -> bool) -> usize {
        self.tasks.iter().filter(|task| task.status == TaskStatus::Running && filter(task)).count()
    }

    /// Tasks that this claim may be given, by looking at all of them.
    pub(super) fn eligible(&self, now: u64, tools: &BTreeMap<String, u32>, gpu: bool) -> Vec<&Known> {
        let fits = |task: &&Known| {
            let shape = &task.shape;
            let key_free = shape.key.is_none() || self.running(|other| other.shape.key == shape.key) == 0;
            let limit = self.tenant_limit.filter(|_| shape.tenant.is_some());
            let below = limit.is_none_or(|limit| {
                self.running(|other| other.shape.tenant == shape.tenant) < limit as usize
            });
            task.status == TaskStatus::Queued
                && task.not_before <= now
                && tools.get(TOOLS[shape.tool]).is_some_and(|room| *room > 0)
                && (gpu || !shape.gpu)
                && key_free
                && below
        };
        self.tasks.iter().filter(fits).collect()
    }

    /// A grant must be one of the best; what it does to the task.
    pub(super) fn grant(
        &mut self,
        now: u64,
        tools: &mut BTreeMap<String, u32>,
        gpu: bool,
        by: &WorkerId,
        grant: &TaskGrant,
    ) {
        let eligible = self.eligible(now, tools, gpu);
        let chosen =
            eligible.iter().find(|task| task.id == grant.id).expect("only what is eligible is granted");
        for task in &eligible {
            assert!(task.shape.priority <= chosen.shape.priority, "a higher priority was ready");
            let rival =
                task.shape.priority == chosen.shape.priority && task.shape.tenant == chosen.shape.tenant;
            assert!(!rival || task.seq >= chosen.seq, "an older task of the same tenant was ready");
        }
        assert!(grant.fence > self.highest, "fences grow");
        self.highest = grant.fence;
        *tools.get_mut(&grant.tool).unwrap() -= 1;
        let task = self.find(grant.id);
        task.status = TaskStatus::Running;
        task.attempts += 1;
        assert_eq!(grant.attempt, task.attempts);
        task.fence = grant.fence;
        task.worker = Some(by.clone());
        task.until = now + LEASE;
        task.timeout_at = task.shape.timeout.then_some(now + 45_000 + LEASE);
        task.grace = None;
    }

    pub(super) fn lose(&mut self, id: TaskId, counts: bool) {
        let max_losses = self.max_losses;
        let task = self.find(id);
        task.status = TaskStatus::Queued;
        task.not_before = 0;
        if task.cancelled {
            task.status = TaskStatus::Cancelled;
        } else if counts {
            task.losses += 1;
            if task.losses >= max_losses {
                task.status = TaskStatus::Failed;
            }
        }
    }

    /// What happens until `end` by itself.
    pub(super) fn advance(&mut self, end: u64) {
        loop {
            let due = self.tasks.iter().filter_map(|task| Some((task.due()?, task.id))).min();
            let Some((at, id)) = due.filter(|(at, _)| *at <= end) else { return };
            let task = self.find(id);
            if task.status == TaskStatus::Queued {
                task.status = TaskStatus::Failed;
            } else if task.timeout_at.is_some_and(|limit| limit <= at) {
                task.failures += 1;
                // The random back-off is read from the queue afterwards.
                task.status = if task.cancelled {
                    TaskStatus::Cancelled
                } else if task.failures >= task.shape.max_attempts {
                    TaskStatus::Failed
                } else {
                    task.not_before = u64::MAX;
                    TaskStatus::Queued
                };
            } else {
                self.lose(id, true);
            }
        }
    }

    pub(super) fn restart(&mut self, now: u64, new_process: bool) {
        for id in self.tasks.iter().map(|task| task.id).collect::<Vec<_>>() {
            let task = self.find(id);
            task.watched = false;
            if task.status != TaskStatus::Running {
                continue;
            }
            if new_process && task.worker == Some(worker(0)) {
                self.lose(id, false);
            } else {
                task.until = now + LEASE;
                task.grace = None;
            }
        }
    }

    /// What a report does, and what it is answered.
    pub(super) fn finish(&mut self, by: &WorkerId, grant: &TaskGrant, how: usize) -> Result<TaskStatus, ()> {
        let task = self.find(grant.id);
        let repeated = task.reported == grant.fence && task.worker.as_ref() == Some(by);
        if task.status != TaskStatus::Running || task.fence != grant.fence || task.worker.as_ref() != Some(by)
        {
            let unchanged = task.status != TaskStatus::Running && task.fence == grant.fence && repeated;
            return if unchanged { Ok(task.status) } else { Err(()) };
        }
        task.reported = grant.fence;
        task.status = match how {
            0 | 1 => TaskStatus::Completed,
            2 | 3 => {
                task.failures += 1;
                if how == 3 || task.failures >= task.shape.max_attempts {
                    TaskStatus::Failed
                } else {
                    task.not_before = u64::MAX;
                    TaskStatus::Queued
                }
            }
            _ => {
                task.not_before = 0;
                TaskStatus::Queued
            }
        };
        if task.cancelled {
            task.status = TaskStatus::Cancelled;
        }
        Ok(task.status)
    }
}
