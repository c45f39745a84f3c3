//! What this node answers, whoever asks: maps each request to the port of the actor that serves it.
//!
//! Who asks decides what is allowed. The queue, the coordinator and the scheduler judge requests about tasks, runs and
//! schedules themselves. Here are judged: stopping the node (admins only), an advertisement (from peers only) and changes
//! of membership ([`membership`]); tool calls, lists and announcements are open to every admitted peer, and a task is
//! stopped only by who knows its fence, which the executor checks.
//!
//! What a peer hands in is not believed: payloads, definitions and results are checked against their content ids, and large
//! ones are fetched into the own store before anybody hears of them, so that an accepted task or run can always be run.

mod artifacts;
mod membership;
mod payload;
mod schedule;
mod workflow;

pub(crate) use artifacts::Artifacts;
pub(crate) use payload::{canonical, read as read_document, resolve_tool};

use crate::node::ask;
use crate::options::WorkflowLimits;
use crate::wiring::NodePorts;
use meshwork_kit::Port;
use meshwork_proto::discovery::{Advertisement, PeerAdvertised};
use meshwork_proto::executor::{CallTool, ListTools, ToolOutput};
use meshwork_proto::node::{Shutdown, ShutdownStarted};
use meshwork_proto::queue::{By, Finish, Finished, Outcome, QueueOp, Submit, Submitted};
use meshwork_proto::task::{INLINE_LIMIT, Payload, TaskSpec};
use meshwork_proto::transport::ServeRequest;
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{Caller, Cid, Coded, ErrorCode, MeshError, PeerId};
use serde_json::Value;
use std::time::Duration;

/// How long an actor may take that waits for nothing.
const SOON: Duration = Duration::from_secs(15);
/// Longest wait for work or for the end of a task; the queue caps it further.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// Longest tool call; the executor caps it further.
const LONGEST_CALL: Duration = Duration::from_secs(24 * 3600);
/// How long a large payload or result may take to arrive.
const FETCH: Duration = Duration::from_secs(120);

/// Maps requests to actors.
pub(crate) struct Dispatcher {
    ports: NodePorts,
    artifacts: Artifacts,
    limits: WorkflowLimits,
}

impl Dispatcher {
    pub(crate) fn new(ports: NodePorts, limits: WorkflowLimits) -> Self {
        Self { artifacts: Artifacts::new(&ports), ports, limits }
    }

    /// Answers one request.
    pub(crate) async fn serve(&self, request: ServeRequest) -> Result<MeshReply, MeshError> {
        let ServeRequest { caller, request } = request;
        let queue = &self.ports.queue;
        match request {
            MeshRequest::Submit(op) => Box::pin(self.submit(caller, op)).await.map(MeshReply::Submitted),
            MeshRequest::Finish(op) => Box::pin(self.finish(caller, op)).await.map(MeshReply::Finished),
            MeshRequest::Claim(op) => {
                let within = waiting(op.wait_ms);
                by(&queue.claim, caller, op, within).await.map(MeshReply::Claimed)
            }
            MeshRequest::GetTask(op) => {
                let within = waiting(op.wait_ms);
                by(&queue.get, caller, op, within).await.map(MeshReply::Task)
            }
            MeshRequest::Renew(op) => by(&queue.renew, caller, op, SOON).await.map(MeshReply::Renewed),
            MeshRequest::Cancel(op) => by(&queue.cancel, caller, op, SOON).await.map(MeshReply::Submitted),
            MeshRequest::Update(op) => by(&queue.update, caller, op, SOON).await.map(MeshReply::Task),
            MeshRequest::Resubmit(op) => {
                by(&queue.resubmit, caller, op, SOON).await.map(MeshReply::Submitted)
            }
            MeshRequest::List(op) => by(&queue.list, caller, op, SOON).await.map(MeshReply::Tasks),
            MeshRequest::Stats(op) => by(&queue.stats, caller, op, SOON).await.map(MeshReply::Stats),
            MeshRequest::CallTool(op) => self.call_tool(op).await.map(MeshReply::ToolOutput),
            MeshRequest::ListTools(_) => {
                ask(&self.ports.executor.list, ListTools, SOON).await.map(MeshReply::Tools)
            }
            MeshRequest::StopTask(op) => ask(&self.ports.executor.stop, op, SOON).await.map(MeshReply::Done),
            MeshRequest::ListPeers(op) => {
                ask(&self.ports.discovery.list, op, SOON).await.map(MeshReply::Peers)
            }
            MeshRequest::Announce(op) => {
                ask(&self.ports.discovery.announce, op, SOON).await.map(MeshReply::Announced)
            }
            MeshRequest::Advertise(said) => self.advertise(&caller, said).await.map(MeshReply::Advertised),
            MeshRequest::ReadArtifact(piece) => self.artifacts.read(piece).await.map(MeshReply::Piece),
            MeshRequest::Shutdown(op) => self.shutdown(&caller, op).await.map(MeshReply::ShuttingDown),
            MeshRequest::ListMembers(_)
            | MeshRequest::Exchange(_)
            | MeshRequest::RegisterPeer(_)
            | MeshRequest::Discover(_)
            | MeshRequest::CleanUp(_)
            | MeshRequest::ForgetPeer(_)
            | MeshRequest::Bootstrap(_)
            | MeshRequest::ListContacts(_)
            | MeshRequest::PublicIp(_)
            | MeshRequest::Revoke(_) => membership::serve(&self.ports.membership, &caller, request).await,
            MeshRequest::SubmitRun(_)
            | MeshRequest::ValidateWorkflow(_)
            | MeshRequest::GetRun(_)
            | MeshRequest::ListRuns(_)
            | MeshRequest::ControlRun(_)
            | MeshRequest::GetDag(_)
            | MeshRequest::GetHistory(_)
            | MeshRequest::CoordinateRun(_)
            | MeshRequest::TakeOverRun(_) => Box::pin(workflow::serve(self, caller, request)).await,
            MeshRequest::AddSchedule(_) | MeshRequest::ListSchedules(_) | MeshRequest::ControlSchedule(_) => {
                Box::pin(schedule::serve(self, caller, request)).await
            }
        }
    }

    async fn submit(&self, caller: Caller, op: Submit) -> Result<Submitted, MeshError> {
        if let Caller::Peer { peer, .. } = &caller {
            self.check_task(peer, &op.0).await?;
        }
        by(&self.ports.queue.submit, caller, op, SOON).await
    }

    /// Makes sure that the payload of a peer's task is here, is what its content id says, and names the tool it says.
    async fn check_task(&self, peer: &PeerId, spec: &TaskSpec) -> Result<(), MeshError> {
        let document = self.receive(peer, &spec.payload, &spec.input_cid, "input_cid").await?;
        let tool = if spec.task_type == meshwork_proto::task::TOOL_CALL {
            let value = match document {
                Some(value) => value,
                None => payload::parse(self.artifacts.read_whole(&spec.input_cid).await?).await?,
            };
            resolve_tool(&spec.task_type, &value)?
        } else {
            spec.task_type.clone()
        };
        if tool == spec.tool {
            return Ok(());
        }
        let message = format!("tool is {:?}, but type and payload name {tool:?}", spec.tool);
        Err(MeshError::new(ErrorCode::InvalidArgument, message))
    }

    /// Makes sure that a document that a peer hands in is here and is what its content id says; gives it if it came inline.
    async fn receive(
        &self,
        peer: &PeerId,
        document: &Payload,
        cid: &Cid,
        field: &str,
    ) -> Result<Option<Value>, MeshError> {
        match document {
            Payload::Inline(json) => {
                check_inline(json.len())?;
                payload::verified(json.bytes(), cid, field).map(Some)
            }
            Payload::Stored { cid: stored, len } => {
                same_cid(stored, cid, field)?;
                self.artifacts.ensure(stored, *len, peer, FETCH).await?;
                Ok(None)
            }
        }
    }

    async fn finish(&self, caller: Caller, op: Finish) -> Result<Finished, MeshError> {
        if let (Caller::Peer { peer, .. }, Outcome::Completed { output, output_cid }) = (&caller, &op.outcome)
        {
            self.receive(peer, output, output_cid, "output_cid").await?;
        }
        by(&self.ports.queue.finish, caller, op, SOON).await
    }

    async fn call_tool(&self, op: CallTool) -> Result<ToolOutput, MeshError> {
        let within = Duration::from_millis(op.timeout_ms).min(LONGEST_CALL).saturating_add(SOON);
        ask(&self.ports.executor.call, op, within).await?.map_err(|error| error.to_mesh_error())
    }

    async fn advertise(
        &self,
        caller: &Caller,
        advertisement: Advertisement,
    ) -> Result<Advertisement, MeshError> {
        let Some(peer) = caller.peer().cloned() else {
            let message = "an advertisement comes from a peer: this node's own is sent with announce";
            return Err(MeshError::new(ErrorCode::InvalidArgument, message));
        };
        ask(&self.ports.discovery.advertised, PeerAdvertised { peer, advertisement }, SOON).await
    }

    async fn shutdown(&self, caller: &Caller, op: Shutdown) -> Result<ShutdownStarted, MeshError> {
        if !caller.is_admin() {
            let message =
                "only an admin may stop this node: it must be started with --admin and your peer id";
            return Err(MeshError::new(ErrorCode::Forbidden, message));
        }
        ask(&self.ports.shutdown, op, SOON).await
    }
}

/// Asks the queue in the name of the caller.
async fn by<T: QueueOp>(
    port: &Port<By<T>>,
    caller: Caller,
    op: T,
    within: Duration,
) -> Result<T::Answer, MeshError> {
    ask(port, By { caller, op }, within).await?.map_err(|error| MeshError::from_coded(&error as &dyn Coded))
}

/// How long to wait for an answer that may itself wait so long.
fn waiting(wait_ms: u64) -> Duration {
    Duration::from_millis(wait_ms).min(LONGEST_WAIT).saturating_add(SOON)
}

fn check_inline(len: usize) -> Result<(), MeshError> {
    if len <= INLINE_LIMIT {
        return Ok(());
    }
    let message =
        format!("inline document of {len} bytes is larger than {INLINE_LIMIT}: send it as an artifact");
    Err(MeshError::new(ErrorCode::TooLarge, message))
}

/// An artifact of canonical bytes has the content id of the document: there is no second name to keep.
fn same_cid(stored: &Cid, said: &Cid, field: &str) -> Result<(), MeshError> {
    if stored == said {
        return Ok(());
    }
    let message = format!("{field} is {said}, but the document is stored as {stored}: they must be the same");
    Err(MeshError::new(ErrorCode::InvalidArgument, message))
}
