//! The layout of a node's data directory: which file holds what.

use meshwork_proto::PeerId;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// A node's data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The directory at this path, which need not exist yet.
    #[must_use]
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The node's private key, mode 0600.
    #[must_use]
    pub(crate) fn identity(&self) -> PathBuf {
        self.0.join("identity.key")
    }

    /// The peers that were revoked, mode 0600.
    #[must_use]
    pub(crate) fn revoked(&self) -> PathBuf {
        self.0.join("revoked.json")
    }

    /// The mesh secrets, one on each line: made at the first start, or come with an invitation or a pairing; mode 0600.
    #[must_use]
    pub(crate) fn mesh_secret(&self) -> PathBuf {
        self.0.join("mesh.secret")
    }

    /// The database.
    #[must_use]
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// What the running node wrote about itself: see [`NodeFile`].
    #[must_use]
    pub(crate) fn node_file(&self) -> PathBuf {
        self.0.join("node.json")
    }
}

/// What a node writes into its data directory when it is ready, for commands that run beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeFile {
    /// Its id.
    pub(crate) peer_id: PeerId,
    /// The addresses it listens on, with the real ports and those of the real interfaces.
    pub(crate) listen: Vec<String>,
    /// Where MCP clients reach it.
    pub(crate) mcp_url: String,
    /// Its process.
    pub(crate) pid: u32,
}

impl NodeFile {
    /// Reads the file; none when no node runs in this directory.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub(crate) fn read(dir: &DataDir) -> io::Result<Option<Self>> {
        match std::fs::read(dir.node_file()) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file so that a reader sees the whole of it or the one before.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(crate) fn write(&self, dir: &DataDir) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir.path())?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.persist(dir.node_file()).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes the file at an orderly stop: its absence says that no node runs here.
    pub(crate) fn remove(dir: &DataDir) {
        if let Err(error) = std::fs::remove_file(dir.node_file()) {
            tracing::debug!(%error, "node.json was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_writes_about_itself_is_read_back_until_it_stops() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::at(temporary.path());
        assert_eq!(NodeFile::read(&dir).unwrap(), None);
        let file = NodeFile {
            peer_id: "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap(),
            listen: vec!["/ip4/192.0.2.7/tcp/4001".into()],
            mcp_url: "http://127.0.0.1:8000/mcp".into(),
            pid: 7,
        };
        file.write(&dir).unwrap();
        assert_eq!(NodeFile::read(&dir).unwrap(), Some(file));
        NodeFile::remove(&dir);
        assert_eq!(NodeFile::read(&dir).unwrap(), None);
        std::fs::write(dir.node_file(), "{").unwrap();
        assert!(NodeFile::read(&dir).is_err());
    }
}
