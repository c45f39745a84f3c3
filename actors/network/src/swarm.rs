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

pub(crate) use behaviour::build;
pub(crate) use driver::Driver;
pub(crate) use reach::{LookUpReply, RENDEZVOUS};
pub(crate) use streams::OpenStreamError;

use crate::address::Endpoint;
use crate::session::PeerSession;
use libp2p::{PeerId, Stream, StreamProtocol};
use meshwork_proto::transport::CallError;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Whom to connect to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// By id: connected already, or at addresses known from before.
    Peer(PeerId),
    /// By address.
    Address(Endpoint),
}

impl Target {
    /// Who is expected, when that is known.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Peer(peer) => Some(*peer),
            Self::Address(endpoint) => endpoint.peer,
        }
    }
}

/// What a dial led to.
#[derive(Debug)]
pub(crate) enum Connected {
    /// This node itself answered.
    Local,
    /// A peer, admitted on both sides.
    Peer(Arc<PeerSession>),
}

/// Where the outcome of a connect goes.
pub(crate) type ConnectReply = oneshot::Sender<Result<Connected, CallError>>;

/// What the swarm task is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Connect, and wait for admission.
    Connect {
        /// To whom.
        target: Target,
        /// As the asker named it.
        name: String,
        /// Open the connection again whenever it is lost.
        keep: bool,
        /// The outcome.
        reply: ConnectReply,
    },
    /// Open a stream on the newest connection to a peer.
    Open {
        /// To whom.
        peer: PeerId,
        /// For what.
        protocol: StreamProtocol,
        /// The stream; dropped when the connection is lost meanwhile.
        reply: oneshot::Sender<Result<Stream, OpenStreamError>>,
    },
    /// Look peers up, or enter this node.
    Directory(DirectoryCommand),
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
