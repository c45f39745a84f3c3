//! What the queues and the coordinators write, and what follows when it is written, synced, or has failed.

use super::Fault;
use super::store::{Sent, Writer, Written};
use super::world::{Event, World};
use crate::workflow::records::Event as RunEvent;
use meshwork_proto::store::StoreError;
use rand::RngExt;

impl World {
    /// A commit is sent: it is written behind those that were sent before.
    pub(super) fn write_soon(&mut self, node: usize, sent: Sent) {
        let late = self.rng.random_range(0..3);
        let this = &mut self.nodes[node];
        this.store.send(sent);
        this.store.write_at = this.store.write_at.max(self.now + late);
        let (at, boot) = (this.store.write_at, this.boot);
        self.at(at, Event::Write { node, boot });
    }

    /// Everything that was sent is written now.
    pub(super) fn write_all(&mut self, node: usize) -> Result<(), String> {
        while !self.nodes[node].store.is_idle() {
            self.write(node)?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, node: usize) -> Result<(), String> {
        let this = &mut self.nodes[node];
        let Some((written, ops)) = this.store.write_next(&mut this.bench.disk) else { return Ok(()) };
        match written {
            Written::Failed(writer, error) => self.committed(node, writer, Err(error)),
            Written::Done { writer, told } => {
                if matches!(writer, Writer::Runs(..)) {
                    self.judge(node, &ops)?;
                }
                let slow = self.rng.random_bool(0.02) || self.fault == Some(Fault::TornLog);
                let delay =
                    if slow { self.rng.random_range(200..1500) } else { self.rng.random_range(1..12) };
                let boot = self.nodes[node].boot;
                self.after(delay, Event::Sync { node, boot });
                let told = told || self.fault == Some(Fault::EarlySync);
                if told { self.committed(node, writer, Ok(())) } else { Ok(()) }
            }
        }
    }

    fn judge(&mut self, node: usize, ops: &[meshwork_proto::store::WriteOp]) -> Result<(), String> {
        let this = &mut self.nodes[node];
        let fresh = self.ledger.written(node, &mut this.bench, ops, self.now)?;
        for (run, record) in fresh {
            if self.story.as_ref().is_some_and(|wanted| run.to_string().contains(wanted)) {
                println!("{:>7} node {node} {run} {} {:?}", self.now, record.epoch, record.event);
            }
            self.oracle.event(run, &record)?;
            match record.event {
                RunEvent::Undone { .. } => self.report.undone += 1,
                RunEvent::Moved { .. } => self.report.moved += 1,
                RunEvent::Retried { .. } => self.report.retried += 1,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, node: usize) -> Result<(), String> {
        for writer in self.nodes[node].store.sync() {
            self.committed(node, writer, Ok(()))?;
        }
        Ok(())
    }

    fn committed(
        &mut self,
        node: usize,
        writer: Writer,
        result: Result<(), StoreError>,
    ) -> Result<(), String> {
        let lives = self.nodes[node].lives;
        match writer {
            Writer::Queue(life, id) if life == lives.0 => {
                self.queue(node, |state, turn| state.on_commit(turn, id, result))
            }
            Writer::Runs(life, id) if life == lives.1 => {
                self.runs(node, |state, turn| state.on_commit(turn, id, result))
            }
            _ => Ok(()),
        }
    }
}
