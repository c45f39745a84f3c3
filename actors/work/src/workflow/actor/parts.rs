//! Sub-workflows at other peers: submitted, watched, given up.

use super::WorkflowActor;
use super::stored::{Reader, unasked};
use crate::workflow::logic::{FlightId, PlacedPart, SubAnswer, SubCall, SubEnd, SubSubmit};
use meshwork_kit::Ctx;
use meshwork_proto::task::{INLINE_LIMIT, Payload};
use meshwork_proto::transport::{CallError, CallPeer, FetchArtifact, PeerTarget};
use meshwork_proto::wire::MeshCall;
use meshwork_proto::workflow::{ControlRun, GetRun, ListRuns, RunAction, RunState, RunView};
use meshwork_proto::{Cid, ErrorCode, MeshError, PeerId, RunId};
use std::rc::Rc;
use std::time::Duration;

/// How long a peer may take for what waits for nothing; large definitions and inputs are fetched from here meanwhile.
const SOON: Duration = Duration::from_secs(60);
/// What its answer may take beyond that.
const SLACK: Duration = Duration::from_secs(10);
/// How long a large result may take to arrive.
const FETCH: Duration = Duration::from_secs(300);
/// How often a peer is asked to give a run up.
const CANCELS: u32 = 8;

/// Why a peer did not do what was asked.
pub(super) struct NotDone {
    pub(super) error: MeshError,
    /// Asking again will not help.
    pub(super) definite: bool,
    /// It may have done it all the same.
    pub(super) unsure: bool,
    /// The peer itself said so.
    pub(super) told: bool,
}

impl NotDone {
    /// Something went wrong here.
    fn here(error: MeshError, unsure: bool) -> Self {
        Self { error, definite: false, unsure, told: false }
    }
}

impl WorkflowActor {
    pub(super) fn call_part(
        &mut self,
        flight: FlightId,
        peer: PeerId,
        call: SubCall,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let (reader, calls) = (self.reader(ctx), Rc::clone(&self.calls));
        match call {
            SubCall::Submit(what) => {
                let key = what.submit.idempotency_key.clone().unwrap_or_default();
                let parent = what.submit.parent.as_ref().map(|parent| parent.run);
                let answer = async move {
                    let _place = calls.place(&peer).await;
                    let answer = submit(&reader, &peer, *what).await;
                    (answer, peer)
                };
                ctx.spawn_then(answer, move |actor, (answer, peer), ctx| match (answer, parent) {
                    (Ok(SubAnswer::Placed(run)), Some(parent)) => {
                        let part = PlacedPart { peer, parent, key, run };
                        actor.step(ctx, |state, turn| state.part_placed(turn, flight, part));
                    }
                    (answer, _) => actor.part_answered(flight, answer, ctx),
                });
            }
            SubCall::Watch(run) => {
                let answer = async move {
                    let place = calls.place(&peer).await;
                    watch(&reader, &peer, run, place.patience()).await
                };
                ctx.spawn_then(answer, move |actor, answer, ctx| actor.part_answered(flight, answer, ctx));
            }
            SubCall::Cancel { run, compensate } => {
                ctx.spawn(async move {
                    let _place = calls.place(&peer).await;
                    cancel(&reader, peer, run, compensate).await;
                });
            }
        }
    }

    fn part_answered(
        &mut self,
        flight: FlightId,
        answer: Result<SubAnswer, NotDone>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let answer = answer.unwrap_or_else(|NotDone { error, definite, unsure, .. }| SubAnswer::Failed {
            error,
            definite,
            unsure,
        });
        self.step(ctx, |state, turn| state.sub_answered(turn, flight, answer));
    }
}

/// The result of a part, if it is what its peer says: a large one is brought here.
async fn checked(
    reader: &Reader,
    peer: &PeerId,
    output: Payload,
    cid: Cid,
) -> Result<Result<(Payload, Cid), MeshError>, NotDone> {
    let max = reader.shared.options.max_output_bytes;
    if output.len() > max {
        let message =
            format!("result of the sub-workflow has {} bytes: the limit is {max} bytes", output.len());
        return Ok(Err(MeshError::new(ErrorCode::TooLarge, message)));
    }
    let found = match &output {
        Payload::Inline(json) if json.parse().is_err() => {
            let message = format!("peer {peer} gave a result that is not JSON");
            return Ok(Err(MeshError::new(ErrorCode::ToolOutput, message)));
        }
        Payload::Inline(json) => Cid::of(json.bytes()),
        Payload::Stored { cid: stored, len } => {
            fetch(reader, peer, *stored, *len).await?;
            *stored
        }
    };
    if found != cid {
        let message = format!("peer {peer} gave a result with the content id {found}, not {cid} as it says");
        return Ok(Err(MeshError::new(ErrorCode::Corrupt, message)));
    }
    match output {
        Payload::Inline(json) => {
            let kept = reader.keep(json.bytes().clone()).await;
            let unkept = |error| NotDone::here(MeshError::from_coded(&error), true);
            Ok(Ok((kept.map_err(unkept)?, cid)))
        }
        stored => Ok(Ok((stored, cid))),
    }
}

async fn submit(reader: &Reader, peer: &PeerId, what: SubSubmit) -> Result<SubAnswer, NotDone> {
    let SubSubmit { mut submit, read } = what;
    let here = |error: MeshError| NotDone::here(error, false);
    if let Some((run, seq)) = read {
        submit.inputs = reader.event_payload(run, seq).await.map_err(here)?;
    }
    if let Payload::Inline(definition) = &submit.definition
        && definition.len() > INLINE_LIMIT
    {
        let kept = reader.keep(definition.bytes().clone()).await;
        submit.definition = kept.map_err(|error| here(MeshError::from_coded(&error)))?;
    }
    let placed = call(reader, peer, submit, SOON).await?;
    Ok(SubAnswer::Placed(placed.id))
}

async fn watch(reader: &Reader, peer: &PeerId, run: RunId, patience: Duration) -> Result<SubAnswer, NotDone> {
    let wait_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let get = GetRun { id: run, wait_ms, seen: None, steps: false };
    let view = match call(reader, peer, get, patience + SLACK).await {
        Ok(view) => view,
        Err(NotDone { error, .. }) if error.code == ErrorCode::Moved => {
            return moved(reader, peer, run, error).await;
        }
        Err(not_done) => return Err(not_done),
    };
    if !view.state.is_finished() {
        return Ok(SubAnswer::Running);
    }
    let result = match outcome(view) {
        Ok((output, cid)) => checked(reader, peer, output, cid).await?,
        Err(error) => Err(error),
    };
    Ok(SubAnswer::Ended(SubEnd { result, peer: peer.clone() }))
}

/// The run is coordinated by somebody else now: its list says by whom.
async fn moved(reader: &Reader, peer: &PeerId, run: RunId, error: MeshError) -> Result<SubAnswer, NotDone> {
    // Lists go backwards from a cursor, and leave it out.
    let mut behind = *run.as_bytes();
    for byte in behind.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            break;
        }
    }
    let cursor = Some(RunId::from_bytes(behind));
    let list = ListRuns { state: None, name: None, limit: 1, cursor };
    let page = call(reader, peer, list, SOON).await?;
    match page.runs.into_iter().find(|summary| summary.id == run).and_then(|summary| summary.moved_to) {
        Some(to) => Ok(SubAnswer::Moved(to)),
        None => Err(NotDone::here(error, false)),
    }
}

/// How a finished run ended.
fn outcome(view: RunView) -> Result<(Payload, Cid), MeshError> {
    let RunView { id, state, output, output_cid, error, .. } = view;
    if let (RunState::Completed, Some(result)) = (state, output.zip(output_cid)) {
        return Ok(result);
    }
    let unknown =
        || MeshError::new(ErrorCode::Internal, format!("workflow run {id} is {state} without an error"));
    Err(error.unwrap_or_else(unknown))
}

pub(super) async fn fetch(reader: &Reader, peer: &PeerId, cid: Cid, len: u64) -> Result<(), NotDone> {
    let deadline_ms = u64::try_from(FETCH.as_millis()).unwrap_or(u64::MAX);
    let fetch = FetchArtifact { from: peer.clone(), cid, len, deadline_ms };
    let later = |error: MeshError| NotDone::here(error, true);
    let fetched = reader.shared.deps.fetch.ask(fetch, FETCH + SLACK).await;
    fetched.map_err(|error| later(unasked(&error)))?.map_err(|error| later(MeshError::from_coded(&error)))
}

/// Tells the peer until it has heard it, and the one that it gave the run to; one that never answers finds out when it asks
/// for its own parts.
async fn cancel(reader: &Reader, mut peer: PeerId, run: RunId, compensate: bool) {
    let mut wait = Duration::from_millis(500);
    for _ in 0..CANCELS {
        let reason = Some("the run that it is a part of ends".to_owned());
        let control = ControlRun { id: run, action: RunAction::Cancel { reason, compensate } };
        match call(reader, &peer, control, SOON).await {
            Ok(_) => return,
            Err(NotDone { error, .. }) if error.code == ErrorCode::Moved => {
                match moved(reader, &peer, run, error).await {
                    Ok(SubAnswer::Moved(to)) if to != reader.shared.deps.local_peer => {
                        peer = to;
                        continue;
                    }
                    // The one who watches it finds it here.
                    Ok(_) => return,
                    Err(NotDone { error, .. }) => {
                        tracing::debug!(%peer, %run, "sub-workflow moved, it is not known yet where to: {error}");
                    }
                }
            }
            Err(NotDone { definite: true, error, .. }) => {
                tracing::debug!(%peer, %run, "sub-workflow was not cancelled: {error}");
                return;
            }
            Err(NotDone { error, .. }) => {
                tracing::debug!(%peer, %run, "sub-workflow is not cancelled yet: {error}")
            }
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    tracing::warn!(%peer, %run, "sub-workflow could not be cancelled: its peer does not answer");
}

/// Asks a peer.
///
/// # Errors
/// Why it was not done, and whether it may have been all the same.
pub(super) async fn call<C: MeshCall>(
    reader: &Reader,
    peer: &PeerId,
    body: C,
    within: Duration,
) -> Result<C::Answer, NotDone> {
    let deadline_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let request =
        CallPeer { target: PeerTarget::Id(peer.clone()), request: body.into_request(), deadline_ms };
    let answer = reader.shared.deps.call_peer.ask(request, within + SLACK).await;
    let answer = answer.map_err(|error| NotDone::here(unasked(&error), true))?;
    let reply = answer.map_err(|error| not_done(&error))?.reply;
    C::answer(reply).ok_or_else(|| not_done(&CallError::Protocol(peer.clone())))
}

fn not_done(error: &CallError) -> NotDone {
    let told = MeshError::from_coded(error);
    let (definite, unsure) = match error {
        CallError::Refused(refused) => (is_definite(refused), false),
        CallError::Address { .. } | CallError::TooLarge { .. } => (true, false),
        CallError::UnknownPeer(_)
        | CallError::Unreachable { .. }
        | CallError::WrongPeer { .. }
        | CallError::NotAdmitted { .. }
        | CallError::Busy { .. } => (false, false),
        CallError::ConnectionLost(_) | CallError::Timeout { .. } | CallError::Protocol(_) => (false, true),
    };
    NotDone { error: told, definite, unsure, told: matches!(error, CallError::Refused(_)) }
}

/// Whether the same request will be refused again.
fn is_definite(error: &MeshError) -> bool {
    !error.code.is_transient()
        && !matches!(error.code, ErrorCode::Storage | ErrorCode::Internal | ErrorCode::Moved)
}
