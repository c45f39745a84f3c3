//! The form with all nodes in one file: `{"peers": {"<id>": {...}}, "last_cleanup": <seconds>}`.
//!
//! The Python nodes build a record from each entry and fail on a field they do not know, on all entries at once: what
//! is written here has exactly their eight fields. They take no lock; an entry of ours that one of them overwrites is
//! written again at the next visit.

use super::super::entry::{self, Entry, MAX_ENTRY};
use super::super::{OwnCard, SourceError, timestamp};
use super::{DEAD_AFTER, Visit, Visited, files};
use crate::address::Address;
use files::Lock;
use meshwork_proto::UnixMillis;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Largest file that is read, in bytes: tens of thousands of entries.
const MAX_FILE: usize = 8 * 1024 * 1024;

/// Renews our own entry and reads all others, under the lock.
pub(super) fn visit(visit: &Visit, _: &Lock) -> Result<Visited, SourceError> {
    let mut registry = load(&visit.path)?;
    let visited = read_all(peers_of(&mut registry, &visit.path)?, visit);
    match enter(&mut registry, visit) {
        Err(problem) if visited.entries.is_empty() => return Err(problem),
        Err(problem) => {
            tracing::warn!(%problem, "this node could not be entered in the file registry: tried again soon")
        }
        Ok(()) => {}
    }
    Ok(visited)
}

/// Takes our own entry out, under the lock.
pub(super) fn withdraw(visit: &Visit, _: &Lock) -> Result<(), SourceError> {
    let mut registry = load(&visit.path)?;
    if peers_of(&mut registry, &visit.path)?.remove(visit.own.peer.as_str()).is_none() {
        return Ok(());
    }
    store(&visit.path, &registry)
}

fn load(path: &Path) -> Result<Map<String, Value>, SourceError> {
    let read = files::read(path, MAX_FILE).map_err(|error| files::failed("cannot be read", path, &error))?;
    match read {
        None => Ok(Map::new()),
        Some(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(Map::new()),
        // Others' entries are in it: what cannot be understood is not overwritten.
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            SourceError::Malformed(format!("{} is no registry of peers: {error}", path.display()))
        }),
    }
}

fn store(path: &Path, registry: &Map<String, Value>) -> Result<(), SourceError> {
    let printed = entry::print(&Value::Object(registry.clone()));
    files::replace(path, printed.as_bytes()).map_err(|error| files::failed("cannot be written", path, &error))
}

fn peers_of<'a>(
    registry: &'a mut Map<String, Value>,
    path: &Path,
) -> Result<&'a mut Map<String, Value>, SourceError> {
    let peers = registry.entry("peers").or_insert_with(|| Value::Object(Map::new()));
    peers.as_object_mut().ok_or_else(|| {
        SourceError::Malformed(format!(
            "{} is no registry of peers: its \"peers\" are no object",
            path.display()
        ))
    })
}

fn read_all(peers: &Map<String, Value>, visit: &Visit) -> Visited {
    let mut visited = Visited::default();
    for (name, value) in peers {
        if name == visit.own.peer.as_str() {
            continue;
        }
        match Entry::read(value).and_then(|entry| dated(entry, visit.now)) {
            Ok(found) => visited.entries.push(found),
            Err(problem) => visited.skip(name, problem),
        }
    }
    visited
}

fn dated(entry: Entry, now: UnixMillis) -> Result<(std::time::Duration, Entry), String> {
    let age = entry.age(now).ok_or("it does not say when it was last seen")?;
    Ok((age, entry))
}

fn enter(registry: &mut Map<String, Value>, visit: &Visit) -> Result<(), SourceError> {
    let Some(mut entry) = own(&visit.own, visit) else {
        return Ok(());
    };
    let peers = peers_of(registry, &visit.path)?;
    if let Some(written) = peers.get(visit.own.peer.as_str()) {
        let age = Entry::read(written).ok().and_then(|read| read.age(visit.now));
        if entry::same_but_for_time(written, &entry)
            && age.is_some_and(|age| age < entry::renew_after(visit.ttl, 4))
        {
            return Ok(());
        }
        if let (Some(first), Some(fields)) =
            (written.get("first_seen").and_then(Value::as_f64), entry.as_object_mut())
        {
            fields.insert("first_seen".into(), json!(first));
        }
    }
    let dead = |value: &Value| {
        Entry::read(value).is_ok_and(|entry| entry.age(visit.now).is_some_and(|age| age > DEAD_AFTER))
    };
    peers.retain(|_, value| !dead(value));
    peers.insert(visit.own.peer.to_string(), entry);
    let now = timestamp::to_seconds(visit.now);
    registry.insert("last_cleanup".into(), json!(now));
    store(&visit.path, registry)
}

/// This node's entry with the eight fields that the Python nodes know; none while it has no address to give.
fn own(card: &OwnCard, visit: &Visit) -> Option<Value> {
    let best: Address = card.addresses.first()?.parse().ok()?;
    let now = timestamp::to_seconds(visit.now);
    let entry = json!({
        "peer_id": card.peer,
        "multiaddr": best.to_string(),
        "capabilities": entry::capabilities(card),
        "first_seen": now,
        "last_seen": now,
        "source": "local_file",
        // What the Python nodes take for each entry that says nothing else.
        "ttl_seconds": if visit.ttl.is_zero() { 3_600 } else { visit.ttl.as_secs() },
        "metadata": entry::metadata(card),
    });
    (entry.to_string().len() <= MAX_ENTRY).then_some(entry)
}
