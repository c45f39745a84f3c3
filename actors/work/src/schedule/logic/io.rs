//! What goes into the state machine and what comes out of it.

use crate::schedule::records::Made;
use meshwork_proto::schedule::{
    AddSchedule, ControlSchedule, ListSchedules, ScheduleError, ScheduleView, Scheduled,
};
use meshwork_proto::store::{Acknowledge, Admission, StoreError, WriteOp};
use meshwork_proto::{Caller, MeshError, ScheduleId, UnixMillis};
use std::time::Duration;

/// A request whose asker waits; chosen by the driver, never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub u64);

/// A commit whose result the driver brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CommitId(pub u64);

/// What is asked of the scheduler.
#[allow(clippy::large_enum_variant, reason = "a request is moved a few times")]
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Add(AddSchedule),
    List(ListSchedules),
    Control(ControlSchedule),
}

/// What the scheduler answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    View(Box<ScheduleView>),
    List(Vec<ScheduleView>),
    Refused(ScheduleError),
}

/// Why a start could not be made, or nothing be learned about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What is wrong.
    pub error: MeshError,
    /// Whether it may be otherwise soon.
    pub again: bool,
}

/// What has to be done outside.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Write, after all commits before it.
    Commit { id: CommitId, ops: Vec<WriteOp>, acknowledge: Acknowledge, admission: Admission },
    /// Find out whether this has finished.
    Look { id: ScheduleId, made: Made },
    /// Submit this.
    Start { id: ScheduleId, caller: Caller, what: Box<Scheduled> },
    /// Answer a request.
    Answer(Ticket, Answer),
    /// Something to count, measure or log.
    Note(Note),
    /// This state is of no use any more: answer everybody with the error and build another.
    Fatal(StoreError),
}

/// Something that metrics count or measure, and logs may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// A start was made, so long after its time.
    Started { late: Duration },
    /// A start was not made.
    Failed { name: String, error: MeshError },
    /// Times were left out.
    Skipped(u64),
    /// The clock on the wall went back by so much.
    ClockWentBack(Duration),
}

/// What surrounds one call of the state machine.
pub(crate) struct Turn<'a> {
    /// The time on the wall.
    pub now: UnixMillis,
    /// Where effects go.
    pub out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.out.push(Effect::Answer(ticket, answer));
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, error: impl Into<ScheduleError>) {
        self.answer(ticket, Answer::Refused(error.into()));
    }

    pub(super) fn note(&mut self, note: Note) {
        self.out.push(Effect::Note(note));
    }
}
