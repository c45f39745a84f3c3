//! A node whose other actors are doubles: enough of a queue, an executor, discovery and an artifact store to see what
//! the gateway asks of them.

pub(super) mod membership;
mod queue;
pub(super) mod schedule;
pub(super) mod workflow;

pub(super) use queue::view;

use super::client::{Client, Era};
use crate::*;
use bytes::Bytes;
use meshwork_kit::{Port, Supervision, serve_port};
use meshwork_proto::artifact::{
    ArtifactError, ArtifactPiece, ArtifactPresence, PutArtifact, ReadArtifact, StatArtifact,
};
use meshwork_proto::discovery::{Advertisement, Announced, ListPeers, PeerAdvertised, PeerView};
use meshwork_proto::executor::{CallTool, ToolError, ToolInfo, ToolKind, ToolOutput, UpstreamTools};
use meshwork_proto::node::{Shutdown, ShutdownStarted};
use meshwork_proto::queue::{GetTask, Submit};
use meshwork_proto::task::{Payload, TaskSpec, TaskStatus, TaskView};
use meshwork_proto::transport::{CallError, CallPeer, FetchArtifact, PeerAnswer, PeerTarget};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{Caller, Cid, Json, MeshError, PeerId, Request, Role, TaskId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

pub(super) const LOCAL: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
pub(super) const PEER: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

pub(super) fn local() -> PeerId {
    LOCAL.parse().unwrap()
}

pub(super) fn peer() -> PeerId {
    PEER.parse().unwrap()
}

pub(super) fn member() -> Caller {
    Caller::Peer { peer: peer(), role: Role::Member }
}

/// What the doubles hold and have seen.
#[derive(Default)]
pub(super) struct State {
    pub(super) tasks: Mutex<BTreeMap<TaskId, TaskView>>,
    pub(super) artifacts: Mutex<BTreeMap<Cid, Bytes>>,
    /// What the peer has.
    pub(super) remote: Mutex<BTreeMap<Cid, Bytes>>,
    /// Requests in the order in which they came, as text.
    pub(super) log: Mutex<Vec<String>>,
    /// Tools of upstream servers as the executor was told last.
    pub(super) upstream_tools: Mutex<BTreeMap<String, Vec<String>>>,
    /// Reads of tasks that wait now.
    pub(super) waiting: AtomicUsize,
    /// Tools that the worker of the peer offers beside `echo`.
    pub(super) offered: Mutex<Vec<String>>,
    /// What the coordinator has.
    pub(super) runs: workflow::Runs,
    /// What the scheduler has.
    pub(super) schedules: Mutex<BTreeMap<String, meshwork_proto::schedule::ScheduleView>>,
}

impl State {
    fn log(&self, line: impl Into<String>) {
        self.log.lock().unwrap().push(line.into());
    }

    pub(super) fn logged(&self, part: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(part)).count()
    }

    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut TaskView)) {
        change(self.tasks.lock().unwrap().get_mut(&id.parse().unwrap()).unwrap());
    }
}

pub(super) fn stored(text: &str) -> (Cid, Bytes) {
    let bytes = Bytes::from(text.to_owned());
    (Cid::of(&bytes), bytes)
}

fn port<R, F, Fut>(state: &Arc<State>, serve: F) -> Port<R>
where
    R: Request,
    F: Fn(Arc<State>, R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R::Reply> + Send + 'static,
{
    let state = Arc::clone(state);
    serve_port(64, &Handle::current(), move |request| serve(Arc::clone(&state), request))
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn info(name: &str, category: &str, kind: ToolKind) -> ToolInfo {
    ToolInfo {
        name: name.into(),
        category: category.into(),
        description: format!("{name} of {category}"),
        kind,
        input_schema: Json::from_value(&json!({"type": "object"})),
        output_schema: None,
        annotations: None,
        concurrency: 4,
    }
}

fn run_tool(call: &CallTool) -> Result<ToolOutput, ToolError> {
    match call.tool.as_str() {
        "echo" => Ok(ToolOutput { result: call.arguments.clone(), mcp_result: None }),
        "git__status" => {
            let raw = json!({"content": [{"type": "text", "text": "no such repository"}], "isError": true});
            let mcp_result = Some(Json::from_value(&raw));
            Err(ToolError::Failed {
                tool: call.tool.clone(),
                message: "no such repository".into(),
                mcp_result,
            })
        }
        other => Err(ToolError::Unknown { name: other.into(), hint: "there is echo".into() }),
    }
}

fn executor(state: &Arc<State>) -> ExecutorPorts {
    ExecutorPorts {
        list: port(state, |_, _| async {
            vec![info("echo", "builtin", ToolKind::BuiltIn), info("git__status", "git", ToolKind::Mcp)]
        }),
        call: port(state, |state, call: CallTool| async move {
            state.log(format!("call {}", call.tool));
            run_tool(&call)
        }),
        stop: port(state, |_, _| async {}),
        upstream_tools: port(state, |state, told: UpstreamTools| async move {
            let names = told.tools.into_iter().map(|tool| tool.info.name).collect();
            state.upstream_tools.lock().unwrap().insert(told.server, names);
        }),
    }
}

fn discovery(state: &Arc<State>) -> DiscoveryPorts {
    DiscoveryPorts {
        list: port(state, |_, _: ListPeers| async {
            let said =
                Advertisement { tools: BTreeSet::from(["far".to_owned()]), ..Advertisement::default() };
            vec![PeerView {
                peer: peer(),
                addresses: vec!["/ip4/192.0.2.7/tcp/4001".into()],
                connected: true,
                role: Some(Role::Member),
                advertisement: Some(said),
                rtt_us: Some(1_500),
                last_seen: None,
            }]
        }),
        announce: port(state, |_, _| async { Announced { reached: 3, missed: 1, ..Announced::default() } }),
        advertised: port(state, |state, said: PeerAdvertised| async move {
            state.log(format!("advertised by {}", said.peer));
            Advertisement::default()
        }),
    }
}

fn artifacts(state: &Arc<State>) -> ArtifactPorts {
    ArtifactPorts {
        put: port(state, |state, PutArtifact(bytes): PutArtifact| async move {
            let cid = Cid::of(&bytes);
            state.log(format!("put {}", bytes.len()));
            state.artifacts.lock().unwrap().insert(cid, bytes);
            Ok(cid)
        }),
        read: port(state, |state, read: ReadArtifact| async move {
            let artifacts = state.artifacts.lock().unwrap();
            let bytes = artifacts.get(&read.cid).ok_or(ArtifactError::Unknown(read.cid))?;
            let start = usize::try_from(read.offset).unwrap().min(bytes.len());
            let end = (start + read.max_len as usize).min(bytes.len());
            Ok(ArtifactPiece { total_len: bytes.len() as u64, bytes: bytes.slice(start..end) })
        }),
        stat: port(state, |state, StatArtifact(cid): StatArtifact| async move {
            Ok(match state.artifacts.lock().unwrap().get(&cid) {
                Some(bytes) => ArtifactPresence::Whole { len: bytes.len() as u64 },
                None => ArtifactPresence::Absent,
            })
        }),
    }
}

/// What the one peer there is answers.
fn remote(state: &State, request: MeshRequest) -> Result<MeshReply, CallError> {
    state.log(format!("peer {}", request.name()));
    if let Some(answer) = membership::remote(&request).or_else(|| workflow::remote(state, &request)) {
        return answer.map_err(CallError::Refused);
    }
    Ok(match request {
        MeshRequest::Submit(Submit(spec)) => {
            MeshReply::Submitted(queue::submitted(&view(TaskId::from_bytes([9; 16]), spec)))
        }
        MeshRequest::GetTask(GetTask { id, .. }) => {
            let (cid, bytes) =
                state.remote.lock().unwrap().first_key_value().map(|(c, b)| (*c, b.clone())).unwrap();
            let spec = TaskSpec::new("echo", Json::from_value(&json!({})), Cid::of(b"{}"));
            let output = Some(Payload::Stored { cid, len: bytes.len() as u64 });
            MeshReply::Task(TaskView {
                status: TaskStatus::Completed,
                output,
                output_cid: Some(cid),
                waiting_for: None,
                ..view(id, spec)
            })
        }
        MeshRequest::ListTools(_) => MeshReply::Tools(vec![info("far", "builtin", ToolKind::BuiltIn)]),
        MeshRequest::CallTool(call) => {
            MeshReply::ToolOutput(ToolOutput { result: call.arguments, mcp_result: None })
        }
        MeshRequest::Shutdown(_) => {
            let error = MeshError::new(meshwork_proto::ErrorCode::Forbidden, "not an admin there");
            return Err(CallError::Refused(error));
        }
        other => panic!("the peer is not asked for {}", other.name()),
    })
}

/// Ports of doubles that share this state.
pub(super) fn node_ports(state: &Arc<State>) -> NodePorts {
    NodePorts {
        queue: queue::ports(state),
        executor: executor(state),
        discovery: discovery(state),
        membership: membership::ports(state),
        workflows: workflow::ports(state),
        schedules: schedule::ports(state),
        artifacts: artifacts(state),
        call_peer: port(state, |state, call: CallPeer| async move {
            if call.target != PeerTarget::Id(peer()) {
                return Err(CallError::UnknownPeer(call.target.to_string()));
            }
            Ok(PeerAnswer { peer: peer(), reply: remote(&state, call.request)? })
        }),
        fetch: port(state, |state, fetch: FetchArtifact| async move {
            state.log(format!("fetch {}", fetch.len));
            let bytes = state.remote.lock().unwrap().get(&fetch.cid).cloned();
            let bytes = bytes.ok_or(ArtifactError::Unknown(fetch.cid))?;
            state.artifacts.lock().unwrap().insert(fetch.cid, bytes);
            Ok(())
        }),
        shutdown: port(state, |state, Shutdown { deadline_ms, exit }| async move {
            state.log("shutdown");
            ShutdownStarted { running: 2, deadline_ms, exit }
        }),
    }
}

/// A gateway with doubles around it, answering on loopback.
pub(super) struct Node {
    pub(super) state: Arc<State>,
    pub(super) ports: GatewayPorts,
    pub(super) gateway: Gateway,
    pub(super) registry: prometheus::Registry,
    pub(super) url: String,
    supervision: Supervision,
}

impl Node {
    pub(super) async fn start(options: GatewayOptions) -> Self {
        let registry = prometheus::Registry::new();
        let supervision = Supervision::threads(&registry, Handle::current()).unwrap();
        let state = Arc::new(State::default());
        let (ports, seed) = prepare(options, &registry).unwrap();
        let workflow_schema = Json::from_value(&json!({"title": "workflow"}));
        let deps = GatewayDeps { node: node_ports(&state), local_peer: local(), workflow_schema };
        let gateway = seed.start(deps, &supervision);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let router = gateway.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { state, ports, gateway, registry, url, supervision }
    }

    pub(super) async fn client(&self, era: Era) -> Client {
        Client::http(&self.url, era).await
    }

    /// A client that knows the Tasks extension.
    pub(super) async fn client_with_tasks(&self, era: Era) -> Client {
        Client::http_with_tasks(&self.url, era).await
    }

    /// Stops everything; all of it must end.
    pub(super) async fn stop(self) {
        assert!(self.gateway.stop(Duration::from_secs(20)).await, "upstream servers are left");
        drop(self.gateway);
        self.supervision.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}

/// Waits until something is so, which must be soon.
pub(super) async fn eventually(what: &str, is: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it is still not so that {what}");
}

/// The value of a series, by its name and labels as they are shown.
pub(super) fn metric(registry: &prometheus::Registry, name: &str, labels: &[(&str, &str)]) -> f64 {
    for family in registry.gather().iter().filter(|family| family.name() == name) {
        for series in family.get_metric() {
            let has = |(name, value): &(&str, &str)| {
                series.get_label().iter().any(|label| label.name() == *name && label.value() == *value)
            };
            if labels.iter().all(has) {
                return series.get_counter().get_value() + series.get_gauge().get_value();
            }
        }
    }
    0.0
}

pub(super) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
