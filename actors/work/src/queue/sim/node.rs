//! A node's queue and its store: what is written, what is synced, what a crash leaves.

use super::Fault;
use super::net::{NODES, Party};
use crate::queue::logic::{CommitId, FenceSource, Op, QueueState, Setup, Ticket, Turn};
use crate::queue::options::QueueOptions;
use crate::queue::records::counts_key;
use crate::queue::tests::disk::Disk;
use meshwork_proto::store::{Acknowledge, Admission, Family, StoreError, WriteOp};
use meshwork_proto::{PeerId, UnixMillis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The three nodes' names.
const PEERS: [&str; NODES] = [
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
    "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM",
];

pub(super) fn peer(node: usize) -> PeerId {
    PEERS[node].parse().unwrap()
}

/// A commit on its way to the disk.
#[derive(Debug)]
pub(super) struct Sent {
    /// Which queue sent it: a later one does not get its answers.
    pub actor: u64,
    pub id: CommitId,
    pub ops: Vec<WriteOp>,
    pub acknowledge: Acknowledge,
    pub admission: Admission,
}

/// A request that the queue has taken up.
#[derive(Debug)]
pub(super) struct Asker {
    pub from: Party,
    pub request: u64,
    pub boot: u64,
    pub op: Op,
}

/// One node.
pub(super) struct Node {
    pub index: usize,
    /// None while it is down, or loading.
    pub state: Option<QueueState>,
    /// How often it started: events of an earlier start mean nothing.
    pub boot: u64,
    /// How often its queue was built in this process.
    pub actor: u64,
    /// What reads see.
    pub written: Disk,
    /// What a crash leaves for certain.
    pub synced: Disk,
    /// Written and not synced, in order.
    pub unsynced: VecDeque<Sent>,
    /// Sent and not written, in order.
    pub outbox: VecDeque<Sent>,
    pub askers: BTreeMap<Ticket, Asker>,
    pub gone: BTreeSet<Ticket>,
    pub disk_full: bool,
    /// The next write of work already accepted fails.
    pub broken: bool,
    pub armed: Option<u64>,
    /// When the last commit is written, and synced: later ones are not earlier.
    pub write_at: u64,
    epoch: u32,
    fences: FenceSource,
    next_ticket: u64,
}

impl Node {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            state: None,
            boot: 0,
            actor: 0,
            written: Disk::default(),
            synced: Disk::default(),
            unsynced: VecDeque::new(),
            outbox: VecDeque::new(),
            askers: BTreeMap::new(),
            gone: BTreeSet::new(),
            disk_full: false,
            broken: false,
            armed: None,
            write_at: 0,
            epoch: 0,
            fences: FenceSource::new(0),
            next_ticket: 0,
        }
    }

    pub(super) fn ticket(&mut self, asker: Asker) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.askers.insert(ticket, asker);
        ticket
    }

    /// The process is gone. Of what was written but not synced nothing is left, or a part: what came first.
    pub(super) fn crash(&mut self, rng: &mut ChaCha8Rng) {
        let kept = if rng.random_bool(0.6) { 0 } else { rng.random_range(0..=self.unsynced.len()) };
        for sent in self.unsynced.drain(..).take(kept) {
            self.synced.apply(&sent.ops);
        }
        self.unsynced.clear();
        self.outbox.clear();
        self.written = self.synced.clone();
        self.state = None;
        self.askers.clear();
        self.gone.clear();
        self.armed = None;
        self.boot += 1;
    }

    /// The store is opened: it raises the epoch, durably.
    pub(super) fn open(&mut self, fault: Option<Fault>) {
        if fault != Some(Fault::EpochNotRaised) || self.epoch == 0 {
            self.epoch += 1;
        }
        self.fences = FenceSource::new(self.epoch);
    }

    /// A queue is built from what is written.
    pub(super) fn build(&mut self, options: &QueueOptions, seed: u64, now: UnixMillis) -> QueueState {
        self.actor += 1;
        let setup = Setup {
            options: options.clone(),
            local_peer: peer(self.index),
            fences: self.fences.clone(),
            seed: seed ^ (self.actor << 8) ^ (self.index as u64),
            draining: false,
        };
        let mut state = QueueState::new(setup);
        let counts = self.written.get(Family::Tasks, &counts_key());
        state.load_counts(counts.as_ref()).unwrap();
        state.load_states(&self.written.entries(Family::Leases)).unwrap();
        state.load_routes(now, &self.written.entries(Family::Ready)).unwrap();
        state
    }

    /// Takes the oldest commit to the disk; the answer, if it is one that does not wait for the sync.
    pub(super) fn write_next(&mut self) -> Option<(u64, CommitId, Result<(), StoreError>)> {
        let sent = self.outbox.pop_front()?;
        if self.disk_full && sent.admission == Admission::New {
            return Some((sent.actor, sent.id, Err(StoreError::DiskFull { free: 0, reserve: 1 })));
        }
        if self.broken && sent.admission == Admission::Accepted {
            self.broken = false;
            return Some((sent.actor, sent.id, Err(StoreError::Database("bad sector".into()))));
        }
        self.written.apply(&sent.ops);
        let answered = (sent.acknowledge == Acknowledge::Written).then_some((sent.actor, sent.id, Ok(())));
        self.unsynced.push_back(sent);
        answered
    }

    /// One sync for everything that is written: whom to answer.
    pub(super) fn sync(&mut self) -> Vec<(u64, CommitId)> {
        let mut answered = Vec::new();
        for sent in self.unsynced.drain(..) {
            self.synced.apply(&sent.ops);
            if sent.acknowledge == Acknowledge::Durable {
                answered.push((sent.actor, sent.id));
            }
        }
        answered
    }

    /// One call of the queue; what it wants done.
    pub(super) fn call(
        &mut self,
        now: UnixMillis,
        call: impl FnOnce(&mut QueueState, &mut Turn<'_>),
    ) -> Vec<crate::queue::logic::Effect> {
        let mut out = Vec::new();
        if let Some(state) = &mut self.state {
            let gone = |ticket: Ticket| self.gone.contains(&ticket);
            call(state, &mut Turn { now, gone: &gone, out: &mut out });
        }
        out
    }
}
