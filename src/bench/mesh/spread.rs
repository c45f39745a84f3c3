//! So many nodes that know one address: how soon all know one another, and what they say when nothing happens.

use super::page::{Pages, Sent};
use super::{BenchError, Lab};
use crate::child::ChildNode;
use crate::cli::BenchArgs;
use crate::output::Output;
use futures::future::try_join_all;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How many nodes.
const SIZES: [usize; 4] = [3, 10, 50, 200];
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
    /// Connections of a node then, on average.
    pub(super) connections: f64,
    /// Requests, replies and pings that a node sends in a minute at rest.
    pub(super) messages_per_minute: f64,
    /// Bytes that a node sends in a minute at rest, encryption and headers of the connections included.
    pub(super) bytes_per_minute: f64,
    /// Resident memory of a node, on average, in bytes.
    pub(super) resident_bytes: u64,
    /// Processor time of a node at rest, in percent of one core.
    pub(super) cpu_percent: f64,
}

/// Measures meshes of each size up to the one asked for.
pub(super) async fn measure(
    lab: &Lab,
    options: &BenchArgs,
    output: Output,
) -> Result<Vec<Spread>, BenchError> {
    let mut spreads = Vec::new();
    let mut progress = output.progress();
    let most = usize::try_from(options.nodes).unwrap_or(usize::MAX);
    for nodes in SIZES.into_iter().filter(|nodes| *nodes <= most) {
        progress.say(format!("{nodes} nodes that find one another"));
        spreads.push(one(lab, nodes).await?);
        progress.advance(spreads.len() as u64, Some(SIZES.len() as u64));
    }
    progress.finish();
    Ok(spreads)
}

async fn one(lab: &Lab, count: usize) -> Result<Spread, BenchError> {
    let pages = Pages::new()?;
    let begun = Instant::now();
    let mut nodes = start(lab, count).await?;
    let started = begun.elapsed();
    let connections = all_known(&pages, &nodes).await?;
    let all_known = begun.elapsed().saturating_sub(started);
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
    let share = |sum: f64| sum / as_f64(count) * 60.0 / REST.as_secs_f64();
    Ok(Spread {
        nodes: count,
        started_ms: millis(started),
        all_known_ms: millis(all_known),
        connections,
        messages_per_minute: share(after.sent.messages - before.sent.messages),
        bytes_per_minute: share(after.sent.bytes - before.sent.bytes),
        resident_bytes: resident / u64::try_from(count).unwrap_or(1),
        cpu_percent: 100.0 * (after.cpu.saturating_sub(before.cpu)).as_secs_f64()
            / REST.as_secs_f64()
            / as_f64(count),
    })
}

/// Starts the nodes: the first alone, the others with its address.
async fn start(lab: &Lab, count: usize) -> Result<Vec<ChildNode>, BenchError> {
    const QUIET: &str = "p2p: {discovery: {mdns: off}}\nlog: {level: warn}\n";
    let name = |index: usize| format!("spread-{count}/{index}");
    let first = lab.start(&name(0), QUIET, &[]).await?;
    let address = first.address();
    let mut nodes = vec![first];
    let indices: Vec<usize> = (1..count).collect();
    for part in indices.chunks(STARTED_TOGETHER) {
        let starting = part.iter().map(|index| {
            let (name, address) = (name(*index), address.as_str());
            async move { lab.start(&name, QUIET, &["--peer", address]).await }
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

async fn totals(pages: &Pages, nodes: &[ChildNode]) -> Result<Totals, BenchError> {
    let mut totals = Totals::default();
    for node in nodes {
        let sent = pages.sent(node).await?;
        totals.sent.bytes += sent.bytes;
        totals.sent.messages += sent.messages;
        totals.cpu += node.cpu_time()?;
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
