//! What is held on the word of one peer alone, by whose word it is: who has told most of it, and which of it goes first.

use meshwork_proto::{PeerId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};

/// A record that could go, in the order in which those that one peer has told go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spare {
    /// What is not passed on goes first: nobody has heard of it from here.
    pub(super) passed_on: bool,
    /// Then what is oldest.
    pub(super) new_at: UnixMillis,
    /// Whose it is.
    pub(super) peer: PeerId,
}

/// The records that only one peer has told. Who has told none is not in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Hearsay(BTreeMap<PeerId, BTreeSet<Spare>>);

impl Hearsay {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many records are held on the word of this peer alone.
    pub(super) fn told_by(&self, teller: &PeerId) -> usize {
        self.0.get(teller).map_or(0, BTreeSet::len)
    }

    pub(super) fn add(&mut self, teller: &PeerId, spare: Spare) {
        match self.0.get_mut(teller) {
            Some(told) => {
                told.insert(spare);
            }
            None => {
                self.0.insert(teller.clone(), [spare].into());
            }
        }
    }

    /// Takes one out; it must be given as it was added.
    pub(super) fn remove(&mut self, teller: &PeerId, spare: &Spare) {
        let Some(told) = self.0.get_mut(teller) else { return };
        told.remove(spare);
        if told.is_empty() {
            self.0.remove(teller);
        }
    }

    /// How many records are held on the word of the peer that has told most of them, and whose record of those goes first.
    pub(super) fn most(&self) -> Option<(usize, &PeerId)> {
        let told = self.0.values().max_by_key(|told| told.len())?;
        Some((told.len(), &told.first()?.peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::bench::{A, B, at, nobody, peer};

    fn spare(n: usize, passed_on: bool, seconds: u64) -> Spare {
        Spare { passed_on, new_at: at(seconds), peer: nobody(n) }
    }

    #[test]
    fn who_has_told_most_loses_what_is_not_passed_on_before_what_is_and_the_oldest_first() {
        let mut hearsay = Hearsay::default();
        assert!(hearsay.is_empty() && hearsay.most().is_none());
        hearsay.add(&peer(B), spare(9, false, 0));
        for (n, passed_on, seconds) in [(1, true, 1), (2, false, 7), (3, false, 5), (4, true, 0)] {
            hearsay.add(&peer(A), spare(n, passed_on, seconds));
        }
        let mut order = Vec::new();
        while let Some((count, first)) = hearsay.most().map(|(count, first)| (count, first.clone())) {
            if count == 1 {
                break;
            }
            let n = (1..5).find(|n| nobody(*n) == first).unwrap();
            order.push((count, n));
            let (passed_on, seconds) = [(true, 1), (false, 7), (false, 5), (true, 0)][n - 1];
            hearsay.remove(&peer(A), &spare(n, passed_on, seconds));
        }
        assert_eq!(order, [(4, 3), (3, 2), (2, 4)]);
        assert_eq!((hearsay.told_by(&peer(A)), hearsay.told_by(&peer(B))), (1, 1));
    }

    #[test]
    fn who_is_not_known_has_told_nothing_and_loses_nothing() {
        let mut hearsay = Hearsay::default();
        hearsay.add(&peer(A), spare(1, true, 0));
        hearsay.remove(&peer(B), &spare(1, true, 0));
        hearsay.remove(&peer(A), &spare(1, false, 0));
        assert_eq!(hearsay.told_by(&peer(A)), 1);
        hearsay.remove(&peer(A), &spare(1, true, 0));
        assert!(hearsay.is_empty());
    }
}
