//! What this node says of itself to its peers: assembled anew each time somebody is told.

use meshwork_kit::{Port, serve_port};
use meshwork_proto::Caller;
use meshwork_proto::discovery::{Advertisement, DescribeNode};
use meshwork_proto::executor::{GetSlots, ListTools};
use meshwork_proto::queue::{By, Stats};
use meshwork_proto::task::TaskStatus;
use meshwork_proto::transport::GetLocalPeer;
use std::time::Duration;
use tokio::runtime::Handle;

/// How name and version appear in advertisements.
pub(crate) const AGENT: &str = concat!("meshwork/", env!("CARGO_PKG_VERSION"));

/// Each of the four questions; a part that does not answer is left out rather than holding up the rest.
const WITHIN: Duration = Duration::from_secs(2);

/// Whom to ask for the parts.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) tools: Port<ListTools>,
    pub(super) slots: Port<GetSlots>,
    pub(super) stats: Port<By<Stats>>,
    pub(super) local: Port<GetLocalPeer>,
}

/// A port that describes this node.
pub(super) fn serve(runtime: &Handle, parts: Parts) -> Port<DescribeNode> {
    serve_port(16, runtime, move |_| describe(parts.clone()))
}

async fn describe(parts: Parts) -> Advertisement {
    let stats = By { caller: Caller::Local, op: Stats { detail: false } };
    let (tools, slots, stats, local) = tokio::join!(
        parts.tools.ask(ListTools, WITHIN),
        parts.slots.ask(GetSlots, WITHIN),
        parts.stats.ask(stats, WITHIN),
        parts.local.ask(GetLocalPeer, WITHIN),
    );
    let mut own = Advertisement { agent: AGENT.to_owned(), ..Advertisement::default() };
    if let Ok(tools) = tools {
        own.tools = tools.into_iter().map(|tool| tool.name).collect();
    }
    if let Ok(slots) = slots {
        own.labels = slots.labels.into_iter().collect();
        own.slots = slots.total;
        own.free_slots = slots.free;
        own.running = slots.running;
    }
    if let Ok(Ok(stats)) = stats {
        let count = |status| stats.by_status.get(&status).copied().unwrap_or(0);
        own.queued = count(TaskStatus::Queued) + count(TaskStatus::Running);
    }
    if let Ok(local) = local {
        own.addresses = local.listen;
    }
    own
}
