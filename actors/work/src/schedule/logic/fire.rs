//! Starts: which of the times that passed are started, and the steps of one start.

use super::entry::{Start, Work};
use super::io::{Answer, Effect, Failure, Note, Turn};
use super::{After, BACKOFF, DURABLE, MAX_TRIES, Schedules, WRITTEN};
use crate::schedule::records::{Begun, Key, Made, put};
use meshwork_proto::schedule::{Missed, ScheduleError};
use meshwork_proto::{ErrorCode, MeshError, ScheduleId};

/// With [`Missed::All`], so many of the missed times are made up for: the latest.
const MADE_UP: usize = 100;

impl Schedules {
    /// A schedule has something to do.
    pub(super) fn take_up(&mut self, turn: &mut Turn<'_>, id: ScheduleId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match std::mem::replace(&mut entry.work, Work::Idle) {
            Work::Waiting { start, .. } if entry.progress.begun.is_some() => {
                self.set_work(id, Work::Making(start));
                self.make(turn, id);
            }
            Work::Waiting { start, .. } => self.consider(turn, id, start),
            Work::Idle => match entry.wanted.pop_front() {
                Some(asker) => {
                    let begun = Begun { due: turn.now, passed: 0, extra: true };
                    self.consider(turn, id, Start { begun, asker: Some(asker), tries: 0 });
                }
                None => self.choose(turn, id),
            },
            // Nothing of it stands in the order of time.
            busy => entry.work = busy,
        }
    }

    /// Times have passed: which of them are started?
    fn choose(&mut self, turn: &mut Turn<'_>, id: ScheduleId) {
        let late = self.options.late();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(next) = entry.next.filter(|next| *next <= turn.now && !entry.progress.paused) else {
            return;
        };
        let mut passed = entry.times.passed(entry.progress.cursor, turn.now, MADE_UP);
        let last = passed.latest.back().copied().unwrap_or(next);
        let first = passed.latest.pop_front().unwrap_or(next);
        let count = passed.count.max(1);
        let due = match entry.record.missed {
            Missed::Skip if last.after(late) < turn.now => {
                return self.leave_out(turn, id, Begun { due: last, passed: count - 1, extra: false });
            }
            // The latest stands for all of them.
            Missed::Skip | Missed::Once => Begun { due: last, passed: count - 1, extra: false },
            // The oldest of those that are made up for; the others follow one by one.
            Missed::All => Begun { due: first, passed: count - 1 - passed.latest.len() as u64, extra: false },
        };
        self.consider(turn, id, Start { begun: due, asker: None, tries: 0 });
    }

    /// A start is made unless the last one has not finished and they may not overlap.
    fn consider(&mut self, turn: &mut Turn<'_>, id: ScheduleId, start: Start) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match entry.progress.made.filter(|_| entry.record.no_overlap) {
            Some(made) => {
                self.set_work(id, Work::Looking(start));
                turn.out.push(Effect::Look { id, made });
            }
            None => self.begin(turn, id, start),
        }
    }

    /// Whether the last start has finished.
    pub(crate) fn on_looked(&mut self, turn: &mut Turn<'_>, id: ScheduleId, result: Result<bool, Failure>) {
        if let Some(start) = self.take_start(id, |work| matches!(work, Work::Looking(_))) {
            self.looked(turn, id, start, result);
        }
        self.go_on(turn);
    }

    fn looked(&mut self, turn: &mut Turn<'_>, id: ScheduleId, start: Start, result: Result<bool, Failure>) {
        let Some(entry) = self.entries.get(&id) else { return };
        match result {
            // Paused meanwhile: the time is one that passes during the pause.
            _ if entry.progress.paused && !start.begun.extra => self.set_work(id, Work::Idle),
            Ok(true) => self.begin(turn, id, start),
            Ok(false) => self.overlaps(turn, id, &start),
            Err(failure) if failure.again && start.tries + 1 < MAX_TRIES => {
                self.wait(turn, id, start, &failure)
            }
            Err(failure) => {
                let text = format!("the last start could not be looked at: {}", failure.error.message);
                self.ended(turn, id, start, Err(MeshError::new(failure.error.code, text)));
            }
        }
    }

    /// The last start has not finished: this one is left out.
    fn overlaps(&mut self, turn: &mut Turn<'_>, id: ScheduleId, start: &Start) {
        self.set_work(id, Work::Idle);
        if !start.begun.extra {
            return self.leave_out(turn, id, start.begun);
        }
        let Some(asker) = start.asker else { return };
        let last = self.entries.get(&id).and_then(|entry| entry.progress.made);
        let last = match last {
            Some(Made::Task(task)) => format!("task {task}"),
            Some(Made::Run(run)) => format!("workflow run {run}"),
            None => "its last start".into(),
        };
        let text = format!(
            "{last} has not finished, and starts of this schedule may not overlap: wait, or cancel it"
        );
        turn.refuse(asker, ScheduleError::Refused(MeshError::new(ErrorCode::WrongState, text)));
    }

    /// Times are dealt with without a start.
    fn leave_out(&mut self, turn: &mut Turn<'_>, id: ScheduleId, begun: Begun) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let skipped = begun.passed + 1;
        entry.progress.skipped += skipped;
        entry.pass(begun.due);
        turn.note(Note::Skipped(skipped));
        let ops = put(Key::Progress(id), &entry.progress).map(|op| vec![op]);
        self.commit(turn, ops, WRITTEN, Vec::new());
        self.place(id);
    }

    /// Writes down that a start begins.
    fn begin(&mut self, turn: &mut Turn<'_>, id: ScheduleId, start: Start) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.progress.begun = Some(start.begun);
        let ops = put(Key::Progress(id), &entry.progress).map(|op| vec![op]);
        self.set_work(id, Work::Beginning(Start { tries: 0, ..start }));
        self.commit(turn, ops, WRITTEN, vec![After::Make(id)]);
    }

    /// It is written that the start begins: it is made.
    pub(super) fn make(&mut self, turn: &mut Turn<'_>, id: ScheduleId) {
        let ready = |work: &Work| matches!(work, Work::Beginning(_) | Work::Making(_));
        let Some(start) = self.take_start(id, ready) else { return };
        let Some(entry) = self.entries.get(&id) else { return };
        let (caller, what) = entry.submission(&start.begun);
        self.set_work(id, Work::Making(start));
        turn.out.push(Effect::Start { id, caller, what: Box::new(what) });
    }

    /// What became of a start.
    pub(crate) fn on_started(&mut self, turn: &mut Turn<'_>, id: ScheduleId, result: Result<Made, Failure>) {
        if let Some(start) = self.take_start(id, |work| matches!(work, Work::Making(_))) {
            match result {
                Ok(made) => self.ended(turn, id, start, Ok(made)),
                Err(failure) if failure.again && start.tries + 1 < MAX_TRIES => {
                    self.wait(turn, id, start, &failure)
                }
                Err(failure) => self.ended(turn, id, start, Err(failure.error)),
            }
        }
        self.go_on(turn);
    }

    fn wait(&mut self, turn: &Turn<'_>, id: ScheduleId, mut start: Start, failure: &Failure) {
        // A node that drains stops soon: what is due is made after its start, and no try is counted until then.
        let draining = failure.error.code == ErrorCode::Draining;
        start.tries += u32::from(!draining);
        let tries = if draining { MAX_TRIES } else { start.tries };
        let until = turn.now.after(BACKOFF.delay(tries, &mut self.rng));
        self.set_work(id, Work::Waiting { start, until });
    }

    /// A start was made, or will not be.
    pub(super) fn ended(
        &mut self,
        turn: &mut Turn<'_>,
        id: ScheduleId,
        start: Start,
        outcome: Result<Made, MeshError>,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Begun { due, passed, extra } = start.begun;
        match &outcome {
            Ok(_) => turn.note(Note::Started { late: turn.now.since(due) }),
            Err(error) => {
                turn.note(Note::Failed { name: entry.record.name.clone(), error: error.clone() });
            }
        }
        entry.progress.begun = None;
        if !extra {
            entry.pass(due);
            // One start for all of them makes up for those before it.
            let skipped = if entry.record.missed == Missed::Once { 0 } else { passed };
            entry.progress.skipped += skipped;
            turn.note(Note::Skipped(skipped));
        }
        entry.keep(due, turn.now, outcome.clone());
        let view = Box::new(entry.view());
        let ops = put(Key::Progress(id), &entry.progress).map(|op| vec![op]);
        self.set_work(id, Work::Idle);
        let answer = match outcome {
            Ok(_) => Answer::View(view),
            Err(error) => Answer::Refused(ScheduleError::Refused(error)),
        };
        let after = start.asker.map(|asker| After::Answer(asker, answer));
        let how = if after.is_some() { DURABLE } else { WRITTEN };
        self.commit(turn, ops, how, after.into_iter().collect());
    }

    /// The start that is on its way, if the schedule is where it was when the question was asked. It has to be given new
    /// work then.
    fn take_start(&mut self, id: ScheduleId, expected: fn(&Work) -> bool) -> Option<Start> {
        let entry = self.entries.get_mut(&id).filter(|entry| expected(&entry.work))?;
        let work = std::mem::replace(&mut entry.work, Work::Idle);
        self.under_way -= 1;
        match work {
            Work::Looking(start) | Work::Beginning(start) | Work::Making(start) => Some(start),
            Work::Waiting { start, .. } => Some(start),
            Work::Idle => None,
        }
    }
}
