//! Requests about runs of workflows.
//!
//! Who may see or change which run is for the coordinator to judge. A run that another peer coordinates by now is not
//! looked for here: the asker hears where it is and asks there, with the rights that it has itself (`tools/workflow/ask.rs`
//! does so for clients).

use super::{Dispatcher, FETCH, SOON, payload, waiting};
use crate::node::ask;
use crate::options::WorkflowLimits;
use meshwork_kit::Port;
use meshwork_proto::task::{INLINE_LIMIT, Payload};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::workflow::{
    By, ControlRun, RunAction, SubmitRun, ValidateWorkflow, WorkflowError, WorkflowOp,
};
use meshwork_proto::{Caller, ErrorCode, MeshError, PeerId};
use std::time::Duration;

/// How long checking a definition may take: peers may be asked for their tools.
const CHECKED: Duration = Duration::from_secs(30);

/// Answers a request about runs.
pub(super) async fn serve(
    node: &Dispatcher,
    caller: Caller,
    request: MeshRequest,
) -> Result<MeshReply, MeshError> {
    let ports = &node.ports.workflows;
    match request {
        MeshRequest::SubmitRun(op) => {
            if let Caller::Peer { peer, .. } = &caller {
                receive(node, peer, &op).await?;
            }
            by(&ports.submit, caller, op, CHECKED).await.map(MeshReply::RunSubmitted)
        }
        MeshRequest::ValidateWorkflow(op) => {
            if caller.peer().is_some() {
                check_sizes(&node.limits, &op.definition, op.inputs.as_ref())?;
                check_spelling(&op).await?;
            }
            by(&ports.validate, caller, op, CHECKED).await.map(MeshReply::Validated)
        }
        MeshRequest::GetRun(op) => {
            let within = waiting(op.wait_ms);
            by(&ports.get, caller, op, within).await.map(MeshReply::Run)
        }
        MeshRequest::ListRuns(op) => by(&ports.list, caller, op, SOON).await.map(MeshReply::Runs),
        MeshRequest::ControlRun(op) => {
            check_signal(&op)?;
            by(&ports.control, caller, op, SOON).await.map(MeshReply::RunChanged)
        }
        MeshRequest::GetDag(op) => by(&ports.dag, caller, op, SOON).await.map(MeshReply::Dag),
        MeshRequest::GetHistory(op) => by(&ports.history, caller, op, SOON).await.map(MeshReply::History),
        MeshRequest::CoordinateRun(op) => {
            by(&ports.coordinate, caller, op, SOON).await.map(MeshReply::Coordinated)
        }
        MeshRequest::TakeOverRun(op) => {
            // The coordinator fetches the history itself: it knows what it needs of it.
            let within = FETCH.saturating_add(SOON);
            by(&ports.take_over, caller, op, within).await.map(MeshReply::TakenOver)
        }
        other => {
            let message = format!("{} is no request about runs of workflows", other.name());
            Err(MeshError::new(ErrorCode::Internal, message))
        }
    }
}

/// Makes sure that the definition and the inputs of a peer's run are here and are what their content ids say. What is too
/// large is refused before it is fetched.
pub(super) async fn receive(node: &Dispatcher, peer: &PeerId, run: &SubmitRun) -> Result<(), MeshError> {
    check_sizes(&node.limits, &run.definition, Some(&run.inputs))?;
    node.receive(peer, &run.definition, &run.definition_cid, "definition_cid").await?;
    node.receive(peer, &run.inputs, &run.inputs_cid, "inputs_cid").await?;
    Ok(())
}

/// Makes sure that a run can be started, without starting it.
pub(super) async fn check(node: &Dispatcher, caller: Caller, run: &SubmitRun) -> Result<(), MeshError> {
    let op = ValidateWorkflow {
        definition: run.definition.clone(),
        inputs: Some(run.inputs.clone()),
        allow_unknown_tools: run.allow_unknown_tools,
    };
    let found = by(&node.ports.workflows.validate, caller, op, CHECKED).await?;
    if found.problems.is_empty() {
        return Ok(());
    }
    Err(MeshError::from_coded(&WorkflowError::Invalid(found.problems)))
}

/// Checks how large the documents of a run are.
fn check_sizes(
    limits: &WorkflowLimits,
    definition: &Payload,
    inputs: Option<&Payload>,
) -> Result<(), MeshError> {
    let lengths = [
        ("definition", definition.len(), limits.definition_bytes),
        ("inputs", inputs.map_or(0, Payload::len), limits.inputs_bytes),
    ];
    match lengths.into_iter().find(|(_, len, max)| len > max) {
        Some((what, len, max)) => Err(MeshError::from_coded(&WorkflowError::TooLarge { what, len, max })),
        None => Ok(()),
    }
}

/// A check keeps nothing: what it is about comes along with the question, as JSON.
async fn check_spelling(op: &ValidateWorkflow) -> Result<(), MeshError> {
    for (field, document) in [("definition", Some(&op.definition)), ("inputs", op.inputs.as_ref())] {
        match document {
            Some(Payload::Inline(json)) => {
                let parse = move |bytes: &[u8]| payload::strict(bytes, field);
                payload::read(json.bytes().clone(), parse).await.map(drop)?;
            }
            Some(Payload::Stored { .. }) => {
                let message =
                    format!("{field}: send the document itself to have it checked, not its content id");
                return Err(MeshError::new(ErrorCode::InvalidArgument, message));
            }
            None => {}
        }
    }
    Ok(())
}

/// What comes with a signal becomes a part of the run: it is small, and JSON as it is accepted everywhere.
fn check_signal(op: &ControlRun) -> Result<(), MeshError> {
    match &op.action {
        RunAction::Signal { payload, .. } => {
            if payload.len() > INLINE_LIMIT {
                let message = format!(
                    "payload of {} bytes is larger than the {INLINE_LIMIT} bytes that a signal may carry",
                    payload.len()
                );
                return Err(MeshError::new(ErrorCode::TooLarge, message));
            }
            payload::strict(payload.bytes(), "payload").map(drop)
        }
        _ => Ok(()),
    }
}

/// Asks the coordinator in the name of the caller.
async fn by<T: WorkflowOp>(
    port: &Port<By<T>>,
    caller: Caller,
    op: T,
    within: Duration,
) -> Result<T::Answer, MeshError> {
    ask(port, By { caller, op }, within).await?.map_err(|error| MeshError::from_coded(&error))
}
