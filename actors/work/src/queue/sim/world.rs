//! Virtual time, and everything that happens in it.

use super::client::Client;
use super::net::{Body, Message, NODES, Net, Party};
use super::node::{Asker, Node, Sent, peer};
use super::oracle::{Cause, Oracle};
use super::worker::Worker;
use super::{Fault, Report, Violation};
use crate::queue::logic::{Answer, Effect, Found, Op, QueueState, ReadId, ReadPlan, Ticket, Turn};
use crate::queue::options::QueueOptions;
use meshwork_proto::queue::QueueError;
use meshwork_proto::{Caller, Role, UnixMillis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Virtual time begins here, so that it is not zero anywhere.
const BEGIN: u64 = 1_700_000_000_000;
/// Faults happen for so long, in milliseconds.
const CHAOS: u64 = 100_000;
/// By then everything must have ended.
const END: u64 = CHAOS + 400_000;
/// How often workers and clients look at what there is to do.
const ACT_EVERY: u64 = 400;

#[allow(clippy::large_enum_variant, reason = "nearly all are large")]
#[derive(Debug)]
enum Event {
    Deliver(Message),
    Write { node: usize, boot: u64 },
    Sync { node: usize, boot: u64 },
    Read { node: usize, actor: u64, id: ReadId, plan: ReadPlan, early: Option<Found> },
    Tick { node: usize, actor: u64 },
    Act(Party),
    Crash(usize),
    Boot(usize),
    DiskFull { node: usize, full: bool },
    Break(usize),
    Lost { at: usize, of: usize },
    Back { at: usize, of: usize },
    Heal,
}

/// Everything.
pub(super) struct World {
    rng: ChaCha8Rng,
    seed: u64,
    fault: Option<Fault>,
    options: QueueOptions,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    nodes: Vec<Node>,
    workers: Vec<Option<Worker>>,
    clients: Vec<Client>,
    net: Net,
    oracle: Oracle,
    healed: bool,
    report: Report,
}

impl World {
    pub(super) fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let options = QueueOptions {
            backoff_max_s: 5.0,
            max_lease_losses: 20,
            // Sometimes specifications are at hand, sometimes they have to be read first.
            spec_cache_bytes: if rng.random_bool(0.5) { 0 } else { 1_000_000 },
            ..QueueOptions::default()
        };
        let net = Net::random(&mut rng, CHAOS);
        let clients = (0..NODES).map(|index| Client::new(&mut rng, index, CHAOS)).collect();
        let mut world = Self {
            rng,
            seed,
            fault,
            options,
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            nodes: (0..NODES).map(Node::new).collect(),
            workers: (0..NODES).map(|_| None).collect(),
            clients,
            net,
            oracle: Oracle::default(),
            healed: false,
            report: Report::default(),
        };
        world.plan();
        world
    }

    /// What happens by itself, and when.
    fn plan(&mut self) {
        for node in 0..NODES {
            self.at(0, Event::Boot(node));
            self.at(1, Event::Act(Party::Worker(node)));
            self.at(1, Event::Act(Party::Client(node)));
        }
        for _ in 0..self.rng.random_range(0..6) {
            let (node, at) = (self.rng.random_range(0..NODES), self.rng.random_range(0..CHAOS - 25_000));
            self.at(at, Event::Crash(node));
        }
        for _ in 0..self.rng.random_range(0..2) {
            let (node, at) = (self.rng.random_range(0..NODES), self.rng.random_range(0..CHAOS - 10_000));
            let ends = at + self.rng.random_range(1000..10_000);
            self.at(at, Event::DiskFull { node, full: true });
            self.at(ends, Event::DiskFull { node, full: false });
        }
        if self.rng.random_bool(0.3) {
            let (node, at) = (self.rng.random_range(0..NODES), self.rng.random_range(0..CHAOS));
            self.at(at, Event::Break(node));
        }
        // A connection that is cut is noticed after a while, by both sides.
        for (a, b, from, until) in self.net.partitions().to_vec() {
            if until - from > 3000 {
                for (at, of) in [(a, b), (b, a)] {
                    self.at(from + 3000, Event::Lost { at, of });
                    self.at(until, Event::Back { at, of });
                }
            }
        }
        self.at(CHAOS, Event::Heal);
    }

    fn at(&mut self, time: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((time.max(self.now), self.next_event), event);
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Until everything has ended, or something is wrong.
    pub(super) fn run(mut self) -> Result<Report, Violation> {
        while let Some(((time, _), event)) = self.events.pop_first() {
            self.now = time;
            self.report.events += 1;
            self.happen(event).map_err(|what| Violation { at: time, what })?;
            let content = self.healed && self.clients.iter().all(Client::is_content);
            if (content && self.all_ended()) || time > END {
                break;
            }
        }
        let at = self.now;
        self.finish().map_err(|what| Violation { at, what })
    }

    fn all_ended(&self) -> bool {
        let idle = |node: &Node| {
            let unfinished = |state: &QueueState| {
                use meshwork_proto::task::TaskStatus::{Queued, Running};
                state.by_status()[&Queued] + state.by_status()[&Running]
            };
            node.outbox.is_empty() && node.state.as_ref().is_some_and(|state| unfinished(state) == 0)
        };
        self.nodes.iter().all(idle)
    }

    /// The chaos is over long since: every promise must have been kept.
    fn finish(mut self) -> Result<Report, String> {
        for client in &self.clients {
            if !client.is_content() {
                return Err(format!("a client was never answered: {client:?}"));
            }
        }
        for node in &mut self.nodes {
            while node.write_next().is_some() {}
            node.sync();
            self.oracle.check_end(node)?;
        }
        (self.report.accepted, self.report.grants, self.report.finished) = self.oracle.counts();
        self.report.stale =
            self.nodes.iter().filter_map(|node| Some(node.state.as_ref()?.totals().stale_reports)).sum();
        Ok(self.report)
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Deliver(message) => return self.deliver(message),
            Event::Write { node, boot } => return self.write(node, boot),
            Event::Sync { node, boot } => return self.sync(node, boot),
            Event::Read { node, actor, id, plan, early } => {
                if self.nodes[node].actor != actor || self.nodes[node].state.is_none() {
                    return Ok(());
                }
                let found = early.unwrap_or_else(|| self.nodes[node].written.read(&plan));
                return self.step(node, Cause::Read, |state, turn| state.on_read(turn, id, Ok(found)));
            }
            Event::Tick { node, actor } => {
                if self.nodes[node].actor == actor {
                    self.nodes[node].armed = None;
                    return self.step(node, Cause::Tick, QueueState::tick);
                }
            }
            Event::Act(party) => self.act(party),
            Event::Crash(node) => self.crash(node),
            Event::Boot(node) => return self.boot(node),
            Event::DiskFull { node, full } => self.nodes[node].disk_full = full,
            Event::Break(node) => self.nodes[node].broken = true,
            Event::Lost { at, of } => return self.lose_peer(at, of),
            Event::Back { at, of } => {
                self.oracle.peer_back(at, of);
                return self.step(at, Cause::Other, |state, _| state.peer_back(&peer(of)));
            }
            Event::Heal => self.heal(),
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.healed = true;
        self.net.heal();
        for node in &mut self.nodes {
            (node.disk_full, node.broken) = (false, false);
        }
        self.workers.iter_mut().flatten().for_each(Worker::heal);
    }

    fn act(&mut self, party: Party) {
        let node = party.node();
        let asks = match party {
            Party::Worker(_) => match &mut self.workers[node] {
                Some(worker) => worker.act(&mut self.rng, self.now),
                None => Vec::new(),
            },
            _ => self.clients[node].act(self.now),
        };
        let boot = if matches!(party, Party::Worker(_)) { self.nodes[node].boot } else { 0 };
        for (owner, request, op) in asks {
            self.send(Message { from: party, to: Party::Owner(owner), boot, request, body: Body::Ask(op) });
        }
        let jitter = self.rng.random_range(0..100);
        self.after(ACT_EVERY + jitter, Event::Act(party));
    }

    fn send(&mut self, message: Message) {
        let delays = self.net.deliveries(&mut self.rng, self.now, message.from.node(), message.to.node());
        self.report.messages_lost += u64::from(delays.is_empty());
        for delay in delays {
            self.after(delay, Event::Deliver(message.clone()));
        }
    }

    fn deliver(&mut self, message: Message) -> Result<(), String> {
        let Message { from, to, boot, request, body } = message;
        match (to, body) {
            (Party::Owner(node), Body::Ask(op)) => return self.ask(node, Asker { from, request, boot, op }),
            (Party::Worker(node), body) if self.nodes[node].boot == boot => {
                let Some(worker) = &mut self.workers[node] else { return Ok(()) };
                match body {
                    Body::Answer(answer) => {
                        worker.answered(&mut self.rng, self.now, from.node(), request, answer)
                    }
                    Body::Stop(stop) => worker.stop(from.node(), self.now, stop),
                    Body::Ask(_) => {}
                }
            }
            (Party::Client(node), Body::Answer(answer)) => {
                self.clients[node].answered(&mut self.rng, self.now, request, &answer);
            }
            _ => {}
        }
        Ok(())
    }

    fn ask(&mut self, node: usize, asker: Asker) -> Result<(), String> {
        if self.nodes[node].state.is_none() {
            return Ok(());
        }
        let caller = if asker.from.node() == node {
            Caller::Local
        } else {
            Caller::Peer { peer: peer(asker.from.node()), role: Role::Member }
        };
        let op = asker.op.clone();
        self.oracle.asked(node, &op);
        let cause = match &op {
            Op::Finish(finish) => Cause::Finish(finish.clone()),
            _ => Cause::Other,
        };
        let ticket = self.nodes[node].ticket(asker);
        self.step(node, cause, |state, turn| state.apply(turn, ticket, caller, op))
    }

    fn write(&mut self, node: usize, boot: u64) -> Result<(), String> {
        if self.nodes[node].boot != boot {
            return Ok(());
        }
        let answered = self.nodes[node].write_next();
        let slow = self.rng.random_bool(0.02);
        let delay = if slow { self.rng.random_range(200..2000) } else { self.rng.random_range(1..12) };
        self.after(delay, Event::Sync { node, boot });
        match answered {
            Some((actor, id, result)) if actor == self.nodes[node].actor => {
                self.step(node, Cause::Other, |state, turn| state.on_commit(turn, id, result))
            }
            _ => Ok(()),
        }
    }

    fn sync(&mut self, node: usize, boot: u64) -> Result<(), String> {
        if self.nodes[node].boot != boot {
            return Ok(());
        }
        for (actor, id) in self.nodes[node].sync() {
            if actor == self.nodes[node].actor {
                self.step(node, Cause::Other, |state, turn| state.on_commit(turn, id, Ok(())))?;
            }
        }
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].state.is_none() || self.healed {
            return;
        }
        self.report.crashes += 1;
        self.nodes[node].crash(&mut self.rng);
        self.workers[node] = None;
        let down = self.rng.random_range(50..20_000);
        self.after(down, Event::Boot(node));
        for at in (0..NODES).filter(|at| *at != node) {
            let noticed = self.rng.random_range(300..2000);
            self.after(noticed, Event::Lost { at, of: node });
            self.after(noticed + down, Event::Back { at, of: node });
        }
    }

    fn boot(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].open(self.fault);
        let mut worker = Worker::new(node, self.nodes[node].boot + 1);
        if self.healed {
            worker.heal();
        }
        self.workers[node] = Some(worker);
        self.build(node, true)
    }

    /// A queue begins, in a new process or in the old one.
    fn build(&mut self, node: usize, new_process: bool) -> Result<(), String> {
        let now = UnixMillis(BEGIN + self.now);
        let mut state = self.nodes[node].build(&self.options, self.seed, now);
        if let Some(Fault::Logic(mutant)) = self.fault {
            state.mutate(Some(mutant));
        }
        self.nodes[node].state = Some(state);
        self.nodes[node].armed = None;
        self.oracle.restarted(self.now, &self.nodes[node]);
        let mut orphans = 0;
        self.step(node, Cause::Start, |state, turn| {
            orphans = state.loaded(turn, new_process);
            state.steps_known(turn);
        })?;
        if orphans > 0 { Err(format!("{orphans} states without tasks at node {node}")) } else { Ok(()) }
    }

    fn lose_peer(&mut self, at: usize, of: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let from_there = |asker: &Asker| asker.from == Party::Worker(of);
        let gone: Vec<Ticket> =
            node.askers.iter().filter(|(_, asker)| from_there(asker)).map(|(ticket, _)| *ticket).collect();
        node.gone.extend(gone);
        self.oracle.peer_lost(self.now, at, of);
        self.step(at, Cause::Other, |state, turn| state.peer_lost(turn, &peer(of)))
    }

    /// One step of a queue: it is looked at, and what it wants is done.
    fn step(
        &mut self,
        node: usize,
        cause: Cause,
        call: impl FnOnce(&mut QueueState, &mut Turn<'_>),
    ) -> Result<(), String> {
        if self.nodes[node].state.is_none() {
            return Ok(());
        }
        let before = self.oracle.look(&self.nodes[node]);
        let effects = self.nodes[node].call(UnixMillis(BEGIN + self.now), call);
        for effect in &effects {
            if let Effect::Ended(ended) = effect {
                self.oracle.told(ended)?;
            }
            if let Effect::Answer(ticket, answer) = effect {
                let asker = self.nodes[node].askers.get(ticket);
                let asker = asker.ok_or_else(|| format!("{ticket:?} is answered twice"))?;
                self.oracle.answered(node, self.now, &asker.op, answer)?;
            }
        }
        self.oracle.check(self.now, &self.nodes[node], &cause, &before, &effects)?;
        let mut fatal = false;
        for effect in effects {
            fatal |= matches!(effect, Effect::Fatal(_));
            self.carry_out(node, effect);
        }
        if fatal {
            return self.restart_actor(node);
        }
        self.arm(node);
        Ok(())
    }

    fn arm(&mut self, node: usize) {
        let this = &self.nodes[node];
        let Some(due) = this.state.as_ref().and_then(QueueState::next_due) else { return };
        let due = due.0.saturating_sub(BEGIN).max(self.now);
        if this.armed.is_none_or(|armed| armed > due) {
            let actor = this.actor;
            self.nodes[node].armed = Some(due);
            self.at(due, Event::Tick { node, actor });
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Commit { id, ops, acknowledge, admission } => {
                let this = &mut self.nodes[node];
                this.outbox.push_back(Sent { actor: this.actor, id, ops, acknowledge, admission });
                this.write_at = this.write_at.max(self.now + self.rng.random_range(0..3));
                let (at, boot) = (this.write_at, this.boot);
                self.at(at, Event::Write { node, boot });
            }
            Effect::Read { id, plan } => {
                let this = &self.nodes[node];
                let early = self.rng.random_bool(0.5).then(|| this.written.read(&plan));
                let actor = this.actor;
                let delay = self.rng.random_range(0..6);
                self.after(delay, Event::Read { node, actor, id, plan, early });
            }
            Effect::Answer(ticket, answer) => self.answer(node, ticket, answer),
            Effect::Stop { worker, stop } => {
                if let Some(to) = (0..NODES).find(|to| worker.peer() == Some(peer(*to))) {
                    let (from, to) = (Party::Owner(node), Party::Worker(to));
                    let boot = self.nodes[to.node()].boot;
                    self.send(Message { from, to, boot, request: 0, body: Body::Stop(stop) });
                }
            }
            Effect::Ended(_) | Effect::Note(_) | Effect::Fatal(_) => {}
        }
    }

    fn answer(&mut self, node: usize, ticket: Ticket, answer: Answer) {
        if let Some(asker) = self.nodes[node].askers.remove(&ticket) {
            let Asker { from, request, boot, .. } = asker;
            self.send(Message {
                from: Party::Owner(node),
                to: from,
                boot,
                request,
                body: Body::Answer(answer),
            });
        }
    }

    /// The store did not take something: everybody is told, what was sent goes through, and the queue begins anew.
    fn restart_actor(&mut self, node: usize) -> Result<(), String> {
        let error = QueueError::Store(meshwork_proto::store::StoreError::Database("bad sector".into()));
        for ticket in self.nodes[node].askers.keys().copied().collect::<Vec<_>>() {
            self.answer(node, ticket, Answer::Refused(error.clone()));
        }
        while self.nodes[node].write_next().is_some() {}
        self.build(node, false)
    }
}
