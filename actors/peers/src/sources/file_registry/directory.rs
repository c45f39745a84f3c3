//! The form with one file per node: `peer_<runner>.json` in a directory.

use super::super::SourceError;
use super::super::entry::{self, Entry, MAX_ENTRY};
use super::{CLOCKS_DIFFER, DEAD_AFTER, Visit, Visited, files};
use crate::clip::clip;
use meshwork_proto::UnixMillis;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Most files that are read in one visit: drawn anew each time, if there are more.
const MAX_FILES: usize = 10_000;
/// Most names that are looked at for that.
const MAX_NAMES: usize = 100_000;

/// Renews our own file and reads all others.
pub(super) fn visit(visit: &Visit) -> Result<Visited, SourceError> {
    let directory = &visit.path;
    std::fs::create_dir_all(directory).map_err(|error| files::failed("cannot be made", directory, &error))?;
    // What cannot be written can still be read: others may be found where this node may not enter itself.
    let entered = enter(visit);
    let visited = read_all(visit)?;
    match entered {
        Err(problem) if visited.entries.is_empty() => Err(problem),
        Err(problem) => {
            tracing::warn!(%problem, "this node could not be entered in the file registry: tried again soon");
            Ok(visited)
        }
        Ok(()) => Ok(visited),
    }
}

/// Removes our own file.
pub(super) fn withdraw(visit: &Visit) -> Result<(), SourceError> {
    for runner in [visit.runner.clone(), entry::other_name(&visit.runner, &visit.own.peer)] {
        let path = file_of(visit, &runner);
        if written(&path).is_some_and(|(_, entry)| entry.peer == visit.own.peer) {
            files::remove(&path).map_err(|error| files::failed("cannot be removed", &path, &error))?;
        }
    }
    Ok(())
}

fn file_of(visit: &Visit, runner: &str) -> PathBuf {
    visit.path.join(format!("peer_{}.json", files::name_of(runner)))
}

/// What is in a file, if it is an entry.
fn written(path: &Path) -> Option<(Value, Entry)> {
    let value = serde_json::from_slice(&files::read(path, MAX_ENTRY).ok()??).ok()?;
    let entry = Entry::read(&value).ok()?;
    Some((value, entry))
}

/// The name of our file: another one if that has an entry of another node, unless it is an old one.
fn own_name(visit: &Visit) -> String {
    let other = entry::other_name(&visit.runner, &visit.own.peer);
    let ours = written(&file_of(visit, &other)).is_some_and(|(_, entry)| entry.peer == visit.own.peer);
    let taken = written(&file_of(visit, &visit.runner)).is_some_and(|(_, entry)| {
        let fresh = entry.age(visit.now).is_some_and(|age| entry::is_fresh(age, visit.ttl));
        fresh && entry.peer != visit.own.peer
    });
    if ours || taken { other } else { visit.runner.clone() }
}

fn enter(visit: &Visit) -> Result<(), SourceError> {
    let runner = own_name(visit);
    let Some(entry) = entry::own(&visit.own, &runner, visit.now) else {
        return Ok(());
    };
    let path = file_of(visit, &runner);
    if let Some((value, read)) = written(&path) {
        let age = read.age(visit.now);
        let young = age.is_some_and(|age| age < entry::renew_after(visit.ttl, 4));
        if young && entry::same_but_for_time(&value, &entry) {
            return Ok(());
        }
    }
    let printed = entry::print(&entry);
    files::replace(&path, printed.as_bytes())
        .map_err(|error| files::failed("cannot be written", &path, &error))
}

fn read_all(visit: &Visit) -> Result<Visited, SourceError> {
    let directory = &visit.path;
    let cannot = |error: std::io::Error| files::failed("cannot be read", directory, &error);
    let mut files = Vec::new();
    for file in std::fs::read_dir(directory).map_err(cannot)?.take(MAX_NAMES) {
        let path = file.map_err(cannot)?.path();
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if name.starts_with("peer_") && name.ends_with(".json") {
            files.push((path, name));
        }
    }
    let mut visited = Visited::default();
    for (path, name) in entry::draw(files, MAX_FILES, &mut StdRng::seed_from_u64(visit.seed)) {
        match read_one(&path, visit.now) {
            Ok(Some((age, _))) if age > DEAD_AFTER => bury(&path, &name),
            Ok(Some(found)) => visited.entries.push(found),
            Ok(None) => {}
            Err(problem) => visited.skip(&name, problem),
        }
    }
    Ok(visited)
}

fn read_one(path: &Path, now: UnixMillis) -> Result<Option<(Duration, Entry)>, String> {
    let Some(bytes) = files::read(path, MAX_ENTRY).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| format!("it is no JSON: {error}"))?;
    let entry = Entry::read(&value)?;
    let said = entry.age(now).ok_or("it does not say when it was last seen")?;
    // A time to come, or one of long ago, is a clock that is off: the file system knows when the file was written.
    let ahead = entry.last_seen.is_some_and(|seen| seen > now.after(CLOCKS_DIFFER));
    let written = std::fs::metadata(path).ok().and_then(|seen| seen.modified().ok());
    let written = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let written = written.map(|since| now.since(UnixMillis::default().after(since)));
    let age = match written {
        Some(written) if ahead => written,
        // Only what both agree on is dead; what is merely old is ignored in any case.
        Some(written) if said > DEAD_AFTER => said.min(written.max(DEAD_AFTER)),
        _ => said,
    };
    Ok(Some((age, entry)))
}

fn bury(path: &Path, name: &str) {
    let name = clip(name, 80);
    match files::remove(path) {
        Ok(()) => tracing::debug!(name, "an entry that nobody renewed for a day is removed"),
        Err(error) => tracing::debug!(name, %error, "a dead entry cannot be removed"),
    }
}
