//! The values that the Python nodes leave in the public table beside their entries: under
//! `/ipfs-accelerate/task-queue/ns/<name>`, a JSON object with `peer_id`, `multiaddr` and `ts`. The last writer replaces
//! all others, and most nodes of the public table refuse values of a kind they do not know, so that it is only a second
//! hint at who is there.

use super::behaviours::MAX_VALUE;
use crate::address;
use libp2p::kad::{Record, RecordKey};
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::UnixMillis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What comes before the name in a key.
const PREFIX: &str = "/ipfs-accelerate/task-queue/ns/";
/// Longest name of a value that is kept for others, in bytes.
const MAX_NAME: usize = 255;

#[derive(Debug, Serialize, Deserialize)]
struct Hint {
    peer_id: String,
    multiaddr: String,
    /// Seconds since 1970 by the writer's clock: not looked at.
    #[serde(default)]
    ts: f64,
}

/// Under which key.
pub(super) fn key(name: &str) -> RecordKey {
    RecordKey::new(&format!("{PREFIX}{name}"))
}

/// The value of a node.
pub(super) fn write(peer: &meshwork_proto::PeerId, address: &str, now: UnixMillis) -> Option<Vec<u8>> {
    let ts = Duration::from_millis(now.0).as_secs_f64();
    serde_json::to_vec(&Hint { peer_id: peer.to_string(), multiaddr: address.to_owned(), ts }).ok()
}

/// Whom a value names, and where; none for anything else.
pub(super) fn read(value: &[u8]) -> Option<(PeerId, Multiaddr)> {
    if value.len() > MAX_VALUE {
        return None;
    }
    let hint: Hint = serde_json::from_slice(value).ok()?;
    let peer: PeerId = hint.peer_id.parse().ok()?;
    let address: Multiaddr = hint.multiaddr.parse().ok()?;
    address::of_peer(&address, &peer).map(|address| (peer, address))
}

/// Whether what somebody wants to be kept is such a value.
pub(super) fn is_hint(record: &Record) -> bool {
    let name = record.key.as_ref().strip_prefix(PREFIX.as_bytes());
    name.is_some_and(|name| (1..=MAX_NAME).contains(&name.len())) && read(&record.value).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_nodes_value_is_read_and_written_and_nothing_else_is_taken_for_one() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let python = format!(
            r#"{{"peer_id": "{peer}", "multiaddr": "/ip4/192.0.2.7/tcp/9710/p2p/{peer}", "ts": 1.7e9}}"#
        );
        let address: Multiaddr = "/ip4/192.0.2.7/tcp/9710".parse().unwrap();
        assert_eq!(read(python.as_bytes()), Some((peer, address.clone())));
        let with_id = address::with_peer(&address, &peer);
        let ours = write(&address::peer_of(&peer), &with_id, UnixMillis(1_700_000_000_500)).unwrap();
        assert_eq!(read(&ours), Some((peer, address)));
        assert!(String::from_utf8(ours.clone()).unwrap().contains(r#""ts":1700000000.5"#));
        for wrong in [
            String::new(),
            "[]".to_owned(),
            python.replace("/tcp/9710", ""),
            python.replace("/tcp/9710", "/tcp/0"),
            python.replace(&format!("p2p/{peer}"), &format!("p2p/{other}")),
            python.replace(r#""peer_id""#, r#""who""#),
            python.replace("1.7e9", &"1".repeat(MAX_VALUE)),
        ] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
        let record = |key: RecordKey| is_hint(&Record::new(key, ours.clone()));
        assert!(record(key("ipfs-accelerate-task-queue")));
        assert!(!record(key("")) && !record(key(&"x".repeat(256))) && !record(RecordKey::new(&"/pk/x")));
    }
}
