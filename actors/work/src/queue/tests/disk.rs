//! A store in memory: what was committed to it.

use crate::queue::logic::{Found, ReadPlan};
use bytes::Bytes;
use meshwork_proto::Cid;
use meshwork_proto::store::{Family, Scan, WriteOp};
use std::collections::{BTreeMap, BTreeSet};

/// Families with their entries, and who pins which artifact.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    families: BTreeMap<Family, BTreeMap<Bytes, Bytes>>,
    pub(crate) pins: BTreeSet<(Cid, Bytes)>,
}

impl Disk {
    pub(crate) fn apply(&mut self, ops: &[WriteOp]) {
        for op in ops {
            match op {
                WriteOp::Put { family, key, value } => {
                    self.families.entry(*family).or_default().insert(key.clone(), value.clone());
                }
                WriteOp::Delete { family, key } => {
                    self.families.entry(*family).or_default().remove(key);
                }
                WriteOp::Pin { cid, holder } => {
                    self.pins.insert((*cid, holder.clone()));
                }
                WriteOp::Unpin { cid, holder } => {
                    self.pins.remove(&(*cid, holder.clone()));
                }
            }
        }
    }

    pub(crate) fn get(&self, family: Family, key: &Bytes) -> Option<Bytes> {
        self.families.get(&family)?.get(key).cloned()
    }

    pub(crate) fn entries(&self, family: Family) -> Vec<(Bytes, Bytes)> {
        let entries = self.families.get(&family).into_iter().flatten();
        entries.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// How many entries there are, in all families.
    pub(crate) fn len(&self) -> usize {
        self.families.values().map(BTreeMap::len).sum()
    }

    pub(crate) fn read(&self, plan: &ReadPlan) -> Found {
        match plan {
            ReadPlan::Range(scan) => Found::Entries(self.scan(scan)),
            ReadPlan::Keys(groups) => {
                let group = |(family, keys): &(Family, Vec<Bytes>)| {
                    keys.iter().map(|key| self.get(*family, key)).collect()
                };
                Found::Values(groups.iter().map(group).collect())
            }
        }
    }

    pub(crate) fn scan(&self, scan: &Scan) -> Vec<(Bytes, Bytes)> {
        let entries = self.entries(scan.family);
        let limit = scan.limit.min(10_000) as usize;
        let from = |key: &Bytes| match (scan.from.is_empty(), scan.reverse, scan.after) {
            (true, ..) => true,
            (false, false, false) => *key >= scan.from,
            (false, false, true) => *key > scan.from,
            (false, true, false) => *key <= scan.from,
            (false, true, true) => *key < scan.from,
        };
        let kept = entries.into_iter().filter(|(key, _)| from(key));
        let kept = kept.filter(|(key, _)| scan.to.as_ref().is_none_or(|to| key < to));
        if scan.reverse {
            let mut all: Vec<_> = kept.collect();
            all.reverse();
            all.truncate(limit);
            all
        } else {
            kept.take(limit).collect()
        }
    }
}
