//! A node: its queue and its coordinator over one store, what they wait for outside, and its clock.

use super::net::{Party, peer};
use super::store::Store;
use crate::queue::QueueOptions;
use crate::queue::logic as tasks;
use crate::queue::logic::{FenceSource, QueueState};
use crate::queue::records::counts_key;
use crate::workflow::logic as runs;
use crate::workflow::logic::FlightId;
use crate::workflow::options::WorkflowOptions;
use crate::workflow::tests::bench::Bench;
use bytes::Bytes;
use meshwork_proto::store::Family;
use meshwork_proto::task::TaskSpec;
use meshwork_proto::workflow::TakeOverRun;
use meshwork_proto::{Cid, PeerId, RunId, TaskId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};

/// Virtual time begins here on a clock that is right.
pub(super) const BEGIN: u64 = 1_700_000_000_000;

/// Who asked the queue.
#[derive(Debug, Clone)]
pub(super) enum QueueAsker {
    /// A worker.
    Worker { node: usize, request: u64, op: Box<tasks::Op> },
    /// The coordinator of this node, in one of its lives; with what it submits.
    Runs { life: u64, ask: Ask, spec: Option<Box<TaskSpec>> },
}

/// What the coordinator asked the queue.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask {
    Submit(FlightId),
    Watch(FlightId),
    Cancel { flight: FlightId, task: TaskId, tries: u32 },
}

/// A request that the coordinator has taken up.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunAsker {
    pub from: Party,
    pub request: u64,
}

/// A question to a peer that the coordinator waits for.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The life of the coordinator that asked.
    pub life: u64,
    pub to: usize,
    pub what: Called,
}

/// What the answer is for.
#[derive(Debug, Clone)]
pub(super) enum Called {
    Submit(FlightId),
    Watch(FlightId),
    Cancel { run: RunId, compensate: bool, tries: u32 },
    TakeOver { run: RunId, epoch: u32 },
    Fetch { from: PeerId, what: TakeOverRun },
}

/// One node.
pub(super) struct Node {
    pub index: usize,
    pub up: bool,
    /// The coordinator is of no use any more, and the next one is not there yet.
    pub failed: bool,
    /// The coordinator; what reads of it see is its disk.
    pub bench: Bench,
    pub queue: Option<QueueState>,
    pub store: Store,
    /// How often it started: events of an earlier start mean nothing.
    pub boot: u64,
    /// When it did, or its coordinator last began anew.
    pub since: u64,
    /// How often its queue and its coordinator were built: answers to earlier ones mean nothing.
    pub lives: (u64, u64),
    pub queue_askers: BTreeMap<tasks::Ticket, QueueAsker>,
    pub gone: BTreeSet<tasks::Ticket>,
    pub run_askers: BTreeMap<runs::Ticket, RunAsker>,
    pub calls: BTreeMap<u64, Call>,
    /// Histories that were given away: artifacts outlast a crash.
    pub artifacts: BTreeMap<Cid, Bytes>,
    /// By how many milliseconds the clock on the wall is wrong, and was when the node started: its own goes on from there.
    pub wall: i64,
    clock: i64,
    pub armed: (Option<u64>, Option<u64>),
    epoch: u32,
    fences: FenceSource,
    next_ticket: u64,
    next_request: u64,
}

impl Node {
    pub(super) fn new(index: usize, options: WorkflowOptions) -> Self {
        let mut bench = Bench::at(peer(index), options);
        bench.auto = false;
        Self {
            index,
            up: false,
            failed: false,
            bench,
            queue: None,
            store: Store::default(),
            boot: 0,
            since: 0,
            lives: (0, 0),
            queue_askers: BTreeMap::new(),
            gone: BTreeSet::new(),
            run_askers: BTreeMap::new(),
            calls: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            wall: 0,
            clock: 0,
            armed: (None, None),
            epoch: 0,
            fences: FenceSource::new(0),
            next_ticket: 0,
            next_request: 0,
        }
    }

    /// Its time: it goes on evenly from what the clock on the wall said when the node started.
    pub(super) fn time(&self, now: u64) -> UnixMillis {
        UnixMillis((BEGIN + now).saturating_add_signed(self.clock))
    }

    /// The coordinator's clocks: its own, and the one on the wall.
    pub(super) fn set_clock(&mut self, now: u64) {
        self.bench.now = self.time(now);
        self.bench.wall = self.wall - self.clock;
    }

    /// When its clock says so, in virtual time.
    pub(super) fn when(&self, due: UnixMillis) -> u64 {
        due.0.saturating_add_signed(-self.clock).saturating_sub(BEGIN)
    }

    pub(super) fn ticket(&mut self, asker: QueueAsker) -> tasks::Ticket {
        self.next_ticket += 1;
        let ticket = tasks::Ticket(self.next_ticket);
        self.queue_askers.insert(ticket, asker);
        ticket
    }

    /// A question to a peer is noted down.
    pub(super) fn call(&mut self, to: usize, what: Called) -> u64 {
        self.next_request += 1;
        let life = self.lives.1;
        self.calls.insert(self.next_request, Call { life, to, what });
        self.next_request
    }

    /// The process is gone, and with the power what was not synced, but for the first `kept` commits.
    pub(super) fn crash(&mut self, kept: Option<usize>, torn: bool) {
        self.bench.disk = self.store.crash(kept, torn);
        self.queue = None;
        self.up = false;
        self.boot += 1;
        self.queue_askers.clear();
        self.gone.clear();
        self.run_askers.clear();
        self.calls.clear();
        self.armed = (None, None);
    }

    /// The process starts: the store raises its epoch, durably.
    pub(super) fn start(&mut self, now: u64) {
        self.epoch += 1;
        self.fences = FenceSource::new(self.epoch);
        self.clock = self.wall;
        self.since = now;
        self.up = true;
    }

    /// A queue is built from what is written.
    pub(super) fn build_queue(&mut self, options: &QueueOptions, seed: u64, now: u64) -> QueueState {
        self.lives.0 += 1;
        self.armed.0 = None;
        let setup = tasks::Setup {
            options: options.clone(),
            local_peer: peer(self.index),
            fences: self.fences.clone(),
            seed: seed ^ (self.lives.0 << 8) ^ (self.index as u64),
            draining: false,
        };
        let mut state = QueueState::new(setup);
        let disk = &self.store.tasks;
        state.load_counts(disk.get(Family::Tasks, &counts_key()).as_ref()).unwrap();
        state.load_states(&disk.entries(Family::Leases)).unwrap();
        state.load_routes(self.time(now), &disk.entries(Family::Ready)).unwrap();
        state
    }

    /// A coordinator is built from what is written; what it wants to have done waits in the bench.
    pub(super) fn build_runs(&mut self, seed: u64, now: u64) {
        self.lives.1 += 1;
        self.armed.1 = None;
        self.since = now;
        self.failed = false;
        self.set_clock(now);
        self.bench.starts = (seed << 16) ^ ((self.index as u64) << 8) ^ self.lives.1;
        self.bench.restart();
    }

    /// One call of the queue; what it wants done.
    pub(super) fn call_queue(
        &mut self,
        now: u64,
        call: impl FnOnce(&mut QueueState, &mut tasks::Turn<'_>),
    ) -> Vec<tasks::Effect> {
        let mut out = Vec::new();
        let now = self.time(now);
        if let Some(state) = &mut self.queue {
            let gone = |ticket: tasks::Ticket| self.gone.contains(&ticket);
            call(state, &mut tasks::Turn { now, gone: &gone, out: &mut out });
        }
        out
    }
}
