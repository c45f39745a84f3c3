//! Files that only their owner may read: the node's key, the mesh secrets, the revoked peers.
//!
//! Owns how such a file is made or replaced (whole or not at all, mode 0600; a new one never over an existing one) and the
//! refusal to read one that others can read.

use meshwork_proto::{Coded, ErrorCode};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bits of a mode that let the group or others in.
const NOT_OWNER: u32 = 0o077;

/// Why a private file could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// Others can read or write it.
    #[error(
        "{path} can be read or written by other users (mode {mode:04o}): make it private with `chmod 600 {path}`, \
         and replace it if somebody may have read it",
        path = path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than such a file is.
    #[error("{path} is larger than {max} bytes: it is not the file that belongs there", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit in bytes.
        max: u64,
    },
    /// The operating system said no.
    #[error("{path} cannot be {action}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl Coded for PrivateFileError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Config
    }
}

impl PrivateFileError {
    fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}

/// The file's bytes, at most `max` of them; `None` when there is no such file.
///
/// # Errors
/// When it is exposed, too large or cannot be read.
pub(crate) fn read(path: &Path, max: u64) -> Result<Option<Zeroizing<Vec<u8>>>, PrivateFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PrivateFileError::io(path, "read")(error)),
    };
    // Asked of the open file: the name may point elsewhere a moment later.
    let mode = file.metadata().map_err(PrivateFileError::io(path, "read"))?.permissions().mode() & 0o7777;
    if mode & NOT_OWNER != 0 {
        return Err(PrivateFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(max).unwrap_or(0).min(4096)));
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(PrivateFileError::io(path, "read"))?;
    if bytes.len() as u64 > max {
        return Err(PrivateFileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(Some(bytes))
}

/// Makes the file with mode 0600; false, with nothing changed, when there is one already.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<bool, PrivateFileError> {
    let temporary = temporary_name(path);
    let made = write_private(&temporary, bytes).and_then(|()| link(&temporary, path));
    // Also after an error: a half-written secret must not stay. It may not be there at all.
    let removed = match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let made = made.map_err(PrivateFileError::io(path, "written"))?;
    removed.map_err(PrivateFileError::io(&temporary, "removed"))?;
    Ok(made)
}

/// Makes the file with mode 0600, in place of the one that may be there: at every moment the name leads to one of them.
///
/// # Errors
/// When it cannot be written; then the old file is still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let temporary = temporary_name(path);
    let replaced = write_private(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(path));
    if replaced.is_err()
        && let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %temporary.display(), %error, "a half-written private file is left");
    }
    replaced.map_err(PrivateFileError::io(path, "written"))
}

/// In the same folder, so that it can become the file in one step; named after the process, so that two that start
/// at once do not meet.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    path.with_file_name(name)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that an interrupted start of a process with our id has left.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives the finished file its name; a hard link, other than a rename, never replaces what is there.
fn link(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        // Some file systems have no hard links.
        Err(_) if !to.exists() => fs::rename(from, to)?,
        Err(error) => return Err(error),
    }
    sync_folder(to)?;
    Ok(true)
}

/// A new name is only on disk when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_made_once_with_mode_0600_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(create(&path, b"first").unwrap());
        assert!(!create(&path, b"second").unwrap());
        assert_eq!(&read(&path, 100).unwrap().unwrap()[..], b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        replace(&path, b"first").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(&read(&path, 100).unwrap().unwrap()[..], b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let taken = folder.path().join("folder");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), b"x").unwrap();
        assert!(replace(&taken, b"third").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something is left beside it");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        create(&path, b"bytes").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path, 100).unwrap_err();
            assert!(matches!(error, PrivateFileError::Exposed { mode: found, .. } if found == mode));
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_none_and_a_large_one_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("none"), 100).unwrap().is_none());
        let path = folder.path().join("large");
        create(&path, &[0; 101]).unwrap();
        assert!(matches!(read(&path, 100), Err(PrivateFileError::TooLarge { max: 100, .. })));
        let nowhere = create(&folder.path().join("no/such/folder"), b"x").unwrap_err();
        assert!(nowhere.to_string().contains("cannot be written"), "{nowhere}");
    }
}
