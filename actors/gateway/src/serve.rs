//! Serving a port with a task per request, given up when the asker goes away, and bounded by kind of request.

use crate::options::ServeLimits;
use meshwork_kit::Inbox;
use meshwork_proto::queue::{Claim, GetTask};
use meshwork_proto::schedule::{AddSchedule, Scheduled};
use meshwork_proto::task::Payload;
use meshwork_proto::wire::MeshRequest;
use meshwork_proto::workflow::{GetRun, SubmitRun};
use meshwork_proto::{ErrorCode, MeshError, Request};
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Serves an inbox: each request runs in a task of its own, which is dropped when its asker goes away or `stop` is
/// cancelled. Whoever serves bounds how many run at the same time.
pub(crate) fn serve_inbox<R, F, Fut>(runtime: &Handle, mut inbox: Inbox<R>, stop: CancellationToken, serve: F)
where
    R: Request,
    F: Fn(R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R::Reply> + Send + 'static,
{
    runtime.spawn(async move {
        loop {
            let envelope = tokio::select! {
                envelope = inbox.recv() => envelope,
                () = stop.cancelled() => None,
            };
            let Some(envelope) = envelope else {
                return;
            };
            let (body, mut reply) = envelope.into_parts();
            let (work, stop) = (serve(body), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    answer = work => reply.send(answer),
                    () = reply.abandoned() => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    });
}

/// Places for requests under way. What waits has places of its own, so that waiters never keep a lease from being
/// renewed or a result from being reported.
pub(crate) struct Admission {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    limits: ServeLimits,
}

impl Admission {
    pub(crate) fn new(limits: ServeLimits) -> Self {
        let places = |n: usize| Arc::new(Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS)));
        Self { short: places(limits.short), long: places(limits.long), limits }
    }

    /// A place for this request until it is dropped; `busy` at once when there is none.
    pub(crate) fn admit(&self, request: &MeshRequest) -> Result<OwnedSemaphorePermit, MeshError> {
        let (places, limit) = if may_take_long(request) {
            (&self.long, self.limits.long)
        } else {
            (&self.short, self.limits.short)
        };
        Arc::clone(places).try_acquire_owned().map_err(|_| {
            let name = request.name();
            MeshError::new(
                ErrorCode::Busy,
                format!("{name}: {limit} requests like it are under way; try again later"),
            )
        })
    }
}

/// Whether the answer may take longer than the work: it waits for something, runs a tool, or fetches an artifact.
fn may_take_long(request: &MeshRequest) -> bool {
    use meshwork_proto::queue::{Finish, Outcome, Submit};
    match request {
        MeshRequest::Claim(Claim { wait_ms, .. })
        | MeshRequest::GetTask(GetTask { wait_ms, .. })
        | MeshRequest::GetRun(GetRun { wait_ms, .. }) => *wait_ms > 0,
        MeshRequest::CallTool(_) | MeshRequest::TakeOverRun(_) => true,
        MeshRequest::Submit(Submit(spec)) => is_fetched(&spec.payload),
        MeshRequest::Finish(Finish { outcome: Outcome::Completed { output, .. }, .. }) => is_fetched(output),
        MeshRequest::SubmitRun(run) => has_fetched(run),
        MeshRequest::AddSchedule(AddSchedule { what, .. }) => match what {
            Scheduled::Task(spec) => is_fetched(&spec.payload),
            Scheduled::Workflow(run) => has_fetched(run),
        },
        _ => false,
    }
}

/// Whether a document may have to be fetched first.
fn is_fetched(document: &Payload) -> bool {
    document.stored_cid().is_some()
}

fn has_fetched(run: &SubmitRun) -> bool {
    is_fetched(&run.definition) || is_fetched(&run.inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshwork_kit::{AskError, channel_port};
    use meshwork_proto::TaskId;
    use std::time::Duration;
    use tokio::sync::mpsc;

    struct Wait;
    impl Request for Wait {
        type Reply = ();
        const NAME: &'static str = "wait";
    }

    fn get(wait_ms: u64) -> MeshRequest {
        MeshRequest::GetTask(GetTask { id: TaskId::from_bytes([1; 16]), wait_ms })
    }

    #[test]
    fn waiters_do_not_take_the_places_of_short_requests() {
        let admission = Admission::new(ServeLimits { short: 1, long: 1, ..ServeLimits::default() });
        let _waiter = admission.admit(&get(1_000)).unwrap();
        assert_eq!(admission.admit(&get(1_000)).unwrap_err().code, ErrorCode::Busy);
        let place = admission.admit(&get(0)).unwrap();
        assert_eq!(admission.admit(&get(0)).unwrap_err().code, ErrorCode::Busy);
        drop(place);
        assert!(admission.admit(&get(0)).is_ok());
    }

    #[test]
    fn what_waits_for_a_run_has_a_place_among_the_waiters_and_reading_it_has_not() {
        let run = |wait_ms| {
            let id = meshwork_proto::RunId::from_bytes([1; 16]);
            MeshRequest::GetRun(GetRun { id, wait_ms, seen: None, steps: false })
        };
        assert!(may_take_long(&run(1)) && !may_take_long(&run(0)));
        let document = |stored| {
            let cid = meshwork_proto::Cid::of(b"{}");
            let inline = meshwork_proto::Json::from_value(&serde_json::json!({}));
            (if stored { Payload::Stored { cid, len: 2 } } else { Payload::Inline(inline) }, cid)
        };
        let submit = |definition, inputs| {
            let ((definition, definition_cid), (inputs, inputs_cid)) =
                (document(definition), document(inputs));
            MeshRequest::SubmitRun(SubmitRun {
                definition,
                definition_cid,
                inputs,
                inputs_cid,
                target_peers: std::collections::BTreeSet::new(),
                idempotency_key: None,
                allow_unknown_tools: false,
                parent: None,
            })
        };
        assert!(!may_take_long(&submit(false, false)));
        assert!(may_take_long(&submit(true, false)) && may_take_long(&submit(false, true)));
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_when_its_asker_goes_away_and_others_go_on() {
        let (port, inbox) = channel_port::<Wait>(4);
        let (dropped, mut saw) = mpsc::channel::<()>(1);
        let stop = CancellationToken::new();
        serve_inbox(&Handle::current(), inbox, stop.clone(), move |_: Wait| {
            let alive = dropped.clone();
            async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            }
        });
        let other = tokio::spawn({
            let port = port.clone();
            async move { port.ask(Wait, Duration::from_secs(3_600)).await }
        });
        let gave_up = port.ask(Wait, Duration::from_secs(1)).await;
        assert!(matches!(gave_up, Err(AskError::Timeout { .. })));
        assert!(!other.is_finished());
        stop.cancel();
        assert!(matches!(other.await.unwrap(), Err(AskError::Closed { .. })));
        assert_eq!(saw.recv().await, None, "all work is dropped");
    }
}
