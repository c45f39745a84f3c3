//! Requests to drain the node: passed to the loop that runs it, answered with what was running at that moment.

use meshwork_kit::{Port, serve_port};
use meshwork_proto::executor::GetSlots;
use meshwork_proto::node::{Shutdown, ShutdownStarted};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Longest drain that may be asked for.
pub(super) const LONGEST_DRAIN: Duration = Duration::from_secs(24 * 3600);

/// A port that hands drain requests to the node's loop.
pub(super) fn serve(
    runtime: &Handle,
    slots: Port<GetSlots>,
    to_node: mpsc::Sender<Shutdown>,
) -> Port<Shutdown> {
    serve_port(4, runtime, move |request: Shutdown| {
        let (slots, to_node) = (slots.clone(), to_node.clone());
        async move {
            let longest = u64::try_from(LONGEST_DRAIN.as_millis()).unwrap_or(u64::MAX);
            let request = Shutdown { deadline_ms: request.deadline_ms.min(longest), ..request };
            let running =
                slots.ask(GetSlots, Duration::from_secs(1)).await.map_or(0, |slots| u64::from(slots.running));
            if to_node.send(request).await.is_err() {
                tracing::debug!("asked to drain while stopping");
            }
            ShutdownStarted { running, deadline_ms: request.deadline_ms, exit: request.exit }
        }
    })
}
