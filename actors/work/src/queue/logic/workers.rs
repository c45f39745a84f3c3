//! Workers that asked or reported lately: who serves what.

use meshwork_proto::queue::{Offer, WorkerView};
use meshwork_proto::{PeerId, UnixMillis, WorkerId};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A worker that said nothing for so long is not counted any more: longer than the longest wait of a claim.
const LATELY: Duration = Duration::from_secs(90);
/// Most workers that are remembered.
const MAX_WORKERS: usize = 1000;

/// What is known of a worker.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What it offered last; nothing if it only reported.
    pub offer: Rc<Offer>,
    pub peer: Option<PeerId>,
    local: bool,
    running: u32,
    completed: u64,
    failed: u64,
    lost: u64,
    last_seen: UnixMillis,
    /// Its connection is gone: what it offered is offered no more until it is heard of again.
    away: bool,
}

/// Workers by id.
#[derive(Debug, Default)]
pub(crate) struct Workers(BTreeMap<WorkerId, Seen>);

impl Workers {
    /// A worker asked for work.
    pub(crate) fn offered(&mut self, now: UnixMillis, worker: &WorkerId, offer: Rc<Offer>, local: bool) {
        let seen = self.entry(now, worker);
        seen.offer = offer;
        seen.local = local;
        seen.away = false;
    }

    /// A worker reported.
    pub(crate) fn seen(&mut self, now: UnixMillis, worker: &WorkerId) {
        self.entry(now, worker).away = false;
    }

    /// The connection to a peer is gone, or back: its workers go or come with it.
    pub(crate) fn set_away(&mut self, peer: &PeerId, away: bool) {
        for seen in self.0.values_mut().filter(|seen| seen.peer.as_ref() == Some(peer)) {
            seen.away = away;
        }
    }

    /// A worker got a lease, perhaps before a restart of this node.
    pub(crate) fn leased(&mut self, worker: &WorkerId, granted: UnixMillis) {
        let known = self.0.get(worker).map_or(UnixMillis::default(), |seen| seen.last_seen);
        self.entry(known.max(granted), worker).running += 1;
    }

    pub(crate) fn released(&mut self, worker: &WorkerId) {
        if let Some(seen) = self.0.get_mut(worker) {
            seen.running = seen.running.saturating_sub(1);
        }
    }

    pub(crate) fn completed(&mut self, worker: &WorkerId) {
        if let Some(seen) = self.0.get_mut(worker) {
            seen.completed += 1;
        }
    }

    pub(crate) fn failed(&mut self, worker: &WorkerId) {
        if let Some(seen) = self.0.get_mut(worker) {
            seen.failed += 1;
        }
    }

    pub(crate) fn lost(&mut self, worker: &WorkerId) {
        if let Some(seen) = self.0.get_mut(worker) {
            seen.lost += 1;
        }
    }

    /// Workers seen lately and still connected.
    pub(crate) fn lately(&self, now: UnixMillis) -> impl Iterator<Item = &Seen> {
        self.0.values().filter(move |seen| is_recent(now, seen) && !seen.away)
    }

    /// The workers seen lately, as others see them.
    pub(crate) fn views(&self, now: UnixMillis, detail: bool) -> Vec<WorkerView> {
        let recent = self.0.iter().filter(|(_, seen)| is_recent(now, seen));
        recent
            .map(|(worker, seen)| WorkerView {
                worker: worker.clone(),
                local: seen.local,
                tools: if detail { seen.offer.tools.keys().cloned().collect() } else { Vec::new() },
                labels: if detail { seen.offer.labels.iter().cloned().collect() } else { Vec::new() },
                running: seen.running,
                completed: seen.completed,
                failed: seen.failed,
                lost: seen.lost,
                last_seen: seen.last_seen,
            })
            .collect()
    }

    fn entry(&mut self, now: UnixMillis, worker: &WorkerId) -> &mut Seen {
        if !self.0.contains_key(worker) && self.0.len() >= MAX_WORKERS {
            self.forget_one();
        }
        let seen =
            self.0.entry(worker.clone()).or_insert_with(|| Seen { peer: worker.peer(), ..Seen::default() });
        seen.last_seen = now;
        seen
    }

    /// Makes room: who holds no lease and was silent longest goes first.
    fn forget_one(&mut self) {
        let first = self.0.iter().min_by_key(|(_, seen)| (seen.running > 0, seen.last_seen));
        if let Some(worker) = first.map(|(worker, _)| worker.clone()) {
            self.0.remove(&worker);
        }
    }
}

fn is_recent(now: UnixMillis, seen: &Seen) -> bool {
    now.since(seen.last_seen) < LATELY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_workers_is_bounded_and_the_silent_are_forgotten_first() {
        let mut workers = Workers::default();
        let busy: WorkerId = "busy".parse().unwrap();
        workers.seen(UnixMillis(0), &busy);
        workers.leased(&busy, UnixMillis(0));
        for n in 0..2000 {
            workers.seen(UnixMillis(n), &format!("w{n}").parse().unwrap());
        }
        assert_eq!(workers.0.len(), MAX_WORKERS);
        assert!(workers.0.contains_key(&busy), "one that holds a lease stays");
        assert!(workers.0.contains_key(&"w1999".parse().unwrap()));
        assert_eq!(workers.views(UnixMillis(200_000), true).len(), 0, "all are silent for long");
    }
}
