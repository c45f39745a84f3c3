//! Connecting to a peer that was found, by its candidate addresses, and sending a peer away.

use crate::address::{self, Endpoint};
use crate::call::Deadline;
use crate::shared::Core;
use crate::swarm::{Connected, Target, TrustCommand, Until};
use libp2p::{Multiaddr, PeerId as Libp2pId};
use meshwork_proto::PeerId;
use meshwork_proto::transport::{
    AddressFailure, CallError, ConnectError, ConnectPeer, ConnectedPeer, DisconnectPeer,
};
use std::time::Duration;

/// Addresses tried at a time, the most promising ones: a source may name any number.
const MAX_CANDIDATES: usize = 16;

/// An address as it was given, and as it is dialled.
struct Candidate {
    text: String,
    endpoint: Endpoint,
}

/// Addresses that failed, as they were given.
type Failures = Vec<(String, AddressFailure)>;

impl Core {
    /// Serves [`ConnectPeer`].
    pub(crate) async fn connect_peer(&self, request: ConnectPeer) -> Result<ConnectedPeer, ConnectError> {
        let deadline = Deadline::in_ms(request.deadline_ms);
        let (candidates, mut failures) = self.candidates(&request);
        let connected = match &request.peer {
            Some(peer) if *peer == self.local => {
                let all = request.addresses.iter().take(MAX_CANDIDATES);
                failures = all.map(|address| (address.clone(), AddressFailure::Ourselves)).collect();
                Err(unreachable(peer.to_string(), "it is this node itself"))
            }
            Some(peer) => self.connect_expected(peer, candidates, &mut failures, deadline).await,
            None => self.connect_whoever(candidates, &mut failures, deadline).await,
        };
        connected.map_err(|error| ConnectError { error, failed: failures })
    }

    /// Serves [`DisconnectPeer`].
    pub(crate) async fn disconnect_peer(&self, request: DisconnectPeer) -> bool {
        let peer = request.peer;
        self.ask_swarm(|reply| TrustCommand::Disconnect { peer, reply }).await.unwrap_or(false)
    }

    /// The addresses that can be dialled, and those that cannot.
    fn candidates(&self, request: &ConnectPeer) -> (Vec<Candidate>, Failures) {
        let expected: Option<Libp2pId> = request.peer.as_ref().and_then(address::libp2p_id);
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut failures = Vec::new();
        for text in request.addresses.iter().take(MAX_CANDIDATES) {
            let endpoint = match address::parse(text) {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    failures.push((text.clone(), AddressFailure::Unreachable(error.to_string())));
                    continue;
                }
            };
            if self.listens_on(&endpoint) {
                failures.push((text.clone(), AddressFailure::Ourselves));
            } else if let (Some(named), Some(expected)) = (endpoint.peer, expected)
                && named != expected
            {
                let named = address::peer_of(&named);
                failures.push((
                    text.clone(),
                    AddressFailure::Unreachable(format!("it is an address of peer {named}")),
                ));
            } else if !candidates.iter().any(|known| known.endpoint.address == endpoint.address) {
                candidates.push(Candidate { text: text.clone(), endpoint });
            }
        }
        (candidates, failures)
    }

    /// All addresses at once, for one peer. libp2p gives a dial up when somebody else answers at one of them; the others
    /// are tried again without it.
    async fn connect_expected(
        &self,
        peer: &PeerId,
        mut candidates: Vec<Candidate>,
        failures: &mut Failures,
        deadline: Deadline,
    ) -> Result<ConnectedPeer, CallError> {
        let name = peer.to_string();
        let Some(id) = address::libp2p_id(peer) else { return Err(CallError::UnknownPeer(name)) };
        loop {
            let addresses: Vec<Multiaddr> =
                candidates.iter().map(|candidate| candidate.endpoint.address.clone()).collect();
            let target = Target::Candidates(id, addresses);
            let error = match self.reach(&name, target, false, Until::Admitted, deadline).await {
                Ok(connected) => return answered(connected, &name),
                Err(error) => error,
            };
            let mut somebody_else = false;
            for (address, failure) in as_given(error.failed, &candidates) {
                somebody_else |= !matches!(failure, AddressFailure::Unreachable(_));
                candidates.retain(|candidate| candidate.text != address);
                failures.push((address, failure));
            }
            if !somebody_else || candidates.is_empty() || deadline.left().is_zero() {
                return Err(error.error);
            }
        }
    }

    /// One address after another: whoever answers at one of them is the peer.
    async fn connect_whoever(
        &self,
        candidates: Vec<Candidate>,
        failures: &mut Failures,
        deadline: Deadline,
    ) -> Result<ConnectedPeer, CallError> {
        let mut last = None;
        let count = candidates.len();
        for (index, candidate) in candidates.into_iter().enumerate() {
            // A silent address must not take the time of those behind it.
            let share = deadline.left() / u32::try_from(count - index).unwrap_or(1).max(1);
            let turn = Deadline::in_ms(millis(share));
            let target = Target::Address(candidate.endpoint.clone());
            match self.reach(&candidate.text, target, false, Until::Admitted, turn).await {
                Ok(Connected::Local) => {
                    last = Some(unreachable(candidate.text.clone(), "it is this node itself"));
                    failures.push((candidate.text, AddressFailure::Ourselves));
                }
                Ok(connected) => return answered(connected, &candidate.text),
                Err(error) => {
                    failures.extend(as_given(error.failed, &[candidate]));
                    last = Some(error.error);
                }
            }
        }
        Err(last.unwrap_or_else(|| unreachable("peer".into(), "no address of it can be dialled")))
    }
}

fn answered(connected: Connected, name: &str) -> Result<ConnectedPeer, CallError> {
    match connected {
        Connected::Local => Err(unreachable(name.to_owned(), "this node itself answered")),
        Connected::Peer(session, address) => Ok(ConnectedPeer {
            peer: session.peer.clone(),
            address: address.map(|address| address.to_string()),
        }),
    }
}

/// What is known of single addresses, by the names under which they were given.
fn as_given(known: Failures, tried: &[Candidate]) -> Failures {
    let given = |(address, failure): (String, AddressFailure)| {
        let candidate = tried.iter().find(|candidate| candidate.endpoint.address.to_string() == address);
        Some((candidate?.text.clone(), failure))
    };
    known.into_iter().filter_map(given).collect()
}

fn unreachable(target: String, problem: &str) -> CallError {
    CallError::Unreachable { target, problem: problem.to_owned() }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
