//! A queue in memory: tasks by their keys, which end as the story says.

use meshwork_proto::queue::{QueueError, Submitted};
use meshwork_proto::task::{Payload, TaskSpec, TaskStatus};
use meshwork_proto::workflow::TaskEnded;
use meshwork_proto::{Cid, ErrorCode, Json, MeshError, TaskId, UnixMillis, WorkerId};
use serde_json::Value;
use std::collections::BTreeMap;

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct FakeTask {
    pub spec: TaskSpec,
    pub status: TaskStatus,
    pub output: Option<Json>,
    pub error: Option<MeshError>,
    pub worker: Option<WorkerId>,
    /// Commits of the coordinator that had been sent when it was submitted: if one of them is lost, so is this.
    pub behind: usize,
    /// The same of its cancel.
    pub cancelled_behind: Option<usize>,
    /// How often it was worked on to its end.
    pub done: u32,
}

/// Tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeQueue {
    pub tasks: BTreeMap<TaskId, FakeTask>,
    by_key: BTreeMap<String, TaskId>,
    next: u64,
    /// It takes nothing now.
    pub full: bool,
    pub draining: bool,
}

impl FakeQueue {
    /// Accepts a task; its end if it is known already.
    pub(crate) fn submit(
        &mut self,
        spec: TaskSpec,
        behind: usize,
    ) -> Result<(Submitted, Option<TaskEnded>), QueueError> {
        spec.check().map_err(QueueError::Spec)?;
        if self.draining {
            return Err(QueueError::Draining);
        }
        if self.full {
            return Err(QueueError::Full { held: 1, max: 1 });
        }
        let key = spec.idempotency_key.clone().expect("attempts have keys");
        if let Some(id) = self.by_key.get(&key) {
            let task = &self.tasks[id];
            assert_eq!(task.spec.input_cid, spec.input_cid, "{key} stands for other work");
            let submitted = Submitted { id: *id, status: task.status, existing: true };
            return Ok((submitted, self.end_of(*id)));
        }
        self.next += 1;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.next.to_be_bytes());
        let id = TaskId::from_parts(UnixMillis(self.next), random);
        self.by_key.insert(key, id);
        let status = TaskStatus::Queued;
        let task = FakeTask {
            spec,
            status,
            output: None,
            error: None,
            worker: None,
            behind,
            cancelled_behind: None,
            done: 0,
        };
        self.tasks.insert(id, task);
        Ok((Submitted { id, status, existing: false }, None))
    }

    /// The end of a task, if it has ended.
    pub(crate) fn end_of(&self, id: TaskId) -> Option<TaskEnded> {
        let task = self.tasks.get(&id).filter(|task| task.status.is_finished())?;
        let output_cid = task.output.as_ref().map(|json| Cid::of(json.bytes()));
        Some(TaskEnded {
            id,
            status: task.status,
            worker: task.worker.clone(),
            attempts: 1,
            output: task.output.clone().map(Payload::Inline),
            output_cid,
            error: task.error.clone(),
        })
    }

    /// Where a task stands.
    pub(crate) fn look(&self, id: TaskId) -> Result<Submitted, QueueError> {
        let task = self.tasks.get(&id).ok_or(QueueError::UnknownTask(id))?;
        Ok(Submitted { id, status: task.status, existing: true })
    }

    /// Gives up a task; a running one when the story says so.
    pub(crate) fn cancel(&mut self, id: TaskId, behind: usize) -> Result<Submitted, QueueError> {
        let task = self.tasks.get_mut(&id).ok_or(QueueError::UnknownTask(id))?;
        if task.status.is_finished() {
            let wanted = "only a queued or running task can be cancelled";
            return Err(QueueError::WrongState { id, status: task.status, wanted });
        }
        if task.status == TaskStatus::Queued {
            task.status = TaskStatus::Cancelled;
            task.error = Some(MeshError::new(ErrorCode::Cancelled, "cancelled"));
            task.cancelled_behind = Some(behind);
        }
        let status = task.status;
        Ok(Submitted { id, status, existing: true })
    }

    pub(crate) fn finish(&mut self, id: TaskId, result: Result<Value, MeshError>, worker: &str) {
        let task = self.tasks.get_mut(&id).expect("a task");
        assert!(!task.status.is_finished(), "a task ends once");
        task.worker = Some(worker.parse().unwrap());
        task.done += 1;
        match result {
            Ok(output) => {
                task.status = TaskStatus::Completed;
                task.output = Some(Json::from_value(&output));
            }
            Err(error) => {
                task.status = TaskStatus::Failed;
                task.error = Some(error);
            }
        }
    }

    pub(crate) fn give_up(&mut self, id: TaskId) {
        let task = self.tasks.get_mut(&id).expect("a task");
        task.status = TaskStatus::Cancelled;
        task.error = Some(MeshError::new(ErrorCode::Cancelled, "stopped"));
    }

    /// Tasks that wait for a worker, in the order of their submission.
    pub(crate) fn queued(&self) -> Vec<TaskId> {
        let queued = self.tasks.iter().filter(|(_, task)| task.status == TaskStatus::Queued);
        queued.map(|(id, _)| *id).collect()
    }

    /// The process ended when only so many commits of the coordinator had reached the disk.
    pub(crate) fn forget_behind(&mut self, commits: usize) {
        self.tasks.retain(|_, task| task.behind <= commits);
        for task in self.tasks.values_mut() {
            if task.cancelled_behind.take_if(|behind| *behind > commits).is_some() {
                task.status = TaskStatus::Queued;
                task.error = None;
            }
        }
        self.by_key.retain(|_, id| self.tasks.contains_key(id));
    }
}
