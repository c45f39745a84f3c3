//! Whom to contact at the start: configured peers, who wrote the invitation, and who wrote the last one.
//!
//! An invitation is given once. Its secret is kept in the data directory, and so are its addresses: a node that joined
//! finds its mesh again after a restart without it.

use crate::config::NodeConfig;
use meshwork_peers::bootstrap::FirstContact;
use meshwork_proto::discovery::Source;
use meshwork_proto::transport::PeerTarget;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

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
    let mut seen = std::collections::BTreeSet::new();
    let configured = config.p2p.peers.iter().map(|address| (address, Source::Configured));
    configured
        .chain(invited.iter().map(|address| (address, Source::Invitation)))
        .filter(|(address, _)| seen.insert(*address))
        .map(|(address, source)| FirstContact { target: PeerTarget::Address(address.clone()), source })
        .collect()
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
