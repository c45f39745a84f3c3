//! Comparing what two nodes hold: a sum for each part of the peers, and lists of the parts whose sums differ.

use super::super::sealed::{MAX_SEQUENCE, mark_of};
use super::room::Room;
use super::{Held, Store};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::gossip::{Digest, KnownRecord};
use std::collections::BTreeMap;

/// What two nodes would tell each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The other one has these, or newer ones of them.
    pub(crate) wanted: Vec<PeerId>,
    /// The other one lacks these, or has older ones of them.
    pub(crate) lacking: Vec<PeerId>,
}

impl Store {
    pub(crate) fn digest(&self) -> Digest {
        Digest(self.parts.iter().map(|part| part.sum).collect())
    }

    /// What is passed on of the parts in which the digest of another node differs; at most `max`.
    pub(crate) fn differing(&self, other: &Digest, max: usize) -> Vec<KnownRecord> {
        if other.0.len() != self.parts.len() {
            return Vec::new();
        }
        let parts = self.parts.iter().zip(&other.0).filter(|(part, sum)| part.sum != **sum);
        let records = parts.flat_map(|(part, _)| &part.held).filter(|(_, held)| held.is_passed_on());
        let known = |(peer, held): (&PeerId, &Held)| KnownRecord {
            peer: peer.clone(),
            sequence: held.record.sequence,
        };
        records.map(known).take(max).collect()
    }

    /// Compares what another node, `from`, holds of the parts that differ: what it has and is wanted, and what it lacks. That
    /// it holds them is its word for the peers.
    pub(crate) fn compare(&mut self, from: &PeerId, known: &[KnownRecord]) -> Difference {
        let mut difference = Difference::default();
        let mut theirs: BTreeMap<usize, BTreeMap<&PeerId, u64>> = BTreeMap::new();
        for KnownRecord { peer, sequence } in known {
            let mark = mark_of(peer);
            theirs.entry(Self::part_of(mark)).or_default().insert(peer, *sequence);
            self.vouch(from, peer);
            let held = self.held_at(mark, peer).map(|held| held.record.sequence);
            if held.is_some_and(|held| *sequence <= held) || *sequence > MAX_SEQUENCE {
                continue;
            }
            match self.tombstones.get(peer) {
                Some(stone) if *sequence > stone.sequence => difference.wanted.push(peer.clone()),
                // It holds a record of somebody who has said goodbye since.
                Some(stone) if stone.goodbye.is_some() && *sequence < stone.sequence => {
                    difference.lacking.push(peer.clone());
                }
                Some(_) => {}
                None if held.is_some() || self.room_for(from, peer) != Room::None => {
                    difference.wanted.push(peer.clone());
                }
                None => {}
            }
        }
        for (part, theirs) in &theirs {
            let lacks = |(peer, held): &(&PeerId, &Held)| {
                held.is_passed_on()
                    && theirs.get(*peer).is_none_or(|sequence| *sequence < held.record.sequence)
            };
            let lacking = self.parts[*part].held.iter().filter(lacks);
            difference.lacking.extend(lacking.map(|(peer, _)| peer.clone()));
        }
        difference
    }
}
