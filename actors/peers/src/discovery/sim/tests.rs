//! Meshes that live for hours: nobody who is there is unknown, nobody who is gone is kept, nothing grows.

use super::node::index_of;
use super::world::{MINUTE, REAP_EVERY, SECOND, World};
use super::{at_rest, gathering};
use crate::discovery::gossip::{Genuine, Purpose, Talk, Told};
use crate::discovery::options::DiscoveryOptions;
use meshwork_proto::discovery::{NodeRecord, PeerState};
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::collections::BTreeMap;

/// A peer that is gone is forgotten after its time to live and one pass of the reaper. What was on its way when it went,
/// and what ages on the way from node to node, is less than this.
const SLACK: u64 = 2 * SECOND;
/// Everybody knows a newcomer after so long, and a newcomer everybody.
const KNOWN_WITHIN: u64 = 55 * SECOND;

fn options() -> DiscoveryOptions {
    DiscoveryOptions { target_connections: 12, ..DiscoveryOptions::default() }
}

fn ttl(options: &DiscoveryOptions) -> u64 {
    u64::try_from(options.ttl.default.as_millis()).unwrap()
}

fn start(world: &mut World, nodes: usize) {
    for _ in 0..nodes {
        world.join();
        world.run_until(world.now + 100);
    }
}

/// Everybody who is there for long enough knows everybody of whom that is true as well.
fn assert_all_known(world: &World) {
    let settled: Vec<usize> = world
        .alive
        .iter()
        .copied()
        .filter(|node| world.now - world.nodes[*node].born >= KNOWN_WITHIN && !world.nodes[*node].liar)
        .collect();
    for node in &settled {
        for of in settled.iter().filter(|of| *of != node) {
            assert!(
                world.knows(*node, *of),
                "after {} s node {node} (here since {} s) does not know node {of} (here since {} s)",
                world.now / SECOND,
                world.nodes[*node].born / SECOND,
                world.nodes[*of].born / SECOND,
            );
        }
    }
}

/// Nobody has anybody in its book who is gone for longer than may be.
fn assert_dead_are_forgotten(world: &World) {
    let limit = ttl(&world.options) + REAP_EVERY + SLACK;
    for node in &world.alive {
        let Some(core) = &world.nodes[*node].core else { continue };
        for (peer, entry) in core.book.iter() {
            let of = &world.nodes[index_of(peer)];
            if let Some(died) = of.died {
                let gone = world.now - died;
                assert!(
                    gone <= limit,
                    "after {} s node {node} keeps node {}, gone for {} s: {entry:?}",
                    world.now / SECOND,
                    index_of(peer),
                    gone / SECOND,
                );
            }
        }
    }
}

/// What the fullest node holds: peers, records, tombstones.
fn fullest(world: &World) -> (usize, usize, usize) {
    let mut most = (0, 0, 0);
    for core in world.alive.iter().filter_map(|node| world.nodes[*node].core.as_ref()) {
        let (records, tombstones) = core.gossip().sizes();
        most = (most.0.max(core.book.len()), most.1.max(records), most.2.max(tombstones));
    }
    most
}

/// One minute in which a tenth of the nodes goes, half of them without a word, and as many come. Gives who of those that
/// were connected with somebody who said goodbye dropped it at once, and who did not.
fn churn(world: &mut World, count: usize) -> (usize, usize) {
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
    told.retain(|(at, _)| world.nodes[*at].is_alive());
    let dropped = |(at, of): &&(usize, usize)| !world.knows(*at, *of);
    let at_once = told.iter().filter(dropped).count();
    (at_once, told.len() - at_once)
}

#[test]
fn two_hundred_nodes_live_for_ten_hours_while_a_tenth_of_them_comes_and_goes_every_minute() {
    let mut world = World::new(1, options());
    world.loss = 0.01;
    start(&mut world, 200);
    world.run_until(2 * MINUTE);
    assert_all_known(&world);
    let (mut at_once, mut late) = (0, 0);
    let mut by_hour = Vec::new();
    for minute in 2..600 {
        let (dropped, kept) = churn(&mut world, 20);
        (at_once, late) = (at_once + dropped, late + kept);
        world.run_until((minute + 1) * MINUTE);
        if minute % 10 == 0 {
            assert_all_known(&world);
            assert_dead_are_forgotten(&world);
        }
        if minute % 60 == 59 {
            by_hour.push(fullest(&world));
        }
    }
    println!("{:?}\npeers, records and tombstones of the fullest node by hour: {by_hour:?}", world.report);
    println!("{at_once} connected peers dropped who said goodbye within a second, {late} later");
    // 200 are there, and up to 31 minutes' worth of those who went without a word or with one.
    let (first, last) = (by_hour[1], by_hour[9]);
    for (peers, records, tombstones) in &by_hour {
        assert!(*peers <= 200 + 20 * 32 && *records <= 200 + 10 * 32 && *tombstones <= 20 * 64);
    }
    assert!(last.0 * 10 <= first.0 * 11 && last.1 * 10 <= first.1 * 11 && last.2 * 10 <= first.2 * 11);
    assert!(at_once >= 99 * late, "{late} of {} heard a goodbye late", at_once + late);
    assert!(world.offences.is_empty(), "nobody lied");
}

#[test]
fn a_network_that_was_cut_in_two_is_one_again_soon_after_it_is_whole() {
    for minutes in [5, 20] {
        let mut world = World::new(minutes, options());
        start(&mut world, 60);
        world.run_until(5 * MINUTE);
        assert_all_known(&world);
        world.set_cut(true);
        world.run_until(world.now + minutes * MINUTE);
        let across = |world: &World| {
            let pairs =
                |node: &usize| world.nodes[*node].links.iter().filter(|of| *of % 2 != node % 2).count();
            world.alive.iter().map(pairs).sum::<usize>()
        };
        assert_eq!(across(&world), 0, "the cut holds");
        world.set_cut(false);
        // What changes in one half after the cut must reach the other half.
        let (mover, witness) = (world.alive[0], world.alive[1]);
        world.move_to(mover, 5000);
        let healed = world.now;
        let knows_move = |world: &World| {
            let core = world.nodes[witness].core.as_ref().unwrap();
            let entry = core.book.get(&world.nodes[mover].name).unwrap();
            entry.addresses.iter().any(|known| *known.text == super::node::place(5000))
        };
        while !(knows_move(&world) && across(&world) > 0) && world.now - healed < 12 * MINUTE {
            world.run_until(world.now + SECOND);
        }
        println!("cut for {minutes} min: whole again after {} s", (world.now - healed) / SECOND);
        assert!(knows_move(&world) && across(&world) > 0, "the halves have not met within twelve minutes");
        world.run_until(world.now + 5 * MINUTE);
        assert_all_known(&world);
    }
}

#[test]
fn nodes_that_move_are_found_at_their_new_addresses_and_nobody_believes_in_the_old_ones() {
    let mut world = World::new(3, options());
    world.loss = 0.02;
    start(&mut world, 40);
    world.run_until(2 * MINUTE);
    for minute in 0..30 {
        let mover = *world.alive.choose(&mut world.rng).unwrap();
        // Others may come to where somebody was before.
        let slot = 200 + usize::try_from(minute % 7).unwrap();
        let taken = world.alive.iter().any(|node| world.nodes[*node].slot == slot);
        if !taken {
            world.move_to(mover, slot);
        }
        world.run_until(world.now + MINUTE);
    }
    world.run_until(world.now + 2 * MINUTE);
    assert_all_known(&world);
    for node in &world.alive {
        let core = world.nodes[*node].core.as_ref().unwrap();
        for of in world.alive.iter().filter(|of| *of != node) {
            let entry = core.book.get(&world.nodes[*of].name).unwrap();
            let there = super::node::place(world.nodes[*of].slot);
            assert!(entry.addresses.iter().any(|known| *known.text == *there), "{node} of {of}: {entry:?}");
        }
    }
}

/// What liars do: forge records of others, tell old ones as new, and numbers and ages that cannot be.
fn lie(world: &mut World, liar: usize, dead: &[Genuine]) {
    let links: Vec<usize> = world.nodes[liar].links.iter().copied().collect();
    let Some(to) = links.choose(&mut world.rng).copied() else { return };
    let victim = *world.alive.choose(&mut world.rng).unwrap();
    let notary = world.nodes[liar].notary.clone();
    let forged = |world: &World, sequence, left| {
        let record =
            NodeRecord { peer: world.nodes[victim].name.clone(), sequence, left, offers: Default::default() };
        Genuine::sign(record, notary.as_ref()).unwrap().sealed().clone()
    };
    let offers = world.nodes[liar].offers.clone();
    let own = |sequence| {
        let record = NodeRecord { peer: world.nodes[liar].name.clone(), sequence, left: false, offers };
        Genuine::sign(record, notary.as_ref()).unwrap().sealed().clone()
    };
    let told = match world.rng.random_range(0..5) {
        0 => Told { sealed: forged(world, 1 << 50, false), age_ms: 0 },
        1 => Told { sealed: forged(world, 1 << 50, true), age_ms: 0 },
        2 => Told { sealed: own(u64::MAX), age_ms: 0 },
        3 => Told { sealed: own(1 << 40), age_ms: u64::MAX },
        _ => match dead.choose(&mut world.rng) {
            Some(record) => Told { sealed: record.sealed().clone(), age_ms: 0 },
            None => return,
        },
    };
    let (from, purpose) = (liar, Purpose::Push);
    let talk = Talk { records: vec![told], ..Talk::default() };
    world.after(50, super::world::Event::Question { from, to, talk, purpose });
}

#[test]
fn liars_are_reported_and_neither_kill_the_living_nor_raise_the_dead() {
    let mut world = World::new(4, options());
    start(&mut world, 40);
    world.run_until(2 * MINUTE);
    let liars: Vec<usize> = world.alive.iter().copied().take(4).collect();
    for liar in &liars {
        world.nodes[*liar].liar = true;
    }
    let mut dead = Vec::new();
    for second in 0..7200_u64 {
        if second % 600 == 0 && world.alive.len() > 30 {
            let node = *world.alive.iter().rev().find(|node| !liars.contains(node)).unwrap();
            let name = world.nodes[node].name.clone();
            let core = world.nodes[liars[0]].core.as_ref().unwrap();
            dead.extend(core.gossip().record(&name).map(|(record, _)| record.clone()));
            world.end(node, false);
        }
        for liar in &liars {
            lie(&mut world, *liar, &dead);
        }
        world.run_until(world.now + SECOND);
        if second % 300 == 299 {
            assert_all_known(&world);
            assert_dead_are_forgotten(&world);
        }
    }
    assert!(dead.len() >= 9 && world.offences.len() > 1000);
    let mut reported: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, of) in &world.offences {
        *reported.entry(*of).or_default() += 1;
    }
    assert_eq!(reported.keys().copied().collect::<Vec<_>>(), liars, "only liars are reported");
}

#[test]
fn peers_that_leave_together_with_their_whole_mesh_are_forgotten_by_who_stays() {
    let mut world = World::new(5, options());
    start(&mut world, 20);
    world.run_until(5 * MINUTE);
    let stays = world.alive[0];
    for node in world.alive.clone().into_iter().skip(1) {
        world.end(node, false);
    }
    world.run_until(world.now + MINUTE);
    let book = |world: &World| world.nodes[stays].core.as_ref().map(|core| core.book.len());
    assert_eq!(book(&world), Some(19), "it still hopes for them");
    world.run_until(world.now + 10 * MINUTE);
    let core = world.nodes[stays].core.as_ref().unwrap();
    let now = world.nodes[stays].clock(world.now);
    assert!(core.book.iter().all(|(peer, _)| core.book.state_of(now, peer) == Some(PeerState::Stale)));
    world.run_until(world.now + ttl(&world.options));
    assert_eq!(book(&world), Some(0));
}

#[test]
fn a_seed_gives_the_same_world_every_time() {
    let run = |seed| {
        let mut world = World::new(seed, options());
        world.loss = 0.05;
        start(&mut world, 15);
        for minute in 1..10 {
            churn(&mut world, 2);
            world.run_until(minute * MINUTE);
        }
        world.report
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn at_rest_a_node_sends_more_slowly_growing_than_the_mesh_grows() {
    let measured: Vec<_> = [3, 10, 50, 200].into_iter().map(at_rest).collect();
    for rest in &measured {
        println!(
            "{} nodes: {:.1} messages, {:.0} bytes sent by each node in a minute",
            rest.nodes, rest.messages_per_min, rest.bytes_per_min
        );
    }
    for pair in measured.windows(2) {
        let growth = pair[1].nodes as f64 / pair[0].nodes as f64;
        assert!(pair[1].messages_per_min / pair[0].messages_per_min < growth / 1.5, "{pair:?}");
        assert!(pair[1].bytes_per_min / pair[0].bytes_per_min < growth / 1.2, "{pair:?}");
    }
}

#[test]
fn nodes_that_start_together_know_one_another_within_seconds() {
    for nodes in [3, 10, 50, 200] {
        let gathering = gathering(nodes);
        println!("{gathering:?}");
        assert!(gathering.took.unwrap() < std::time::Duration::from_secs(30), "{gathering:?}");
    }
}
