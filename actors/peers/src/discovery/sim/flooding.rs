//! A member that floods its mesh with peers that it has invented, each of which signs for itself: nodes that come meanwhile
//! are known to everybody all the same.

use super::node::{Signet, name, place};
use super::oracle;
use super::world::{Event, MINUTE, SECOND, World};
use crate::discovery::gossip::{Genuine, Purpose, Talk, Told};
use crate::discovery::options::DiscoveryOptions;
use meshwork_proto::discovery::NodeRecord;
use std::sync::Arc;

/// Room in the books: the mesh takes a tenth of it.
const ROOM: usize = 400;
/// How many peers are invented: enough to fill each book many times over.
const INVENTED: usize = 10_000;
/// Numbers of nodes from here on are those of nobody.
const NOBODY: usize = 1_000_000;
/// Honest nodes at the beginning.
const NODES: usize = 30;
/// A node that comes in the middle of a flood is known to everybody after so long: it needs some connections first, and most
/// of whom it hears of at the beginning is nobody.
const KNOWN_WITHIN: u64 = 2 * MINUTE;

struct Flood {
    /// Who floods.
    by: usize,
    /// Whether each of those it is connected with hears of others.
    each: bool,
    invented: Vec<Arc<crate::discovery::gossip::Sealed>>,
}

impl Flood {
    fn new(world: &mut World, each: bool) -> Self {
        let by = world.alive[0];
        world.nodes[by].liar = true;
        Self { by, each, invented: Vec::new() }
    }

    /// Invents some more. They are where nobody is.
    fn invent(&mut self, world: &World, count: usize) {
        for _ in 0..count {
            let n = self.invented.len();
            let peer = name(NOBODY + n);
            let mut offers = world.nodes[self.by].offers.clone();
            offers.addresses = vec![place(10_000 + n)];
            let record = NodeRecord {
                peer: peer.clone(),
                sequence: world.nodes[self.by].clock(world.now).0,
                left: false,
                offers,
            };
            self.invented.push(Genuine::sign(record, &Signet(peer)).unwrap().sealed().clone());
        }
    }

    /// Tells of the last ones invented to everybody with whom the flooder is connected; or deals them out.
    fn pour(&self, world: &mut World, count: usize) {
        let fresh = &self.invented[self.invented.len() - count..];
        let links: Vec<usize> = world.nodes[self.by].links.iter().copied().collect();
        for (turn, to) in links.iter().enumerate() {
            let dealt = fresh.iter().enumerate().filter(|(n, _)| !self.each || n % links.len() == turn);
            let records = dealt.map(|(_, sealed)| Told { sealed: sealed.clone(), age_ms: 0 }).collect();
            let talk = Talk { records, ..Talk::default() };
            world.after(50, Event::Question { from: self.by, to: *to, talk, purpose: Purpose::Push });
        }
    }
}

/// A node floods for ten minutes while others come, and goes on with what it has invented for five more. Gives how many
/// invented peers the honest node believes in that believes in most, and how many the one that believes in least.
fn flood(seed: u64, each: bool) -> (usize, usize) {
    let options = DiscoveryOptions { target_connections: 12, max_peers: ROOM, ..DiscoveryOptions::default() };
    let mut world = World::new(seed, options);
    for _ in 0..NODES {
        world.join();
        world.run_until(world.now + 100);
    }
    world.run_until(2 * MINUTE);
    oracle::all_known(&world).unwrap();
    let mut flood = Flood::new(&mut world, each);
    for second in 0..900 {
        let count = 100;
        if flood.invented.len() < INVENTED {
            flood.invent(&world, count);
        }
        flood.pour(&mut world, count);
        if second % 40 == 20 && second < 600 {
            world.join();
        }
        world.run_until(world.now + SECOND);
        if second % 20 == 19 {
            oracle::all_known_after(&world, KNOWN_WITHIN).unwrap();
        }
    }
    assert!(world.offences.is_empty(), "the invented sign for themselves: {:?}", world.offences);
    let invented: Vec<usize> = world
        .alive
        .iter()
        .filter(|node| **node != flood.by)
        .map(|node| {
            let core = world.nodes[*node].core.as_ref().unwrap();
            assert!(core.book.len() <= ROOM && core.gossip().sizes().0 <= ROOM + 1);
            core.book.iter().filter(|(peer, _)| super::node::index_of(peer) >= NOBODY).count()
        })
        .collect();
    (*invented.iter().max().unwrap(), *invented.iter().min().unwrap())
}

#[test]
fn newcomers_are_known_to_all_while_a_member_tells_everybody_of_ten_thousand_that_it_invented() {
    let (most, least) = flood(11, false);
    println!("believed in {least} to {most} of {INVENTED} invented peers");
    assert!(most <= ROOM - ROOM / 8, "one peer's word fills no book: {most}");
}

#[test]
fn newcomers_are_known_to_all_while_a_member_tells_each_of_others_that_it_invented() {
    let (most, least) = flood(12, true);
    println!("believed in {least} to {most} of {INVENTED} invented peers");
    assert!(most <= ROOM - ROOM / 8, "one peer's word fills no book: {most}");
}
