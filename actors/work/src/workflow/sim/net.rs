//! Who talks to whom, and what becomes of it on the way: lost, late, or cut off.

use crate::queue::logic as tasks;
use crate::workflow::logic as runs;
use bytes::Bytes;
use meshwork_proto::executor::StopTask;
use meshwork_proto::{Cid, PeerId};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How many nodes there are.
pub(super) const NODES: usize = 10;
/// A peer that does not answer for so long counts as lost, in milliseconds.
pub(super) const NOTICED: u64 = 2500;
/// All peer ids of these nodes begin so; the last character tells them apart.
const PEERS: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXT";

/// The id of a node.
pub(super) fn peer(node: usize) -> PeerId {
    let last = char::from(b"ABCDEFGHJK"[node]);
    format!("{PEERS}{last}").parse().unwrap()
}

/// Who sends and receives; everybody lives at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    /// Queue and coordinator.
    Node(usize),
    Worker(usize),
    /// Outside of the node's process: it survives crashes.
    Client(usize),
}

impl Party {
    /// The node it lives at.
    pub(super) fn node(self) -> usize {
        match self {
            Self::Node(node) | Self::Worker(node) | Self::Client(node) => node,
        }
    }
}

/// What is sent.
#[allow(clippy::large_enum_variant, reason = "nearly all are large")]
#[derive(Debug, Clone)]
pub(super) enum Body {
    AskQueue(tasks::Op),
    QueueSays(tasks::Answer),
    Stop(StopTask),
    AskRuns(runs::Op),
    RunsSay(runs::Answer),
    /// An artifact is wanted.
    Fetch(Cid),
    Fetched(Option<Bytes>),
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub from: Party,
    pub to: Party,
    /// Which start of the receiver's node it is for: a process does not get its predecessor's mail.
    pub boot: u64,
    /// Ties an answer to its question.
    pub request: u64,
    pub body: Body,
}

/// Nodes on two sides that cannot reach one another for a time, as bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    sides: [u16; 2],
    pub from: u64,
    pub until: u64,
}

impl Cut {
    pub(super) fn parts(&self, a: usize, b: usize) -> bool {
        let on = |side: u16, node: usize| side & (1 << node) != 0;
        let [one, other] = self.sides;
        (on(one, a) && on(other, b)) || (on(one, b) && on(other, a))
    }

    fn holds(&self, now: u64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// How bad the network is, and when which nodes cannot reach one another.
#[derive(Debug, Default)]
pub(super) struct Net {
    loss: f64,
    slowest: u64,
    cuts: Vec<Cut>,
    healed: bool,
}

impl Net {
    pub(super) fn random(rng: &mut ChaCha8Rng, chaos: u64) -> Self {
        let mut cuts = Vec::new();
        for _ in 0..rng.random_range(0..4) {
            let from = rng.random_range(0..chaos);
            let until = from + rng.random_range(1000..25_000);
            let sides = if rng.random_bool(0.4) {
                // The whole mesh falls apart.
                let one = rng.random_range(1..(1 << NODES) - 1);
                [one, !one]
            } else {
                let a = rng.random_range(0..NODES);
                let b = (a + rng.random_range(1..NODES)) % NODES;
                // One node loses another one, or all others.
                let other = if rng.random_bool(0.5) { 1 << b } else { !(1 << a) };
                [1 << a, other]
            };
            cuts.push(Cut { sides, from, until });
        }
        let loss = if rng.random_bool(0.7) { rng.random_range(0.0..0.08) } else { 0.0 };
        Self { loss, slowest: if rng.random_bool(0.3) { 2500 } else { 150 }, cuts, healed: false }
    }

    pub(super) fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// From now on every message arrives, and soon.
    pub(super) fn heal(&mut self) {
        self.healed = true;
    }

    pub(super) fn is_cut(&self, now: u64, a: usize, b: usize) -> bool {
        !self.healed && a != b && self.cuts.iter().any(|cut| cut.holds(now) && cut.parts(a, b))
    }

    /// After how many milliseconds a message arrives, if it does.
    pub(super) fn delay(&self, rng: &mut ChaCha8Rng, now: u64, from: usize, to: usize) -> Option<u64> {
        if from == to {
            return Some(1);
        }
        if self.healed {
            return Some(rng.random_range(1..40));
        }
        let lost = self.is_cut(now, from, to) || rng.random_bool(self.loss);
        (!lost).then(|| rng.random_range(1..self.slowest))
    }
}
