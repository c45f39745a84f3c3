//! Networks that are cut for longer than peers are remembered: the halves have forgotten each other, have all the connections
//! they want, and are one mesh again soon after the network is.

use super::node::{index_of, place};
use super::oracle;
use super::world::{MINUTE, SECOND, World};
use crate::bootstrap::rehearsal::FirstContacts;
use crate::discovery::options::DiscoveryOptions;
use crate::discovery::policy::Dial;
use meshwork_proto::discovery::{FoundPeer, Source};

/// How long the network is cut: half as long again as a peer is remembered.
const CUT: u64 = 45 * MINUTE;
/// How long the halves may take to meet once the network is whole.
const MEET_WITHIN: u64 = 10 * MINUTE;

fn world(seed: u64, nodes: usize) -> World {
    let options = DiscoveryOptions { target_connections: 12, ..DiscoveryOptions::default() };
    let mut world = World::new(seed, options);
    for _ in 0..nodes {
        world.join();
        world.run_until(world.now + 100);
    }
    world
}

/// Connections between the halves.
fn across(world: &World) -> usize {
    let of = |node: &usize| world.nodes[*node].links.iter().filter(|other| *other % 2 != node % 2).count();
    world.alive.iter().map(of).sum()
}

/// Nobody knows anybody of the other half, not even as one that is gone.
fn assert_halves_are_strangers(world: &World) {
    assert_eq!(across(world), 0, "the cut holds");
    for node in &world.alive {
        let core = world.nodes[*node].core.as_ref().unwrap();
        let other = core.book.iter().find(|(peer, _)| index_of(peer) % 2 != node % 2);
        assert!(other.is_none(), "node {node} still has {:?}", other.map(|(peer, _)| peer));
        assert!(core.book.len() + 1 >= world.alive.len() / 2, "node {node} knows its own half");
    }
}

/// First contacts of every node, beside the world: each has a name that leads to all of them.
struct Names(Vec<FirstContacts>);

impl Names {
    fn of(world: &World) -> Self {
        let all: Vec<String> = world.nodes.iter().map(|node| place(node.slot)).collect();
        let contacts = world
            .nodes
            .iter()
            .zip(0..)
            .map(|(node, seed)| FirstContacts::new(node.clock(world.now), node.name.clone(), &all, seed));
        Self(contacts.collect())
    }

    /// Lets the world live until then, and once in a second tries the contacts that are due.
    fn run_until(&mut self, world: &mut World, end: u64) {
        while world.now < end {
            world.run_until(world.now + SECOND);
            for node in world.alive.clone() {
                self.try_those_of(world, node);
            }
        }
    }

    fn try_those_of(&mut self, world: &mut World, node: usize) {
        let now = world.nodes[node].clock(world.now);
        let connected = world.nodes[node].links.iter().map(|of| world.nodes[*of].name.clone()).collect();
        for address in self.0[node].due(now, connected) {
            let dial = Dial { peer: None, addresses: vec![address.clone()], source: Source::Dns };
            let there = world.who_is_at(node, &dial).map(|(there, _)| there);
            if let Some(there) = there.filter(|there| *there != node) {
                world.link(node, there, &address);
            }
            let who = there.map(|there| world.nodes[there].name.clone());
            if let Some(found) = self.0[node].tried(now, &address, who) {
                world.step(node, |core, now, _| core.found(now, Source::Dns, &[found]));
            }
        }
    }
}

#[test]
fn two_nodes_on_each_side_of_a_long_cut_meet_again_by_their_first_contacts() {
    let mut world = world(21, 4);
    let mut names = Names::of(&world);
    names.run_until(&mut world, 2 * MINUTE);
    oracle::all_known(&world).unwrap();
    world.set_cut(true);
    let whole_again = world.now + CUT;
    names.run_until(&mut world, whole_again);
    assert_halves_are_strangers(&world);
    world.set_cut(false);
    while across(&world) == 0 && world.now - whole_again < MEET_WITHIN {
        let next = world.now + SECOND;
        names.run_until(&mut world, next);
    }
    println!("whole again after {} s", (world.now - whole_again) / SECOND);
    let end = world.now + 2 * MINUTE;
    names.run_until(&mut world, end);
    assert!(world.all_know_all(), "the halves have not met");
}

#[test]
fn two_halves_that_have_enough_connections_meet_when_a_registry_names_one_to_the_other() {
    let mut world = world(22, 60);
    world.run_until(5 * MINUTE);
    oracle::all_known(&world).unwrap();
    world.set_cut(true);
    let whole_again = world.now + CUT;
    world.run_until(whole_again);
    assert_halves_are_strangers(&world);
    world.set_cut(false);
    world.run_until(world.now + MINUTE);
    assert_eq!(across(&world), 0, "nobody knows of anybody over there");
    let (reader, named) = (world.alive[0], world.alive[1]);
    assert!(world.nodes[reader].links.len() >= world.options.target_connections);
    let found = FoundPeer {
        peer: Some(world.nodes[named].name.clone()),
        addresses: vec![place(world.nodes[named].slot)],
    };
    world.step(reader, |core, now, _| core.found(now, Source::FileRegistry, &[found]));
    world.run_until(world.now + MEET_WITHIN);
    assert!(across(&world) > 0 && world.all_know_all(), "the halves have not met");
}
