//! Who talks to whom, and what becomes of it on the way.

use crate::queue::logic::{Answer, Op};
use meshwork_proto::executor::StopTask;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How many nodes there are.
pub(super) const NODES: usize = 3;

/// Who sends and receives; everybody lives at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Owner(usize),
    Worker(usize),
    /// Outside of the node's process: it survives crashes.
    Client(usize),
}

impl Party {
    /// The node it lives at.
    pub(super) fn node(self) -> usize {
        match self {
            Self::Owner(node) | Self::Worker(node) | Self::Client(node) => node,
        }
    }
}

/// What is sent.
#[allow(clippy::large_enum_variant, reason = "nearly all are large")]
#[derive(Debug, Clone)]
pub(super) enum Body {
    Ask(Op),
    Answer(Answer),
    Stop(StopTask),
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub from: Party,
    pub to: Party,
    /// Which start of the sender's node it is from, or for: a process does not get its predecessor's mail.
    pub boot: u64,
    /// Ties an answer to its question.
    pub request: u64,
    pub body: Body,
}

/// How bad the network is, and when which nodes cannot reach one another.
#[derive(Debug, Default)]
pub(super) struct Net {
    loss: f64,
    doubling: f64,
    slowest: u64,
    partitions: Vec<(usize, usize, u64, u64)>,
    healed: bool,
}

impl Net {
    pub(super) fn random(rng: &mut ChaCha8Rng, chaos: u64) -> Self {
        let partition = |rng: &mut ChaCha8Rng| {
            let a = rng.random_range(0..NODES);
            let from = rng.random_range(0..chaos);
            (a, (a + rng.random_range(1..NODES)) % NODES, from, from + rng.random_range(1000..40_000))
        };
        Self {
            loss: rng.random_range(0.0..0.15),
            doubling: rng.random_range(0.0..0.1),
            slowest: if rng.random_bool(0.3) { 3000 } else { 200 },
            partitions: (0..rng.random_range(0..4)).map(|_| partition(rng)).collect(),
            healed: false,
        }
    }

    pub(super) fn partitions(&self) -> &[(usize, usize, u64, u64)] {
        &self.partitions
    }

    /// From now on every message arrives, soon and once.
    pub(super) fn heal(&mut self) {
        self.healed = true;
    }

    /// After how many milliseconds the message arrives, each time it does.
    pub(super) fn deliveries(&self, rng: &mut ChaCha8Rng, now: u64, from: usize, to: usize) -> Vec<u64> {
        if from == to {
            return vec![1];
        }
        if self.healed {
            return vec![rng.random_range(1..50)];
        }
        let cut = |(a, b, since, until): &(usize, usize, u64, u64)| {
            ((*a, *b) == (from, to) || (*b, *a) == (from, to)) && (*since..*until).contains(&now)
        };
        if self.partitions.iter().any(cut) || rng.random_bool(self.loss) {
            return Vec::new();
        }
        let copies = if rng.random_bool(self.doubling) { 2 } else { 1 };
        (0..copies).map(|_| rng.random_range(1..self.slowest)).collect()
    }
}
