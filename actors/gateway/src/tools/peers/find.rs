//! `p2p_peer_list` and `p2p_peer_discover`: whom a node knows, and asking its sources for more.

use super::member::MemberOut;
use super::names::{SourceName, StateName};
use super::{FINDS, MAX_PEERS, at_most, within};
use crate::node::{At, Node, PATIENCE, ask, millis};
use crate::tools::{Failure, Hints, MeshTool, READS};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::{
    DiscoverNow, FindProviders, ListMembers, MemberView, PeerState, Providers, Source, SourceReport,
};
use meshwork_proto::transport::{GetReach, Reach};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Lists the peer book.
pub(crate) struct ListTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListIn {
    /// Only peers in this state.
    state: Option<StateName>,
    /// Only peers that serve this tool or have this label.
    capability: Option<String>,
    /// Only peers that were heard of by this way.
    source: Option<SourceName>,
    /// At most so many.
    #[schemars(range(min = 1, max = 1000))]
    max_peers: Option<u32>,
    /// Peer whose book to read, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// The peers of a book.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListOut {
    /// The peer whose book it is; it is not in the list itself.
    peer_id: String,
    /// How many are listed.
    count: usize,
    /// The peers, connected ones first, then by how recently they were confirmed.
    peers: Vec<MemberOut>,
    /// How well the node itself can be reached; null for the book of a peer.
    reach: Option<ReachOut>,
}

/// How well a node can be reached.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReachOut {
    /// From outside of its network: public, private, or unknown as long as nobody has tried.
    reachability: String,
    /// Where others can dial it, the best first.
    addresses: Vec<String>,
    /// Addresses that are configured, or that were confirmed from outside.
    external: Vec<String>,
    /// Relays at which it has a place.
    relays: Vec<String>,
    /// IP addresses under which connected peers see it.
    observed: Vec<String>,
}

impl From<Reach> for ReachOut {
    fn from(reach: Reach) -> Self {
        Self {
            reachability: reach.reachability.as_str().into(),
            addresses: reach.addresses,
            external: reach.external,
            relays: reach.relays.iter().map(ToString::to_string).collect(),
            observed: reach.observed.iter().map(ToString::to_string).collect(),
        }
    }
}

impl MeshTool for ListTool {
    const NAME: &'static str = "p2p_peer_list";
    const TITLE: &'static str = "List peers";
    const DESCRIPTION: &'static str = "Lists the peers of a node's book, connected ones first: where each stands, its \
        addresses with where they came from and when they were last confirmed, what it offers, how far away it is and \
        how much it is trusted. Ages are in seconds, as the answering node measures them.";
    const EXAMPLE: &'static str = r#"{"state": "connected", "capability": "echo"}"#;
    const HINTS: Hints = READS;
    type Input = ListIn;
    type Output = ListOut;

    async fn run(node: &Node, input: ListIn) -> Result<ListOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let list = ListMembers {
            capability: input.capability,
            state: input.state.map(|StateName(state)| state),
            source: input.source.map(|SourceName(source)| source),
            max_peers: at_most(input.max_peers)?,
        };
        let answer = node.ask(&at, list, PATIENCE).await?;
        let reach = match &at {
            At::Here => Some(ask(&node.ports.membership.reach, GetReach, PATIENCE).await?.into()),
            At::Peer(_) => None,
        };
        let peers: Vec<MemberOut> = answer.value.iter().map(MemberOut::from).collect();
        Ok(ListOut { peer_id: answer.peer.to_string(), count: peers.len(), peers, reach })
    }
}

/// Asks the sources.
pub(crate) struct DiscoverTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiscoverIn {
    /// Which sources to ask; all that are switched on if absent.
    #[schemars(length(min = 1, max = 15))]
    sources: Option<Vec<SourceName>>,
    /// Give only peers that serve this tool or have this label. Who has entered itself for it in the DHT is looked up too,
    /// if that is switched on at this node and among the sources to be asked.
    capability: Option<String>,
    /// Give at most so many peers.
    #[schemars(range(min = 1, max = 1000))]
    max_peers: Option<u32>,
    /// Seconds that the sources may take, at most 120; 10 if absent.
    #[schemars(range(min = 0, max = 120))]
    timeout_s: Option<f64>,
    /// Peer whose sources to ask, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// What a source gave.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SourceOut {
    /// Its name.
    source: String,
    /// Peers it named.
    found: u32,
    /// Those of them that were new to the book.
    new: u32,
    /// Why it gave nothing, if it failed; the node tries again by itself after a pause.
    problem: Option<String>,
}

/// Whom a table names for the capability.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProvidersOut {
    /// The table.
    source: String,
    /// Peers it named.
    found: u32,
    /// Those of them that were new to the book.
    new: u32,
    /// Why it gave nothing, if it failed.
    problem: Option<String>,
    /// Whom it named. What they offer is known from themselves once they were connected.
    peer_ids: Vec<String>,
}

/// What the sources gave, and who fits.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiscoverOut {
    /// The peer whose sources were asked.
    peer_id: String,
    /// What each source gave.
    sources: Vec<SourceOut>,
    /// Whom tables name for the capability; empty without one, for a peer, and where no table is switched on.
    providers: Vec<ProvidersOut>,
    /// How many peers are listed.
    count: usize,
    /// Peers of the book that fit and may be reached (neither left nor banned); of the sources named, if some were. With a
    /// capability: first those that say themselves that they have it, then those that only a table names.
    peers: Vec<MemberOut>,
}

impl MeshTool for DiscoverTool {
    const NAME: &'static str = "p2p_peer_discover";
    const TITLE: &'static str = "Look for peers now";
    const DESCRIPTION: &'static str = "Asks the node's sources of peers now (mDNS, DHT, rendezvous, gossip, registries: \
        those that are switched on) instead of waiting for their next turn, and gives what each source found and the \
        peers that fit. A source that fails is reported and harms nothing. To read only what is known: p2p_peer_list.";
    const EXAMPLE: &'static str = r#"{"capability": "echo", "timeout_s": 5}"#;
    const HINTS: Hints = FINDS;
    type Input = DiscoverIn;
    type Output = DiscoverOut;

    async fn run(node: &Node, input: DiscoverIn) -> Result<DiscoverOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let (most, within) = (at_most(input.max_peers)?, within(input.timeout_s)?);
        let sources = named(input.sources)?;
        let discover = DiscoverNow { sources: sources.iter().copied().collect(), within_ms: millis(within) };
        let capability = input.capability;
        let asks_table = at == At::Here && (sources.is_empty() || sources.contains(&Source::Dht));
        let wanted = capability.clone().filter(|_| asks_table);
        let visits = node.ask(&at, discover, within.saturating_add(PATIENCE));
        let (reports, providers) = tokio::join!(visits, providers(node, wanted, within));
        let (reports, providers) = (reports?, providers?);
        // Whom to show is chosen here: the book filters by one source, and not by what may be reached.
        let list = ListMembers { capability, max_peers: MAX_PEERS, ..ListMembers::default() };
        let mut book = node.ask(&at, list, PATIENCE).await?.value;
        book.extend(only_named(node, &at, &providers, &book).await?);
        let fits = |view: &&MemberView| {
            !matches!(view.state, PeerState::Left | PeerState::Banned)
                && (sources.is_empty() || !sources.is_disjoint(&view.found_by))
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let peers: Vec<MemberOut> = book.iter().filter(fits).take(most).map(MemberOut::from).collect();
        Ok(DiscoverOut {
            peer_id: reports.peer.to_string(),
            sources: reports.value.into_iter().map(SourceOut::from).collect(),
            providers: providers.into_iter().map(ProvidersOut::from).collect(),
            count: peers.len(),
            peers,
        })
    }
}

/// Whom tables name for a capability; nobody is asked without one.
async fn providers(
    node: &Node,
    capability: Option<String>,
    within: Duration,
) -> Result<Vec<Providers>, Failure> {
    let Some(capability) = capability else { return Ok(Vec::new()) };
    let find = FindProviders { capability, within_ms: millis(within) };
    Ok(ask(&node.ports.membership.providers, find, within.saturating_add(PATIENCE)).await?)
}

/// Peers of the book that tables name, and that are not listed already: they have not said themselves what they offer.
async fn only_named(
    node: &Node,
    at: &At,
    providers: &[Providers],
    listed: &[MemberView],
) -> Result<Vec<MemberView>, Failure> {
    let mut named: BTreeSet<&PeerId> = providers.iter().flat_map(|provided| &provided.peers).collect();
    for view in listed {
        named.remove(&view.peer);
    }
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let list = ListMembers { source: Some(Source::Dht), max_peers: MAX_PEERS, ..ListMembers::default() };
    let book = node.ask(at, list, PATIENCE).await?.value;
    Ok(book.into_iter().filter(|view| named.contains(&view.peer)).collect())
}

/// The sources that were named, each once; none when the argument is absent.
fn named(sources: Option<Vec<SourceName>>) -> Result<BTreeSet<Source>, Failure> {
    match sources {
        None => Ok(BTreeSet::new()),
        Some(names) if names.is_empty() => {
            Err(Failure::invalid("sources is empty: name at least one, or leave it out to ask all"))
        }
        Some(names) => Ok(names.into_iter().map(|SourceName(source)| source).collect()),
    }
}

impl From<Providers> for ProvidersOut {
    fn from(Providers { report, peers }: Providers) -> Self {
        let SourceReport { source, found, new, problem } = report;
        let peer_ids = peers.iter().map(ToString::to_string).collect();
        Self { source: source.as_str().into(), found, new, problem, peer_ids }
    }
}

impl From<SourceReport> for SourceOut {
    fn from(report: SourceReport) -> Self {
        let SourceReport { source, found, new, problem } = report;
        Self { source: source.as_str().into(), found, new, problem }
    }
}
