//! Why the store could not be opened or closed. Each message says what to do.

use meshwork_proto::{Coded, ErrorCode};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to do about a damaged database: the same advice wherever the damage is.
pub(crate) const ADVICE: &str = "nothing was changed: restore the directory from a backup, or move it away to start \
                                 with an empty store (unfinished tasks in it are then lost)";

/// Why the database could not be opened. The directory is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another node has it.
    #[error(
        "database {path} is in use by {holder}: stop it first, or give this node a data directory of its own"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who has it, as far as we can tell: "process 4711" or "another process".
        holder: String,
    },
    /// Written by a newer meshwork.
    #[error(
        "database {path} has format {found}, this meshwork knows up to {known}: use a newer meshwork, or another data \
         directory"
    )]
    NewerVersion {
        /// The directory.
        path: PathBuf,
        /// Format found.
        found: u32,
        /// Newest format that this program knows.
        known: u32,
    },
    /// Something is in the directory, but not our database.
    #[error(
        "{path} is not a meshwork database (found {found}): give the path of one, or of an empty directory"
    )]
    NotADatabase {
        /// The directory.
        path: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// Files are missing or damaged.
    #[error("database {path} is damaged: {what}; {advice}")]
    Corrupt {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// No room to open it.
    #[error("no room on the disk of {path} to open the database: free some space and start again ({what})")]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// What could not be written.
        what: String,
    },
    /// We may not read or write it.
    #[error("no permission for database {path}: make it readable and writable for this user ({what})")]
    NoPermission {
        /// The directory.
        path: PathBuf,
        /// What was refused.
        what: String,
    },
    /// The operating system reported something else.
    #[error("database {path} could not be opened: {what}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        what: String,
    },
    /// Metrics of this name are registered already.
    #[error("metrics of the store could not be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Coded for OpenError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Locked { .. } => ErrorCode::InUse,
            Self::NewerVersion { .. } => ErrorCode::VersionMismatch,
            Self::NotADatabase { .. } | Self::NoPermission { .. } => ErrorCode::Config,
            Self::Corrupt { .. } => ErrorCode::Corrupt,
            Self::DiskFull { .. } => ErrorCode::DiskFull,
            Self::Io { .. } => ErrorCode::Storage,
            Self::Metrics(_) => ErrorCode::Internal,
        }
    }
}

impl OpenError {
    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into(), advice: ADVICE }
    }

    /// An error of the operating system while doing `what`.
    pub(crate) fn io(path: &Path, what: &str, error: &io::Error) -> Self {
        let path = path.to_owned();
        let what = format!("{what}: {error}");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, what },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NoPermission { path, what }
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                Self::NotADatabase { path, found: "a file instead of a directory".to_owned() }
            }
            _ => Self::Io { path, what },
        }
    }
}

/// Why the store did not close cleanly. What was acknowledged is safe all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// Some threads were still busy.
    #[error("store did not stop within {within:?}: still busy: {}", busy.join(", "))]
    Busy {
        /// The time given.
        within: Duration,
        /// Names of the threads.
        busy: Vec<&'static str>,
    },
    /// The log could not be flushed.
    #[error("write-ahead log could not be flushed at the end: {0}")]
    Flush(String),
}

impl Coded for CloseError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Busy { .. } => ErrorCode::Timeout,
            Self::Flush(_) => ErrorCode::Storage,
        }
    }
}
