//! What is in the directory before we open it: nothing, our database, a creation that never ended, or something else.

use crate::error::OpenError;
use std::fs;
use std::io;
use std::path::Path;

/// Name of the file that exists while a new database is being made.
const MAKING: &str = "MAKING";

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contents {
    /// Nothing: make a new database.
    Nothing,
    /// A creation that was cut off. Nothing was ever acknowledged from it: make it anew.
    Unfinished,
    /// A RocksDB database.
    Database,
    /// Parts of one; the one missing is named.
    Parts(&'static str),
    /// Something else, some of it by name.
    Foreign(String),
}

/// Looks into the directory.
pub(super) fn inspect(path: &Path) -> io::Result<Contents> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(classify(&names))
}

/// `names` is sorted, so that the answer does not depend on the file system.
fn classify(names: &[String]) -> Contents {
    // The root of a file system has a lost+found.
    let names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| *name != super::holder::FILE && *name != "lost+found")
        .collect();
    if names.contains(&MAKING) {
        return Contents::Unfinished;
    }
    if names.is_empty() {
        return Contents::Nothing;
    }
    let has = |of: fn(&str) -> bool| names.iter().any(|name| of(name));
    let manifest = has(|name| name.starts_with("MANIFEST-"));
    if names.contains(&"CURRENT") {
        return if manifest {
            Contents::Database
        } else {
            Contents::Parts("MANIFEST (the list of its files)")
        };
    }
    if manifest || has(is_data) {
        return Contents::Parts("CURRENT (the file that names the list of its files)");
    }
    Contents::Foreign(names.iter().take(3).copied().collect::<Vec<_>>().join(", "))
}

fn is_data(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    name == "IDENTITY" || matches!(extension, Some("sst" | "blob"))
}

/// Marks the directory as one in which a database is being made.
pub(super) fn begin_making(path: &Path) -> Result<(), OpenError> {
    let error = |error: io::Error| OpenError::io(path, "marking the new database", &error);
    fs::write(path.join(MAKING), b"a database is being made here; without this file it is finished\n")
        .map_err(error)?;
    sync_dir(path).map_err(error)
}

/// The database is whole: from now on it is never replaced.
pub(super) fn end_making(path: &Path) -> Result<(), OpenError> {
    let error = |error: io::Error| OpenError::io(path, "finishing the new database", &error);
    fs::remove_file(path.join(MAKING)).map_err(error)?;
    sync_dir(path).map_err(error)
}

/// Removes the files of an unfinished creation; the marker goes last, so that being cut off again does no harm.
/// Directories are none of ours.
pub(super) fn remove_unfinished(path: &Path) -> Result<(), OpenError> {
    let error = |error: io::Error| OpenError::io(path, "removing an unfinished database", &error);
    for entry in fs::read_dir(path).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        let ours = name != super::holder::FILE && name != MAKING;
        if ours && entry.file_type().map_err(error)?.is_file() {
            fs::remove_file(entry.path()).map_err(error)?;
        }
    }
    Ok(())
}

fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Contents {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        classify(&names)
    }

    #[test]
    fn an_empty_directory_may_become_a_database() {
        assert_eq!(of(&[]), Contents::Nothing);
        assert_eq!(of(&["HOLDER", "lost+found"]), Contents::Nothing);
    }

    #[test]
    fn a_creation_that_was_cut_off_is_known_by_its_marker() {
        assert_eq!(of(&["MAKING"]), Contents::Unfinished);
        assert_eq!(of(&["MAKING", "CURRENT", "MANIFEST-000005", "HOLDER"]), Contents::Unfinished);
    }

    #[test]
    fn a_database_without_its_list_is_damaged_and_not_new() {
        assert_eq!(of(&["CURRENT", "MANIFEST-000005", "000004.log"]), Contents::Database);
        assert!(
            matches!(of(&["CURRENT", "000004.log"]), Contents::Parts(what) if what.starts_with("MANIFEST"))
        );
        assert!(matches!(of(&["MANIFEST-000005"]), Contents::Parts(what) if what.starts_with("CURRENT")));
        assert!(matches!(of(&["000012.sst"]), Contents::Parts(_)));
    }

    #[test]
    fn other_peoples_files_are_named() {
        assert_eq!(of(&["photos", "letters.txt"]), Contents::Foreign("letters.txt, photos".to_owned()));
    }
}
