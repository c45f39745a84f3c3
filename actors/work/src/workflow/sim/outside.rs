//! Steps of the coordinators, and what the actor around them does: the store, evaluation, the queue.

use super::Fault;
use super::net::{Body, Party, peer};
use super::node::{Ask, RunAsker};
use super::store::{Sent, Writer};
use super::world::{Event, World};
use crate::queue::logic::Op as TaskOp;
use crate::workflow::logic::{Answer, Coordinator, Op, SubmitTask, Turn, rebuild};
use crate::workflow::tests::bench::Pending;
use meshwork_proto::queue::WatchTask;
use meshwork_proto::store::StoreError;
use meshwork_proto::workflow::WorkflowError;
use meshwork_proto::{Caller, Cid, Role};

impl World {
    /// A client or another coordinator asks.
    pub(super) fn ask_runs(&mut self, node: usize, from: Party, request: u64, op: Op) -> Result<(), String> {
        let caller = if from.node() == node {
            Caller::Local
        } else {
            Caller::Peer { peer: peer(from.node()), role: Role::Member }
        };
        if self.nodes[node].failed {
            let error = WorkflowError::Unavailable("it begins anew".to_owned());
            self.answer(node, RunAsker { from, request }, Answer::Refused(error));
            return Ok(());
        }
        let this = &mut self.nodes[node];
        this.set_clock(self.now);
        let ticket = this.bench.ask_as(caller, op);
        this.run_askers.insert(ticket, RunAsker { from, request });
        self.harvest(node)
    }

    /// One step of a coordinator; what it wants is done.
    pub(super) fn runs(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut Coordinator, &mut Turn<'_>),
    ) -> Result<(), String> {
        let this = &mut self.nodes[node];
        if !this.up || this.failed {
            return Ok(());
        }
        this.set_clock(self.now);
        this.bench.turn(call);
        self.harvest(node)
    }

    /// What a coordinator wanted is on its way.
    fn harvest(&mut self, node: usize) -> Result<(), String> {
        let life = self.nodes[node].lives.1;
        for what in std::mem::take(&mut self.nodes[node].bench.pending) {
            match what {
                Pending::Commit { id, ops, acknowledge, admission } => {
                    let writer = Writer::Runs(life, id);
                    self.write_soon(node, Sent { writer, ops, acknowledge, admission });
                }
                Pending::Read(..) | Pending::Load(_) | Pending::Check(..) => {
                    self.soon(6, Event::Outside { node, life, what });
                }
                what => self.soon(3, Event::Outside { node, life, what }),
            }
        }
        for (flight, to, call) in std::mem::take(&mut self.nodes[node].bench.calls) {
            self.call_part(node, flight, &to, call);
        }
        for what in std::mem::take(&mut self.nodes[node].bench.moves) {
            self.hand_over(node, &what);
        }
        for (from, what) in std::mem::take(&mut self.nodes[node].bench.fetches) {
            self.fetch(node, from, what);
        }
        for (ticket, answer) in std::mem::take(&mut self.nodes[node].bench.answers) {
            let Some(asker) = self.nodes[node].run_askers.remove(&ticket) else {
                return Err(format!("the coordinator of node {node} answers {ticket:?} twice"));
            };
            self.answer(node, asker, answer);
        }
        if self.nodes[node].bench.fatal.is_some() && !self.nodes[node].failed {
            self.nodes[node].failed = true;
            self.soon(500, Event::Anew { node, queue: false, life });
        }
        self.arm_runs(node);
        Ok(())
    }

    fn answer(&mut self, node: usize, asker: RunAsker, answer: Answer) {
        self.send(Party::Node(node), asker.from, asker.request, Body::RunsSay(answer));
    }

    fn arm_runs(&mut self, node: usize) {
        let this = &self.nodes[node];
        let Some(due) = this.bench.state.next_due() else { return };
        let due = this.when(due).max(self.now);
        if this.armed.1.is_none_or(|armed| armed > due) {
            let life = this.lives.1;
            self.nodes[node].armed.1 = Some(due);
            self.at(due, Event::TickRuns { node, life });
        }
    }

    /// Something is done for a coordinator.
    pub(super) fn outside(&mut self, node: usize, life: u64, what: Pending) -> Result<(), String> {
        let this = &mut self.nodes[node];
        if !this.up || this.lives.1 != life {
            return Ok(());
        }
        match what {
            Pending::Read(id, plan) => {
                let found = this.bench.disk.read(&plan);
                self.runs(node, |state, turn| state.on_read(turn, id, Ok(found)))
            }
            Pending::Load(id) => {
                let run = this.bench.stored(id).map(|stored| Box::new(rebuild(id, &stored)));
                self.runs(node, |state, turn| state.fetched(turn, id, Ok(run)))
            }
            Pending::Check(id, what) => {
                let checked = this.bench.check(&what);
                self.runs(node, |state, turn| state.checked(turn, id, checked))
            }
            Pending::Prepare(prepare) => {
                let prepared = this.bench.prepare(&prepare);
                self.runs(node, |state, turn| state.prepared(turn, prepare.flight, prepared))
            }
            Pending::Submit(task) => self.submit_task(node, *task),
            Pending::Cancel(..) if self.fault == Some(Fault::DeafQueue) => Ok(()),
            Pending::Cancel(flight, task) => self.cancel_task(node, Ask::Cancel { flight, task, tries: 0 }),
            Pending::Watch(flight, task) => {
                self.ask_own_queue(node, Ask::Watch(flight), TaskOp::Watch(WatchTask { id: task }), None)
            }
            Pending::Commit { .. } | Pending::Ended(_) => Ok(()),
        }
    }

    fn submit_task(&mut self, node: usize, task: SubmitTask) -> Result<(), String> {
        let SubmitTask { flight, run, mut spec, read } = task;
        if let Some(seq) = read {
            let disk = &self.nodes[node].bench.disk;
            let event = disk.event(run, seq).ok_or_else(|| format!("run {run} has no event {seq}"))?;
            spec.payload = event.event.payload().cloned().ok_or("an event without a document")?;
            spec.input_cid = Cid::of(disk.payload(&spec.payload).bytes());
        }
        if self.fault == Some(Fault::KeysForgotten) {
            let number = self.report.events;
            spec.idempotency_key = spec.idempotency_key.map(|key| format!("{key}#{number}"));
        }
        let op = TaskOp::Step(spec.clone());
        self.ask_own_queue(node, Ask::Submit(flight), op, Some(Box::new(spec)))
    }

    /// A coordinator begins anew in the same process.
    pub(super) fn runs_anew(&mut self, node: usize) -> Result<(), String> {
        let error = WorkflowError::Store(StoreError::Database("the log could not be written".into()));
        for (_, asker) in std::mem::take(&mut self.nodes[node].run_askers) {
            self.answer(node, asker, Answer::Refused(error.clone()));
        }
        self.write_all(node)?;
        self.build_runs(node)
    }

    pub(super) fn build_runs(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].build_runs(self.seed, self.now);
        self.harvest(node)
    }
}
