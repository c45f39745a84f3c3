//! Virtual time, the network, and everything that happens in them.

use super::node::{Node, index_of, place};
use crate::discovery::gossip::{Answer, Ask, Heard, Purpose, Talk, Told};
use crate::discovery::logic::{Asked, Effect, Membership};
use crate::discovery::options::DiscoveryOptions;
use crate::discovery::policy::Dial;
use meshwork_proto::discovery::{CleanUp, FoundPeer, PeerConnection, Source};
use meshwork_proto::transport::{AddressFailure, CallError, ConnectError, ConnectedPeer};
use meshwork_proto::{PeerId, Role, UnixMillis};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

pub(super) const SECOND: u64 = 1000;
pub(super) const MINUTE: u64 = 60 * SECOND;
/// Clocks of nodes differ by up to so much.
const CLOCKS: u64 = 12 * 60 * MINUTE;
/// An unanswered question, and an unanswered dial, fail after so long.
const ASK_DEADLINE: u64 = 5 * SECOND;
const DIAL_DEADLINE: u64 = 10 * SECOND;
/// Between two passes of the reaper.
pub(super) const REAP_EVERY: u64 = MINUTE;

/// What happens, and to whom.
pub(super) enum Event {
    Tick(usize),
    Question { from: usize, to: usize, talk: Talk, purpose: Purpose },
    Answered { to: usize, from: usize, answer: Answer, purpose: Purpose },
    Unanswered { to: usize, from: usize, purpose: Purpose },
    Dialled { by: usize, dial: Dial },
    Lost { at: usize, of: usize },
    Reap(usize),
}

/// What a run went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Report {
    pub(super) events: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) dials: u64,
    pub(super) joined: u64,
    pub(super) left: u64,
    pub(super) vanished: u64,
}

/// Everything.
pub(super) struct World {
    pub(super) rng: SmallRng,
    pub(super) options: DiscoveryOptions,
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) alive: Vec<usize>,
    pub(super) report: Report,
    /// Part of the messages that are lost.
    pub(super) loss: f64,
    /// Nodes with an even number do not reach those with an odd one.
    pub(super) cut: bool,
    /// Who reported whom, as indices.
    pub(super) offences: Vec<(usize, usize)>,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    bodies: HashMap<u64, Event>,
    next_event: u64,
    /// Which node is at which place.
    places: BTreeMap<usize, usize>,
}

impl World {
    pub(super) fn new(seed: u64, options: DiscoveryOptions) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            options,
            now: 0,
            nodes: Vec::new(),
            alive: Vec::new(),
            report: Report::default(),
            loss: 0.0,
            cut: false,
            offences: Vec::new(),
            events: BinaryHeap::new(),
            bodies: HashMap::new(),
            next_event: 0,
            places: BTreeMap::new(),
        }
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.next_event += 1;
        self.events.push(Reverse((time.max(self.now), self.next_event)));
        self.bodies.insert(self.next_event, event);
    }

    pub(super) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Lets everything happen until then.
    pub(super) fn run_until(&mut self, end: u64) {
        while let Some(Reverse((time, id))) = self.events.peek().copied() {
            if time > end {
                break;
            }
            self.events.pop();
            self.now = time;
            self.report.events += 1;
            if let Some(event) = self.bodies.remove(&id) {
                self.happen(event);
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(node) => self.tick(node),
            Event::Question { from, to, talk, purpose } => self.question(from, to, talk, purpose),
            Event::Answered { to, from, answer, purpose } => self.answered(to, from, answer, purpose),
            Event::Unanswered { to, from, purpose } => {
                let peer = self.nodes[from].name.clone();
                self.step(to, |core, now, out| core.unanswered(now, &peer, purpose, false, out));
            }
            Event::Dialled { by, dial } => self.dialled(by, &dial),
            Event::Lost { at, of } => {
                let peer = self.nodes[of].name.clone();
                self.nodes[at].links.remove(&of);
                self.step(at, |core, now, out| core.connection(now, PeerConnection::Down { peer }, out));
            }
            Event::Reap(node) => {
                let order = CleanUp { silent_ms: None, ttl_ms: BTreeMap::new(), dry_run: false };
                let alive = self.step(node, |core, now, _| {
                    core.clean_up(now, &order);
                    // What would be written down.
                    core.book.take_dirty();
                });
                if alive.is_some() {
                    self.after(REAP_EVERY, Event::Reap(node));
                }
            }
        }
    }

    /// Lets one node decide, and does what it wants; none when it is gone.
    pub(super) fn step<T>(
        &mut self,
        node: usize,
        decide: impl FnOnce(&mut Membership, UnixMillis, &mut Vec<Effect>) -> T,
    ) -> Option<T> {
        let this = &mut self.nodes[node];
        let now = this.clock(self.now);
        let mut out = Vec::new();
        let result = decide(this.core.as_mut()?, now, &mut out);
        for effect in out {
            self.carry_out(node, effect);
        }
        self.arm(node);
        Some(result)
    }

    fn arm(&mut self, node: usize) {
        let this = &self.nodes[node];
        let Some(core) = &this.core else { return };
        let due = [core.next_due(this.clock(self.now)), core.gossip().renewal_due()];
        let Some(due) = due.into_iter().flatten().min() else { return };
        let due = this.world_time(due).max(self.now);
        if due < this.armed {
            self.nodes[node].armed = due;
            self.at(due, Event::Tick(node));
        }
    }

    fn tick(&mut self, node: usize) {
        if self.nodes[node].armed > self.now {
            // A later tick was replaced by an earlier one: that one has happened.
            return;
        }
        self.nodes[node].armed = u64::MAX;
        let this = &self.nodes[node];
        let renewal = this.core.as_ref().and_then(|core| core.gossip().renewal_due());
        if renewal.is_some_and(|due| due <= this.clock(self.now)) {
            self.look(node);
        }
        self.step(node, |core, now, out| core.tick(now, out));
    }

    /// The node looks at what is true of itself.
    pub(super) fn look(&mut self, node: usize) {
        let offers = self.nodes[node].offers.clone();
        self.step(node, |core, now, out| core.describe(now, &offers, out));
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Connect(dial) => {
                self.report.dials += 1;
                let there = self.who_is_at(node, &dial);
                let delay = match there {
                    Some(_) => self.rng.random_range(20..300),
                    None => DIAL_DEADLINE,
                };
                self.after(delay, Event::Dialled { by: node, dial });
            }
            Effect::Disconnect(peer) => self.disconnect(node, index_of(&peer), 50),
            Effect::Ask(Ask { peer, talk, purpose }) => {
                let to = index_of(&peer);
                self.report.messages += 1;
                self.report.bytes += talk.size() as u64;
                let linked = self.nodes[node].links.contains(&to);
                if linked && self.reaches(node, to) && !self.is_lost() {
                    let delay = self.rng.random_range(5..150);
                    self.after(delay, Event::Question { from: node, to, talk, purpose });
                } else {
                    self.after(ASK_DEADLINE, Event::Unanswered { to: node, from: to, purpose });
                }
            }
            Effect::Offence(peer) => self.offences.push((node, index_of(&peer))),
            Effect::Advertise(_) | Effect::Compared(..) => {}
        }
    }

    fn is_lost(&mut self) -> bool {
        let lost = self.loss > 0.0 && self.rng.random_bool(self.loss);
        self.report.lost += u64::from(lost);
        lost
    }

    pub(super) fn reaches(&self, a: usize, b: usize) -> bool {
        !self.cut || a % 2 == b % 2
    }

    /// Reads and checks records as a node does.
    fn take_in(
        &mut self,
        node: usize,
        from: &PeerId,
        records: Vec<Told>,
    ) -> Option<(super::super::gossip::Checked, Vec<PeerId>)> {
        let notary = self.nodes[node].notary.clone();
        self.step(node, |core, now, _| {
            let mut heard = Heard { records, ..Heard::default() };
            let behind = core.sift(now, from, &mut heard);
            (heard.check(notary.as_ref()), behind)
        })
    }

    fn question(&mut self, from: usize, to: usize, talk: Talk, purpose: Purpose) {
        let Talk { records, digest, want } = talk;
        let unanswered = Event::Unanswered { to: from, from: to, purpose };
        let peer = self.nodes[from].name.clone();
        let Some((checked, behind)) = self.take_in(to, &peer, records) else {
            return self.after(ASK_DEADLINE, unanswered);
        };
        let asked = Asked { checked, behind, digest, want };
        let answer = self.step(to, |core, now, out| core.asked(now, &peer, asked, out));
        let Some(answer) = answer else { return };
        self.report.messages += 1;
        self.report.bytes += answer.size() as u64;
        if self.is_lost() || !self.reaches(from, to) {
            return self.after(ASK_DEADLINE, unanswered);
        }
        let delay = self.rng.random_range(5..150);
        self.after(delay, Event::Answered { to: from, from: to, answer, purpose });
    }

    fn answered(&mut self, to: usize, from: usize, answer: Answer, purpose: Purpose) {
        let Answer { records, known, .. } = answer;
        let peer = self.nodes[from].name.clone();
        let Some((checked, _)) = self.take_in(to, &peer, records) else { return };
        self.step(to, |core, now, out| core.answered(now, &peer, purpose, checked, &known, out));
    }

    /// Who answers a dial.
    pub(super) fn who_is_at(&self, by: usize, dial: &Dial) -> Option<(usize, String)> {
        dial.addresses.iter().find_map(|address| {
            let slot = slot_of(address)?;
            let there = self.places.get(&slot).copied()?;
            (self.nodes[there].is_alive() && self.reaches(by, there)).then(|| (there, address.clone()))
        })
    }

    fn dialled(&mut self, by: usize, dial: &Dial) {
        if !self.nodes[by].is_alive() {
            return;
        }
        let target = dial.peer.as_ref().map_or_else(String::new, ToString::to_string);
        let unreachable = CallError::Unreachable { target, problem: "nobody answered".into() };
        let result = match self.who_is_at(by, dial) {
            None => Err(ConnectError {
                error: unreachable,
                failed: dial
                    .addresses
                    .iter()
                    .map(|address| (address.clone(), AddressFailure::Unreachable("nobody answered".into())))
                    .collect(),
            }),
            Some((there, address)) => {
                let found = self.nodes[there].name.clone();
                if there == by {
                    Err(ConnectError {
                        error: unreachable,
                        failed: vec![(address, AddressFailure::Ourselves)],
                    })
                } else if dial.peer.as_ref().is_some_and(|peer| *peer != found) {
                    let failed = vec![(address, AddressFailure::WrongPeer(found))];
                    Err(ConnectError { error: unreachable, failed })
                } else {
                    self.link(by, there, &address);
                    Ok(ConnectedPeer { peer: found, address: Some(address) })
                }
            }
        };
        self.step(by, |core, now, _| core.dialled(now, dial, &result));
    }

    pub(super) fn link(&mut self, by: usize, there: usize, address: &str) {
        if !self.nodes[by].links.insert(there) {
            return;
        }
        self.nodes[there].links.insert(by);
        let up = |peer: PeerId, address: &str| PeerConnection::Up {
            peer,
            role: Role::Member,
            address: address.to_owned(),
        };
        let to_dialler = up(self.nodes[there].name.clone(), address);
        // The other side sees a port that nobody listens at.
        let to_dialled = up(self.nodes[by].name.clone(), "/ip4/203.0.113.9/tcp/50000");
        self.step(by, |core, now, out| core.connection(now, to_dialler, out));
        self.step(there, |core, now, out| core.connection(now, to_dialled, out));
    }

    fn disconnect(&mut self, a: usize, b: usize, delay: u64) {
        if self.nodes[a].links.contains(&b) {
            self.after(delay, Event::Lost { at: a, of: b });
            self.after(delay, Event::Lost { at: b, of: a });
        }
    }

    /// Somebody new comes, and knows a few who are there.
    pub(super) fn join(&mut self) -> usize {
        let index = self.nodes.len();
        let slots = (self.alive.len() + 10) * 2;
        let slot = loop {
            let slot = self.rng.random_range(0..slots);
            let taken = self.places.get(&slot).is_some_and(|node| self.nodes[*node].is_alive());
            if !taken {
                break slot;
            }
        };
        let (clock, seed) = (self.rng.random_range(0..CLOCKS), self.rng.random());
        let node = Node::new(index, slot, &self.options, self.now, clock, seed);
        self.places.insert(slot, index);
        let contacts: Vec<FoundPeer> = self
            .alive
            .sample(&mut self.rng, 3)
            .map(|contact| FoundPeer {
                peer: Some(self.nodes[*contact].name.clone()),
                addresses: vec![place(self.nodes[*contact].slot)],
            })
            .collect();
        self.nodes.push(node);
        self.alive.push(index);
        self.report.joined += 1;
        self.look(index);
        self.step(index, |core, now, _| core.found(now, Source::Configured, &contacts));
        let first = self.rng.random_range(0..REAP_EVERY);
        self.after(first, Event::Reap(index));
        index
    }

    /// A node ends: with a goodbye, or without.
    pub(super) fn end(&mut self, node: usize, goodbye: bool) {
        if goodbye {
            self.report.left += 1;
            let farewell = self.step(node, |core, now, _| core.leave(now));
            if let Some((peers, Some(talk))) = farewell {
                for peer in peers {
                    let ask = Ask { peer, talk: talk.clone(), purpose: Purpose::Push };
                    self.carry_out(node, Effect::Ask(ask));
                }
            }
        } else {
            self.report.vanished += 1;
        }
        let links = std::mem::take(&mut self.nodes[node].links);
        for of in links {
            // A closed connection is seen at once, a dead one after some pings.
            let noticed = if goodbye { 200 } else { self.rng.random_range(10_000..40_000) };
            self.after(noticed, Event::Lost { at: of, of: node });
        }
        self.nodes[node].core = None;
        self.nodes[node].died = Some(self.now);
        self.alive.retain(|alive| *alive != node);
    }

    /// A node is somewhere else from now on.
    #[cfg(test)]
    pub(super) fn move_to(&mut self, node: usize, slot: usize) {
        self.places.remove(&self.nodes[node].slot);
        self.places.insert(slot, node);
        self.nodes[node].slot = slot;
        self.nodes[node].offers.addresses = vec![place(slot)];
        let links = self.nodes[node].links.clone();
        for of in links {
            self.disconnect(node, of, 50);
        }
        self.look(node);
    }

    /// The network is cut between even and odd nodes, or is whole again.
    #[cfg(test)]
    pub(super) fn set_cut(&mut self, cut: bool) {
        self.cut = cut;
        if !cut {
            return;
        }
        for node in self.alive.clone() {
            for of in self.nodes[node].links.clone() {
                if !self.reaches(node, of) && node < of {
                    let noticed = self.rng.random_range(10_000..40_000);
                    self.disconnect(node, of, noticed);
                }
            }
        }
    }

    /// Whether a node has somebody in its book, and not as one that left.
    pub(super) fn knows(&self, node: usize, of: usize) -> bool {
        let Some(core) = &self.nodes[node].core else { return false };
        core.book
            .get(&self.nodes[of].name)
            .is_some_and(|entry| entry.left.is_none() && entry.offers.is_some())
    }

    /// Whether everybody who is there knows everybody else who is there.
    pub(super) fn all_know_all(&self) -> bool {
        let knows_all = |node: &usize| self.alive.iter().all(|of| of == node || self.knows(*node, *of));
        self.alive.iter().all(knows_all)
    }
}

fn slot_of(address: &str) -> Option<usize> {
    let rest = address.strip_prefix("/ip4/198.51.")?;
    let (high, rest) = rest.split_once('.')?;
    let (low, _) = rest.split_once('/')?;
    Some(high.parse::<usize>().ok()? * 250 + low.parse::<usize>().ok()?.checked_sub(1)?)
}
