//! Which addresses are dialled again when their connection is lost, and when: exponential back-off with jitter.

use crate::address;
use libp2p::{Multiaddr, PeerId};
use meshwork_kit::Backoff;
use meshwork_proto::UnixMillis;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

#[derive(Debug)]
struct Kept {
    address: Multiaddr,
    /// Who is there, once that is known.
    peer: Option<PeerId>,
    /// Tries since the peer was last admitted.
    attempt: u32,
    /// The next try; none: connected, or a try is under way.
    due: Option<UnixMillis>,
}

/// The kept addresses.
#[derive(Debug)]
pub(crate) struct Keeper {
    kept: BTreeMap<String, Kept>,
    max: usize,
    backoff: Backoff,
    rng: StdRng,
}

impl Keeper {
    pub(crate) fn new(max: usize, backoff: Backoff, rng: StdRng) -> Self {
        Self { kept: BTreeMap::new(), max, backoff, rng }
    }

    /// Keeps an address that is being dialled now; false when there are as many as may be.
    pub(crate) fn add(&mut self, address: &Multiaddr, peer: Option<PeerId>) -> bool {
        let key = key(address, peer);
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.peer = peer.or(kept.peer);
            return true;
        }
        if self.kept.len() >= self.max {
            return false;
        }
        self.kept.insert(key, Kept { address: address.clone(), peer, attempt: 0, due: None });
        true
    }

    /// It led to this node itself.
    pub(crate) fn forget(&mut self, address: &Multiaddr, peer: Option<PeerId>) {
        self.kept.remove(&key(address, peer));
    }

    /// The peer is not to be dialled any more.
    pub(crate) fn forget_peer(&mut self, peer: &PeerId) {
        self.kept.retain(|_, kept| kept.peer.as_ref() != Some(peer));
    }

    /// A connection to the address stands.
    pub(crate) fn reached(&mut self, address: &Multiaddr, peer: PeerId) {
        if let Some(kept) = self.kept.get_mut(&key(address, Some(peer))) {
            kept.peer = Some(peer);
            kept.due = None;
        }
    }

    /// The peer is admitted: the next loss is tried at once again.
    pub(crate) fn admitted(&mut self, peer: PeerId) {
        for kept in self.kept.values_mut().filter(|kept| kept.peer == Some(peer)) {
            kept.attempt = 0;
            kept.due = None;
        }
    }

    /// A try failed.
    pub(crate) fn failed(&mut self, address: &Multiaddr, peer: Option<PeerId>, now: UnixMillis) {
        if let Some(kept) = self.kept.get_mut(&key(address, peer)) {
            kept.schedule(&self.backoff, &mut self.rng, now);
        }
    }

    /// The last connection to the peer is gone.
    pub(crate) fn lost(&mut self, peer: PeerId, now: UnixMillis) {
        for kept in self.kept.values_mut().filter(|kept| kept.peer == Some(peer)) {
            kept.schedule(&self.backoff, &mut self.rng, now);
        }
    }

    /// What to dial now, and who is expected there. Those that are connected by another way wait for the loss of
    /// that connection.
    pub(crate) fn due(
        &mut self,
        now: UnixMillis,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<(Multiaddr, Option<PeerId>)> {
        let mut dial = Vec::new();
        for kept in self.kept.values_mut() {
            if kept.due.is_none_or(|due| due > now) {
                continue;
            }
            kept.due = None;
            if !kept.peer.is_some_and(|peer| is_connected(&peer)) {
                dial.push((kept.address.clone(), kept.peer));
            }
        }
        dial
    }

    /// Kept addresses of a peer.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let of_peer = |kept: &&Kept| kept.peer.as_ref() == Some(peer);
        self.kept.values().filter(of_peer).map(|kept| kept.address.clone()).collect()
    }

    /// How many are kept, and how many of them are not connected.
    pub(crate) fn counts(&self, is_connected: impl Fn(&PeerId) -> bool) -> (usize, usize) {
        let lost = |kept: &&Kept| !kept.peer.is_some_and(|peer| is_connected(&peer));
        (self.kept.len(), self.kept.values().filter(lost).count())
    }
}

/// Many peers have the same address through one relay.
fn key(address: &Multiaddr, peer: Option<PeerId>) -> String {
    match peer.filter(|_| address::is_relayed(address)) {
        Some(peer) => address::with_peer(address, &peer),
        None => address.to_string(),
    }
}

impl Kept {
    fn schedule(&mut self, backoff: &Backoff, rng: &mut StdRng, now: UnixMillis) {
        self.attempt = self.attempt.saturating_add(1);
        self.due = Some(now.after(backoff.delay(self.attempt, rng)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::time::Duration;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn keeper(max: usize) -> Keeper {
        let backoff = Backoff { jitter: 0.0, ..Backoff::doubling(MS(100), MS(1000)) };
        Keeper::new(max, backoff, StdRng::seed_from_u64(1))
    }

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.7/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_lost_peer_is_tried_with_growing_delays_until_it_is_admitted_again() {
        let mut keeper = keeper(10);
        let (home, peer) = (address(1), PeerId::random());
        keeper.add(&home, None);
        keeper.reached(&home, peer);
        keeper.admitted(peer);
        keeper.lost(peer, UnixMillis(0));
        let mut now = 0;
        for delay in [100, 200, 400, 800, 1000, 1000] {
            assert!(keeper.due(UnixMillis(now + delay - 1), |_| false).is_empty());
            now += delay;
            assert_eq!(keeper.due(UnixMillis(now), |_| false), [(home.clone(), Some(peer))]);
            assert!(keeper.due(UnixMillis(now), |_| false).is_empty(), "dialled twice");
            keeper.failed(&home, Some(peer), UnixMillis(now));
        }
        keeper.admitted(peer);
        keeper.lost(peer, UnixMillis(now));
        assert_eq!(keeper.due(UnixMillis(now + 100), |_| false).len(), 1);
    }

    #[test]
    fn a_peer_that_came_back_by_itself_is_not_dialled() {
        let mut keeper = keeper(10);
        let peer = PeerId::random();
        keeper.add(&address(1), Some(peer));
        keeper.lost(peer, UnixMillis(0));
        assert!(keeper.due(UnixMillis(5000), |connected| *connected == peer).is_empty());
        keeper.lost(peer, UnixMillis(5000));
        assert_eq!(keeper.due(UnixMillis(9000), |_| false).len(), 1);
    }

    #[test]
    fn peers_behind_one_relay_are_kept_apart() {
        let mut keeper = keeper(10);
        let (relay, first, second) = (PeerId::random(), PeerId::random(), PeerId::random());
        let circuit: Multiaddr = format!("{}/p2p/{relay}/p2p-circuit", address(1)).parse().unwrap();
        keeper.add(&circuit, Some(first));
        keeper.add(&circuit, Some(second));
        keeper.reached(&circuit, first);
        keeper.failed(&circuit, Some(second), UnixMillis(0));
        assert_eq!(keeper.due(UnixMillis(9000), |_| false), [(circuit.clone(), Some(second))]);
        assert_eq!(keeper.counts(|peer| *peer == first), (2, 1));
        keeper.forget(&circuit, Some(second));
        assert_eq!(keeper.addresses(&first), [circuit]);
    }

    #[test]
    fn a_peer_that_is_forgotten_is_not_dialled_again() {
        let mut keeper = keeper(10);
        let (gone, other) = (PeerId::random(), PeerId::random());
        keeper.add(&address(1), Some(gone));
        keeper.add(&address(2), Some(other));
        keeper.forget_peer(&gone);
        keeper.lost(gone, UnixMillis(0));
        keeper.lost(other, UnixMillis(0));
        assert_eq!(keeper.due(UnixMillis(9000), |_| false), [(address(2), Some(other))]);
    }

    #[test]
    fn only_so_many_are_kept_and_ones_own_address_is_not() {
        let mut keeper = keeper(2);
        assert!(keeper.add(&address(1), None) && keeper.add(&address(2), None));
        assert!(!keeper.add(&address(3), None));
        assert!(keeper.add(&address(1), None), "known ones stay welcome");
        keeper.forget(&address(1), None);
        assert!(keeper.add(&address(3), None));
        assert_eq!(keeper.counts(|_| false), (2, 2));
    }
}
