//! Who has the database: a lock on a file of our own, in which the holder's process id is written.
//!
//! RocksDB locks its directory too, but cannot say who has it, and its lock comes too late to protect a creation.

use crate::error::OpenError;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Name of the lock file.
pub(super) const FILE: &str = "HOLDER";

/// Longest note that is read: it is shown to a person.
const MAX_NOTE: u64 = 64;

/// The lock; the kernel gives it back when the process ends, however it ends.
pub(crate) struct Holder {
    _lock: Flock<File>,
}

impl Holder {
    /// Takes the lock without waiting.
    pub(super) fn acquire(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: &io::Error| OpenError::io(path, "locking the database", error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(FILE))
            .map_err(|error| failed(&error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                note(&mut lock).map_err(|error| failed(&error))?;
                Ok(Self { _lock: lock })
            }
            // EWOULDBLOCK is the same number here.
            Err((mut file, Errno::EAGAIN)) => {
                Err(OpenError::Locked { path: path.to_owned(), holder: read_note(&mut file) })
            }
            Err((_, errno)) => Err(failed(&io::Error::from(errno))),
        }
    }
}

fn note(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {}", std::process::id())
}

/// What the holder wrote about itself; only ever a hint.
fn read_note(file: &mut File) -> String {
    let mut note = Vec::new();
    let read = file.rewind().and_then(|()| file.take(MAX_NOTE).read_to_end(&mut note));
    let note = String::from_utf8_lossy(&note).trim().to_owned();
    match read {
        Ok(_) if note.starts_with("process ") && note.chars().all(|c| c.is_ascii_graphic() || c == ' ') => {
            note
        }
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = Holder::acquire(dir.path()).unwrap();
        let Err(OpenError::Locked { holder, .. }) = Holder::acquire(dir.path()) else {
            panic!("locked twice")
        };
        assert_eq!(holder, format!("process {}", std::process::id()));
        drop(first);
        Holder::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_strange_note_is_not_repeated_to_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Holder::acquire(dir.path()).unwrap();
        std::fs::write(dir.path().join(FILE), b"\x1b[31mred").unwrap();
        let Err(OpenError::Locked { holder, .. }) = Holder::acquire(dir.path()) else {
            panic!("locked twice")
        };
        assert_eq!(holder, "another process");
    }
}
