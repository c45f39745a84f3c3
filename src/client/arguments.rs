//! Arguments of the tools that take more than a few. Members that are not given are left out.

use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Arguments of `p2p_taskqueue_submit`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct SubmitArgs {
    /// `tool.call`, or the name of the tool.
    pub(crate) task_type: String,
    /// Arguments of the tool; for `tool.call` the object `{tool, arguments}`.
    pub(crate) payload: Value,
    /// A model the task is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model_name: Option<String>,
    /// 1 to 10; 10 first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<u8>,
    /// Same key and same work gives the first task again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency_key: Option<String>,
    /// How often it may be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_attempts: Option<u32>,
    /// Seconds until it may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay_s: Option<f64>,
    /// Seconds that an attempt may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_s: Option<f64>,
    /// Seconds that it may wait in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_s: Option<f64>,
    /// Labels that a worker must have.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) labels: BTreeSet<String>,
    /// Named queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
    /// Whose work it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// Tasks that share it run one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency_key: Option<String>,
    /// Whatever the submitter wants to keep with it, an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Value>,
    /// The peer whose queue takes it; none: the node itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `p2p_taskqueue_list_tasks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ListArgs {
    /// Only this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// Only this type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_type: Option<String>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
    /// The peer whose queue is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `p2p_taskqueue_update_task`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct UpdateArgs {
    /// Which task.
    pub(crate) task_id: String,
    /// New metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Value>,
    /// New labels that a worker must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeSet<String>>,
    /// New limit of attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_attempts: Option<u32>,
    /// New seconds that an attempt may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_s: Option<f64>,
    /// New seconds that it may wait in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_s: Option<f64>,
    /// The peer that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `p2p_peer_list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct PeerFilter {
    /// Only this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    /// Only who serves this tool or has this label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capability: Option<String>,
    /// Only who was heard of by this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_peers: Option<u32>,
    /// The peer whose book is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `p2p_peer_discover`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct DiscoverArgs {
    /// Which sources; empty: all that are switched on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<String>,
    /// Only who serves this tool or has this label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capability: Option<String>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_peers: Option<u32>,
    /// Seconds that the sources may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_s: Option<f64>,
    /// The peer whose sources are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `p2p_peer_register`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct RegisterArgs {
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_id: Option<String>,
    /// Where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
    /// Connect, or only enter it.
    pub(crate) connect: bool,
    /// Seconds that connecting may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_s: Option<f64>,
    /// The peer into whose book it is entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `p2p_peer_pair`.
#[derive(Clone, Default, PartialEq, Serialize)]
pub(crate) struct PairArgs {
    /// The code of the other node; none: make one here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Where the other node is; empty: the node tries those that it has found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
    /// Seconds that a code made here is of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) valid_s: Option<f64>,
}

/// Where first contacts are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BootstrapFrom {
    /// Everything that is configured.
    Configured,
    /// A file on the node's machine; none: the configured one.
    File(Option<String>),
    /// The node's environment.
    Environment,
    /// A DNS name; none: the configured ones.
    Dns(Option<String>),
    /// The public list.
    Public,
}

/// The members of an arguments struct.
pub(super) fn members(arguments: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(arguments) {
        Ok(Value::Object(members)) => members,
        // The structs of this module are objects.
        _ => Map::new(),
    }
}

/// Members from a list, without those that have no value.
pub(super) fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
