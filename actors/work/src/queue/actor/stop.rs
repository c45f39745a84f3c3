//! Telling workers to stop.

use super::Queue;
use meshwork_kit::Ctx;
use meshwork_proto::WorkerId;
use meshwork_proto::executor::StopTask;
use meshwork_proto::transport::{CallPeer, PeerTarget};
use meshwork_proto::wire::MeshCall;
use std::time::Duration;

/// A peer that does not answer by then is told by its next heartbeat.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Most peers that are being told at a time.
const MAX_STOPPING: usize = 256;

impl Queue {
    /// Tells a worker to stop. It may be lost: the worker's next heartbeat is answered with the same.
    pub(super) fn stop_worker(&mut self, worker: &WorkerId, stop: StopTask, ctx: &mut Ctx<'_, Self>) {
        // A worker without a peer is a client that renews by hand: there is nobody to tell.
        let Some(peer) = worker.peer() else { return };
        let deps = &self.shared.deps;
        if peer == deps.local_peer {
            if let Err(error) = deps.stop_local.tell(stop) {
                tracing::warn!(task = %stop.id, "own executor could not be told to stop a task: {error}");
            }
            return;
        }
        if self.stopping >= MAX_STOPPING {
            tracing::debug!(task = %stop.id, %peer, "too many peers are being told to stop tasks: left to its heartbeat");
            return;
        }
        self.stopping += 1;
        let port = deps.call_peer.clone();
        let deadline_ms = u64::try_from(STOP_WITHIN.as_millis()).unwrap_or(u64::MAX);
        let call = CallPeer { target: PeerTarget::Id(peer), request: stop.into_request(), deadline_ms };
        let told = async move { port.ask(call, STOP_WITHIN).await };
        ctx.spawn_then(told, move |queue, told, _| {
            queue.stopping -= 1;
            match told {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(task = %stop.id, "worker could not be told to stop: {error}")
                }
                Err(error) => tracing::debug!(task = %stop.id, "worker could not be told to stop: {error}"),
            }
        });
    }
}
