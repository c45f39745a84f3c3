//! How far running tasks are, and whom waiting ones wait for: only the queue and the peer book know.

use super::WorkflowActor;
use crate::workflow::held::Held;
use crate::workflow::logic::{Answer, Shown, ShownTask};
use futures::future::join_all;
use meshwork_kit::Ctx;
use meshwork_proto::discovery::{ListPeers, PeerView};
use meshwork_proto::queue::{By, GetTask};
use meshwork_proto::task::{TaskView, WaitingFor};
use meshwork_proto::workflow::RunView;
use meshwork_proto::{Caller, PeerId};
use std::collections::BTreeSet;
use std::time::Duration;

/// A view is shown without what the queue has not said by then, and without what the peer book has not.
const PROGRESS_WITHIN: Duration = Duration::from_millis(250);
/// Things named that a run waits for, and of each of them.
const NAMED: usize = 5;

impl WorkflowActor {
    /// Answers with a run and with what the queue knows of its running tasks.
    pub(super) fn show_progress(&mut self, held: Held, shown: Shown, ctx: &mut Ctx<'_, Self>) {
        let deps = &self.shared.deps;
        let (port, list_peers, here) =
            (deps.get_task.clone(), deps.list_peers.clone(), deps.local_peer.clone());
        let Shown { mut view, tasks } = shown;
        ctx.spawn(async move {
            let asked = tasks.iter().map(|task| {
                let by = By { caller: Caller::Local, op: GetTask { id: task.task, wait_ms: 0 } };
                port.ask(by, PROGRESS_WITHIN)
            });
            let answers = join_all(asked).await;
            let mut waiting = Vec::new();
            for (task, answer) in tasks.iter().zip(answers) {
                // A task that is gone or a queue that is busy leaves the step as the coordinator knows it.
                let Ok(Ok(answer)) = answer else { continue };
                waiting.extend(show_task(&mut view, task, answer).map(|why| (task, why)));
            }
            show_alike(&mut view, &waiting);
            if view.waiting_for.is_none() && !waiting.is_empty() {
                let about_peers = waiting.iter().any(|(task, _)| !task.targets.is_empty());
                let peers = match about_peers {
                    true => list_peers.ask(ListPeers::default(), PROGRESS_WITHIN).await.ok(),
                    false => None,
                };
                view.waiting_for = Some(for_workers(&view, &waiting, peers.as_deref(), &here));
            }
            held.send(Answer::Run(Box::new(Shown { view, tasks: Vec::new() })));
        });
    }
}

/// Fills in what the queue said of a task; why nobody takes it, if nobody does.
fn show_task(view: &mut RunView, asked: &ShownTask, task: TaskView) -> Option<WaitingFor> {
    let step = view.steps.get_mut(asked.step)?;
    let TaskView { worker, progress, waiting_for, .. } = task;
    step.peer = worker.and_then(|worker| worker.peer()).or(step.peer.take());
    step.progress = progress.filter(|_| step.items.is_none());
    step.waiting_for.clone_from(&waiting_for);
    waiting_for.filter(is_for_nobody)
}

/// Whether there is nobody who would take the task, however long it waits.
fn is_for_nobody(why: &WaitingFor) -> bool {
    matches!(why, WaitingFor::NoWorkerForType { .. } | WaitingFor::NoWorkerWithLabels { .. })
}

/// What nobody takes of one step nobody takes of another one that the same workers may do.
fn show_alike(view: &mut RunView, waiting: &[(&ShownTask, WaitingFor)]) {
    for (task, why) in waiting {
        for step in &task.alike {
            if let Some(step) = view.steps.get_mut(*step) {
                step.waiting_for.get_or_insert_with(|| why.clone());
            }
        }
    }
}

/// Which workers a run waits for, and what of that nobody has now, in words.
fn for_workers(
    view: &RunView,
    waiting: &[(&ShownTask, WaitingFor)],
    peers: Option<&[PeerView]>,
    here: &PeerId,
) -> String {
    // Others that the same workers may do say the same.
    let mut told = BTreeSet::new();
    let mut reasons = Vec::new();
    for (task, why) in waiting {
        if told.contains(&task.step) {
            continue;
        }
        let steps = std::iter::once(&task.step).chain(&task.alike);
        told.extend(steps.clone().copied());
        let names: Vec<&str> =
            steps.filter_map(|step| view.steps.get(*step)).map(|step| step.id.as_str()).collect();
        let steps = if names.len() == 1 { "step" } else { "steps" };
        let names = some(names.iter().copied(), names.len());
        reasons.push(format!("{}: {} ({steps} {names})", worker(task), missing(task, why, peers, here)));
        if reasons.len() == NAMED {
            break;
        }
    }
    reasons.join("; ")
}

/// The worker that a task waits for.
fn worker(task: &ShownTask) -> String {
    let ShownTask { tool, labels, targets, .. } = task;
    let labels = match labels.len() {
        0 => String::new(),
        1 => format!(" with the label {}", some(labels, 1)),
        count => format!(" with the labels {}", some(labels, count)),
    };
    let targets = match targets.len() {
        0 => String::new(),
        1 => format!(" at peer {}", some(targets, 1)),
        count => format!(" at one of the peers {}", some(targets, count)),
    };
    format!("a worker that serves {tool}{labels}{targets}")
}

/// What nobody has now.
fn missing(task: &ShownTask, why: &WaitingFor, peers: Option<&[PeerView]>, here: &PeerId) -> String {
    if let Some(peers) = peers.filter(|_| !task.targets.is_empty()) {
        let each: Vec<String> =
            task.targets.iter().take(NAMED).map(|peer| of_peer(task, peer, peers, here)).collect();
        return each.join(", ");
    }
    match why {
        WaitingFor::NoWorkerWithLabels { labels, workers } if !labels.is_empty() => {
            let serve = if *workers == 1 { "1 serves it".to_owned() } else { format!("{workers} serve it") };
            match labels.len() {
                1 => format!("{serve}, and none has the label {}", some(labels, 1)),
                count => format!("{serve}, and none has all of the labels {}", some(labels, count)),
            }
        }
        WaitingFor::NoWorkerWithLabels { .. } => "nobody else may".to_owned(),
        _ => "nobody serves it now".to_owned(),
    }
}

/// Why a peer that may do a task does not.
fn of_peer(task: &ShownTask, peer: &PeerId, peers: &[PeerView], here: &PeerId) -> String {
    if peer == here {
        return "this node does not take it".to_owned();
    }
    let Some(known) = peers.iter().find(|known| known.peer == *peer) else {
        return format!("peer {peer} is not known");
    };
    if !known.connected {
        return format!("peer {peer} is not connected");
    }
    let Some(said) = &known.advertisement else { return format!("peer {peer} does not ask for it") };
    if !said.tools.contains(&task.tool) {
        return format!("peer {peer} does not serve it");
    }
    let lacking: Vec<&String> = task.labels.iter().filter(|label| !said.labels.contains(*label)).collect();
    match lacking.len() {
        0 => format!("peer {peer} does not ask for it"),
        1 => format!("peer {peer} lacks the label {}", some(lacking, 1)),
        count => format!("peer {peer} lacks the labels {}", some(lacking, count)),
    }
}

/// The first of some names.
fn some(names: impl IntoIterator<Item = impl std::fmt::Display>, count: usize) -> String {
    let named: Vec<String> = names.into_iter().take(NAMED).map(|name| name.to_string()).collect();
    let more = count.saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
