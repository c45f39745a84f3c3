//! The wire `/meshwork/3`: what nodes ask of one another, in frames with many requests in flight on one stream.
//!
//! Every frame is a u32 length and one bincode [`WireFrame`]. Variants are only ever added at the end of an enum; each
//! addition and each change of a body needs a new protocol version, and the previous one stays understood:
//!
//! | protocol | requests |
//! |---|---|
//! | `/meshwork/1` | up to [`MeshRequest::Shutdown`] |
//! | `/meshwork/2` | up to [`MeshRequest::Revoke`]: membership was added |
//! | `/meshwork/3` | all: workflows and schedules were added |

pub mod admission;
pub mod pairing;

use crate::artifact::ArtifactPiece;
use crate::bootstrap::{BootstrapNow, BootstrapReport, ContactView, GetPublicIp, ListContacts, PublicIp};
use crate::discovery::{
    Advertisement, Announce, Announced, CleanUp, CleanedUp, DiscoverNow, Exchange, Exchanged, ForgetPeer,
    ListMembers, ListPeers, MemberView, PeerView, RegisterPeer, Registered, SourceReport,
};
use crate::executor::{CallTool, StopTask, ToolInfo, ToolOutput};
use crate::node::{Shutdown, ShutdownStarted};
use crate::queue::{
    Cancel, Claim, Claimed, Finish, Finished, GetTask, List, QueueStats, Renew, Renewal, Resubmit, Stats,
    Submit, Submitted, TaskPage, Update,
};
use crate::schedule::{AddSchedule, ControlSchedule, ListSchedules, ScheduleView};
use crate::task::TaskView;
use crate::transport::{RevokePeer, Revoked};
use crate::workflow::{
    ControlRun, CoordinateRun, Coordinated, DagView, GetDag, GetHistory, GetRun, HistoryPage, ListRuns,
    RunChanged, RunPage, RunSubmitted, RunView, SubmitRun, TakeOverRun, TakenOver, ValidateWorkflow,
    Validated,
};
use crate::{Cid, MeshError};
use serde::{Deserialize, Serialize};

/// Protocol id of the request streams.
pub const MESHWORK_PROTOCOL: &str = "/meshwork/3";
/// Protocol id of the version before: the same frames, with fewer requests.
pub const MESHWORK_PROTOCOL_2: &str = "/meshwork/2";
/// Protocol id of the first version: the same frames, with fewer requests.
pub const MESHWORK_PROTOCOL_1: &str = "/meshwork/1";
/// Protocol id of the handshake that admits a connection.
pub const ADMISSION_PROTOCOL: &str = "/meshwork/admit/2";
/// Protocol id of the version before: the same frames, with one proof.
pub const ADMISSION_PROTOCOL_1: &str = "/meshwork/admit/1";
/// Largest frame, in bytes: an inline payload or an artifact piece, and room around it.
pub const MAX_WIRE_FRAME: usize = 4 * 1024 * 1024;

/// One frame on a request stream. Both sides may send requests on it.
#[allow(clippy::large_enum_variant, reason = "a frame is made, encoded and dropped")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WireFrame {
    /// A question.
    Request {
        /// Chosen by the asker, unique among its open requests on the stream.
        id: u64,
        /// The asker waits so long, in milliseconds.
        deadline_ms: u64,
        /// For what.
        request: MeshRequest,
    },
    /// The answer to the other side's request.
    Reply {
        /// The request's id.
        id: u64,
        /// What came of it.
        result: Result<MeshReply, MeshError>,
    },
    /// The asker does not wait any more: the answer would be dropped.
    Abandon {
        /// The request's id.
        id: u64,
    },
}

macro_rules! mesh_calls {
    ($($(#[$doc:meta])* $variant:ident($body:ty) => $reply:ident($answer:ty), $name:literal, $since:literal;)*) => {
        /// What can be asked of a node, by a peer or by its own gateway.
        #[allow(clippy::large_enum_variant, reason = "a request is moved a few times and then encoded")]
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum MeshRequest { $($(#[$doc])* $variant($body),)* }

        impl MeshRequest {
            /// Stable name in metrics and logs.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The lowest version of the wire on which it can be asked.
            #[must_use]
            pub const fn since(&self) -> u8 {
                match self { $(Self::$variant(_) => $since,)* }
            }
        }

        $(impl MeshCall for $body {
            type Answer = $answer;

            fn into_request(self) -> MeshRequest {
                MeshRequest::$variant(self)
            }

            fn answer(reply: MeshReply) -> Option<$answer> {
                match reply { MeshReply::$reply(answer) => Some(answer), _ => None }
            }
        })*
    };
}

/// A body of a [`MeshRequest`] that knows the type of its answer.
pub trait MeshCall: Sized {
    /// The answer.
    type Answer;

    /// The request with this body.
    fn into_request(self) -> MeshRequest;

    /// The answer inside a reply; none when the reply belongs to another request.
    fn answer(reply: MeshReply) -> Option<Self::Answer>;
}

mesh_calls! {
    /// Queue: accept a task.
    Submit(Submit) => Submitted(Submitted), "submit", 1;
    /// Queue: give work, or wait for it.
    Claim(Claim) => Claimed(Claimed), "claim", 1;
    /// Queue: renew leases.
    Renew(Renew) => Renewed(Vec<Renewal>), "renew", 1;
    /// Queue: end an attempt.
    Finish(Finish) => Finished(Finished), "finish", 1;
    /// Queue: give up a task.
    Cancel(Cancel) => Submitted(Submitted), "cancel", 1;
    /// Queue: change a task.
    Update(Update) => Task(TaskView), "update", 1;
    /// Queue: run a finished task again.
    Resubmit(Resubmit) => Submitted(Submitted), "resubmit", 1;
    /// Queue: read a task, perhaps waiting for its end.
    GetTask(GetTask) => Task(TaskView), "get_task", 1;
    /// Queue: list tasks.
    List(List) => Tasks(TaskPage), "list", 1;
    /// Queue: counts.
    Stats(Stats) => Stats(QueueStats), "stats", 1;
    /// Executor: run a tool now.
    CallTool(CallTool) => ToolOutput(ToolOutput), "call_tool", 1;
    /// Executor: what tools are there.
    ListTools(ListNodeTools) => Tools(Vec<ToolInfo>), "list_tools", 1;
    /// Executor: stop working on a task.
    StopTask(StopTask) => Done(()), "stop_task", 1;
    /// Discovery: known peers.
    ListPeers(ListPeers) => Peers(Vec<PeerView>), "list_peers", 1;
    /// Discovery: announce to all peers.
    Announce(Announce) => Announced(Announced), "announce", 1;
    /// Discovery: this is what I offer; answered with what the other offers.
    Advertise(Advertisement) => Advertised(Advertisement), "advertise", 1;
    /// Artifacts: a piece of one.
    ReadArtifact(ReadPiece) => Piece(ArtifactPiece), "read_artifact", 1;
    /// Root: drain, and perhaps stop.
    Shutdown(Shutdown) => ShuttingDown(ShutdownStarted), "shutdown", 1;
    /// Discovery: the peer book.
    ListMembers(ListMembers) => Members(Vec<MemberView>), "list_members", 2;
    /// Discovery: news of nodes, and a comparison of what both know.
    Exchange(Exchange) => Exchanged(Exchanged), "exchange", 2;
    /// Discovery: enter a peer.
    RegisterPeer(RegisterPeer) => Registered(Registered), "register_peer", 2;
    /// Discovery: ask the sources now.
    Discover(DiscoverNow) => Sources(Vec<SourceReport>), "discover", 2;
    /// Discovery: forget silent peers.
    CleanUp(CleanUp) => CleanedUp(CleanedUp), "clean_up", 2;
    /// Discovery: forget a peer.
    ForgetPeer(ForgetPeer) => Forgotten(bool), "forget_peer", 2;
    /// Bootstrap: read first contacts and dial them.
    Bootstrap(BootstrapNow) => Bootstrapped(BootstrapReport), "bootstrap", 2;
    /// Bootstrap: the first contacts.
    ListContacts(ListContacts) => Contacts(Vec<ContactView>), "list_contacts", 2;
    /// Bootstrap: the public address of the node.
    PublicIp(GetPublicIp) => PublicIp(PublicIp), "public_ip", 2;
    /// Transport: revoke a peer, or take that back.
    Revoke(RevokePeer) => Revoked(Revoked), "revoke", 2;
    /// Coordinator: accept a run.
    SubmitRun(SubmitRun) => RunSubmitted(RunSubmitted), "submit_run", 3;
    /// Coordinator: check a definition.
    ValidateWorkflow(ValidateWorkflow) => Validated(Validated), "validate_workflow", 3;
    /// Coordinator: read a run, perhaps waiting.
    GetRun(GetRun) => Run(RunView), "get_run", 3;
    /// Coordinator: list runs.
    ListRuns(ListRuns) => Runs(RunPage), "list_runs", 3;
    /// Coordinator: cancel, pause, resume, signal, retry.
    ControlRun(ControlRun) => RunChanged(RunChanged), "control_run", 3;
    /// Coordinator: the graph of a run.
    GetDag(GetDag) => Dag(DagView), "get_dag", 3;
    /// Coordinator: what happened in a run.
    GetHistory(GetHistory) => History(HistoryPage), "get_history", 3;
    /// Coordinator: spread a run, or hand it over.
    CoordinateRun(CoordinateRun) => Coordinated(Coordinated), "coordinate_run", 3;
    /// Coordinator: take a run over from the one that asks.
    TakeOverRun(TakeOverRun) => TakenOver(TakenOver), "take_over_run", 3;
    /// Scheduler: make a schedule.
    AddSchedule(AddSchedule) => Schedule(ScheduleView), "add_schedule", 3;
    /// Scheduler: list schedules.
    ListSchedules(ListSchedules) => Schedules(Vec<ScheduleView>), "list_schedules", 3;
    /// Scheduler: pause, resume, remove, trigger.
    ControlSchedule(ControlSchedule) => Schedule(ScheduleView), "control_schedule", 3;
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "a reply is moved a few times and then encoded; boxing would cost an allocation each"
)]
pub enum MeshReply {
    /// A task was accepted, cancelled or put back.
    Submitted(Submitted),
    /// Work.
    Claimed(Claimed),
    /// What became of the leases, in the order asked.
    Renewed(Vec<Renewal>),
    /// What became of the task.
    Finished(Finished),
    /// A task.
    Task(TaskView),
    /// A page of tasks.
    Tasks(TaskPage),
    /// Counts.
    Stats(QueueStats),
    /// A tool's result.
    ToolOutput(ToolOutput),
    /// Tools.
    Tools(Vec<ToolInfo>),
    /// Nothing to say but that it is done.
    Done(()),
    /// Peers.
    Peers(Vec<PeerView>),
    /// The result of an announcement.
    Announced(Announced),
    /// What the node offers.
    Advertised(Advertisement),
    /// A piece of an artifact.
    Piece(ArtifactPiece),
    /// The drain has begun.
    ShuttingDown(ShutdownStarted),
    /// The peer book.
    Members(Vec<MemberView>),
    /// The answer to an exchange.
    Exchanged(Exchanged),
    /// What became of a registration.
    Registered(Registered),
    /// What the sources gave.
    Sources(Vec<SourceReport>),
    /// Who was forgotten.
    CleanedUp(CleanedUp),
    /// Whether the peer was in the book.
    Forgotten(bool),
    /// What came of reading first contacts.
    Bootstrapped(BootstrapReport),
    /// The first contacts.
    Contacts(Vec<ContactView>),
    /// The node's public address.
    PublicIp(PublicIp),
    /// What a revocation changed.
    Revoked(Revoked),
    /// A run was accepted.
    RunSubmitted(RunSubmitted),
    /// What a check of a definition found.
    Validated(Validated),
    /// A run.
    Run(RunView),
    /// A page of runs.
    Runs(RunPage),
    /// Where a run stands after a change.
    RunChanged(RunChanged),
    /// The graph of a run.
    Dag(DagView),
    /// A page of a history.
    History(HistoryPage),
    /// Who coordinates a run.
    Coordinated(Coordinated),
    /// A run was taken over.
    TakenOver(TakenOver),
    /// A schedule.
    Schedule(ScheduleView),
    /// Schedules.
    Schedules(Vec<ScheduleView>),
}

/// Asks for the tools of the node itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListNodeTools;

/// Asks for a piece of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadPiece {
    /// Which artifact.
    pub cid: Cid,
    /// First byte wanted.
    pub offset: u64,
    /// At most so many bytes.
    pub max_len: u32,
}
