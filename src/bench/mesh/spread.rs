//! So many nodes that know one address: how soon all know one another, and what they say when nothing happens.

use super::page::{Pages, Sent};
use super::{BenchError, Lab, Setup};
use crate::child::ChildNode;
use crate::cli::BenchArgs;
use crate::output::Output;
use futures::future::try_join_all;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How many nodes: as processes up to the size asked for, and simulated.
pub(super) const SIZES: [usize; 4] = [3, 10, 50, 200];
/// Nodes started at a time: more would only wait for one another on a small machine.
const STARTED_TOGETHER: usize = 8;
/// How long the nodes are given until they all know one another.
const WITHIN: Duration = Duration::from_secs(300);
/// How long they are left alone before their rest is measured, and how long it is.
const SETTLE: Duration = Duration::from_secs(30);
const REST: Duration = Duration::from_secs(60);
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(50);

/// A mesh of one size.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Spread {
    /// How many nodes.
    pub(super) nodes: usize,
    /// From the start of the first node until the last one was ready.
    pub(super) started_ms: u64,
    /// From then on until every node knew every other one.
    pub(super) all_known_ms: u64,
    /// Processor time that a node used until then, its start included, on average.
    pub(super) cpu_ms: u64,
    /// Connections of a node then, on average.
    pub(super) connections: f64,
    /// Resident memory of a node at rest, on average, in bytes.
    pub(super) resident_bytes: u64,
    /// What it sends and uses at rest.
    pub(super) rest: Rest,
}

/// What a node sends in a minute at rest, and the part of a core that it uses.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rest {
    /// Requests, replies and pings.
    pub(super) messages: f64,
    /// Bytes, encryption and headers of the connections included.
    pub(super) bytes: f64,
    /// Questions and answers of gossip, which are part of the messages.
    pub(super) gossip_messages: f64,
    /// Bytes of them, without encryption.
    pub(super) gossip_bytes: f64,
    /// Processor time in percent of one core.
    pub(super) cpu_percent: f64,
}

/// Measures meshes of each size up to the one asked for.
pub(super) async fn measure(
    lab: &Lab,
    options: &BenchArgs,
    output: Output,
) -> Result<Vec<Spread>, BenchError> {
    let mut spreads: Vec<Spread> = Vec::new();
    let mut progress = output.progress();
    let most = usize::try_from(options.nodes).unwrap_or(usize::MAX);
    for nodes in SIZES.into_iter().filter(|nodes| *nodes <= most) {
        // Each node of a larger mesh takes a little more than one of the mesh before.
        let each = spreads.last().map_or(0, |spread| spread.resident_bytes * 5 / 4);
        if each * (nodes as u64) > free_memory()? {
            output
                .note(format!("{nodes} nodes do not fit into the free memory: that mesh is only simulated"));
            break;
        }
        progress.say(format!("{nodes} nodes that find one another"));
        spreads.push(one(lab, nodes).await?);
        progress.advance(spreads.len() as u64, Some(SIZES.len() as u64));
    }
    progress.finish();
    Ok(spreads)
}

/// Memory that processes may still take, in bytes.
fn free_memory() -> Result<u64, BenchError> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| std::io::Error::other("free memory is not in /proc").into())
}

async fn one(lab: &Lab, count: usize) -> Result<Spread, BenchError> {
    let pages = Pages::new()?;
    let begun = Instant::now();
    let mut nodes = start(lab, count).await?;
    let started = begun.elapsed();
    let connections = all_known(&pages, &nodes).await?;
    let all_known = begun.elapsed().saturating_sub(started);
    let used = cpu_time(&nodes)?;
    sleep(SETTLE).await;
    let before = totals(&pages, &nodes).await?;
    sleep(REST).await;
    let after = totals(&pages, &nodes).await?;
    let mut resident = 0;
    for node in &nodes {
        resident += node.resident_bytes()?;
    }
    for node in &mut nodes {
        node.kill().await?;
    }
    std::fs::remove_dir_all(lab.path(&format!("spread-{count}")))?;
    let each = u64::try_from(count).unwrap_or(1).max(1);
    Ok(Spread {
        nodes: count,
        started_ms: millis(started),
        all_known_ms: millis(all_known),
        cpu_ms: millis(used) / each,
        connections,
        resident_bytes: resident / each,
        rest: Rest::between(&before, &after, count),
    })
}

impl Rest {
    /// For each of so many nodes.
    fn between(before: &Totals, after: &Totals, nodes: usize) -> Self {
        let per_minute =
            |before: f64, after: f64| (after - before) / as_f64(nodes) * 60.0 / REST.as_secs_f64();
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / REST.as_secs_f64();
        let (before, after) = (before.sent, after.sent);
        Self {
            messages: per_minute(before.messages, after.messages),
            bytes: per_minute(before.bytes, after.bytes),
            gossip_messages: per_minute(before.gossip_messages, after.gossip_messages),
            gossip_bytes: per_minute(before.gossip_bytes, after.gossip_bytes),
            cpu_percent: 100.0 * cpu / as_f64(nodes),
        }
    }
}

/// Starts the nodes: the first alone, the others with its address.
async fn start(lab: &Lab, count: usize) -> Result<Vec<ChildNode>, BenchError> {
    const QUIET: &str = "p2p: {discovery: {mdns: off}}\nlog: {level: warn}\n";
    let name = |index: usize| format!("spread-{count}/{index}");
    let first = lab.start(&name(0), &Setup::of(QUIET)).await?;
    let address = first.address();
    let mut nodes = vec![first];
    let indices: Vec<usize> = (1..count).collect();
    for part in indices.chunks(STARTED_TOGETHER) {
        let starting = part.iter().map(|index| {
            let (name, address) = (name(*index), address.as_str());
            async move {
                let flags = ["--peer", address];
                lab.start(&name, &Setup { flags: &flags, ..Setup::of(QUIET) }).await
            }
        });
        nodes.extend(try_join_all(starting).await?);
    }
    Ok(nodes)
}

/// Waits until every node knows every other one; gives how many connections each has on average.
async fn all_known(pages: &Pages, nodes: &[ChildNode]) -> Result<f64, BenchError> {
    let others = u64::try_from(nodes.len() - 1).unwrap_or(u64::MAX);
    let deadline = Instant::now() + WITHIN;
    let mut connected = 0;
    for node in nodes {
        loop {
            // A machine that starts so many nodes at once may not answer in time: it is asked again.
            let seen = pages.seen(node).await;
            if let Ok(seen) = &seen
                && seen.known >= others
            {
                connected += seen.connected;
                break;
            }
            if Instant::now() > deadline {
                let known = seen?.known;
                let message = format!("a node knew {known} of {others} others after {WITHIN:?}");
                return Err(std::io::Error::other(message).into());
            }
            sleep(LOOK).await;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of connections")]
    Ok(connected as f64 / as_f64(nodes.len()))
}

#[derive(Default)]
struct Totals {
    sent: Sent,
    cpu: Duration,
}

fn cpu_time(nodes: &[ChildNode]) -> Result<Duration, BenchError> {
    nodes.iter().try_fold(Duration::ZERO, |sum, node| Ok(sum + node.cpu_time()?))
}

async fn totals(pages: &Pages, nodes: &[ChildNode]) -> Result<Totals, BenchError> {
    let mut totals = Totals { cpu: cpu_time(nodes)?, ..Totals::default() };
    for node in nodes {
        let sent = pages.sent(node).await?;
        totals.sent.bytes += sent.bytes;
        totals.sent.messages += sent.messages;
        totals.sent.gossip_messages += sent.gossip_messages;
        totals.sent.gossip_bytes += sent.gossip_bytes;
    }
    Ok(totals)
}

#[expect(clippy::cast_precision_loss, reason = "a count of nodes")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
