//! Files as several processes may share them: read within bounds, replaced as a whole, locked for a change.

use super::super::SourceError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pause between tries for a lock: a visit under it takes a few milliseconds.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Longest part of a name that is taken from a runner; file systems end at 255 bytes.
const MAX_NAME: usize = 128;

/// An error as a source gives it, with the path.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> SourceError {
    let said = format!("{} {what}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => SourceError::Refused(said),
        _ => SourceError::Unavailable(said),
    }
}

/// A name from outside as a part of a file name: no separators, no dots in front, not too long.
pub(super) fn name_of(runner: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    runner.chars().take(MAX_NAME).map(safe).collect()
}

/// Reads a regular file of at most `max` bytes; none if there is none. A link is not followed: who may write into a
/// shared directory could let it lead anywhere.
pub(super) fn read(path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    let seen = match std::fs::symlink_metadata(path) {
        Ok(seen) => seen,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !seen.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    let file = match File::open(path) {
        Ok(file) => file,
        // Whoever owned it withdrew it just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::other(format!("it is larger than {max} bytes")));
    }
    Ok(Some(bytes))
}

/// Replaces a file as a whole; on the disk when this returns. A link in its place is replaced, not followed.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_of(path);
    let written = write_new(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report; a file that is left behind is replaced at the next try.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let open = || OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match open() {
        // Left behind by a process with our number that was killed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            open()?
        }
        opened => opened?,
    };
    file.write_all(bytes)?;
    file.sync_all()
}

/// Beside the file, and of this process alone. Its name is none that a reader takes for an entry.
fn temporary_of(path: &Path) -> PathBuf {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The lock of a single-file registry; given back when it is dropped, also when its process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Takes the lock beside a registry's file. It waits as long as it must: the caller has a deadline.
pub(super) async fn lock(registry: &Path) -> Result<Lock, SourceError> {
    let mut path = registry.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    loop {
        let wanted = path.clone();
        if let Some(lock) = super::blocking(move || try_lock(&wanted)).await? {
            return Ok(lock);
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

fn try_lock(path: &Path) -> Result<Option<Lock>, SourceError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| failed("cannot be made", parent, &error))?;
    }
    if std::fs::symlink_metadata(path).is_ok_and(|seen| !seen.is_file()) {
        return Err(SourceError::Refused(format!("{} is no regular file", path.display())));
    }
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = open.map_err(|error| failed("cannot be opened", path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed("cannot be locked", path, &error)),
    }
}
