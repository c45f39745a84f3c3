//! The libp2p swarm, in a task of its own, and what others may ask of it.
//!
//! Nothing is awaited inside the loop: streams, handshakes and requests run in tasks of their own. [`peers`],
//! [`keep`], [`book`] and the tables in [`reach`] are pure state; `driver` polls the swarm and applies what they decide.
//! [`reach`] is everything about finding peers, being found and being reached.

mod behaviour;
mod book;
mod dialling;
mod driver;
mod events;
mod keep;
mod listening;
mod peers;
mod reach;
mod streams;
mod trusting;

pub(crate) use behaviour::build;
pub(crate) use driver::Driver;
pub(crate) use reach::{LookUpReply, RENDEZVOUS};
#[cfg(test)]
pub(crate) use streams::Behaviour as Streams;
pub(crate) use streams::{OpenReply, OpenStreamError, OpenedStream};
pub(crate) use trusting::TrustCommand;

use crate::address::Endpoint;
use crate::session::PeerSession;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use meshwork_proto::transport::ConnectError;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Whom to connect to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// By id: connected already, or at addresses known from before.
    Peer(PeerId),
    /// By address.
    Address(Endpoint),
    /// At whichever of these addresses it answers first.
    Candidates(PeerId, Vec<Multiaddr>),
}

impl Target {
    /// Who is expected, when that is known.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Peer(peer) | Self::Candidates(peer, _) => Some(*peer),
            Self::Address(endpoint) => endpoint.peer,
        }
    }

    /// Where it is tried, as far as that was said.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match self {
            Self::Peer(_) => Vec::new(),
            Self::Address(endpoint) => vec![endpoint.address.to_string()],
            Self::Candidates(_, addresses) => addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What a dial led to.
#[derive(Debug)]
pub(crate) enum Connected {
    /// This node itself answered.
    Local,
    /// A peer, and the address at which it was dialled for this, if it was.
    Peer(Arc<PeerSession>, Option<Multiaddr>),
}

/// Where the outcome of a connect goes.
pub(crate) type ConnectReply = oneshot::Sender<Result<Connected, ConnectError>>;

/// What somebody who connects waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// A connection, whatever the two sides think of each other.
    Connected,
    /// That both sides admit each other.
    Admitted,
}

/// What the swarm task is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Connect.
    Connect {
        /// To whom.
        target: Target,
        /// As the asker named it.
        name: String,
        /// Open the connection again whenever it is lost.
        keep: bool,
        /// What to wait for.
        until: Until,
        /// The outcome.
        reply: ConnectReply,
    },
    /// Open a stream on the newest connection to a peer.
    Open {
        /// To whom.
        peer: PeerId,
        /// For what: the first of these that the peer speaks.
        protocols: Vec<StreamProtocol>,
        /// The stream; dropped when the connection is lost meanwhile.
        reply: OpenReply,
    },
    /// Look peers up, or enter this node.
    Directory(DirectoryCommand),
    /// Have the node's own addresses tried out with these IP addresses.
    Consider {
        /// Under which the node seems to be seen.
        ips: Vec<IpAddr>,
        /// The candidates.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Something about whom this node trusts.
    Trust(TrustCommand),
}

/// Something that is asked of a directory.
#[derive(Debug)]
pub(crate) struct DirectoryCommand {
    /// Where.
    pub(crate) place: Place,
    /// About which name; not longer than the directory takes.
    pub(crate) name: String,
    /// What.
    pub(crate) act: Act,
    /// How long it may take from now.
    pub(crate) deadline_ms: u64,
    /// The outcome.
    pub(crate) reply: LookUpReply,
}

/// A directory that can be asked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The mesh's own table.
    Dht,
    /// The public table.
    PublicDht,
    /// A rendezvous point, which is connected.
    Rendezvous(PeerId),
}

/// What is asked of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Who is entered?
    LookUp,
    /// Enter this node.
    Enter {
        /// For how long at least.
        ttl_s: u64,
    },
    /// Take the entry back.
    Withdraw,
}
