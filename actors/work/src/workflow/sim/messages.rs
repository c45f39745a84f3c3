//! What goes between nodes, workers and clients, and where it arrives.

use super::client::News;
use super::net::{Body, Message, Party};
use super::world::{Event, World};

/// How often clients look at what there is to do.
const ACT_EVERY: u64 = 500;

impl World {
    pub(super) fn act_worker(&mut self, node: usize) {
        if self.acts[node] > self.now {
            return;
        }
        let Some(worker) = &mut self.workers[node] else { return };
        let asks = worker.act(self.now);
        for (owner, request, op) in asks {
            self.send(Party::Worker(node), Party::Node(owner), request, Body::AskQueue(op));
        }
        self.acts[node] = u64::MAX;
        self.arm_worker(node);
    }

    pub(super) fn arm_worker(&mut self, node: usize) {
        let Some(worker) = &self.workers[node] else { return };
        let due = worker.next_due().max(self.now + 1);
        if due < self.acts[node] {
            self.acts[node] = due;
            let boot = self.nodes[node].boot;
            self.at(due, Event::ActWorker { node, boot });
        }
    }

    /// A worker that has just begun.
    pub(super) fn wake_worker(&mut self, node: usize) {
        self.acts[node] = u64::MAX;
        self.arm_worker(node);
    }

    pub(super) fn act_client(&mut self, node: usize) {
        for (to, request, op) in self.clients[node].act(self.now) {
            self.send(Party::Client(node), Party::Node(to), request, Body::AskRuns(op));
        }
        if !(self.healed && self.clients[node].is_content()) {
            self.soon(ACT_EVERY, Event::ActClient(node));
        }
    }

    pub(super) fn send(&mut self, from: Party, to: Party, request: u64, body: Body) {
        let boot = self.nodes[to.node()].boot;
        match self.net.delay(&mut self.rng, self.now, from.node(), to.node()) {
            Some(delay) => self.after(delay, Event::Deliver(Message { from, to, boot, request, body })),
            None => self.report.messages_lost += 1,
        }
    }

    pub(super) fn deliver(&mut self, message: Message) -> Result<(), String> {
        let Message { from, to, boot, request, body } = message;
        let node = to.node();
        if matches!(to, Party::Client(_)) {
            let Body::RunsSay(answer) = body else { return Ok(()) };
            let news = self.clients[node].answered(&mut self.rng, self.now, request, answer)?;
            return self.hear(news);
        }
        if !self.nodes[node].up || self.nodes[node].boot != boot {
            return Ok(());
        }
        match body {
            Body::AskQueue(op) => return self.ask_queue(node, from.node(), request, op),
            Body::QueueSays(answer) => {
                let Some(worker) = &mut self.workers[node] else { return Ok(()) };
                worker.answered(&mut self.rng, self.now, from.node(), request, answer);
                self.arm_worker(node);
            }
            Body::Stop(stop) => {
                let Some(worker) = &mut self.workers[node] else { return Ok(()) };
                worker.stop(from.node(), self.now, &stop);
                self.arm_worker(node);
            }
            Body::AskRuns(op) => return self.ask_runs(node, from, request, op),
            Body::RunsSay(answer) => return self.called(node, request, answer),
            Body::Fetch(cid) => {
                let artifact = self.nodes[node].artifacts.get(&cid).cloned();
                self.send(to, from, request, Body::Fetched(artifact));
            }
            Body::Fetched(artifact) => return self.fetched(node, request, artifact),
        }
        Ok(())
    }

    fn hear(&mut self, news: News) -> Result<(), String> {
        match news {
            News::None => Ok(()),
            News::Accepted(id) => {
                let safe = self.nodes.iter().any(|node| node.store.synced_runs.header(id).is_some());
                self.oracle.accepted.insert(id);
                if safe { Ok(()) } else { Err(format!("run {id} is accepted and not durable")) }
            }
            News::Shown(view) => self.oracle.shown(&view),
        }
    }
}
