//! Meshes that live for hours: nobody who is there is unknown, nobody who is gone is kept, nothing grows.

use super::world::{MINUTE, SECOND, World};
use super::{at_rest, churn, gathering, oracle};
use crate::discovery::gossip::{Genuine, Purpose, Talk, Told};
use crate::discovery::options::DiscoveryOptions;
use meshwork_proto::discovery::{NodeRecord, PeerState};
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::collections::BTreeMap;

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

fn assert_all_known(world: &World) {
    oracle::all_known(world).unwrap();
}

fn assert_dead_are_forgotten(world: &World) {
    oracle::dead_are_forgotten(world).unwrap();
}

/// Not optimised, ten hours take ten minutes: then it is one hour, and `meshwork bench mesh --simulated-hours 10` lives
/// through all ten.
const HOURS: u64 = if cfg!(debug_assertions) { 1 } else { 10 };

#[test]
fn two_hundred_nodes_live_for_hours_while_a_tenth_of_them_comes_and_goes_every_minute() {
    let churned = churn(200, HOURS * 60).unwrap();
    println!("{churned:#?}");
    assert!(churned.left > 500 * HOURS && churned.vanished > 500 * HOURS && churned.lost > 5000 * HOURS);
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

/// What liars do: forge records of others, and tell numbers and ages that cannot be.
fn lie(world: &mut World, liar: usize) {
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
    let told = match world.rng.random_range(0..4) {
        0 => Told { sealed: forged(world, 1 << 50, false), age_ms: 0 },
        1 => Told { sealed: forged(world, 1 << 50, true), age_ms: 0 },
        2 => Told { sealed: own(u64::MAX), age_ms: 0 },
        _ => Told { sealed: own(1 << 40), age_ms: u64::MAX },
    };
    tell(world, liar, to, vec![told]);
}

fn tell(world: &mut World, from: usize, to: usize, records: Vec<Told>) {
    let talk = Talk { records, ..Talk::default() };
    world.after(50, super::world::Event::Question { from, to, talk, purpose: Purpose::Push });
}

/// Tells everybody that the dead are as they were a moment ago.
fn raise(world: &mut World, liar: usize, dead: &[Genuine]) {
    let records: Vec<Told> =
        dead.iter().map(|record| Told { sealed: record.sealed().clone(), age_ms: 0 }).collect();
    for to in world.nodes[liar].links.clone() {
        tell(world, liar, to, records.clone());
    }
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
            lie(&mut world, *liar);
            if second % 60 == 0 {
                raise(&mut world, *liar, &dead);
            }
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
            oracle::a_minute(&mut world, 2);
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
        assert!(pair[1].messages_per_min / pair[0].messages_per_min < growth / 2.0, "{pair:?}");
        assert!(pair[1].bytes_per_min / pair[0].bytes_per_min < growth / 1.05, "{pair:?}");
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
