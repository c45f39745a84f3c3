//! What must be true of a mesh that lives, and a mesh that lives for hours while its nodes come and go.

use super::node::index_of;
use super::world::{MINUTE, REAP_EVERY, SECOND, World};
use crate::discovery::options::DiscoveryOptions;
use rand::seq::IndexedRandom;

/// A peer that is gone is forgotten after its time to live and one pass of the reaper. What was on its way when it went,
/// and what ages on the way from node to node, is less than this.
const SLACK: u64 = 2 * SECOND;
/// Everybody knows a newcomer after so long, and a newcomer everybody.
const KNOWN_WITHIN: u64 = 55 * SECOND;
/// Connections that a node opens: fewer than usual, they cost the simulation more than they tell.
const CONNECTIONS: usize = 8;
/// Part of the messages that are lost.
const LOSS: f64 = 0.01;

/// Everybody who is there for long enough knows everybody of whom that is true as well; liars are left out.
pub(super) fn all_known(world: &World) -> Result<(), String> {
    all_known_after(world, KNOWN_WITHIN)
}

/// As [`all_known`], for those who are there for so long.
pub(super) fn all_known_after(world: &World, within: u64) -> Result<(), String> {
    let settled = |node: &usize| world.now - world.nodes[*node].born >= within && !world.nodes[*node].liar;
    let settled: Vec<usize> = world.alive.iter().copied().filter(settled).collect();
    for node in &settled {
        for of in settled.iter().filter(|of| *of != node) {
            if !world.knows(*node, *of) {
                let since = |node: usize| (world.now - world.nodes[node].born) / SECOND;
                return Err(format!(
                    "after {} s node {node}, here for {} s, does not know node {of}, here for {} s",
                    world.now / SECOND,
                    since(*node),
                    since(*of),
                ));
            }
        }
    }
    Ok(())
}

/// Nobody has anybody in its book who is gone for longer than may be.
pub(super) fn dead_are_forgotten(world: &World) -> Result<(), String> {
    let ttl = u64::try_from(world.options.ttl.default.as_millis()).unwrap_or(u64::MAX);
    let limit = ttl + REAP_EVERY + SLACK;
    for node in &world.alive {
        let Some(core) = &world.nodes[*node].core else { continue };
        for (peer, entry) in core.book.iter() {
            let of = index_of(peer);
            let Some(gone) = world.nodes[of].died.map(|died| world.now - died) else { continue };
            if gone > limit {
                return Err(format!(
                    "after {} s node {node} keeps node {of}, gone for {} s: {entry:?}",
                    world.now / SECOND,
                    gone / SECOND,
                ));
            }
        }
    }
    Ok(())
}

/// What the fullest node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fullest {
    /// Peers in its book.
    pub peers: usize,
    /// Records of nodes.
    pub records: usize,
    /// Records that are gone and must not come back.
    pub tombstones: usize,
}

fn fullest(world: &World) -> Fullest {
    let mut most = Fullest::default();
    for core in world.alive.iter().filter_map(|node| world.nodes[*node].core.as_ref()) {
        let (records, tombstones) = core.gossip().sizes();
        most.peers = most.peers.max(core.book.len());
        most.records = most.records.max(records);
        most.tombstones = most.tombstones.max(tombstones);
    }
    most
}

/// So many nodes go, half of them without a word, and as many come. Gives how many of those that were connected with
/// somebody who said goodbye dropped it within a second, and how many did not.
pub(super) fn a_minute(world: &mut World, count: usize) -> (u64, u64) {
    let going: Vec<usize> = world.alive.sample(&mut world.rng, count).copied().collect();
    let mut told = Vec::new();
    for (n, node) in going.into_iter().enumerate() {
        let goodbye = n % 2 == 0;
        if goodbye {
            told.extend(world.nodes[node].links.iter().map(|at| (*at, node)));
        }
        world.end(node, goodbye);
    }
    for _ in 0..count {
        world.join();
    }
    world.run_until(world.now + SECOND);
    let (mut at_once, mut late) = (0, 0);
    for (at, of) in told {
        if !world.nodes[at].is_alive() {
            continue;
        }
        if world.knows(at, of) { late += 1 } else { at_once += 1 }
    }
    (at_once, late)
}

/// What a mesh went through in which a tenth of the nodes comes and goes every minute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Churned {
    /// Nodes that are there at a time.
    pub nodes: usize,
    /// For how long, in virtual minutes.
    pub minutes: u64,
    /// Nodes that said goodbye.
    pub left: u64,
    /// Nodes that went without a word.
    pub vanished: u64,
    /// Messages sent.
    pub messages: u64,
    /// Messages lost on the way.
    pub lost: u64,
    /// Connected peers that dropped who said goodbye within a second, of those that there were.
    pub goodbyes_heard: (u64, u64),
    /// The fullest node, by hour.
    pub fullest: Vec<Fullest>,
}

/// Lets a mesh live for so long while every minute a tenth of its nodes goes, half of them without a word, and as many
/// come. Every ten minutes everybody must know everybody, and nobody anybody who is gone for longer than its time to live
/// and one pass of the reaper; and nothing may grow.
///
/// # Errors
/// What was not true, of whom, and when.
pub fn churn(nodes: usize, minutes: u64) -> Result<Churned, String> {
    let options = DiscoveryOptions { target_connections: CONNECTIONS, ..DiscoveryOptions::default() };
    let mut world = World::new(1, options);
    world.loss = LOSS;
    for _ in 0..nodes {
        world.join();
        world.run_until(world.now + 100);
    }
    world.run_until(2 * MINUTE);
    all_known(&world)?;
    let mut churned = Churned { nodes, minutes, ..Churned::default() };
    for minute in 2..minutes.max(2) {
        let (at_once, late) = a_minute(&mut world, nodes / 10);
        churned.goodbyes_heard.0 += at_once;
        churned.goodbyes_heard.1 += at_once + late;
        world.run_until((minute + 1) * MINUTE);
        if minute % 10 == 9 {
            all_known(&world)?;
            dead_are_forgotten(&world)?;
        }
        if minute % 60 == 59 {
            churned.fullest.push(fullest(&world));
        }
    }
    (churned.left, churned.vanished) = (world.report.left, world.report.vanished);
    (churned.messages, churned.lost) = (world.report.messages, world.report.lost);
    check(&world, &churned)?;
    Ok(churned)
}

/// Nothing grows beyond what is there, and who said goodbye is gone at once.
fn check(world: &World, churned: &Churned) -> Result<(), String> {
    let (nodes, going) = (churned.nodes, churned.nodes / 10);
    for (hour, fullest) in churned.fullest.iter().enumerate() {
        // Those who are there, and those who went within a time to live and a pass; tombstones last twice as long and
        // longer when somebody still tells of them.
        let peers = nodes + going * 32;
        let bounded = fullest.peers <= peers && fullest.records <= peers && fullest.tombstones <= going * 96;
        if !bounded {
            return Err(format!("in hour {} the fullest node holds {fullest:?}", hour + 1));
        }
    }
    let (heard, of) = churned.goodbyes_heard;
    if heard * 100 < of * 98 {
        return Err(format!("only {heard} of {of} connected peers heard a goodbye within a second"));
    }
    if let Some((by, of)) = world.offences.first() {
        return Err(format!("node {by} reports node {of}, and nobody lied"));
    }
    Ok(())
}
