//! Why a network did not start or stop, and libp2p's dial errors in words for a person.

use crate::address::{peer_of, split};
use crate::revoked::RevocationsError;
use libp2p::allow_block_list::Blocked;
use libp2p::core::transport::TransportError;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId as Libp2pId};
use meshwork_proto::transport::{AddressFailure, CallError};
use meshwork_proto::{Coded, ErrorCode};
use std::error::Error;
use std::io;
use std::time::Duration;

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error(
        "listen address {address} is in use by another process: stop that one, or choose another port with --listen \
         (port 0 takes a free one)"
    )]
    AddressInUse {
        /// As configured.
        address: String,
    },
    /// Not an address that can be listened on.
    #[error("{address:?} cannot be listened on ({problem}): expected for example /ip4/0.0.0.0/tcp/4001")]
    BadAddress {
        /// As configured.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// The operating system said no.
    #[error("listen address {address} cannot be used: {problem}")]
    Listen {
        /// As configured.
        address: String,
        /// What it said.
        problem: String,
    },
    /// Who was revoked cannot be read.
    #[error("revoked peers: {0}")]
    Revocations(#[from] RevocationsError),
    /// libp2p could not be set up.
    #[error("the network cannot be set up: {problem}")]
    Setup {
        /// Why.
        problem: String,
    },
}

impl Coded for StartError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::AddressInUse { .. } => ErrorCode::InUse,
            Self::BadAddress { .. } | Self::Listen { .. } => ErrorCode::Config,
            Self::Revocations(error) => error.code(),
            Self::Setup { .. } => ErrorCode::Internal,
        }
    }
}

impl StartError {
    /// What an I/O error on listening means for whoever configured it.
    pub(crate) fn listening(address: &Multiaddr, error: &(dyn Error + 'static)) -> Self {
        let address = address.to_string();
        let cause = root_io_error(error);
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::AddrInUse) => Self::AddressInUse { address },
            Some(io::ErrorKind::AddrNotAvailable) => {
                Self::BadAddress { address, problem: "this machine has no such address".into() }
            }
            Some(io::ErrorKind::PermissionDenied) => Self::Listen {
                address,
                problem: "permission denied (ports below 1024 are reserved on most machines)".into(),
            },
            _ => Self::Listen { address, problem: innermost(error) },
        }
    }
}

/// The network did not stop in time; what was left of it has been cut off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the network did not stop within {within:?}: {left} of its tasks were cut off")]
pub struct StopError {
    /// The time that it had.
    pub within: Duration,
    /// How many tasks were left.
    pub left: usize,
}

impl Coded for StopError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Timeout
    }
}

/// What a failed dial means for whoever asked for it.
pub(crate) fn dial_error(target: &str, expected: Option<Libp2pId>, error: &DialError) -> CallError {
    let unreachable = |problem: String| CallError::Unreachable { target: target.to_owned(), problem };
    match error {
        DialError::WrongPeerId { obtained, address } => match expected {
            Some(expected) => CallError::WrongPeer {
                address: split(address.clone()).address.to_string(),
                expected: peer_of(&expected),
                found: peer_of(obtained),
            },
            None => unreachable("another peer answered".into()),
        },
        DialError::LocalPeerId { .. } => unreachable("this node itself answered".into()),
        DialError::NoAddresses => unreachable("no address of it is known".into()),
        DialError::DialPeerConditionFalse(_) | DialError::Aborted => {
            unreachable("the dial was given up".into())
        }
        DialError::Denied { cause } if cause.downcast_ref::<Blocked>().is_some() => match expected {
            Some(peer) => {
                CallError::NotAdmitted { peer: peer_of(&peer), reason: "it is revoked or banned here".into() }
            }
            None => unreachable("a peer answered that is revoked or banned here".into()),
        },
        DialError::Denied { cause } => {
            unreachable(format!("this node's limit is reached: {}", innermost(cause)))
        }
        DialError::Transport(attempts) => unreachable(attempts_in_words(attempts)),
    }
}

/// What each address of a failed dial led to, as far as libp2p says it.
pub(crate) fn address_failures(local: Libp2pId, error: &DialError) -> Vec<(String, AddressFailure)> {
    let bare = |address: &Multiaddr| split(address.clone()).address.to_string();
    match error {
        DialError::WrongPeerId { obtained, address } if *obtained == local => {
            vec![(bare(address), AddressFailure::Ourselves)]
        }
        DialError::WrongPeerId { obtained, address } => {
            vec![(bare(address), AddressFailure::WrongPeer(peer_of(obtained)))]
        }
        DialError::LocalPeerId { address } => vec![(bare(address), AddressFailure::Ourselves)],
        DialError::Transport(attempts) => attempts
            .iter()
            .map(|(address, error)| (bare(address), AddressFailure::Unreachable(attempt_in_words(error))))
            .collect(),
        DialError::NoAddresses
        | DialError::DialPeerConditionFalse(_)
        | DialError::Aborted
        | DialError::Denied { .. } => Vec::new(),
    }
}

fn attempt_in_words(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "not a kind of address we can dial".into(),
        TransportError::Other(error) => innermost(error),
    }
}

/// One clause for each address, at most four of them.
fn attempts_in_words(attempts: &[(Multiaddr, TransportError<io::Error>)]) -> String {
    let mut clauses: Vec<String> = attempts
        .iter()
        .take(4)
        .map(|(address, error)| format!("{address}: {}", attempt_in_words(error)))
        .collect();
    if clauses.is_empty() {
        clauses.push("no address could be dialled".into());
    }
    clauses.join("; ")
}

/// The first I/O error of the operating system in a chain of causes.
fn root_io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = Some(io);
            // libp2p wraps I/O errors into I/O errors; `source` of those skips the wrapped one itself.
            if let Some(inner) = io.get_ref() {
                next = Some(inner);
                continue;
            }
        }
        next = error.source();
    }
    found
}

/// What the innermost cause says: the wrappers around it repeat each other.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        if !said.is_empty() {
            text = said;
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_behind_any_number_of_wrappers() {
        let cause = io::Error::from(io::ErrorKind::AddrInUse);
        let wrapped = io::Error::other(io::Error::other(cause));
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        let error = StartError::listening(&address, &wrapped);
        assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
        assert_eq!(error.code(), ErrorCode::InUse);
    }

    #[test]
    fn a_refused_dial_says_where_and_why() {
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let refused = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        let error = DialError::Transport(vec![(address, TransportError::Other(refused))]);
        let said = dial_error("peer", None, &error).to_string();
        assert!(said.contains("/ip4/127.0.0.1/tcp/1: connection refused"), "{said}");
    }
}
