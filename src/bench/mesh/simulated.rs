//! The simulator: the logic of real nodes, hundreds of them in one thread and in virtual time.
//!
//! It answers what processes on one machine cannot: how a mesh of two hundred nodes behaves where nodes do not wait for
//! one another's processors, and what hours of coming and going do to it. Nothing in it depends on the machine but how
//! long it takes.

use super::BenchError;
use super::spread::{SIZES, millis};
use crate::cli::BenchArgs;
use crate::output::Output;
use meshwork_peers::discovery::sim;
use serde::Serialize;
use tokio::time::Instant;

/// How many nodes live through the hours.
const LIVING: usize = 200;

/// Everything that was simulated.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Simulated {
    pub(super) sizes: Vec<Size>,
    /// What a node holds for each peer that it knows, counted without what the allocator adds, in bytes.
    pub(super) bytes_per_peer: usize,
    /// None when it was not asked for.
    pub(super) life: Option<Life>,
}

/// A mesh of one size.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Size {
    /// How many nodes.
    pub(super) nodes: usize,
    /// From the start of the first node until every one knew every other one; all start within a second.
    pub(super) all_known_ms: Option<u64>,
    /// Messages that a node had sent by then, answers included, on average.
    pub(super) messages_until_known: f64,
    /// Messages that a node sends in a minute at rest, answers included.
    pub(super) messages_per_minute: f64,
    /// Bytes that a node sends in a minute at rest, without encryption.
    pub(super) bytes_per_minute: f64,
}

/// A mesh that lived for hours while nodes came and went.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Life {
    pub(super) nodes: usize,
    pub(super) hours: u64,
    /// Nodes that said goodbye, and nodes that went without a word.
    pub(super) left: u64,
    pub(super) vanished: u64,
    /// Messages sent, and those that were lost on the way.
    pub(super) messages: u64,
    pub(super) lost: u64,
    /// Connected peers that dropped who said goodbye within a second, of so many.
    pub(super) goodbyes_heard: (u64, u64),
    /// Peers in the book, records and tombstones of the fullest node, at the end of the first hour and of the last one.
    pub(super) fullest_first: (usize, usize, usize),
    pub(super) fullest_last: (usize, usize, usize),
    /// How long that took on this machine.
    pub(super) took_ms: u64,
}

/// Simulates everything.
pub(super) async fn measure(options: &BenchArgs, output: Output) -> Result<Simulated, BenchError> {
    let mut progress = output.progress();
    let steps = (SIZES.len() + 1) as u64;
    let mut sizes = Vec::new();
    for nodes in SIZES {
        progress.say(format!("{nodes} simulated nodes"));
        sizes.push(beside(move || size(nodes)).await?);
        progress.advance(sizes.len() as u64, Some(steps));
    }
    let bytes_per_peer = beside(sim::memory_per_peer).await?;
    let hours = u64::from(options.simulated_hours);
    let life = if hours > 0 {
        progress.say(format!("{LIVING} simulated nodes that live for {hours} h"));
        let begun = Instant::now();
        let churned = beside(move || sim::churn(LIVING, hours * 60)).await?;
        Some(Life::of(churned.map_err(BenchError::Simulated)?, millis(begun.elapsed())))
    } else {
        None
    };
    progress.finish();
    Ok(Simulated { sizes, bytes_per_peer, life })
}

/// Computes beside the runtime's own threads: it takes seconds and waits for nothing.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BenchError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BenchError::Simulated(error.to_string()))
}

fn size(nodes: usize) -> Size {
    let (gathering, rest) = (sim::gathering(nodes), sim::at_rest(nodes));
    #[expect(clippy::cast_precision_loss, reason = "counts of messages and nodes")]
    let messages_until_known = gathering.messages as f64 / nodes as f64;
    Size {
        nodes,
        all_known_ms: gathering.took.map(millis),
        messages_until_known,
        messages_per_minute: rest.messages_per_min,
        bytes_per_minute: rest.bytes_per_min,
    }
}

impl Life {
    fn of(churned: sim::Churned, took_ms: u64) -> Self {
        let held = |fullest: Option<&sim::Fullest>| {
            fullest.map_or((0, 0, 0), |most| (most.peers, most.records, most.tombstones))
        };
        Self {
            nodes: churned.nodes,
            hours: churned.minutes / 60,
            left: churned.left,
            vanished: churned.vanished,
            messages: churned.messages,
            lost: churned.lost,
            goodbyes_heard: churned.goodbyes_heard,
            fullest_first: held(churned.fullest.first()),
            fullest_last: held(churned.fullest.last()),
            took_ms,
        }
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        let (heard, of) = self.goodbyes_heard;
        let held = |(peers, records, tombstones): (usize, usize, usize)| {
            format!("{peers} peers, {records} records and {tombstones} tombstones")
        };
        format!(
            "{} simulated nodes, a tenth of which goes and as many come every minute, for {} h ({:.1} s here):\n\
             {} said goodbye and {} vanished; {} messages, {} of them lost; of {of} connected peers {heard} dropped who \
             said goodbye within a second\n\
             all who are there are known to all, and who is gone is forgotten within its time to live and a minute: true \
             every ten minutes\n\
             the fullest node held {} after the first hour, {} after the last",
            self.nodes,
            self.hours,
            seconds(self.took_ms),
            self.left,
            self.vanished,
            self.messages,
            self.lost,
            held(self.fullest_first),
            held(self.fullest_last),
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
