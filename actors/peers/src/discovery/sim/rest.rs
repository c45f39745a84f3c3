//! Measurements: what membership costs a node when nothing happens, and how long nodes need to know one another.

use super::world::{MINUTE, SECOND, World};
use crate::discovery::options::DiscoveryOptions;
use std::time::Duration;

/// Time until everybody knows everybody and first renewals are spread out.
const SETTLE: u64 = 20 * MINUTE;
/// How long is measured: several renewals of each node.
const MEASURE: u64 = 30 * MINUTE;
/// Longest gathering.
const PATIENCE: u64 = 10 * MINUTE;

/// What membership costs a node at rest: nobody comes or goes, and no load changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtRest {
    /// Nodes in the mesh.
    pub nodes: usize,
    /// Messages that a node sends in a minute, answers included.
    pub messages_per_min: f64,
    /// Bytes that a node sends in a minute, frames included and encryption not.
    pub bytes_per_min: f64,
}

/// How long nodes that start together need until each knows every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathering {
    /// Nodes in the mesh.
    pub nodes: usize,
    /// Virtual time, with 5 to 150 ms for each message; none: longer than ten minutes.
    pub took: Option<Duration>,
    /// Messages that all nodes sent together, answers included.
    pub messages: u64,
}

/// Measures a mesh of so many nodes at rest, with the default settings.
#[must_use]
pub fn at_rest(nodes: usize) -> AtRest {
    let mut world = World::new(1, DiscoveryOptions::default());
    for _ in 0..nodes {
        world.join();
        world.run_until(world.now + SECOND);
    }
    world.run_until(world.now + SETTLE);
    let before = world.report;
    world.run_until(world.now + MEASURE);
    let minutes = MEASURE as f64 / MINUTE as f64;
    let per_node = |count: u64| count as f64 / minutes / nodes.max(1) as f64;
    AtRest {
        nodes,
        messages_per_min: per_node(world.report.messages - before.messages),
        bytes_per_min: per_node(world.report.bytes - before.bytes),
    }
}

/// Starts so many nodes within a second, each of which knows up to three that are there already.
#[must_use]
pub fn gathering(nodes: usize) -> Gathering {
    let mut world = World::new(2, DiscoveryOptions::default());
    let step = SECOND / u64::try_from(nodes.max(1)).unwrap_or(1);
    for _ in 0..nodes {
        world.join();
        world.run_until(world.now + step);
    }
    let began = world.now;
    while !world.all_know_all() && world.now - began < PATIENCE {
        world.run_until(world.now + 50);
    }
    let took = world.all_know_all().then(|| Duration::from_millis(world.now));
    Gathering { nodes, took, messages: world.report.messages }
}

/// About how many bytes a node holds for each peer that it knows, with three tools, a label and an address: the entry in
/// the book, and the signed record, decoded and as it came. Counted, not measured: what the allocator adds is not in it.
#[must_use]
pub fn memory_per_peer() -> usize {
    const NODES: usize = 50;
    let mut world = World::new(3, DiscoveryOptions::default());
    for _ in 0..NODES {
        world.join();
        world.run_until(world.now + SECOND);
    }
    world.run_until(world.now + MINUTE);
    let Some(core) = world.nodes.first().and_then(|node| node.core.as_ref()) else { return 0 };
    let peers = core.book.len();
    let bytes: usize = core.book.iter().map(|(peer, _)| core.bytes_of(peer)).sum();
    bytes / peers.max(1)
}
