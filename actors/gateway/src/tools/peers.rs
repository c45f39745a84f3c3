//! The tools of membership: who is in the mesh, how each peer was found, and what changes that.
//!
//! All but pairing can be asked of a peer as well. What takes something away from others there, or reads files and names
//! of that machine, needs the admin role at that peer; the peer judges that (`dispatch/membership.rs`).

pub(super) mod bootstrap;
pub(super) mod change;
pub(super) mod find;
mod member;
mod names;
pub(super) mod pair;
pub(super) mod public_ip;
pub(super) mod register;

use super::input::{invalid, seconds};
use super::{Failure, Hints};
use meshwork_proto::{MeshError, PeerId};
use std::time::Duration;

/// Seconds that looking for peers and connecting to them may take when none are given.
const DEFAULT_TIMEOUT_S: f64 = 10.0;
/// Most seconds that it may take: what a node accepts.
const MAX_TIMEOUT_S: f64 = 120.0;
/// Most peers that are listed: the cap of the peer book's answers.
const MAX_PEERS: u32 = 1000;
/// Most addresses in one call.
const MAX_ADDRESSES: usize = 64;

/// Looks for peers, perhaps outside of the mesh, and enters whom it finds; without harm when it is done twice.
const FINDS: Hints = Hints { read_only: false, destructive: false, idempotent: true, open_world: true };
/// Takes something away; without further harm when it is done twice.
const TAKES: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: false };

/// Reads `timeout_s`.
fn within(timeout_s: Option<f64>) -> Result<Duration, MeshError> {
    let given = timeout_s.unwrap_or(DEFAULT_TIMEOUT_S);
    let timeout = seconds("timeout_s", given, MAX_TIMEOUT_S)?;
    if timeout.is_zero() {
        return Err(invalid(format!("timeout_s is {given}: expected more than 0 seconds")));
    }
    Ok(timeout)
}

/// Reads `max_peers`.
fn at_most(max_peers: Option<u32>) -> Result<u32, MeshError> {
    let most = max_peers.unwrap_or(MAX_PEERS);
    if (1..=MAX_PEERS).contains(&most) {
        return Ok(most);
    }
    Err(invalid(format!("max_peers is {most}, which is out of range: expected 1 to {MAX_PEERS}")))
}

/// Reads `peer_id`, the peer that a tool is about.
fn subject(text: &str) -> Result<PeerId, Failure> {
    text.parse().map_err(|error| Failure::invalid(format!("peer_id: {error}")))
}

/// An address of the book as it is dialled: with the id of the peer that must answer there.
fn member_address(address: &str, peer: &PeerId) -> String {
    let end = format!("/p2p/{peer}");
    if address.ends_with(&end) { address.to_owned() } else { format!("{address}{end}") }
}

/// Checks that there are not too many addresses; what they are is looked at where they are dialled.
fn bounded(addresses: Vec<String>) -> Result<Vec<String>, MeshError> {
    if addresses.len() > MAX_ADDRESSES {
        let message = format!("{} addresses are given: at most {MAX_ADDRESSES}", addresses.len());
        return Err(invalid(message));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_have_defaults_and_limits() {
        assert_eq!(within(None).unwrap(), Duration::from_secs(10));
        assert_eq!(within(Some(0.25)).unwrap(), Duration::from_millis(250));
        for wrong in [0.0, -1.0, 121.0, f64::NAN] {
            assert!(within(Some(wrong)).unwrap_err().message.contains("timeout_s"), "{wrong}");
        }
        assert_eq!((at_most(None).unwrap(), at_most(Some(7)).unwrap()), (1000, 7));
        assert!(at_most(Some(0)).is_err() && at_most(Some(1001)).is_err());
        assert!(bounded(vec![String::new(); MAX_ADDRESSES + 1]).is_err());
    }
}
