//! The actor between doubles: a store, a queue and peers that the story holds in its hands.

use crate::workflow::options::WorkflowOptions;
use crate::workflow::tests::bench::{other, owner, submission};
use crate::workflow::tests::disk::Disk;
use crate::workflow::tests::fake_queue::FakeQueue;
use crate::workflow::{WorkflowDeps, WorkflowPorts, WorkflowStatus, prepare};
use bytes::Bytes;
use meshwork_kit::testing::{Probe, World, probe};
use meshwork_kit::{ActorRef, Port, Reply, channel_port};
use meshwork_proto::artifact::{ArtifactError, ArtifactPiece, PutArtifact, ReadArtifact};
use meshwork_proto::discovery::{ListPeers, PeerView};
use meshwork_proto::queue::{self, Cancel, GetTask, StepsKnown, SubmitStep, WatchTask};
use meshwork_proto::store::{Commit, ReadKey, ReadKeys, Scan, StoreError};
use meshwork_proto::task::{Progress, TaskView, WaitingFor};
use meshwork_proto::transport::{CallPeer, FetchArtifact};
use meshwork_proto::workflow::{
    By, DescribeTools, GetRun, RunView, SubmitRun, ToolShape, WorkflowError, WorkflowOp,
};
use meshwork_proto::{Caller, Cid, Fence, Json, PeerId, RunId, TaskId, UnixMillis};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

pub(super) const LONG: Duration = Duration::from_secs(600);

/// Everything outside of the actor.
#[derive(Default)]
pub(super) struct Outside {
    pub disk: Disk,
    pub queue: FakeQueue,
    /// Commits are kept unanswered.
    pub hold: bool,
    pub held: VecDeque<(Commit, Reply<Result<(), StoreError>>)>,
    /// The next commit is refused.
    pub refuse: Option<StoreError>,
    /// Tools by name, with what they take.
    pub tools: BTreeMap<String, Value>,
    /// Tasks were submitted so often.
    pub submitted: usize,
    /// The queue was told so often that all steps are known.
    pub steps_known: usize,
    /// Longest page of events that was asked for.
    pub longest_page: u32,
    /// Why tasks of a tool wait.
    pub why: BTreeMap<String, WaitingFor>,
    /// Peers there are, and how often that was asked.
    pub peers: Vec<PeerView>,
    pub listed: usize,
    /// Pieces of artifacts were read so often.
    pub pieces: usize,
    /// Artifacts of the other peer.
    pub far: BTreeMap<Cid, Bytes>,
}

pub(super) type Shared = Rc<RefCell<Outside>>;

/// An actor in a world.
pub(super) struct Scene {
    pub ports: WorkflowPorts,
    pub outside: Shared,
    pub calls: Probe<CallPeer>,
    pub actor: ActorRef,
    pub registry: prometheus::Registry,
}

impl Scene {
    pub(super) fn start(world: &World) -> Self {
        Self::with(world, Rc::default(), WorkflowOptions::default())
    }

    pub(super) fn with(world: &World, outside: Shared, options: WorkflowOptions) -> Self {
        let (ports, seed) = prepare(options).unwrap();
        let (call_peer, calls) = probe(64);
        let deps = WorkflowDeps {
            clock: world.clock().clone(),
            local_peer: owner(),
            commit: commits(&outside),
            read_key: served(&outside, |outside, ReadKey { key, .. }| Ok(outside.disk.get(&key))),
            read_keys: served(&outside, |outside, ReadKeys { keys, .. }| {
                Ok(keys.iter().map(|key| outside.disk.get(key)).collect())
            }),
            scan: served(&outside, |outside, scan: Scan| {
                if scan.from.first() == Some(&b'e') {
                    outside.longest_page = outside.longest_page.max(scan.limit);
                }
                Ok(outside.disk.scan(&scan))
            }),
            put_artifact: served(&outside, |outside, PutArtifact(bytes)| {
                let cid = Cid::of(&bytes);
                outside.disk.artifacts.insert(cid, bytes);
                Ok(cid)
            }),
            read_artifact: served(&outside, read_piece),
            fetch: served(&outside, |outside, fetch: FetchArtifact| {
                assert_eq!(fetch.from, other());
                let bytes = outside.far.get(&fetch.cid).cloned().ok_or(ArtifactError::Unknown(fetch.cid))?;
                outside.disk.artifacts.insert(fetch.cid, bytes);
                Ok(())
            }),
            submit_step: submits(&outside, &ports),
            watch: watches(&outside, &ports),
            steps_known: served(&outside, |outside, StepsKnown| outside.steps_known += 1),
            cancel: cancels(&outside, &ports),
            get_task: served(&outside, |outside, by: queue::By<GetTask>| Ok(view_of(outside, by.op.id))),
            call_peer,
            describe_tools: served(&outside, describe),
            list_peers: served(&outside, |outside, _: ListPeers| {
                outside.listed += 1;
                let own = outside.peers.clone();
                if own.is_empty() { vec![peer_view(other())] } else { own }
            }),
            seed: 7,
        };
        let registry = prometheus::Registry::new();
        let actor = seed.start(world.supervision(), &registry, deps).unwrap();
        Self { ports, outside, calls, actor, registry }
    }

    pub(super) async fn try_submit(&self, submit: SubmitRun) -> Result<RunId, WorkflowError> {
        ask(&self.ports.submit, submit).await.map(|submitted| submitted.id)
    }

    pub(super) async fn submit(&self, definition: &Value, inputs: &Value) -> RunId {
        self.try_submit(submission(definition, inputs)).await.unwrap()
    }

    pub(super) async fn get(&self, id: RunId) -> RunView {
        ask(&self.ports.get, GetRun { id, wait_ms: 0, seen: None, steps: true }).await.unwrap()
    }

    /// The run when it has ended.
    pub(super) async fn end(&self, id: RunId) -> RunView {
        ask(&self.ports.get, GetRun { id, wait_ms: 60_000, seen: None, steps: true }).await.unwrap()
    }

    pub(super) fn output(&self, view: &RunView) -> Value {
        self.outside.borrow().disk.payload(view.output.as_ref().expect("a result")).to_value()
    }

    /// Queued tasks with their steps and arguments.
    pub(super) fn queued(&self) -> Vec<(TaskId, String, Value)> {
        let outside = self.outside.borrow();
        let ids = outside.queue.queued();
        let queued = ids.into_iter().map(|id| {
            let spec = &outside.queue.tasks[&id].spec;
            let step = spec.metadata.as_ref().unwrap().to_value()["step"].as_str().unwrap().to_owned();
            (id, step, outside.disk.payload(&spec.payload).to_value())
        });
        queued.collect()
    }

    /// A task ends, and the coordinator is told.
    pub(super) fn finish(&self, id: TaskId, output: Value) {
        let mut outside = self.outside.borrow_mut();
        outside.queue.finish(id, Ok(output), "worker");
        let mut ended = outside.queue.end_of(id).unwrap();
        if let Some(meshwork_proto::task::Payload::Inline(json)) = &ended.output {
            ended.output = Some(outside.disk.keep(json.bytes().clone()));
        }
        self.ports.ended.tell(ended).unwrap();
    }

    /// Works on whatever is queued until the run has ended.
    pub(super) async fn work(&self, world: &World, work: impl Fn(&str, &Value) -> Value) {
        for _ in 0..200 {
            world.settle().await;
            let queued = self.queued();
            if queued.is_empty() {
                return;
            }
            for (id, step, input) in queued {
                self.finish(id, work(&step, &input));
            }
        }
    }

    pub(super) fn status(&self) -> WorkflowStatus {
        self.actor.status().get::<WorkflowStatus>().unwrap().clone()
    }
}

pub(super) async fn ask<T: WorkflowOp>(port: &Port<By<T>>, op: T) -> Result<T::Answer, WorkflowError> {
    ask_as(port, Caller::Local, op).await
}

pub(super) async fn ask_as<T: WorkflowOp>(
    port: &Port<By<T>>,
    caller: Caller,
    op: T,
) -> Result<T::Answer, WorkflowError> {
    port.ask(By { caller, op }, LONG).await.expect("an answer")
}

fn served<R: meshwork_proto::Request>(
    outside: &Shared,
    answer: impl Fn(&mut Outside, R) -> R::Reply + 'static,
) -> Port<R> {
    let (port, probe) = probe::<R>(256);
    let outside = Rc::clone(outside);
    probe.reply_with(move |request| answer(&mut outside.borrow_mut(), request));
    port
}

fn commits(outside: &Shared) -> Port<Commit> {
    let (port, mut inbox) = channel_port::<Commit>(16);
    let outside = Rc::clone(outside);
    tokio::task::spawn_local(async move {
        while let Some(envelope) = inbox.recv().await {
            let (commit, reply) = envelope.into_parts();
            let mut outside = outside.borrow_mut();
            if outside.hold {
                outside.held.push_back((commit, reply));
                continue;
            }
            match outside.refuse.take() {
                Some(error) => reply.send(Err(error)),
                None => {
                    outside.disk.apply(&commit.ops);
                    reply.send(Ok(()));
                }
            }
        }
    });
    port
}

fn read_piece(outside: &mut Outside, read: ReadArtifact) -> Result<ArtifactPiece, ArtifactError> {
    outside.pieces += 1;
    let whole = outside.disk.artifacts.get(&read.cid).ok_or(ArtifactError::Unknown(read.cid))?;
    let start = usize::try_from(read.offset).unwrap().min(whole.len());
    let end = (start + read.max_len as usize).min(whole.len());
    Ok(ArtifactPiece { total_len: whole.len() as u64, bytes: whole.slice(start..end) })
}

fn submits(outside: &Shared, ports: &WorkflowPorts) -> Port<queue::By<SubmitStep>> {
    let ended = ports.ended.clone();
    served(outside, move |outside, by: queue::By<SubmitStep>| {
        assert_eq!(by.caller, Caller::Local);
        outside.submitted += 1;
        let (submitted, end) = outside.queue.submit(by.op.0, 0)?;
        if let Some(end) = end {
            ended.tell(end).unwrap();
        }
        Ok(submitted)
    })
}

fn watches(outside: &Shared, ports: &WorkflowPorts) -> Port<queue::By<WatchTask>> {
    let ended = ports.ended.clone();
    served(outside, move |outside, by: queue::By<WatchTask>| {
        if let Some(end) = outside.queue.end_of(by.op.id) {
            ended.tell(end).unwrap();
        }
        outside.queue.look(by.op.id)
    })
}

fn cancels(outside: &Shared, ports: &WorkflowPorts) -> Port<queue::By<Cancel>> {
    let ended = ports.ended.clone();
    served(outside, move |outside, by: queue::By<Cancel>| {
        let cancelled = outside.queue.cancel(by.op.id, 0)?;
        if let Some(end) = outside.queue.end_of(by.op.id) {
            ended.tell(end).unwrap();
        }
        Ok(cancelled)
    })
}

fn describe(
    outside: &mut Outside,
    asked: DescribeTools,
) -> Result<BTreeMap<String, ToolShape>, meshwork_proto::MeshError> {
    let shape = |schema: &Value| ToolShape {
        input_schema: Some(Json::from_value(schema)),
        output_schema: None,
        peers: [owner()].into(),
    };
    let known = outside.tools.iter().filter(|(name, _)| asked.names.contains(*name));
    Ok(known.map(|(name, schema)| (name.clone(), shape(schema))).collect())
}

fn view_of(outside: &mut Outside, id: TaskId) -> TaskView {
    let task = outside.queue.tasks[&id].clone();
    let waiting_for = outside.why.get(&task.spec.tool).cloned();
    let worker = format!("{}/00000001", other()).parse().unwrap();
    TaskView {
        id,
        spec: task.spec,
        submitter: None,
        status: task.status,
        attempts: 1,
        lease_losses: 0,
        history: Vec::new(),
        worker: waiting_for.is_none().then_some(worker),
        fence: Fence::new(1, 1),
        lease_until: None,
        cancel_requested: false,
        progress: Some(Progress { done: 3.0, total: Some(4.0), message: None, log: Vec::new() }),
        output: None,
        output_cid: None,
        error: None,
        created: UnixMillis(0),
        updated: UnixMillis(0),
        finished: None,
        waiting_for,
    }
}

/// A peer that is connected and has said nothing of itself.
pub(super) fn peer_view(peer: PeerId) -> PeerView {
    PeerView {
        peer,
        addresses: Vec::new(),
        connected: true,
        role: None,
        advertisement: None,
        rtt_us: None,
        last_seen: None,
    }
}

/// A tool that takes a text and a number.
pub(super) fn echo_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"text": {"type": "string"}, "n": {"type": "integer"}},
        "additionalProperties": false
    })
}
