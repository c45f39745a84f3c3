//! A double of the queue: it keeps what it is given, and nothing is claimed.

use super::{State, Waiting, peer, port};
use crate::QueuePorts;
use meshwork_proto::queue::*;
use meshwork_proto::task::{TaskSpec, TaskStatus, TaskView, WaitingFor};
use meshwork_proto::{Fence, TaskId, UnixMillis};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(in crate::tests) fn view(id: TaskId, spec: TaskSpec) -> TaskView {
    TaskView {
        id,
        waiting_for: Some(WaitingFor::NoWorkerForType { tool: spec.tool.clone() }),
        spec,
        submitter: None,
        status: TaskStatus::Queued,
        attempts: 0,
        lease_losses: 0,
        history: Vec::new(),
        worker: None,
        fence: Fence(0),
        lease_until: None,
        cancel_requested: false,
        progress: None,
        output: None,
        output_cid: None,
        error: None,
        created: UnixMillis(1_700_000_000_000),
        updated: UnixMillis(1_700_000_000_500),
        finished: None,
    }
}

pub(super) fn submitted(view: &TaskView) -> Submitted {
    Submitted { id: view.id, status: view.status, existing: false }
}

fn with_task<T>(state: &State, id: TaskId, run: impl FnOnce(&mut TaskView) -> T) -> Result<T, QueueError> {
    state.tasks.lock().unwrap().get_mut(&id).map(run).ok_or(QueueError::UnknownTask(id))
}

async fn get(state: Arc<State>, op: GetTask) -> Result<TaskView, QueueError> {
    let _waiting = Waiting::new(&state.waiting);
    let polls = op.wait_ms / 5;
    for _ in 0..polls {
        if with_task(&state, op.id, |task| task.status.is_finished())? {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    with_task(&state, op.id, |task| task.clone())
}

fn submit(state: &State, By { caller, op: Submit(spec) }: By<Submit>) -> Result<Submitted, QueueError> {
    state.log(format!("submit {} {}", spec.task_type, spec.tool));
    if spec.task_type == "full" {
        return Err(QueueError::Full { held: 10, max: 10 });
    }
    let mut tasks = state.tasks.lock().unwrap();
    let id = TaskId::from_parts(UnixMillis(1_700_000_000_000 + tasks.len() as u64), [7; 10]);
    let task = TaskView { submitter: caller.peer().cloned(), ..view(id, spec) };
    let reply = submitted(&task);
    tasks.insert(id, task);
    Ok(reply)
}

fn update(task: &mut TaskView, changes: TaskChanges) -> TaskView {
    if let Some(priority) = changes.priority {
        task.spec.priority = priority;
    }
    if let Some(metadata) = changes.metadata {
        task.spec.metadata = Some(metadata);
    }
    if let Some(max_attempts) = changes.max_attempts {
        task.spec.max_attempts = max_attempts;
    }
    task.clone()
}

fn list(state: &State, op: &List) -> TaskPage {
    let tasks = state.tasks.lock().unwrap();
    let fits = |task: &&TaskView| {
        op.status.is_none_or(|status| task.status == status)
            && op.cursor.is_none_or(|cursor| task.id < cursor)
    };
    let all: Vec<TaskView> = tasks.values().rev().filter(fits).cloned().collect();
    let page: Vec<TaskView> = all.iter().take(op.limit as usize).cloned().collect();
    let next = if page.len() < all.len() { page.last().map(|task| task.id) } else { None };
    TaskPage { tasks: page, next }
}

fn stats(state: &State) -> QueueStats {
    let mut by_status = BTreeMap::new();
    for task in state.tasks.lock().unwrap().values() {
        *by_status.entry(task.status).or_default() += 1;
    }
    let mut tools = vec!["echo".to_owned()];
    tools.extend(state.offered.lock().unwrap().iter().cloned());
    let worker = WorkerView {
        worker: meshwork_proto::WorkerId::of_peer(&peer(), 1),
        local: false,
        tools,
        labels: vec![],
        running: 1,
        completed: 2,
        failed: 3,
        lost: 4,
        last_seen: UnixMillis(1_700_000_000_000),
    };
    let by_hand = WorkerView {
        worker: "laptop".parse().unwrap(),
        tools: vec!["by_hand".into()],
        running: 0,
        ..worker.clone()
    };
    QueueStats {
        by_status,
        workers: vec![worker, by_hand],
        max_tasks: 100,
        oldest_ready_ms: Some(2500),
        ..QueueStats::default()
    }
}

/// The ports.
pub(super) fn ports(state: &Arc<State>) -> QueuePorts {
    QueuePorts {
        submit: port(state, |state, by| async move { submit(&state, by) }),
        claim: port(state, |_, _: By<Claim>| async { Ok(Claimed::default()) }),
        renew: port(state, |_, by: By<Renew>| async move {
            Ok(by
                .op
                .leases
                .iter()
                .map(|lease| match lease.fence {
                    Fence(1) => Renewal::Renewed { lease_ms: 30_000 },
                    _ => Renewal::Lost,
                })
                .collect())
        }),
        finish: port(state, |state, by: By<Finish>| async move {
            state.log(format!("finish {}", by.op.id));
            Ok(Finished { status: TaskStatus::Completed, retry_at: None })
        }),
        cancel: port(state, |state, by: By<Cancel>| async move {
            with_task(&state, by.op.id, |task| {
                task.status = TaskStatus::Cancelled;
                submitted(task)
            })
        }),
        update: port(state, |state, by: By<Update>| async move {
            with_task(&state, by.op.id, |task| update(task, by.op.changes))
        }),
        resubmit: port(state, |state, by: By<Resubmit>| async move {
            with_task(&state, by.op.id, |task| {
                task.status = TaskStatus::Queued;
                submitted(task)
            })
        }),
        get: port(state, |state, by: By<GetTask>| get(state, by.op)),
        list: port(state, |state, by: By<List>| async move { Ok(list(&state, &by.op)) }),
        stats: port(state, |state, _: By<Stats>| async move {
            state.log("stats");
            Ok(stats(&state))
        }),
    }
}
