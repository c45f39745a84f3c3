//! A run that was fetched from the peer that hands it over is written down, in the place of whatever is known of it here.
//!
//! From the moment at which the commit is sent nothing is decided any more about what is here ([`Coordinator::emit`]), and
//! what was decided before has been sent before. If the store takes the commit, what was here is gone; if it does not, it
//! goes on as the store has it.

use super::live::Live;
use super::load::Awaiting;
use super::run::{Phase, Run};
use super::{After, Coordinator, FlightId, Stored, Ticket, Turn};
use crate::workflow::records::{
    Batch, Event, EventRecord, HeaderRecord, KeyRecord, active_key, event_key, finish_key, header_key,
    holder, key_key, summary_key,
};
use meshwork_proto::store::{Acknowledge, Admission, MAX_COMMIT_BYTES, MAX_COMMIT_OPS, StoreError};
use meshwork_proto::workflow::WorkflowError;
use meshwork_proto::{PeerId, RunId, TaskId};

/// A run that is here when its commit is acknowledged.
#[derive(Debug)]
pub(crate) struct Incoming {
    run: Box<Run>,
    /// What was under way for what was here before.
    tasks: Vec<(FlightId, TaskId)>,
}

impl Coordinator {
    pub(super) fn write_incoming(
        &mut self,
        turn: &mut Turn<'_>,
        from: &PeerId,
        stored: Stored,
        mut run: Run,
    ) {
        let id = run.id;
        let batch = self.incoming_batch(turn, from, stored, &mut run);
        let (ops, bytes) = (batch.len(), batch.bytes());
        if ops > MAX_COMMIT_OPS || bytes > MAX_COMMIT_BYTES {
            let problem = format!(
                "history of workflow run {id} makes {ops} changes of {bytes} bytes: at most {MAX_COMMIT_OPS} changes \
                 of {MAX_COMMIT_BYTES} bytes are taken at once"
            );
            return self.refuse_incoming(turn, id, &WorkflowError::InvalidArgument(problem));
        }
        let tasks = self.freeze(id);
        if let Some(receiving) = self.incoming.get_mut(&id) {
            receiving.writing = true;
        }
        // Also of this run: what was decided about it must not be written over what comes now.
        self.flush(turn);
        let incoming = Incoming { run: Box::new(run), tasks };
        let how = (Acknowledge::Durable, Admission::New);
        self.commit(turn, batch, how, vec![After::TakenOver(Box::new(incoming))], Vec::new());
    }

    /// What is written of a run that comes, which is changed as it is written.
    fn incoming_batch(&self, turn: &Turn<'_>, from: &PeerId, stored: Stored, run: &mut Run) -> Batch {
        let id = run.id;
        let Stored { mut header, events, .. } = stored;
        if let Some(live) = self.runs.get(&id) {
            // It comes back: who submitted it, and with which key, is better known here.
            header.submitter.clone_from(&live.run.submitter);
            header.key.clone_from(&live.run.key);
        } else {
            // A client of the other peer: that peer speaks for it here.
            let submitter = header.submitter.take().unwrap_or_else(|| from.clone());
            header.submitter = Some(submitter);
            // Keys of other peers' clients are not known here; those of parts are the same everywhere.
            header.key = header.key.take().filter(|_| header.parent.is_some());
        }
        run.submitter.clone_from(&header.submitter);
        run.key.clone_from(&header.key);
        let epoch = run.moving.as_ref().map_or(run.epoch, |moving| moving.epoch);
        let seq = run.seq + 1;
        let last = EventRecord { at: turn.now, epoch, event: Event::TakenOver { from: from.clone(), epoch } };
        run.apply(seq, &last);
        let mut batch = Batch::default();
        head(&mut batch, id, &header);
        for (seq, record) in &events {
            batch.put(event_key(id, *seq), record);
            if let Some(payload) = record.event.payload() {
                batch.pin_payload(payload, || holder(id));
            }
        }
        batch.put(event_key(id, seq), &last);
        if let Some(known) = self.runs.get(&id).map(|live| &live.run) {
            // What was decided here under a lower epoch is void.
            (seq + 1..=known.seq).for_each(|seq| batch.delete(event_key(id, seq)));
            if let Some(finished) = known.finished {
                batch.delete(summary_key(id));
                batch.delete(finish_key(finished, id));
            }
        }
        batch
    }

    /// Nothing more happens to a run until it is known whether it is replaced; its tasks.
    fn freeze(&mut self, id: RunId) -> Vec<(FlightId, TaskId)> {
        let Some(live) = self.runs.get_mut(&id) else { return Vec::new() };
        live.replacing = true;
        // Who asks for it waits.
        live.ending = true;
        self.pending.remove(&(live.run.created, id));
        let flights: Vec<FlightId> = live.flights.values().copied().collect();
        let landed = flights.into_iter().filter_map(|flight| Some((flight, self.land(flight)?.task()?)));
        let tasks: Vec<_> = landed.collect();
        self.children.retain(|_, flight| self.flights.contains_key(flight));
        self.drop_timers(id);
        if let Some(live) = self.runs.get_mut(&id) {
            live.ready.clear();
            live.starts.clear();
            live.again.clear();
            live.wanted.clear();
        }
        tasks
    }

    /// A run that was taken over is on the disk: it goes on here.
    pub(super) fn taken_over(&mut self, turn: &mut Turn<'_>, incoming: Incoming) {
        let Incoming { run, tasks } = incoming;
        let id = run.id;
        let kept = self.runs.get(&id).map(|live| (live.run.state(), live.run.phase.clone()));
        let give_up = self.runs.get(&id).and_then(|live| live.handing.give_up);
        if let Some((state, phase @ (Phase::Finished(_) | Phase::Moved(_)))) = kept {
            let count = self.counts.kept_mut().of_mut(state, matches!(phase, Phase::Moved(_)));
            *count = count.saturating_sub(1);
        }
        for (flight, task) in tasks {
            self.cancel_task(flight, task, "its run is coordinated by another peer");
        }
        for ticket in self.leave(id) {
            let problem = format!("workflow run {id} was taken over from another peer: ask again");
            turn.refuse(ticket, WorkflowError::Unavailable(problem));
        }
        self.totals.moved_in += 1;
        self.counts.arrived(&run);
        self.runs.insert(id, Box::new(Live::new(*run)));
        self.revive(turn, id);
        if let Some(compensate) = give_up {
            self.cancel_part(turn, id, compensate);
        }
        self.answer_incoming(turn, id);
    }

    /// The store did not take a run that another peer hands over: what was here goes on as the store has it.
    pub(super) fn not_taken(&mut self, turn: &mut Turn<'_>, incoming: &Incoming, error: &StoreError) {
        let id = incoming.run.id;
        let parked = self.runs.get_mut(&id).map(|live| std::mem::take(&mut live.parked));
        if let Some(parked) = parked {
            for ticket in self.leave(id) {
                let problem = format!("workflow run {id} is being read from the store: ask again");
                turn.refuse(ticket, WorkflowError::Unavailable(problem));
            }
            self.fetch(turn, id, Awaiting::Revival);
            for asked in parked {
                self.fetch(turn, id, Awaiting::Request(Box::new(asked)));
            }
        }
        self.refuse_incoming(turn, id, &error.clone().into());
    }

    /// A run leaves memory; who waited for something of it.
    fn leave(&mut self, id: RunId) -> Vec<Ticket> {
        let Some(live) = self.runs.get(&id) else { return Vec::new() };
        self.counts.left(&live.run);
        let waiting = live.waiters.iter().map(|waiter| waiter.ticket);
        let askers: Vec<Ticket> = waiting.chain(live.parked.iter().map(|asked| asked.ticket)).collect();
        for ticket in &askers {
            self.forget_wait(*ticket);
        }
        self.forget_run(id);
        askers
    }
}

fn head(batch: &mut Batch, id: RunId, header: &HeaderRecord) {
    batch.put(header_key(id), header);
    batch.mark(active_key(id));
    batch.pin_payload(&header.definition, || holder(id));
    batch.pin_payload(&header.inputs, || holder(id));
    if let Some(key) = &header.key {
        let (definition_cid, given_cid) = (header.definition_cid, header.given_cid);
        let key = key_key(header.submitter.as_ref(), header.parent.as_ref(), key);
        batch.put(key, &KeyRecord { run: id, definition_cid, given_cid });
    }
}
