//! Pausing, resuming, removing, and starting beside the times.

use super::entry::{Start, Work};
use super::io::{Answer, Note, Ticket, Turn};
use super::{After, DURABLE, Entry, Schedules};
use crate::schedule::records::{Key, delete, holder, put};
use meshwork_proto::schedule::{ControlSchedule, Missed, ScheduleAction, ScheduleError};
use meshwork_proto::store::WriteOp;
use meshwork_proto::{Caller, ScheduleId};

impl Schedules {
    pub(super) fn control(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: &Caller,
        control: ControlSchedule,
    ) {
        let Some(id) = self.find(&control.which, caller) else {
            return turn.refuse(ticket, ScheduleError::Unknown(control.which.chars().take(80).collect()));
        };
        match control.action {
            ScheduleAction::Pause => self.pause(turn, id, ticket),
            ScheduleAction::Resume => self.resume(turn, id, ticket),
            ScheduleAction::Remove => self.remove(turn, id, ticket),
            ScheduleAction::Trigger => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    // Bounded by the port.
                    entry.wanted.push_back(ticket);
                }
                self.place(id);
            }
        }
    }

    /// The schedule with this name or id, if the caller may see it.
    fn find(&self, which: &str, caller: &Caller) -> Option<ScheduleId> {
        let id = self.names.get(which).copied().or_else(|| which.parse().ok())?;
        let entry = self.entries.get(&id)?;
        caller.may_touch(entry.record.submitter.as_ref()).then_some(id)
    }

    fn pause(&mut self, turn: &mut Turn<'_>, id: ScheduleId, ticket: Ticket) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.progress.paused = true;
        if let Work::Waiting { start, .. } = &entry.work
            && entry.progress.begun.is_none()
            && !start.begun.extra
        {
            // Nothing was begun: the time is one that passes during the pause.
            entry.work = Work::Idle;
        }
        self.answer_when_durable(turn, id, ticket);
        self.place(id);
    }

    fn resume(&mut self, turn: &mut Turn<'_>, id: ScheduleId, ticket: Ticket) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if std::mem::take(&mut entry.progress.paused) && entry.record.missed == Missed::Skip {
            // Whatever passed during the pause is missed, however short a while ago; a start on its way is not.
            let under_way = match &entry.work {
                Work::Looking(start) | Work::Beginning(start) | Work::Making(start) => Some(start),
                Work::Waiting { start, .. } => Some(start),
                Work::Idle => None,
            };
            let from =
                under_way.map_or(entry.progress.cursor, |start| entry.progress.cursor.max(start.begun.due));
            let skipped = entry.times.passed(from, turn.now, 0).count;
            entry.progress.skipped += skipped;
            entry.pass(turn.now);
            turn.note(Note::Skipped(skipped));
        }
        self.answer_when_durable(turn, id, ticket);
        self.place(id);
    }

    fn answer_when_durable(&mut self, turn: &mut Turn<'_>, id: ScheduleId, ticket: Ticket) {
        let Some(entry) = self.entries.get(&id) else { return };
        let answer = After::Answer(ticket, Answer::View(Box::new(entry.view())));
        let ops = put(Key::Progress(id), &entry.progress).map(|op| vec![op]);
        self.commit(turn, ops, DURABLE, vec![answer]);
    }

    /// What it started goes on; a start on its way is made, and nobody is told.
    fn remove(&mut self, turn: &mut Turn<'_>, id: ScheduleId, ticket: Ticket) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.names.remove(&entry.record.name);
        if let Some(at) = entry.stands {
            self.order.remove(&(at, id));
        }
        if entry.is_under_way() {
            self.under_way -= 1;
        }
        let mut ops = vec![delete(Key::Schedule(id)), delete(Key::Progress(id))];
        let unpin = |cid| WriteOp::Unpin { cid, holder: holder(id) };
        ops.extend(entry.record.artifacts().into_iter().map(unpin));
        let answer = After::Answer(ticket, Answer::View(Box::new(entry.view())));
        self.commit(turn, Ok(ops), DURABLE, vec![answer]);
        for asker in askers(entry) {
            turn.refuse(asker, ScheduleError::Unknown(id.to_string()));
        }
    }
}

/// Everybody who waits for a start beside the times.
fn askers(entry: Entry) -> Vec<Ticket> {
    let under_way = match entry.work {
        Work::Looking(start) | Work::Beginning(start) | Work::Making(start) => start.asker,
        Work::Waiting { start: Start { asker, .. }, .. } => asker,
        Work::Idle => None,
    };
    under_way.into_iter().chain(entry.wanted).collect()
}
