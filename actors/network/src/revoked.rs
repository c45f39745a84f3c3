//! Revoked peers: who they are, and the file that remembers it.
//!
//! The file is JSON, `{"version": 1, "revoked": [{"peer": "12D3KooW...", "at_ms": 1767225600000}]}`, mode 0600, and replaced
//! as a whole: a revocation counts when it is on disk. A file that cannot be read is an error at the start, because a node
//! that went on without it would let in whom its operator has thrown out.

use crate::private_file::{self, PrivateFileError};
use crate::shared::Core;
use crate::swarm::TrustCommand;
use meshwork_proto::transport::{RevokeError, RevokePeer, Revoked, ShutOut};
use meshwork_proto::{Coded, ErrorCode, PeerId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Revoked peers at a time. A mesh that has thrown out more than that needs another secret.
pub(crate) const MAX_REVOKED: usize = 10_000;
/// Version of the file that this build writes and reads.
const VERSION: u32 = 1;
/// Largest file, in bytes: more than so many peers take.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Why the revoked peers could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RevocationsError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// It does not hold what it should.
    #[error(
        "{path} is damaged ({problem}): restore it from a copy, or move it away and revoke the peers again \
         (until then they are admitted)",
        path = path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Written by a later build.
    #[error(
        "{path} has version {found}, this build reads version {VERSION}: it was written by a newer meshwork, use that",
        path = path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The version it has.
        found: u32,
    },
}

impl Coded for RevocationsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File(error) => error.code(),
            Self::Damaged { .. } | Self::Newer { .. } => ErrorCode::Corrupt,
        }
    }
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    revoked: Vec<KeptPeer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptPeer {
    peer: PeerId,
    /// When it was revoked, for whoever reads the file.
    at_ms: UnixMillis,
}

/// The revoked peers.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    path: Option<PathBuf>,
    revoked: BTreeMap<PeerId, UnixMillis>,
}

impl Revocations {
    /// Reads the file, if there is one; none: they are kept in memory only.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, RevocationsError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let revoked = match private_file::read(path, MAX_FILE)? {
            Some(bytes) => parse(path, &bytes)?,
            None => BTreeMap::new(),
        };
        Ok(Self { path: Some(path.to_owned()), revoked })
    }

    /// Who is revoked.
    pub(crate) fn peers(&self) -> BTreeSet<PeerId> {
        self.revoked.keys().cloned().collect()
    }

    /// Changes the list and writes it down; whether that is a change.
    async fn set(&mut self, peer: &PeerId, revoked: bool, now: UnixMillis) -> Result<bool, RevokeError> {
        if self.revoked.contains_key(peer) == revoked {
            return Ok(false);
        }
        let mut changed = self.revoked.clone();
        if revoked {
            if changed.len() >= MAX_REVOKED {
                return Err(RevokeError::TooMany(changed.len()));
            }
            changed.insert(peer.clone(), now);
        } else {
            changed.remove(peer);
        }
        if let Some(path) = self.path.clone() {
            let text = written(&changed).map_err(|error| RevokeError::NotKept(error.to_string()))?;
            let writing = tokio::task::spawn_blocking(move || private_file::replace(&path, &text)).await;
            match writing {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(RevokeError::NotKept(error.to_string())),
                Err(error) => return Err(RevokeError::NotKept(error.to_string())),
            }
        }
        self.revoked = changed;
        Ok(true)
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<BTreeMap<PeerId, UnixMillis>, RevocationsError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let damaged = |problem: String| RevocationsError::Damaged { path: path.to_owned(), problem };
    // First the version alone: a later one may look different.
    let Version { version } = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if version > VERSION {
        return Err(RevocationsError::Newer { path: path.to_owned(), found: version });
    }
    let kept: Kept = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if kept.revoked.len() > MAX_REVOKED {
        return Err(damaged(format!("{} peers, at most {MAX_REVOKED} can be revoked", kept.revoked.len())));
    }
    Ok(kept.revoked.into_iter().map(|kept| (kept.peer, kept.at_ms)).collect())
}

fn written(revoked: &BTreeMap<PeerId, UnixMillis>) -> Result<Vec<u8>, serde_json::Error> {
    let revoked = revoked.iter().map(|(peer, at)| KeptPeer { peer: peer.clone(), at_ms: *at }).collect();
    let mut text = serde_json::to_vec_pretty(&Kept { version: VERSION, revoked })?;
    text.push(b'\n');
    Ok(text)
}

impl Core {
    /// Serves [`RevokePeer`]: first on disk, then in effect.
    pub(crate) async fn revoke(&self, request: RevokePeer) -> Result<Revoked, RevokeError> {
        let RevokePeer { peer, undo } = request;
        if peer == self.local {
            return Err(RevokeError::Ourselves(peer));
        }
        // Held until it is in effect: what is on disk and what is done follow in the same order.
        let mut revocations = self.revocations.lock().await;
        let mut changed = revocations.set(&peer, !undo, self.deps.clock.now()).await?;
        let mut closed = 0;
        if undo {
            let let_in = self.ask_swarm(|reply| TrustCommand::LetIn { peer: peer.clone(), reply });
            changed |= let_in.await.unwrap_or(false);
        } else if changed {
            let peers = [peer.clone()].into();
            let revoked = self.ask_swarm(|reply| TrustCommand::Revoke { peers, reply });
            closed = revoked.await.unwrap_or(0);
        }
        if changed {
            let what = if undo { "peer is let in again" } else { "peer is revoked" };
            tracing::warn!(%peer, closed, "{what}");
        }
        Ok(Revoked { revoked: !undo, changed, closed })
    }

    /// Serves [`ListShutOut`](meshwork_proto::transport::ListShutOut).
    pub(crate) async fn list_shut_out(&self) -> Vec<ShutOut> {
        self.ask_swarm(|reply| TrustCommand::ListShutOut { reply }).await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeIdentity;
    use std::os::unix::fs::PermissionsExt;

    const NOW: UnixMillis = UnixMillis(1_767_225_600_000);

    #[tokio::test]
    async fn a_revocation_is_on_disk_for_its_owner_alone_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked.json");
        let (a, b) = (NodeIdentity::generate().peer_id(), NodeIdentity::generate().peer_id());
        let mut revocations = Revocations::load(Some(&path)).unwrap();
        assert!(revocations.set(&a, true, NOW).await.unwrap());
        assert!(!revocations.set(&a, true, NOW).await.unwrap());
        assert!(revocations.set(&b, true, NOW).await.unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(Revocations::load(Some(&path)).unwrap().peers(), [a.clone(), b.clone()].into());
        assert!(revocations.set(&a, false, NOW).await.unwrap());
        assert_eq!(Revocations::load(Some(&path)).unwrap().peers(), [b].into());
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut revocations = Revocations::load(Some(&folder.path().join("none/revoked.json"))).unwrap();
        let refused = revocations.set(&NodeIdentity::generate().peer_id(), true, NOW).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Storage);
        assert!(revocations.peers().is_empty());
    }

    #[tokio::test]
    async fn only_so_many_can_be_revoked() {
        let mut revocations = Revocations::default();
        for _ in 0..MAX_REVOKED {
            revocations.revoked.insert(NodeIdentity::generate().peer_id(), NOW);
        }
        let refused = revocations.set(&NodeIdentity::generate().peer_id(), true, NOW).await.unwrap_err();
        assert_eq!(refused, RevokeError::TooMany(MAX_REVOKED));
    }

    #[test]
    fn a_damaged_file_is_a_clear_error_and_a_newer_one_another() {
        let folder = tempfile::tempdir().unwrap();
        for (n, (text, problem)) in [
            ("{\"version\": 1, \"revoked\": [", "damaged"),
            ("{\"version\": 1, \"revoked\": [{\"peer\": \"nobody\", \"at_ms\": 1}]}", "damaged"),
            ("{\"revoked\": []}", "damaged"),
            ("{\"version\": 2, \"peers\": {}}", "newer meshwork"),
        ]
        .into_iter()
        .enumerate()
        {
            let path = folder.path().join(format!("{n}.json"));
            private_file::create(&path, text.as_bytes()).unwrap();
            let error = Revocations::load(Some(&path)).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert_eq!(error.code(), ErrorCode::Corrupt);
        }
    }
}
