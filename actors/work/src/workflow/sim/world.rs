//! Virtual time, and everything that happens in it.

use super::client::Client;
use super::ledger::Ledger;
use super::net::{Message, NODES, NOTICED, Net, peer};
use super::node::{Ask, Node};
use super::oracle::Oracle;
use super::worker::Worker;
use super::{Fault, Report, Violation};
use crate::queue::QueueOptions;
use crate::queue::logic as tasks;
use crate::workflow::logic::Refused;
use crate::workflow::options::WorkflowOptions;
use crate::workflow::tests::bench::Pending;
use meshwork_proto::RunId;
use meshwork_proto::queue::Submitted;
use meshwork_proto::workflow::TaskEnded;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Faults happen for so long, in milliseconds.
pub(super) const CHAOS: u64 = 50_000;
/// By then everything must have ended.
const END: u64 = CHAOS + 300_000;
/// So many things do not happen within a millisecond.
const STANDS_STILL: u32 = 20_000;
/// How long an ending run waits for what runs, in seconds.
pub(super) const STOP_WITHIN: f64 = 6.0;

/// Something that happens at a time.
#[allow(clippy::large_enum_variant, reason = "nearly all are large")]
#[derive(Debug)]
pub(super) enum Event {
    Deliver(Message),
    Write {
        node: usize,
        boot: u64,
    },
    Sync {
        node: usize,
        boot: u64,
    },
    /// The queue reads.
    Read {
        node: usize,
        life: u64,
        id: tasks::ReadId,
        plan: tasks::ReadPlan,
    },
    /// Something is done for the coordinator.
    Outside {
        node: usize,
        life: u64,
        what: Pending,
    },
    /// The queue answered the coordinator.
    Told {
        node: usize,
        life: u64,
        ask: Ask,
        result: Result<Submitted, Refused>,
    },
    /// The queue tells the coordinator of an end.
    Ended {
        node: usize,
        life: u64,
        ended: Box<TaskEnded>,
    },
    /// The coordinator asks the queue once more to give up a task.
    CancelAgain {
        node: usize,
        life: u64,
        ask: Ask,
    },
    TickQueue {
        node: usize,
        life: u64,
    },
    TickRuns {
        node: usize,
        life: u64,
    },
    /// A question to a peer has failed.
    CallFailed {
        node: usize,
        request: u64,
        unsure: bool,
    },
    /// A peer is told once more to give a part up.
    CancelPart {
        node: usize,
        life: u64,
        to: usize,
        run: RunId,
        compensate: bool,
        tries: u32,
    },
    ActWorker {
        node: usize,
        boot: u64,
    },
    ActClient(usize),
    Crash {
        nodes: u16,
        power: bool,
    },
    Boot(usize),
    /// The clock on the wall is set.
    Wall {
        node: usize,
        by: i64,
    },
    /// The worker of a node is never heard of again.
    Vanish(usize),
    Full {
        node: usize,
        full: bool,
    },
    Broken {
        node: usize,
        broken: bool,
    },
    /// The queue or the coordinator of a node begins anew.
    Anew {
        node: usize,
        queue: bool,
        life: u64,
    },
    Lost {
        at: usize,
        of: usize,
    },
    Back {
        at: usize,
        of: usize,
    },
    Heal,
    Look,
}

impl Event {
    /// Whether it is something that goes wrong, or is over.
    fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::Crash { .. }
                | Self::Boot(_)
                | Self::Wall { .. }
                | Self::Vanish(_)
                | Self::Full { .. }
                | Self::Broken { .. }
                | Self::Anew { .. }
                | Self::Heal
        )
    }
}

/// Everything.
pub(super) struct World {
    pub rng: ChaCha8Rng,
    pub seed: u64,
    pub fault: Option<Fault>,
    pub options: QueueOptions,
    pub now: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub nodes: Vec<Node>,
    pub workers: Vec<Option<Worker>>,
    /// When each worker looks next at what there is to do.
    pub acts: Vec<u64>,
    pub clients: Vec<Client>,
    pub net: Net,
    pub ledger: Ledger,
    pub oracle: Oracle,
    pub vanished: BTreeSet<usize>,
    pub healed: bool,
    /// Runs that waited for what does not exist, and were given up.
    pub given_up: BTreeSet<RunId>,
    pub report: Report,
    pub story: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let options = QueueOptions {
            lease_s: 10.0,
            lost_peer_grace_s: 2.0,
            max_lease_losses: 3,
            spec_cache_bytes: if rng.random_bool(0.5) { 0 } else { 1_000_000 },
            ..QueueOptions::default()
        };
        let runs = WorkflowOptions {
            stop_within_s: STOP_WITHIN,
            undo_within_s: 20.0,
            move_within_s: 6.0,
            reconcile_s: 5.0,
            max_running: if rng.random_bool(0.2) { 2 } else { 1000 },
            finished_in_memory: if rng.random_bool(0.3) { 0 } else { 256 },
            ..WorkflowOptions::default()
        };
        let net = Net::random(&mut rng, CHAOS);
        let mut shares = [0; NODES];
        (0..rng.random_range(2..8)).for_each(|_| shares[rng.random_range(0..NODES)] += 1);
        let clients = shares.iter().enumerate();
        let clients = clients.map(|(node, runs)| Client::new(&mut rng, node, *runs, CHAOS)).collect();
        let mut world = Self {
            rng,
            seed,
            fault,
            options,
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            nodes: (0..NODES).map(|node| Node::new(node, runs.clone())).collect(),
            workers: (0..NODES).map(|_| None).collect(),
            acts: vec![u64::MAX; NODES],
            clients,
            net,
            ledger: Ledger::default(),
            oracle: Oracle::default(),
            vanished: BTreeSet::new(),
            healed: false,
            given_up: BTreeSet::new(),
            report: Report::default(),
            story: super::tests::story(),
        };
        world.plan();
        world
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((time.max(self.now), self.next_event), event);
    }

    pub(super) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// After some milliseconds, at most so many.
    pub(super) fn soon(&mut self, most: u64, event: Event) {
        let delay = self.rng.random_range(0..=most);
        self.after(delay, event);
    }

    /// Until everything has ended, or something is wrong.
    pub(super) fn run(mut self) -> Result<Report, Violation> {
        let mut together = 0;
        while let Some(((time, _), event)) = self.events.pop_first() {
            together = if time == self.now { together + 1 } else { 0 };
            if together > STANDS_STILL {
                let what = format!("time stands still, with {event:?}");
                return Err(Violation { at: time, what });
            }
            self.now = time;
            self.report.events += 1;
            let looked = matches!(event, Event::Look);
            self.happen(event).map_err(|what| Violation { at: time, what })?;
            if looked && ((self.healed && self.is_over()) || time > END) {
                break;
            }
        }
        let at = self.now;
        self.finish().map_err(|what| Violation { at, what })
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        if self.story.is_some() && event.is_trouble() {
            println!("{:>7} {event:?}", self.now);
        }
        match event {
            Event::Deliver(message) => return self.deliver(message),
            Event::Write { node, boot } if self.nodes[node].boot == boot => return self.write(node),
            Event::Sync { node, boot } if self.nodes[node].boot == boot => return self.sync(node),
            Event::Read { node, life, id, plan } => return self.queue_reads(node, life, id, &plan),
            Event::Outside { node, life, what } => return self.outside(node, life, what),
            Event::Told { node, life, ask, result } => return self.told(node, life, ask, result),
            Event::Ended { node, life, ended } if self.lives(node, life) => {
                return self.runs(node, |state, turn| state.task_ended(turn, *ended));
            }
            Event::CancelAgain { node, life, ask } if self.lives(node, life) => {
                return self.cancel_task(node, ask);
            }
            Event::TickQueue { node, life } if self.nodes[node].up && self.nodes[node].lives.0 == life => {
                self.nodes[node].armed.0 = None;
                return self.queue(node, tasks::QueueState::tick);
            }
            Event::TickRuns { node, life } if self.lives(node, life) => {
                self.nodes[node].armed.1 = None;
                return self.runs(node, |state, turn| state.tick(turn));
            }
            Event::CallFailed { node, request, unsure } => return self.call_failed(node, request, unsure),
            Event::CancelPart { node, life, to, run, compensate, tries } if self.lives(node, life) => {
                self.cancel_part(node, to, run, compensate, tries);
            }
            Event::ActWorker { node, boot } if self.nodes[node].boot == boot => self.act_worker(node),
            Event::ActClient(node) => self.act_client(node),
            Event::Crash { nodes, power } => return self.crash(nodes, power),
            Event::Boot(node) => return self.boot(node),
            Event::Wall { node, by } => self.nodes[node].wall += by,
            Event::Vanish(node) => {
                self.vanished.insert(node);
                self.workers[node] = None;
                for at in (0..NODES).filter(|at| *at != node) {
                    self.after(NOTICED, Event::Lost { at, of: node });
                }
            }
            Event::Full { node, full } => self.nodes[node].store.full = full,
            Event::Broken { node, broken } => self.nodes[node].store.broken = broken,
            Event::Anew { node, queue, life } => return self.anew(node, queue, life),
            Event::Lost { at, of } => return self.lose_peer(at, of),
            Event::Back { at, of } if !self.net.is_cut(self.now, at, of) && !self.vanished.contains(&of) => {
                return self.queue(at, |state, _| state.peer_back(&peer(of)));
            }
            Event::Heal => self.heal(),
            Event::Look => {
                self.after(1000, Event::Look);
                return self.look();
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the coordinator of a node is still the one that asked for something.
    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].up && self.nodes[node].lives.1 == life
    }

    fn heal(&mut self) {
        self.healed = true;
        self.net.heal();
        for node in &mut self.nodes {
            (node.store.full, node.store.broken) = (false, false);
        }
        self.workers.iter_mut().flatten().for_each(Worker::heal);
    }
}
