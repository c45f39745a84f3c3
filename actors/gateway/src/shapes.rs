//! Which tools the mesh has and what they take: this node's own, those of connected peers, and those that workers offered to
//! the own queue lately. Who checks the definition of a workflow asks for them.
//!
//! What is known is kept for a few seconds, since every submission asks. A name that is not in it is looked for again almost
//! at once: whoever serves it may have come this moment. Peers say by themselves which tools they have; only for the schema
//! of a tool that this node has not itself is one of them asked, and its answer, or its silence, is kept as well.

use crate::node::{ask, millis};
use crate::wiring::NodePorts;
use futures::StreamExt;
use meshwork_kit::Port;
use meshwork_proto::discovery::{ListPeers, PeerView};
use meshwork_proto::executor::{ListTools, ToolInfo};
use meshwork_proto::queue::{By, QueueStats, Stats};
use meshwork_proto::transport::{CallPeer, PeerTarget};
use meshwork_proto::wire::{ListNodeTools, MeshReply, MeshRequest};
use meshwork_proto::workflow::ToolShape;
use meshwork_proto::{Caller, Coded, ErrorCode, MeshError, PeerId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// How long what is known is kept.
const FRESH: Duration = Duration::from_secs(3);
/// How soon it is looked again for a name that is not known.
const AGAIN: Duration = Duration::from_millis(250);
/// How long an actor of this node may take.
const SOON: Duration = Duration::from_secs(5);
/// How long a peer may take to list its tools.
const PEER_WITHIN: Duration = Duration::from_secs(3);
/// Peers that are asked for schemas because of one question, and of those at the same time.
const MOST_ASKED: usize = 32;
const ASKED_AT_ONCE: usize = 8;
/// Peers that are tried for the schema of one tool.
const TRIES: usize = 2;
/// Names of tools that are told beside those that were asked for.
const MOST_OTHERS: usize = 4096;
/// Questions that are answered at the same time; more are refused.
const QUESTIONS_AT_ONCE: usize = 1024;

/// When a peer was asked for its tools, and which it listed; none when it did not answer.
type Listed = (Instant, Option<Vec<ToolInfo>>);

/// What the mesh can do.
pub(crate) struct Shapes {
    own: Port<ListTools>,
    stats: Port<By<Stats>>,
    peers: Port<ListPeers>,
    call_peer: Port<CallPeer>,
    local: PeerId,
    places: Semaphore,
    known: Mutex<Option<Arc<Known>>>,
    lists: Mutex<BTreeMap<PeerId, Listed>>,
}

/// What is known without asking a peer.
struct Known {
    at: Instant,
    /// This node's own tools.
    own: BTreeMap<String, ToolInfo>,
    /// Names that workers and peers offer, and who does; nobody by name for a worker that is no node.
    offered: BTreeMap<String, BTreeSet<PeerId>>,
    /// Connected peers with the names of their tools, the nearest first.
    peers: Vec<(PeerId, BTreeSet<String>)>,
}

impl Shapes {
    pub(crate) fn new(ports: &NodePorts, local: PeerId) -> Self {
        Self {
            own: ports.executor.list.clone(),
            stats: ports.queue.stats.clone(),
            peers: ports.discovery.list.clone(),
            call_peer: ports.call_peer.clone(),
            local,
            places: Semaphore::new(QUESTIONS_AT_ONCE),
            known: Mutex::new(None),
            lists: Mutex::new(BTreeMap::new()),
        }
    }

    /// What is known of those tools that somebody serves now; the names of others as well when some are not served.
    pub(crate) async fn of(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, ToolShape>, MeshError> {
        let _place = self.places.try_acquire().map_err(|_| {
            let message =
                format!("{QUESTIONS_AT_ONCE} questions for tools are under way already; try again later");
            MeshError::new(ErrorCode::Busy, message)
        })?;
        let known = self.known(names).await?;
        let mut shapes: BTreeMap<String, ToolShape> =
            names.iter().filter_map(|name| Some((name.clone(), known.shape(name, &self.local)?))).collect();
        self.complete(&known, &mut shapes).await;
        if shapes.len() < names.len() {
            known.name_others(&mut shapes);
        }
        Ok(shapes)
    }

    /// What is known without asking peers, read anew if it is old or lacks one of the names.
    async fn known(&self, names: &BTreeSet<String>) -> Result<Arc<Known>, MeshError> {
        let mut kept = self.known.lock().await;
        if let Some(known) = kept.as_ref() {
            let age = known.at.elapsed();
            if age < AGAIN || (age < FRESH && names.iter().all(|name| known.has(name))) {
                return Ok(Arc::clone(known));
            }
        }
        let stats = By { caller: Caller::Local, op: Stats { detail: false } };
        let (own, stats, peers) = futures::try_join!(
            ask(&self.own, ListTools, SOON),
            ask(&self.stats, stats, SOON),
            ask(&self.peers, ListPeers { capability: None, max_peers: 0 }, SOON),
        )?;
        let stats = stats.map_err(|error| MeshError::from_coded(&error as &dyn Coded))?;
        let known = Arc::new(Known::new(own, &stats, peers));
        *kept = Some(Arc::clone(&known));
        Ok(known)
    }

    /// Adds the schemas of tools that only peers have.
    async fn complete(&self, known: &Known, shapes: &mut BTreeMap<String, ToolShape>) {
        for round in 0..TRIES {
            let wanted: BTreeMap<String, PeerId> = shapes
                .iter()
                .filter(|(_, shape)| shape.input_schema.is_none())
                .filter_map(|(name, _)| Some((name.clone(), known.nearest_with(name).nth(round)?.clone())))
                .collect();
            if wanted.is_empty() {
                return;
            }
            // Held while peers are asked: who asks for the same meanwhile finds the answers here.
            let mut lists = self.lists.lock().await;
            lists.retain(|_, (at, _)| at.elapsed() < FRESH);
            let missing: BTreeSet<PeerId> =
                wanted.values().filter(|peer| !lists.contains_key(*peer)).cloned().collect();
            let asked: Vec<(PeerId, Option<Vec<ToolInfo>>)> =
                futures::stream::iter(missing.into_iter().take(MOST_ASKED).map(|peer| self.list_of(peer)))
                    .buffer_unordered(ASKED_AT_ONCE)
                    .collect()
                    .await;
            let now = Instant::now();
            lists.extend(asked.into_iter().map(|(peer, tools)| (peer, (now, tools))));
            for (name, peer) in &wanted {
                let Some((_, Some(tools))) = lists.get(peer) else { continue };
                let Some(info) = tools.iter().find(|info| info.name == *name) else { continue };
                if let Some(shape) = shapes.get_mut(name) {
                    shape.input_schema = Some(info.input_schema.clone());
                    shape.output_schema.clone_from(&info.output_schema);
                }
            }
        }
    }

    async fn list_of(&self, peer: PeerId) -> (PeerId, Option<Vec<ToolInfo>>) {
        let call = CallPeer {
            target: PeerTarget::Id(peer.clone()),
            request: MeshRequest::ListTools(ListNodeTools),
            deadline_ms: millis(PEER_WITHIN),
        };
        let answer = ask(&self.call_peer, call, PEER_WITHIN.saturating_add(Duration::from_secs(1))).await;
        let problem = match answer {
            Ok(Ok(answer)) => match answer.reply {
                MeshReply::Tools(tools) => return (peer, Some(tools)),
                _ => "it gave an answer that does not fit the question".to_owned(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // Its tools are known by name all the same: steps that use them are not checked against a schema.
        tracing::debug!(%peer, problem, "the tools of a peer could not be listed");
        (peer, None)
    }
}

impl Known {
    fn new(own: Vec<ToolInfo>, stats: &QueueStats, peers: Vec<PeerView>) -> Self {
        let mut offered: BTreeMap<String, BTreeSet<PeerId>> = BTreeMap::new();
        for worker in stats.workers.iter().filter(|worker| !worker.local) {
            for tool in &worker.tools {
                offered.entry(tool.clone()).or_default().extend(worker.worker.peer());
            }
        }
        let mut near: Vec<(u64, PeerId, BTreeSet<String>)> = peers
            .into_iter()
            .filter(|view| view.connected && view.role.is_some())
            .filter_map(|view| {
                let said = view.advertisement?;
                Some((view.rtt_us.unwrap_or(u64::MAX), view.peer, said.tools))
            })
            .collect();
        near.sort();
        for (_, peer, tools) in &near {
            for tool in tools {
                offered.entry(tool.clone()).or_default().insert(peer.clone());
            }
        }
        Self {
            at: Instant::now(),
            own: own.into_iter().map(|info| (info.name.clone(), info)).collect(),
            offered,
            peers: near.into_iter().map(|(_, peer, tools)| (peer, tools)).collect(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.own.contains_key(name) || self.offered.contains_key(name)
    }

    fn shape(&self, name: &str, local: &PeerId) -> Option<ToolShape> {
        let (own, offered) = (self.own.get(name), self.offered.get(name));
        if own.is_none() && offered.is_none() {
            return None;
        }
        let mut peers = offered.cloned().unwrap_or_default();
        if own.is_some() {
            peers.insert(local.clone());
        }
        Some(ToolShape {
            input_schema: own.map(|info| info.input_schema.clone()),
            output_schema: own.and_then(|info| info.output_schema.clone()),
            peers,
        })
    }

    /// Adds the names of other tools, for who has asked for one that nobody serves may have meant one of them.
    fn name_others(&self, shapes: &mut BTreeMap<String, ToolShape>) {
        for name in self.own.keys().chain(self.offered.keys()).take(MOST_OTHERS) {
            shapes.entry(name.clone()).or_default();
        }
    }

    /// Peers that have a tool, the nearest first.
    fn nearest_with<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a PeerId> {
        self.peers.iter().filter(move |(_, tools)| tools.contains(name)).map(|(peer, _)| peer)
    }
}
