//! Who this node is: an ed25519 key, made once and kept in a private file. The peer id is the hash of its public key.

use crate::private_file::{self, PrivateFileError};
use libp2p::identity::Keypair;
use meshwork_proto::{Coded, ErrorCode, PeerId};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// An encoded ed25519 key has 68 bytes.
const MAX_KEY_FILE: u64 = 4096;

/// Why the node's key could not be loaded or made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file could not be read or made.
    #[error("node key: {0}")]
    File(#[from] PrivateFileError),
    /// The file does not hold a key.
    #[error(
        "node key: {path} does not hold an ed25519 key ({problem}): restore it from a copy, or move it away to get \
         a new identity (peers that allow this node by its id must then be told the new one)",
        path = path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Coded for IdentityError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File(error) => error.code(),
            Self::Damaged { .. } => ErrorCode::Corrupt,
        }
    }
}

/// The node's key pair and the peer id that follows from it.
#[derive(Clone)]
pub struct NodeIdentity {
    key: Keypair,
    peer: PeerId,
}

impl NodeIdentity {
    /// A new identity that is kept nowhere: for programs that are not nodes, and for tests.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_key(Keypair::generate_ed25519())
    }

    /// Loads the key from a file, or makes one and writes it there with mode 0600. The file holds the key in
    /// libp2p's own encoding, so other libp2p programs can read it.
    ///
    /// # Errors
    /// When the file is exposed to other users, is damaged, or cannot be read or written.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::load(path)? {
            return Ok(identity);
        }
        let made = Self::generate();
        let encoded = made.key.to_protobuf_encoding().map_err(|error| damaged(path, error))?;
        if private_file::create(path, &Zeroizing::new(encoded))? {
            return Ok(made);
        }
        // Another process made one at the same moment: that one counts.
        Self::load(path)?.ok_or_else(|| damaged(path, "it disappeared while it was read"))
    }

    /// The node's peer id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer.clone()
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.key
    }

    pub(crate) fn libp2p_id(&self) -> libp2p::PeerId {
        self.key.public().to_peer_id()
    }

    fn from_key(key: Keypair) -> Self {
        let peer = crate::address::peer_of(&key.public().to_peer_id());
        Self { key, peer }
    }

    fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = private_file::read(path, MAX_KEY_FILE)? else { return Ok(None) };
        let key = Keypair::from_protobuf_encoding(&bytes).map_err(|error| damaged(path, error))?;
        Ok(Some(Self::from_key(key)))
    }
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIdentity").field("peer", &self.peer).finish_non_exhaustive()
    }
}

fn damaged(path: &Path, problem: impl fmt::Display) -> IdentityError {
    IdentityError::Damaged { path: path.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_stays_the_same_from_start_to_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let first = NodeIdentity::load_or_create(&path).unwrap();
        assert_eq!(NodeIdentity::load_or_create(&path).unwrap().peer_id(), first.peer_id());
        assert_ne!(NodeIdentity::generate().peer_id(), first.peer_id());
    }

    #[test]
    fn a_damaged_key_is_an_error_and_never_a_silent_new_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        private_file::create(&path, b"not a key").unwrap();
        let error = NodeIdentity::load_or_create(&path).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Corrupt);
        assert_eq!(std::fs::read(&path).unwrap(), b"not a key");
    }

    #[test]
    fn its_debug_form_shows_the_peer_id_and_not_the_key() {
        let identity = NodeIdentity::generate();
        let shown = format!("{identity:?}");
        assert!(shown.contains(identity.peer_id().as_str()));
        assert!(!shown.to_lowercase().contains("key"));
    }
}
