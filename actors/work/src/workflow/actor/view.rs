//! How far running tasks are: only the queue knows.

use super::WorkflowActor;
use crate::workflow::held::Held;
use crate::workflow::logic::{Answer, Shown};
use futures::future::join_all;
use meshwork_kit::Ctx;
use meshwork_proto::Caller;
use meshwork_proto::queue::{By, GetTask};
use meshwork_proto::task::{TaskView, WaitingFor};
use meshwork_proto::workflow::RunView;
use std::time::Duration;

/// A view is shown without what the queue has not said by then.
const PROGRESS_WITHIN: Duration = Duration::from_millis(250);
/// Things named that a run waits for.
const NAMED: usize = 5;

impl WorkflowActor {
    /// Answers with a run and with what the queue knows of its running tasks.
    pub(super) fn show_progress(&mut self, held: Held, shown: Shown, ctx: &mut Ctx<'_, Self>) {
        let port = self.shared.deps.get_task.clone();
        let Shown { mut view, tasks } = shown;
        ctx.spawn(async move {
            let asked = tasks.into_iter().map(|(step, id)| {
                let by = By { caller: Caller::Local, op: GetTask { id, wait_ms: 0 } };
                let answer = port.ask(by, PROGRESS_WITHIN);
                async move { (step, answer.await) }
            });
            for (step, answer) in join_all(asked).await {
                // A task that is gone or a queue that is busy leaves the step as the coordinator knows it.
                let (Ok(Ok(task)), Some(step)) = (answer, view.steps.get_mut(step)) else { continue };
                let TaskView { worker, progress, waiting_for, .. } = task;
                step.peer = worker.and_then(|worker| worker.peer()).or(step.peer.take());
                step.progress = progress.filter(|_| step.items.is_none());
                step.waiting_for = waiting_for;
            }
            if view.waiting_for.is_none() {
                view.waiting_for = for_workers(&view);
            }
            held.send(Answer::Run(Box::new(Shown { view, tasks: Vec::new() })));
        });
    }
}

/// Which workers a run waits for, in words.
fn for_workers(view: &RunView) -> Option<String> {
    let reasons = view.steps.iter().filter_map(|step| {
        let what = match step.waiting_for.as_ref()? {
            WaitingFor::NoWorkerForType { tool } => format!("a worker that serves {tool}"),
            WaitingFor::NoWorkerWithLabels { labels, .. } if labels.is_empty() => {
                "one of the peers that may work on it".to_owned()
            }
            WaitingFor::NoWorkerWithLabels { labels, .. } => {
                format!("a worker with the labels {}", labels.join(", "))
            }
            _ => return None,
        };
        Some(format!("{what} (step {})", step.id))
    });
    let reasons: Vec<String> = reasons.take(NAMED).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
