//! Asking for a run, wherever it is by now.
//!
//! Who was handed a run coordinates it from then on. The coordinator before keeps a note of it, which is followed from here,
//! at the asker, and not over there: the next one is asked with the rights of who asks, and of nobody between.

use super::run_id;
use crate::node::{Answer, At, Node, PATIENCE};
use meshwork_proto::transport::PeerTarget;
use meshwork_proto::wire::MeshCall;
use meshwork_proto::workflow::ListRuns;
use meshwork_proto::{ErrorCode, MeshError, PeerId, RunId};
use std::fmt;
use std::time::Duration;

/// How often a run is looked for at the next coordinator.
const HOPS: usize = 4;

/// Asks something of a run where it is said to be, and if it was handed over since, where it is now.
pub(crate) async fn ask_for<C: MeshCall + Clone>(
    node: &Node,
    at: &At,
    id: RunId,
    call: C,
    patience: Duration,
) -> Result<Answer<C::Answer>, MeshError> {
    let mut at = at.clone();
    for _ in 0..HOPS {
        match node.ask(&at, call.clone(), patience).await {
            Err(error) if error.code == ErrorCode::Moved => match moved_to(node, &at, id).await? {
                Some(peer) if peer == *node.local() => at = At::Here,
                Some(peer) => at = At::Peer(PeerTarget::Id(peer)),
                None => return Err(error),
            },
            answer => return answer,
        }
    }
    node.ask(&at, call, patience).await
}

/// Who coordinates a run that was handed over, as the list of the coordinator before says: an error is words for a person.
async fn moved_to(node: &Node, at: &At, id: RunId) -> Result<Option<PeerId>, MeshError> {
    // Newest first, and a page begins behind its cursor: so it begins with this run.
    let behind = u128::from_be_bytes(*id.as_bytes()).saturating_add(1);
    let cursor = Some(RunId::from_bytes(behind.to_be_bytes()));
    let page = node.ask(at, ListRuns { limit: 1, cursor, ..ListRuns::default() }, PATIENCE).await?;
    let run = page.value.runs.into_iter().find(|run| run.id == id);
    Ok(run.and_then(|run| run.moved_to))
}

/// A run and where it was submitted, as one text: `<run>`, or `<run>@<peer>` when that was at a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunAt {
    pub(crate) id: RunId,
    pub(crate) at: At,
}

impl RunAt {
    /// A run that was submitted at this peer.
    pub(crate) fn new(node: &Node, id: RunId, peer: PeerId) -> Self {
        let at = if peer == *node.local() { At::Here } else { At::Peer(PeerTarget::Id(peer)) };
        Self { id, at }
    }

    /// Reads the text.
    pub(crate) fn parse(node: &Node, text: &str) -> Result<Self, MeshError> {
        let (id, peer) = match text.split_once('@') {
            Some((id, peer)) => (id, Some(peer)),
            None => (text, None),
        };
        Ok(Self { id: run_id(id)?, at: node.at(peer)? })
    }
}

impl fmt::Display for RunAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Here => write!(f, "{}", self.id),
            At::Peer(peer) => write!(f, "{}@{peer}", self.id),
        }
    }
}
