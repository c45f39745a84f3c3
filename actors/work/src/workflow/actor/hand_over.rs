//! Giving a run away: everything of it becomes one artifact, and its next coordinator is told where to get it.

use super::parts::{NotDone, call};
use super::stored::{Reader, unasked};
use super::{Deferred, WorkflowActor};
use crate::workflow::held::Held;
use crate::workflow::logic::take_over::is_final;
use crate::workflow::logic::{HandOver, Handed, Op};
use crate::workflow::records::{Export, MAX_EXPORT};
use meshwork_kit::{Ctx, Reply};
use meshwork_proto::artifact::PutArtifact;
use meshwork_proto::discovery::ListPeers;
use meshwork_proto::workflow::{By, CoordinateRun, Coordinated, TakeOverRun, WorkflowError};
use meshwork_proto::{ErrorCode, MeshError};
use std::time::Duration;

/// How long the next coordinator may take to fetch everything and write it down. Asked again, it goes on where it is.
const TAKE_OVER: Duration = Duration::from_secs(300);
/// Longest wait for the peer book.
const LIST: Duration = Duration::from_secs(15);
/// Longest wait for the own artifact store.
const PUT: Duration = Duration::from_secs(60);

impl WorkflowActor {
    /// Who is to coordinate a run must be known here: it is asked until it answers.
    pub(in crate::workflow) fn coordinate(
        &mut self,
        by: By<CoordinateRun>,
        reply: Reply<Result<Coordinated, WorkflowError>>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let By { caller, op } = by;
        let deps = &self.shared.deps;
        let Some(to) = op.coordinator.clone().filter(|to| *to != deps.local_peer) else {
            return self.take_up(Deferred::Op(Held::Coordinated(reply), caller, Op::Coordinate(op)), ctx);
        };
        let port = deps.list_peers.clone();
        let known = async move {
            let peers = port.ask(ListPeers::default(), LIST).await;
            let peers = peers.map_err(|error| WorkflowError::Unavailable(error.to_string()))?;
            if peers.iter().any(|view| view.peer == to) {
                return Ok(());
            }
            Err(WorkflowError::InvalidArgument(format!(
                "peer {to} is not known to this node and cannot coordinate the run: see the list of peers"
            )))
        };
        ctx.spawn_then(known, move |actor, known, ctx| match known {
            Ok(()) => actor.take_up(Deferred::Op(Held::Coordinated(reply), caller, Op::Coordinate(op)), ctx),
            Err(error) => reply.send(Err(error)),
        });
    }

    pub(super) fn hand_over(&mut self, what: HandOver, ctx: &mut Ctx<'_, Self>) {
        let reader = self.reader(ctx);
        let (run, epoch) = (what.run, what.epoch);
        let handed = async move { hand_over(&reader, what).await };
        ctx.spawn_then(handed, move |actor, handed, ctx| {
            actor.step(ctx, |state, turn| state.handed(turn, run, epoch, handed));
        });
    }
}

async fn hand_over(reader: &Reader, what: HandOver) -> Handed {
    let HandOver { run, to, epoch } = what;
    let here = |error| Handed::Failed { error, unsure: false };
    let history = match history(reader, run).await {
        Ok(history) => history,
        // No peer ever took it: its store would not have.
        Err(error) if error.code == ErrorCode::TooLarge => return Handed::Refused { error, never: true },
        Err(error) => return here(error),
    };
    let len = history.len() as u64;
    let put = reader.shared.deps.put_artifact.ask(PutArtifact(history), PUT).await;
    let cid = match put {
        Ok(Ok(cid)) => cid,
        Ok(Err(error)) => return here(MeshError::from_coded(&error)),
        Err(error) => return here(unasked(&error)),
    };
    let request = TakeOverRun { id: run, epoch, history: cid, len };
    match call(reader, &to, request, TAKE_OVER).await {
        Ok(taken) if taken.epoch >= epoch => Handed::Taken,
        Ok(taken) => {
            let message = format!("peer {to} has it under epoch {}, not {epoch}", taken.epoch);
            Handed::Failed { error: MeshError::new(ErrorCode::Internal, message), unsure: true }
        }
        // What its store says is damaged may be anything, also what it was writing.
        Err(NotDone { error, told: true, .. }) if error.code == ErrorCode::Corrupt => {
            Handed::Failed { error, unsure: true }
        }
        Err(NotDone { error, definite: true, told, .. }) => {
            let never = told && is_final(error.code);
            Handed::Refused { error, never }
        }
        Err(NotDone { error, unsure, told, .. }) => {
            let unsure = unsure || (told && !is_untouched(error.code));
            Handed::Failed { error, unsure }
        }
    }
}

/// Whether a peer that says this for now has not begun to take the run over. (It may say anything else although its
/// coordinator goes on with it, for example that this one takes long.)
fn is_untouched(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::QueueFull | ErrorCode::Busy | ErrorCode::Draining | ErrorCode::DiskFull)
}

async fn history(reader: &Reader, run: meshwork_proto::RunId) -> Result<bytes::Bytes, MeshError> {
    let told = |error: meshwork_proto::store::StoreError| MeshError::from_coded(&error);
    let header = reader.header(run).await.map_err(told)?;
    let header =
        header.ok_or_else(|| MeshError::new(ErrorCode::Corrupt, "the run has no header in the store"))?;
    let events = reader.events(run).await.map_err(told)?;
    let export = Export::of(header, events);
    if let Some((changes, max)) = export.too_many_changes() {
        let message = format!(
            "history of the run makes {changes} changes in a store: a run with more than {max} cannot be handed over"
        );
        return Err(MeshError::new(ErrorCode::TooLarge, message));
    }
    let document = export.encode().map_err(told)?;
    if document.len() as u64 > MAX_EXPORT {
        let message = format!(
            "history of the run has {} bytes: a run with more than {MAX_EXPORT} cannot be handed over",
            document.len()
        );
        return Err(MeshError::new(ErrorCode::TooLarge, message));
    }
    Ok(document)
}
