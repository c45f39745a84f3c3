//! Which entries of others this node keeps in its part of a table, and until when: libp2p's store forgets an entry that
//! has ended only when somebody asks for it, so a store that was full once would stay full.

use libp2p::PeerId;
use meshwork_proto::UnixMillis;
use std::collections::BTreeMap;

/// Entries kept.
const MAX_ENTRIES: usize = 4096;
/// Names under which one peer may be entered.
const MAX_NAMES_PER_PEER: usize = 64;

/// The entries: of whom, under which key, until when.
#[derive(Debug, Default)]
pub(crate) struct Entries(BTreeMap<(PeerId, Vec<u8>), UnixMillis>);

impl Entries {
    /// An entry is made or renewed; false when there are too many.
    pub(crate) fn enter(&mut self, peer: PeerId, key: &[u8], until: UnixMillis) -> bool {
        if let Some(known) = self.0.get_mut(&(peer, key.to_vec())) {
            *known = until;
            return true;
        }
        if self.0.len() >= MAX_ENTRIES || self.of(peer).count() >= MAX_NAMES_PER_PEER {
            return false;
        }
        self.0.insert((peer, key.to_vec()), until);
        true
    }

    /// The keys under which a peer is entered.
    pub(crate) fn of(&self, peer: PeerId) -> impl Iterator<Item = &[u8]> {
        let from = self.0.range((peer, Vec::new())..);
        from.take_while(move |((other, _), _)| *other == peer).map(|((_, key), _)| key.as_slice())
    }

    /// Takes out what has ended.
    pub(crate) fn ended(&mut self, now: UnixMillis) -> Vec<(PeerId, Vec<u8>)> {
        let ended: Vec<_> =
            self.0.iter().filter(|(_, until)| **until <= now).map(|(entry, _)| entry.clone()).collect();
        for entry in &ended {
            self.0.remove(entry);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_and_make_room() {
        let mut entries = Entries::default();
        let peer = PeerId::random();
        assert!(entries.enter(peer, b"a", UnixMillis(10)) && entries.enter(peer, b"b", UnixMillis(20)));
        assert!(entries.enter(peer, b"a", UnixMillis(30)), "renewed");
        assert_eq!(entries.of(peer).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(entries.of(PeerId::random()).count(), 0);
        assert_eq!(entries.ended(UnixMillis(20)), [(peer, b"b".to_vec())]);
        assert!(entries.ended(UnixMillis(29)).is_empty());
        assert_eq!(entries.ended(UnixMillis(30)).len(), 1);
    }

    #[test]
    fn neither_one_peer_nor_all_together_can_fill_the_memory() {
        let mut entries = Entries::default();
        let peer = PeerId::random();
        let kept = (0..1000_u32).filter(|n| entries.enter(peer, &n.to_be_bytes(), UnixMillis(1))).count();
        assert_eq!(kept, MAX_NAMES_PER_PEER);
        for _ in 0..2 * MAX_ENTRIES {
            entries.enter(PeerId::random(), b"a", UnixMillis(1));
        }
        assert_eq!(entries.0.len(), MAX_ENTRIES);
    }
}
