//! Peers whose connection is needed for something else than the mesh: rendezvous points and relays need not be members.
//! Until the need ends they are spared when strangers are disconnected.

use libp2p::PeerId;
use meshwork_proto::UnixMillis;
use std::collections::BTreeMap;

/// Peers needed at a time; further ones are treated like any stranger.
const MAX_NEEDED: usize = 64;

/// For what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A look-up or an entry at this rendezvous point.
    Rendezvous,
    /// A place at this relay.
    Relay,
}

/// The peers needed.
#[derive(Debug, Default)]
pub(crate) struct Needed(BTreeMap<(PeerId, Need), UnixMillis>);

impl Needed {
    /// The connection to a peer is needed until then.
    pub(crate) fn need(&mut self, peer: PeerId, need: Need, until: UnixMillis) {
        if self.0.len() < MAX_NEEDED || self.0.contains_key(&(peer, need)) {
            let known = self.0.entry((peer, need)).or_insert(until);
            *known = (*known).max(until);
        }
    }

    /// Forgets needs that have ended.
    pub(crate) fn sweep(&mut self, now: UnixMillis) {
        self.0.retain(|_, until| *until > now);
    }

    /// Whether it is needed now.
    pub(crate) fn is_needed(&self, peer: &PeerId, now: UnixMillis) -> bool {
        let needs = self.0.range((*peer, Need::Rendezvous)..=(*peer, Need::Relay));
        needs.into_iter().any(|(_, until)| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_lasts_until_its_time_and_the_longest_one_counts() {
        let mut needed = Needed::default();
        let (point, other) = (PeerId::random(), PeerId::random());
        needed.need(point, Need::Rendezvous, UnixMillis(100));
        needed.need(point, Need::Rendezvous, UnixMillis(50));
        needed.need(point, Need::Relay, UnixMillis(200));
        assert!(needed.is_needed(&point, UnixMillis(99)) && !needed.is_needed(&other, UnixMillis(99)));
        assert!(needed.is_needed(&point, UnixMillis(199)));
        needed.sweep(UnixMillis(200));
        assert!(!needed.is_needed(&point, UnixMillis(0)));
    }

    #[test]
    fn only_so_many_are_needed() {
        let mut needed = Needed::default();
        for _ in 0..2 * MAX_NEEDED {
            needed.need(PeerId::random(), Need::Rendezvous, UnixMillis(1));
        }
        assert_eq!(needed.0.len(), MAX_NEEDED);
    }
}
