//! The libp2p swarm, in a task of its own, and what others may ask of it.
//!
//! Nothing is awaited inside the loop: streams, handshakes and requests run in tasks of their own. [`peers`],
//! [`keep`] and [`book`] are pure state; `driver` polls the swarm and applies what they decide.

mod behaviour;
mod book;
mod dialling;
mod driver;
mod events;
mod keep;
mod listening;
mod peers;
mod streams;

pub(crate) use behaviour::build;
pub(crate) use driver::Driver;
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
}
