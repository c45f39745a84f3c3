//! Steps of the queues, and what they want to have done.

use super::Fault;
use super::net::{Body, NODES, Party, peer};
use super::node::{Ask, QueueAsker};
use super::store::{Sent, Writer};
use super::world::{Event, World};
use crate::queue::logic::{Answer, Effect, Op, QueueState, ReadId, ReadPlan, Ticket, Turn};
use crate::workflow::logic::{Refused, null};
use meshwork_proto::queue::{Cancel, QueueError, Submitted};
use meshwork_proto::store::StoreError;
use meshwork_proto::task::TaskSpec;
use meshwork_proto::{Caller, Role};
use rand::RngExt;

/// How often the queue is asked to give up a task.
const CANCELS: u32 = 5;

impl World {
    /// A worker asks a queue.
    pub(super) fn ask_queue(&mut self, node: usize, from: usize, request: u64, op: Op) -> Result<(), String> {
        let caller =
            if from == node { Caller::Local } else { Caller::Peer { peer: peer(from), role: Role::Member } };
        let ticket =
            self.nodes[node].ticket(QueueAsker::Worker { node: from, request, op: Box::new(op.clone()) });
        self.queue(node, |state, turn| state.apply(turn, ticket, caller, op))
    }

    /// The coordinator asks the queue of its own node.
    pub(super) fn ask_own_queue(
        &mut self,
        node: usize,
        ask: Ask,
        op: Op,
        spec: Option<Box<TaskSpec>>,
    ) -> Result<(), String> {
        let life = self.nodes[node].lives.1;
        let ticket = self.nodes[node].ticket(QueueAsker::Runs { life, ask, spec });
        self.queue(node, |state, turn| state.apply(turn, ticket, Caller::Local, op))
    }

    pub(super) fn cancel_task(&mut self, node: usize, ask: Ask) -> Result<(), String> {
        let Ask::Cancel { task, .. } = ask else { return Ok(()) };
        self.ask_own_queue(node, ask, Op::Cancel(Cancel { id: task, reason: None }), None)
    }

    /// The queue answered the coordinator.
    pub(super) fn told(
        &mut self,
        node: usize,
        life: u64,
        ask: Ask,
        result: Result<Submitted, Refused>,
    ) -> Result<(), String> {
        if !self.nodes[node].up || self.nodes[node].lives.1 != life {
            return Ok(());
        }
        match ask {
            Ask::Submit(flight) => self.runs(node, |state, turn| state.submitted(turn, flight, result)),
            Ask::Cancel { flight, task, tries } => {
                if tries < CANCELS && result.as_ref().is_err_and(|refused| refused.again) {
                    let ask = Ask::Cancel { flight, task, tries: tries + 1 };
                    self.after(200 << tries, Event::CancelAgain { node, life, ask });
                    return Ok(());
                }
                self.runs(node, |state, turn| state.asked_after(turn, flight, result))
            }
            Ask::Watch(flight) => self.runs(node, |state, turn| state.asked_after(turn, flight, result)),
        }
    }

    pub(super) fn queue_reads(
        &mut self,
        node: usize,
        life: u64,
        id: ReadId,
        plan: &ReadPlan,
    ) -> Result<(), String> {
        if !self.nodes[node].up || self.nodes[node].lives.0 != life {
            return Ok(());
        }
        let found = self.nodes[node].store.tasks.read(plan);
        self.queue(node, |state, turn| state.on_read(turn, id, Ok(found)))
    }

    pub(super) fn lose_peer(&mut self, at: usize, of: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let from_there = |asker: &QueueAsker| matches!(asker, QueueAsker::Worker { node, .. } if *node == of);
        let gone = node.queue_askers.iter().filter(|(_, asker)| from_there(asker)).map(|(ticket, _)| *ticket);
        let gone: Vec<Ticket> = gone.collect();
        node.gone.extend(gone);
        self.queue(at, |state, turn| state.peer_lost(turn, &peer(of)))
    }

    /// A queue begins, in a new process or in the old one.
    pub(super) fn build_queue(&mut self, node: usize, new_process: bool) -> Result<(), String> {
        let state = self.nodes[node].build_queue(&self.options, self.seed, self.now);
        self.nodes[node].queue = Some(state);
        let mut orphans = 0;
        self.queue(node, |state, turn| orphans = state.loaded(turn, new_process))?;
        if orphans > 0 { Err(format!("{orphans} states without tasks at node {node}")) } else { Ok(()) }
    }

    /// One step of a queue; what it wants is done.
    pub(super) fn queue(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut QueueState, &mut Turn<'_>),
    ) -> Result<(), String> {
        for effect in self.nodes[node].call_queue(self.now, call) {
            self.carry_out(node, effect)?;
        }
        let this = &self.nodes[node];
        let Some(due) = this.queue.as_ref().and_then(QueueState::next_due) else { return Ok(()) };
        let due = this.when(due).max(self.now);
        if this.armed.0.is_none_or(|armed| armed > due) {
            let life = this.lives.0;
            self.nodes[node].armed.0 = Some(due);
            self.at(due, Event::TickQueue { node, life });
        }
        Ok(())
    }

    fn carry_out(&mut self, node: usize, effect: Effect) -> Result<(), String> {
        let (life, runs_life) = self.nodes[node].lives;
        match effect {
            Effect::Commit { id, ops, acknowledge, admission } => {
                let writer = Writer::Queue(life, id);
                self.write_soon(node, Sent { writer, ops, acknowledge, admission });
            }
            Effect::Read { id, plan } => self.soon(5, Event::Read { node, life, id, plan }),
            Effect::Answer(ticket, answer) => return self.answer_of_queue(node, ticket, answer),
            Effect::Stop { worker, stop } => {
                if let Some(to) = (0..NODES).find(|to| worker.peer() == Some(peer(*to))) {
                    self.send(Party::Node(node), Party::Worker(to), 0, Body::Stop(stop));
                }
            }
            Effect::Ended(mut ended) => {
                if self.fault == Some(Fault::FalseResult)
                    && ended.output.is_some()
                    && self.rng.random_bool(0.1)
                {
                    let (output, cid) = null();
                    (ended.output, ended.output_cid) = (Some(output), Some(cid));
                }
                // Ends that the coordinator has no room for are dropped: it asks after them.
                if self.healed || !self.rng.random_bool(0.02) {
                    self.soon(4, Event::Ended { node, life: runs_life, ended });
                }
            }
            Effect::Note(_) => {}
            Effect::Fatal(_) => self.soon(500, Event::Anew { node, queue: true, life }),
        }
        Ok(())
    }

    fn answer_of_queue(&mut self, node: usize, ticket: Ticket, answer: Answer) -> Result<(), String> {
        let Some(asker) = self.nodes[node].queue_askers.remove(&ticket) else {
            return Err(format!("the queue of node {node} answers {ticket:?} twice"));
        };
        self.nodes[node].gone.remove(&ticket);
        match asker {
            QueueAsker::Worker { node: to, request, op } => {
                if let (Op::Finish(finish), Answer::Finished(_)) = (&*op, &answer) {
                    self.oracle.reported(&self.ledger, finish)?;
                }
                if let Answer::Claimed(claimed) = &answer {
                    for grant in &claimed.grants {
                        self.oracle.granted(&self.ledger, node, grant.id, self.now)?;
                    }
                }
                self.send(Party::Node(node), Party::Worker(to), request, Body::QueueSays(answer));
            }
            QueueAsker::Runs { life, ask, spec } => {
                let result = match answer {
                    Answer::Submitted(submitted) => Ok(submitted),
                    Answer::Refused(error) => Err(Refused::of(&error)),
                    other => return Err(format!("the queue of node {node} answers {ask:?} with {other:?}")),
                };
                if let (Ok(submitted), Some(spec)) = (&result, &spec) {
                    self.oracle.submitted(node, submitted.id, spec);
                }
                self.soon(3, Event::Told { node, life, ask, result });
            }
        }
        Ok(())
    }

    /// The store did not take something: what waits is told so, and the queue or the coordinator begins anew once the
    /// database was opened again.
    pub(super) fn anew(&mut self, node: usize, queue: bool, life: u64) -> Result<(), String> {
        let (queue_life, runs_life) = self.nodes[node].lives;
        if !self.nodes[node].up || life != (if queue { queue_life } else { runs_life }) {
            return Ok(());
        }
        if self.nodes[node].store.broken {
            self.soon(500, Event::Anew { node, queue, life });
            return Ok(());
        }
        if !queue {
            return self.runs_anew(node);
        }
        let error = QueueError::Store(StoreError::Database("the log could not be written".into()));
        for ticket in self.nodes[node].queue_askers.keys().copied().collect::<Vec<_>>() {
            self.answer_of_queue(node, ticket, Answer::Refused(error.clone()))?;
        }
        self.write_all(node)?;
        self.build_queue(node, false)
    }
}
