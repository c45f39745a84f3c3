//! Whom to contact at the start: configured peers, who wrote the invitation, and who wrote the last one; and what first
//! contacts are told of the connections.
//!
//! An invitation is given once. Its secret is kept in the data directory, and so are its addresses: a node that joined
//! finds its mesh again after a restart without it.

use crate::config::NodeConfig;
use meshwork_network::NetworkStatus;
use meshwork_peers::bootstrap::FirstContact;
use meshwork_proto::PeerId;
use meshwork_proto::discovery::Source;
use meshwork_proto::transport::PeerTarget;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Most addresses that are kept.
const MAX_KEPT: usize = 64;

/// The file `contacts.json` in the data directory.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Contacts {
    /// Format; only 1 exists.
    version: u32,
    /// Multiaddresses with `/p2p/<id>`.
    invited_by: Vec<String>,
}

/// The first contacts, each once, and which of the two named it.
pub(super) fn first(config: &NodeConfig) -> Vec<FirstContact> {
    let file = config.data().path().join("contacts.json");
    let invited = match config.p2p.invitation() {
        Some(invitation) => {
            let peer = invitation.peer;
            let invited: Vec<String> = invitation
                .addresses
                .iter()
                .take(MAX_KEPT)
                .map(|address| format!("{address}/p2p/{peer}"))
                .collect();
            keep(&file, &invited);
            invited
        }
        None => kept(&file),
    };
    let mut seen = BTreeSet::new();
    let configured = config.p2p.peers.iter().map(|address| (address, Source::Configured));
    configured
        .chain(invited.iter().map(|address| (address, Source::Invitation)))
        .filter(|(address, _)| seen.insert(*address))
        .map(|(address, source)| FirstContact { target: PeerTarget::Address(address.clone()), source })
        .collect()
}

/// Which admitted peers are connected, as it changes: a moment after it did, and no more than there may be connections.
pub(super) fn connected(
    runtime: &Handle,
    mut status: watch::Receiver<NetworkStatus>,
) -> watch::Receiver<Arc<BTreeSet<PeerId>>> {
    let (changes, connected) = watch::channel(Arc::new(admitted(&status.borrow_and_update())));
    runtime.spawn(async move {
        while status.changed().await.is_ok() {
            let now = admitted(&status.borrow_and_update());
            changes.send_if_modified(|known| {
                let changed = **known != now;
                if changed {
                    *known = Arc::new(now);
                }
                changed
            });
        }
    });
    connected
}

fn admitted(status: &NetworkStatus) -> BTreeSet<PeerId> {
    let admitted = status.connections.iter().filter(|connection| connection.role.is_some());
    admitted.map(|connection| connection.peer.clone()).collect()
}

fn keep(file: &Path, invited: &[String]) {
    let contacts = Contacts { version: 1, invited_by: invited.to_vec() };
    let written = serde_json::to_vec_pretty(&contacts).map_err(io::Error::from).and_then(|text| {
        let temporary: PathBuf = file.with_extension("new");
        std::fs::write(&temporary, text)?;
        std::fs::rename(&temporary, file)
    });
    if let Err(error) = written {
        tracing::warn!(%error, "the invitation's addresses are not kept: give it again at the next start");
    }
}

fn kept(file: &Path) -> Vec<String> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "kept contacts cannot be read");
            return Vec::new();
        }
    };
    match serde_json::from_slice::<Contacts>(&bytes) {
        Ok(contacts) if contacts.version == 1 => contacts.invited_by,
        Ok(contacts) => {
            tracing::warn!(
                version = contacts.version,
                known = 1,
                "kept contacts were written by a newer version"
            );
            Vec::new()
        }
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "kept contacts are damaged: remove the file, or join again");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshwork_network::ConnectionStatus;
    use meshwork_proto::Role;
    use meshwork_proto::transport::Reachability;

    const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

    fn connection(peer: &str, role: Option<Role>) -> ConnectionStatus {
        ConnectionStatus {
            peer: peer.parse().unwrap(),
            role,
            address: "/ip4/192.0.2.7/tcp/4001".into(),
            direction: "out",
            transport: "tcp",
            rtt_us: None,
            agent: None,
        }
    }

    #[tokio::test]
    async fn who_is_connected_and_admitted_is_told_when_it_changes_and_strangers_are_not_told_of() {
        let quiet = NetworkStatus {
            peer: A.parse().unwrap(),
            listen: Vec::new(),
            connections: Vec::new(),
            admitted: 0,
            strangers: 0,
            kept: 0,
            kept_lost: 0,
            dialling: 0,
            reachability: Reachability::Unknown,
            external: Vec::new(),
            relays: Vec::new(),
            observed: Vec::new(),
        };
        let (network, status) = watch::channel(quiet.clone());
        let mut told = connected(&Handle::current(), status);
        assert!(told.borrow_and_update().is_empty());
        let member = connection(B, Some(Role::Member));
        let both = vec![member.clone(), connection(A, None), member];
        network.send_replace(NetworkStatus { connections: both, ..quiet.clone() });
        told.changed().await.unwrap();
        assert_eq!(**told.borrow_and_update(), [B.parse().unwrap()].into());
        network.send_replace(quiet);
        told.changed().await.unwrap();
        assert!(told.borrow_and_update().is_empty());
        drop(network);
        assert!(told.changed().await.is_err(), "it ends with the network");
    }

    #[test]
    fn what_was_kept_is_there_at_the_next_start_and_damage_is_no_reason_not_to_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("contacts.json");
        assert!(kept(&file).is_empty());
        let invited = vec![
            "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".to_owned(),
        ];
        keep(&file, &invited);
        assert_eq!(kept(&file), invited);
        std::fs::write(&file, r#"{"version": 1, "invited_by": ["/ip4/192.0.2.7/tcp/4001"]}"#).unwrap();
        assert_eq!(kept(&file), ["/ip4/192.0.2.7/tcp/4001"]);
        std::fs::write(&file, r#"{"version": 2, "peers": []}"#).unwrap();
        assert!(kept(&file).is_empty());
        std::fs::write(&file, "{").unwrap();
        assert!(kept(&file).is_empty());
    }
}
