//! What every task of the executor holds: the board, the ways to the owners, and who this worker is.

use super::ExecutorDeps;
use super::board::Board;
use super::logic::Source;
use super::metrics::Metrics;
use super::renew::Renewer;
use super::tool::{Tools, millis};
use meshwork_kit::{AskError, Clock};
use meshwork_proto::queue::Offer;
use meshwork_proto::transport::{CallPeer, PeerTarget, ServeRequest};
use meshwork_proto::wire::MeshCall;
use meshwork_proto::{Caller, Coded, ErrorCode, MeshError, WorkerId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The transport keeps the deadline it is given; its answer takes a moment more.
const TRANSPORT_SLACK: Duration = Duration::from_millis(500);

/// One for the whole executor.
pub(super) struct Work {
    pub(super) board: Arc<Board>,
    pub(super) tools: Tools,
    pub(super) metrics: Metrics,
    pub(super) worker: WorkerId,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
    pub(super) deps: ExecutorDeps,
    /// Owners with leases that are held here.
    renewers: Mutex<BTreeMap<Source, Arc<Renewer>>>,
    /// Owners that are asked for work.
    sources: Mutex<BTreeMap<Source, AbortHandle>>,
    seeds: AtomicU64,
}

impl Work {
    pub(super) fn new(
        board: Arc<Board>,
        tools: Tools,
        metrics: Metrics,
        runtime: Handle,
        deps: ExecutorDeps,
    ) -> Arc<Self> {
        Arc::new(Self {
            board,
            tools,
            metrics,
            worker: WorkerId::of_peer(&deps.local_peer, deps.incarnation),
            clock: deps.clock.clone(),
            runtime,
            renewers: Mutex::default(),
            sources: Mutex::default(),
            seeds: AtomicU64::new(u64::from(deps.incarnation) << 32),
            deps,
        })
    }

    pub(super) fn sources(&self) -> MutexGuard<'_, BTreeMap<Source, AbortHandle>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source of randomness of its own for each task that needs one.
    pub(super) fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seeds.fetch_add(1, Ordering::Relaxed))
    }

    /// Who renews the leases of this owner.
    pub(super) fn renewer(self: &Arc<Self>, source: &Source) -> Arc<Renewer> {
        let mut renewers = self.renewers.lock().unwrap_or_else(PoisonError::into_inner);
        renewers.retain(|owner, renewer| owner == source || !renewer.is_idle());
        Arc::clone(renewers.entry(source.clone()).or_insert_with(|| Renewer::new(self, source.clone())))
    }

    /// What an owner is told: room for these tools, none for the others that are served here.
    pub(super) fn offer(&self, rooms: BTreeMap<String, u32>) -> Offer {
        Offer { tools: self.board.with_full_tools(rooms), labels: self.deps.labels.clone() }
    }

    /// Asks an owner, this node's own queue or a peer's.
    ///
    /// # Errors
    /// The owner's refusal, or why it could not be asked.
    pub(super) async fn ask<C: MeshCall>(
        &self,
        owner: &Source,
        call: C,
        within: Duration,
    ) -> Result<C::Answer, MeshError> {
        let request = call.into_request();
        let reply = match owner {
            Source::Local => {
                let request = ServeRequest { caller: Caller::Local, request };
                self.deps.local.ask(request, within).await.map_err(unasked)??
            }
            Source::Peer(peer) => {
                let target = PeerTarget::Id(peer.clone());
                let call = CallPeer { target, request, deadline_ms: millis(within) };
                let answer =
                    self.deps.call_peer.ask(call, within + TRANSPORT_SLACK).await.map_err(unasked)?;
                answer.map_err(|error| MeshError::from_coded(&error))?.reply
            }
        };
        C::answer(reply).ok_or_else(|| {
            MeshError::new(
                ErrorCode::VersionMismatch,
                format!("{owner} gave an answer that does not fit the question"),
            )
        })
    }
}

pub(super) fn unasked(error: AskError) -> MeshError {
    MeshError::new(error.code(), error.to_string())
}

/// Whether the same report cannot be accepted later either.
pub(super) fn is_final(error: &MeshError) -> bool {
    matches!(error.code(), |ErrorCode::StaleFence| ErrorCode::UnknownTask
        | ErrorCode::WrongState
        | ErrorCode::Forbidden
        | ErrorCode::InvalidArgument
        | ErrorCode::InvalidJson
        | ErrorCode::TooLarge)
}
