//! The two phases of wiring: ports first, then what serves them.

use crate::actor::{GatewayActor, UpstreamChanged};
use crate::dispatch::Dispatcher;
use crate::error::GatewayError;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::options::GatewayOptions;
use crate::serve::{Admission, serve_inbox};
use crate::server::McpServer;
use crate::shapes::Shapes;
use crate::upstream::{Upstreams, call_upstream};
use meshwork_kit::{Inbox, Mailbox, Port, Supervision, channel_port, mailbox};
use meshwork_proto::artifact::{PutArtifact, ReadArtifact, StatArtifact};
use meshwork_proto::bootstrap::{BootstrapNow, GetPublicIp, ListContacts};
use meshwork_proto::discovery::{
    Announce, CleanUp, DiscoverNow, FindProviders, ForgetPeer, ListMembers, ListPeers, PeerAdvertised,
    PeerExchange, RegisterPeer,
};
use meshwork_proto::executor::{CallTool, ListTools, StopTask, UpstreamTools};
use meshwork_proto::node::Shutdown;
use meshwork_proto::queue::{
    By, Cancel, Claim, Finish, GetTask, List, Renew, Resubmit, Stats, Submit, Update,
};
use meshwork_proto::schedule::{self, AddSchedule, ControlSchedule, ListSchedules};
use meshwork_proto::transport::{
    CallPeer, FetchArtifact, GetReach, OpenPairing, PairWith, RevokePeer, ServeRequest,
};
use meshwork_proto::upstream::CallUpstream;
use meshwork_proto::workflow::{
    self, ControlRun, CoordinateRun, DescribeTools, GetDag, GetHistory, GetRun, ListRuns, SubmitRun,
    TakeOverRun, ValidateWorkflow,
};
use meshwork_proto::{Json, PeerId};
use prometheus::Registry;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How many changes of upstream servers may wait for the gateway's actor.
const CHANGES_QUEUED: usize = 64;

/// How many questions for tools may wait to be taken up.
const DESCRIPTIONS_QUEUED: usize = 256;

/// What the gateway serves.
#[derive(Debug, Clone)]
pub struct GatewayPorts {
    /// What is asked of this node, whoever asks. If the asker goes away, the work is given up.
    pub serve: Port<ServeRequest>,
    /// Calls to upstream MCP servers. If the asker goes away, the call is cancelled upstream.
    pub upstream: Port<CallUpstream>,
    /// Which tools the mesh has, with their schemas as far as they are known.
    pub describe_tools: Port<DescribeTools>,
}

/// Ports of the queue.
#[derive(Debug, Clone)]
pub struct QueuePorts {
    /// Accept a task.
    pub submit: Port<By<Submit>>,
    /// Give work.
    pub claim: Port<By<Claim>>,
    /// Renew leases.
    pub renew: Port<By<Renew>>,
    /// End an attempt.
    pub finish: Port<By<Finish>>,
    /// Give up a task.
    pub cancel: Port<By<Cancel>>,
    /// Change a task.
    pub update: Port<By<Update>>,
    /// Run a finished task again.
    pub resubmit: Port<By<Resubmit>>,
    /// Read a task.
    pub get: Port<By<GetTask>>,
    /// List tasks.
    pub list: Port<By<List>>,
    /// Counts.
    pub stats: Port<By<Stats>>,
}

/// Ports of the executor.
#[derive(Debug, Clone)]
pub struct ExecutorPorts {
    /// What tools are there.
    pub list: Port<ListTools>,
    /// Run a tool now.
    pub call: Port<CallTool>,
    /// Stop working on a task.
    pub stop: Port<StopTask>,
    /// Hear which tools an upstream server has.
    pub upstream_tools: Port<UpstreamTools>,
}

/// Ports of discovery.
#[derive(Debug, Clone)]
pub struct DiscoveryPorts {
    /// Known peers.
    pub list: Port<ListPeers>,
    /// Tell all peers what this node offers.
    pub announce: Port<Announce>,
    /// Hear what a peer offers.
    pub advertised: Port<PeerAdvertised>,
}

/// Ports of those that know who is in the mesh: discovery, bootstrap, transport.
#[derive(Debug, Clone)]
pub struct MembershipPorts {
    /// The peer book.
    pub members: Port<ListMembers>,
    /// Hear what a peer passes on.
    pub exchange: Port<PeerExchange>,
    /// Enter a peer.
    pub register: Port<RegisterPeer>,
    /// Ask the sources now.
    pub discover: Port<DiscoverNow>,
    /// Look up who provides what.
    pub providers: Port<FindProviders>,
    /// Forget silent peers.
    pub clean_up: Port<CleanUp>,
    /// Forget a peer.
    pub forget: Port<ForgetPeer>,
    /// Read first contacts and dial them.
    pub bootstrap: Port<BootstrapNow>,
    /// The first contacts.
    pub contacts: Port<ListContacts>,
    /// The public address of this node.
    pub public_ip: Port<GetPublicIp>,
    /// Revoke a peer.
    pub revoke: Port<RevokePeer>,
    /// Open the door for a new node.
    pub open_pairing: Port<OpenPairing>,
    /// Join the mesh of another node.
    pub pair_with: Port<PairWith>,
    /// How well this node can be reached.
    pub reach: Port<GetReach>,
}

/// Ports of the coordinator of workflows.
#[derive(Debug, Clone)]
pub struct WorkflowPorts {
    /// Accept a run.
    pub submit: Port<workflow::By<SubmitRun>>,
    /// Check a definition.
    pub validate: Port<workflow::By<ValidateWorkflow>>,
    /// Read a run.
    pub get: Port<workflow::By<GetRun>>,
    /// List runs.
    pub list: Port<workflow::By<ListRuns>>,
    /// Cancel, pause, resume, signal, retry.
    pub control: Port<workflow::By<ControlRun>>,
    /// The graph of a run.
    pub dag: Port<workflow::By<GetDag>>,
    /// What happened in a run.
    pub history: Port<workflow::By<GetHistory>>,
    /// Spread a run, or hand it over.
    pub coordinate: Port<workflow::By<CoordinateRun>>,
    /// Take a run over from a peer.
    pub take_over: Port<workflow::By<TakeOverRun>>,
}

/// Ports of the scheduler.
#[derive(Debug, Clone)]
pub struct SchedulePorts {
    /// Make a schedule.
    pub add: Port<schedule::By<AddSchedule>>,
    /// List schedules.
    pub list: Port<schedule::By<ListSchedules>>,
    /// Pause, resume, remove, trigger.
    pub control: Port<schedule::By<ControlSchedule>>,
}

/// Ports of the artifact store.
#[derive(Debug, Clone)]
pub struct ArtifactPorts {
    /// Store bytes.
    pub put: Port<PutArtifact>,
    /// Read bytes.
    pub read: Port<ReadArtifact>,
    /// Ask how much is there.
    pub stat: Port<StatArtifact>,
}

/// Ports of the actors of this node.
#[derive(Debug, Clone)]
pub struct NodePorts {
    /// The queue.
    pub queue: QueuePorts,
    /// The executor.
    pub executor: ExecutorPorts,
    /// Discovery.
    pub discovery: DiscoveryPorts,
    /// Who is in the mesh.
    pub membership: MembershipPorts,
    /// The coordinator of workflows.
    pub workflows: WorkflowPorts,
    /// The scheduler.
    pub schedules: SchedulePorts,
    /// The artifact store.
    pub artifacts: ArtifactPorts,
    /// Ask a peer.
    pub call_peer: Port<CallPeer>,
    /// Fetch an artifact from a peer.
    pub fetch: Port<FetchArtifact>,
    /// Drain this node.
    pub shutdown: Port<Shutdown>,
}

/// What the gateway needs to start.
#[derive(Debug, Clone)]
pub struct GatewayDeps {
    /// The actors of this node.
    pub node: NodePorts,
    /// This node.
    pub local_peer: PeerId,
    /// JSON Schema of a workflow's definition, which clients can read as a resource.
    pub workflow_schema: Json,
}

/// The gateway between the two phases: its ports exist, nothing is served yet.
pub struct GatewaySeed {
    options: GatewayOptions,
    metrics: Metrics,
    ports: GatewayPorts,
    serve: Inbox<ServeRequest>,
    upstream: Inbox<CallUpstream>,
    describe_tools: Inbox<DescribeTools>,
    mailbox: Mailbox<GatewayActor>,
    changed: Port<UpstreamChanged>,
}

/// Phase 1: makes the ports, which may be handed around; what is sent to them waits.
///
/// # Errors
/// When an upstream server is configured wrongly, or the registry has the gateway's metrics already.
pub fn prepare(
    options: GatewayOptions,
    registry: &Registry,
) -> Result<(GatewayPorts, GatewaySeed), GatewayError> {
    options.check()?;
    let metrics = Metrics::register(registry)?;
    let (serve, serve_inbox) = channel_port(options.limits.queued);
    let (upstream, upstream_inbox) = channel_port(options.limits.upstream_queued);
    let (describe_tools, describe_inbox) = channel_port(DESCRIPTIONS_QUEUED);
    let ports = GatewayPorts { serve, upstream, describe_tools };
    let mailbox = mailbox::<GatewayActor>();
    let changed = mailbox.port(CHANGES_QUEUED);
    let seed = GatewaySeed {
        options,
        metrics,
        ports: ports.clone(),
        serve: serve_inbox,
        upstream: upstream_inbox,
        describe_tools: describe_inbox,
        mailbox,
        changed,
    };
    Ok((ports, seed))
}

impl GatewaySeed {
    /// Phase 2: starts serving the ports, and the upstream servers. Waits for none of them.
    #[must_use]
    pub fn start(self, deps: GatewayDeps, supervision: &Supervision) -> Gateway {
        let runtime = supervision.runtime().clone();
        let stop = CancellationToken::new();
        let upstreams = Upstreams::start(
            &self.options,
            &self.metrics,
            deps.node.executor.upstream_tools.clone(),
            self.changed,
            &stop,
            &runtime,
        );

        let routes = upstreams.routes();
        serve_inbox(&runtime, self.upstream, stop.clone(), move |call| {
            call_upstream(Arc::clone(&routes), call)
        });

        let shapes = Arc::new(Shapes::new(&deps.node, deps.local_peer.clone()));
        serve_inbox(&runtime, self.describe_tools, stop.clone(), move |DescribeTools { names }| {
            let shapes = Arc::clone(&shapes);
            async move { shapes.of(&names).await }
        });

        let dispatcher = Arc::new(Dispatcher::new(deps.node.clone(), self.options.workflows));
        let admission = Arc::new(Admission::new(self.options.limits));
        serve_inbox(&runtime, self.serve, stop.clone(), move |request: ServeRequest| {
            let (dispatcher, admission) = (Arc::clone(&dispatcher), Arc::clone(&admission));
            // Boxed: it is some kilobytes large, and would be copied several times on its way into a task.
            Box::pin(async move {
                let _place = admission.admit(&request.request)?;
                dispatcher.serve(request).await
            })
        });

        let node = Node::new(deps.node, self.ports.serve, deps.local_peer, self.options.workflows);
        let server = McpServer::new(Arc::new(node), self.metrics.clone(), deps.workflow_schema);
        let sessions = server.sessions(&self.options.http);
        let watches = upstreams.watches();
        let (metrics, open) = (self.metrics, sessions.open());
        let actor = self.mailbox.start(supervision, move || {
            GatewayActor::new(metrics.clone(), Arc::clone(&open), watches.clone())
        });
        Gateway::new(server, sessions, self.options.http, actor, upstreams, stop)
    }
}
