//! One try at a contact, over the network's ports.

use super::actor::BootstrapDeps;
use super::contacts::{How, Outcome};
use meshwork_proto::transport::{
    AddressFailure, CallError, ConnectError, ConnectPeer, ConnectedPeer, DialPeer,
};
use std::time::Duration;

/// How much longer the network is waited for: its own words about a deadline say more.
const GRACE: Duration = Duration::from_secs(1);

/// Tries a contact; the network has `within` for it.
pub(super) async fn attempt(deps: BootstrapDeps, how: How, within: Duration) -> Outcome {
    let wait = within.saturating_add(GRACE);
    let deadline_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    match how {
        How::Keep(target) => match deps.dial.ask(DialPeer { target, deadline_ms }, wait).await {
            Ok(Ok(peer)) => Outcome::Reached { peer, address: None },
            Ok(Err(error)) => failed(&error, Vec::new()),
            Err(error) => {
                Outcome::Failed { problem: error.to_string(), for_long: false, ourselves: Vec::new() }
            }
        },
        How::Connect { peer, addresses } => {
            match deps.connect.ask(ConnectPeer { peer, addresses, deadline_ms }, wait).await {
                Ok(Ok(ConnectedPeer { peer, address })) => Outcome::Reached { peer, address },
                Ok(Err(ConnectError { error, failed: each })) => {
                    let ours = |(address, failure): (String, AddressFailure)| {
                        (failure == AddressFailure::Ourselves).then_some(address)
                    };
                    failed(&error, each.into_iter().filter_map(ours).collect())
                }
                Err(error) => {
                    Outcome::Failed { problem: error.to_string(), for_long: false, ourselves: Vec::new() }
                }
            }
        }
    }
}

fn failed(error: &CallError, ourselves: Vec<String>) -> Outcome {
    let for_long = matches!(error, CallError::NotAdmitted { .. });
    Outcome::Failed { problem: error.to_string(), for_long, ourselves }
}
