//! A peer of the book, as `p2p_peer_list` and `p2p_peer_discover` show it.

use crate::tools::record::secs;
use meshwork_proto::discovery::{AddressView, Advertisement, MemberView};
use schemars::JsonSchema;
use serde::Serialize;

/// A peer of the book.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MemberOut {
    /// Its id.
    peer_id: String,
    /// connected; known (confirmed not long ago); stale (forgotten soon unless something confirms it); left (it said
    /// goodbye); banned (revoked, or shut out for a time).
    state: String,
    /// Its addresses, the most promising first.
    addresses: Vec<AddressOut>,
    /// Its tools and labels, by name.
    capabilities: Vec<String>,
    /// Round-trip time in milliseconds; null = not measured.
    rtt_ms: Option<f64>,
    /// Seconds since anything confirmed that it lives; null = nothing ever did.
    last_seen_s: Option<f64>,
    /// member or admin (admitted here); unproven (hearsay so far); refused (one side did not admit the other); revoked.
    trust: String,
    /// The ways by which it was heard of.
    found_by: Vec<String>,
    /// Whether its connection goes through a relay; null without a connection.
    relayed: Option<bool>,
    /// Its software and version; null = it has not said.
    agent: Option<String>,
    /// How busy it is; null = it has not said.
    load: Option<LoadOut>,
}

/// An address of a peer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AddressOut {
    /// The multiaddress, without /p2p/ and the peer's id.
    addr: String,
    /// How it was learned last.
    source: String,
    /// Seconds since a connection to it last succeeded; null = none ever did.
    confirmed_s: Option<f64>,
    /// Connections that succeeded.
    successes: u32,
    /// Tries that failed since the last success.
    failures: u32,
}

/// How busy a peer is, as it said last.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LoadOut {
    /// Free slots of its executor.
    free_slots: u32,
    /// All slots.
    slots: u32,
    /// Tasks running on it.
    running: u32,
    /// Unfinished tasks in its own queue.
    queued: u64,
}

impl From<&MemberView> for MemberOut {
    fn from(view: &MemberView) -> Self {
        Self {
            peer_id: view.peer.to_string(),
            state: view.state.as_str().into(),
            addresses: view.addresses.iter().map(AddressOut::from).collect(),
            capabilities: view.offers.as_ref().map(capabilities).unwrap_or_default(),
            rtt_ms: view.rtt_us.map(|us| us as f64 / 1000.0),
            last_seen_s: view.last_seen_ms_ago.map(secs),
            trust: view.trust.as_str().into(),
            found_by: view.found_by.iter().map(|source| source.as_str().to_owned()).collect(),
            relayed: view.relayed,
            agent: view.offers.as_ref().map(|said| said.agent.clone()),
            load: view.offers.as_ref().map(LoadOut::from),
        }
    }
}

/// Tools and labels in one list, each name once.
fn capabilities(said: &Advertisement) -> Vec<String> {
    said.tools.union(&said.labels).cloned().collect()
}

impl From<&AddressView> for AddressOut {
    fn from(view: &AddressView) -> Self {
        Self {
            addr: view.address.clone(),
            source: view.source.as_str().into(),
            confirmed_s: view.confirmed_ms_ago.map(secs),
            successes: view.successes,
            failures: view.failures,
        }
    }
}

impl From<&Advertisement> for LoadOut {
    fn from(said: &Advertisement) -> Self {
        Self { free_slots: said.free_slots, slots: said.slots, running: said.running, queued: said.queued }
    }
}
