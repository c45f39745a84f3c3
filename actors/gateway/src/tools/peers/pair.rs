//! `p2p_peer_pair`: lets one new node in by a short code, or joins with one.
//!
//! It acts at this node only: a code is for the person in front of it, and no peer may open the door of another.

use super::{bounded, member_address};
use crate::node::{Node, PATIENCE, ask, millis};
use crate::tools::input::seconds;
use crate::tools::record::secs;
use crate::tools::{Failure, Hints, MeshTool};
use meshwork_proto::discovery::{ListMembers, MemberView, PeerState};
use meshwork_proto::transport::{OpenPairing, PairWith};
use meshwork_proto::{ErrorCode, MeshError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Seconds that a code is of use when none are given.
const DEFAULT_VALID_S: f64 = 600.0;
/// Fewest and most seconds that a code may be of use: time to read nine digits, and no forgotten open door.
const VALID_S: std::ops::RangeInclusive<f64> = 30.0..=3600.0;
/// How long finding the other node and joining may take.
const JOIN_WITHIN: Duration = Duration::from_secs(45);
/// Most peers whose addresses are tried when none are given, and most addresses of each.
const CANDIDATES: usize = 16;
const ADDRESSES_OF_ONE: usize = 4;

/// Pairs two nodes.
pub(crate) struct PairTool;

/// Arguments. No Debug: the code opens a door.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PairIn {
    /// The code that the other node gave, nine digits in any grouping; without it, this node makes one.
    code: Option<String>,
    /// With code: where the other node may be; the peers that were found and are not connected if absent.
    #[schemars(length(min = 1, max = 64))]
    addresses: Option<Vec<String>>,
    /// Without code: seconds that the code is of use, 30 to 3600; 600 if absent.
    #[schemars(range(min = 30, max = 3600))]
    valid_s: Option<f64>,
}

/// The code, or who let this node in.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PairOut {
    /// This node.
    peer_id: String,
    /// open: a code is out, give it to the person at the new node; joined: this node has the mesh's secret now.
    status: String,
    /// The code, when one was made.
    code: Option<String>,
    /// Seconds that it is of use.
    valid_s: Option<f64>,
    /// Where this node is, for the other node, when a code was made.
    addresses: Vec<String>,
    /// The peer that let this node in, when it joined.
    joined: Option<String>,
    /// Where that peer was reached.
    address: Option<String>,
}

impl MeshTool for PairTool {
    const NAME: &'static str = "p2p_peer_pair";
    const TITLE: &'static str = "Pair with a new node";
    const DESCRIPTION: &'static str = "Without code: opens this node for one new node and gives the code that a person reads \
        to the person there; it works once, and for ten minutes. With code: joins the mesh of the node that gave it, and \
        replaces this node's mesh secret by the one of that mesh. Acts at this node only.";
    const EXAMPLE: &'static str = r#"{"code": "123-456-789", "addresses": ["/ip4/192.0.2.7/tcp/4001"]}"#;
    // Joining gives up the secret that this node had.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: false, open_world: true };
    type Input = PairIn;
    type Output = PairOut;

    async fn run(node: &Node, input: PairIn) -> Result<PairOut, Failure> {
        match input {
            PairIn { code: None, addresses: None, valid_s } => open(node, valid_s).await,
            PairIn { code: None, .. } => Err(Failure::invalid(
                "addresses say where the node with the code is: give its code too, or leave them out to make a code here",
            )),
            PairIn { code: Some(code), addresses, valid_s: None } => join(node, code, addresses).await,
            PairIn { .. } => Err(Failure::invalid(
                "valid_s is for the code that this node makes: leave it out to join with a code",
            )),
        }
    }
}

/// Makes a code.
async fn open(node: &Node, valid_s: Option<f64>) -> Result<PairOut, Failure> {
    let given = valid_s.unwrap_or(DEFAULT_VALID_S);
    if !VALID_S.contains(&given) {
        return Err(Failure::invalid(format!(
            "valid_s is {given}, which is out of range: expected {} to {} seconds",
            VALID_S.start(),
            VALID_S.end()
        )));
    }
    let valid_ms = millis(seconds("valid_s", given, *VALID_S.end())?);
    let offer = ask(&node.ports.membership.open_pairing, OpenPairing { valid_ms }, PATIENCE).await?;
    let offer = offer.map_err(|error| Failure::from_coded(&error))?;
    Ok(PairOut {
        peer_id: node.local().to_string(),
        status: "open".into(),
        code: Some(offer.code),
        valid_s: Some(secs(offer.valid_ms)),
        addresses: offer.addresses,
        joined: None,
        address: None,
    })
}

/// Joins with a code.
async fn join(node: &Node, code: String, addresses: Option<Vec<String>>) -> Result<PairOut, Failure> {
    let addresses = match addresses {
        Some(addresses) if !addresses.is_empty() => bounded(addresses)?,
        _ => candidates(node).await?,
    };
    let pair = PairWith { code, addresses, deadline_ms: millis(JOIN_WITHIN) };
    let paired = ask(&node.ports.membership.pair_with, pair, JOIN_WITHIN.saturating_add(PATIENCE)).await?;
    let paired = paired.map_err(|error| Failure::from_coded(&error))?;
    Ok(PairOut {
        peer_id: node.local().to_string(),
        status: "joined".into(),
        code: None,
        valid_s: None,
        addresses: Vec::new(),
        joined: Some(paired.peer.to_string()),
        address: Some(paired.address),
    })
}

/// Addresses of peers that were found but are not connected, such as those of the local network: one of them may be the
/// node with the code.
async fn candidates(node: &Node) -> Result<Vec<String>, MeshError> {
    let book = ask(&node.ports.membership.members, ListMembers::default(), PATIENCE).await?;
    let addresses: Vec<String> = book
        .iter()
        .filter(|view| matches!(view.state, PeerState::Known | PeerState::Stale))
        .take(CANDIDATES)
        .flat_map(addresses_of)
        .collect();
    if addresses.is_empty() {
        let message = "no node was found with which this one is not connected yet: give addresses, as the node with the \
                       code shows them";
        return Err(MeshError::new(ErrorCode::Unreachable, message));
    }
    Ok(addresses)
}

fn addresses_of(view: &MemberView) -> impl Iterator<Item = String> {
    view.addresses.iter().take(ADDRESSES_OF_ONE).map(|known| member_address(&known.address, &view.peer))
}
