//! What goes into the state machine and what comes out of it.

use bytes::Bytes;
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{
    Cancel, Claim, Claimed, Finish, Finished, GetTask, List, QueueError, QueueStats, Renew, Renewal,
    Resubmit, Submitted, TaskPage, Update, WatchTask,
};
use meshwork_proto::store::{Acknowledge, Admission, Family, Scan, StoreError, WriteOp};
use meshwork_proto::task::{TaskSpec, TaskView};
use meshwork_proto::workflow::TaskEnded;
use meshwork_proto::{TaskId, UnixMillis, WorkerId};
use std::time::Duration;

/// A request whose asker waits; chosen by the driver, never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub u64);

/// A commit whose result the driver brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CommitId(pub u64);

/// A read whose result the driver brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReadId(pub u64);

/// What is asked of the queue.
#[allow(
    clippy::large_enum_variant,
    reason = "a request is moved a few times; boxing would cost an allocation each"
)]
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Submit(TaskSpec),
    /// A submission whose end the coordinator wants to be told.
    Step(TaskSpec),
    Watch(WatchTask),
    Claim(Claim),
    Renew(Renew),
    Finish(Finish),
    Cancel(Cancel),
    Update(Update),
    Resubmit(Resubmit),
    Get(GetTask),
    List(List),
    Stats {
        detail: bool,
    },
    Drain,
}

/// What the queue answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Submitted(Submitted),
    Claimed(Claimed),
    Renewed(Vec<Renewal>),
    Finished(Finished),
    Task(Box<TaskView>),
    Page(TaskPage),
    Stats(Box<QueueStats>),
    Draining(u64),
    Refused(QueueError),
}

/// What a read asks for.
#[derive(Debug)]
pub(crate) enum ReadPlan {
    /// Values by family and key; the groups are read one after the other.
    Keys(Vec<(Family, Vec<Bytes>)>),
    /// A range.
    Range(Scan),
}

/// What a read found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Of [`ReadPlan::Keys`], in the same order.
    Values(Vec<Vec<Option<Bytes>>>),
    /// Of [`ReadPlan::Range`].
    Entries(Vec<(Bytes, Bytes)>),
}

/// What has to be done outside.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Write, after all commits before it.
    Commit { id: CommitId, ops: Vec<WriteOp>, acknowledge: Acknowledge, admission: Admission },
    /// Read, after every commit that was acknowledged before.
    Read { id: ReadId, plan: ReadPlan },
    /// Answer a request.
    Answer(Ticket, Answer),
    /// Tell a worker to stop.
    Stop { worker: WorkerId, stop: StopTask },
    /// Tell the coordinator how a task ended.
    Ended(Box<TaskEnded>),
    /// Something to count or measure.
    Note(Note),
    /// This state is of no use any more: answer everybody with the error and build another.
    Fatal(StoreError),
}

/// Something that metrics count or measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// A claim was given work after this wait.
    ClaimServed { waited: Duration },
    /// A task was claimed for the first time after this time in the queue.
    FirstClaim { queued: Duration },
    /// An attempt ended after this time, with this outcome.
    AttemptEnded { ran: Duration, outcome: &'static str },
}

/// What surrounds one call of the state machine.
pub(crate) struct Turn<'a> {
    /// The time.
    pub now: UnixMillis,
    /// Whether the asker of a ticket has gone.
    pub gone: &'a dyn Fn(Ticket) -> bool,
    /// Where effects go.
    pub out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.out.push(Effect::Answer(ticket, answer));
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, error: impl Into<QueueError>) {
        self.answer(ticket, Answer::Refused(error.into()));
    }

    pub(super) fn note(&mut self, note: Note) {
        self.out.push(Effect::Note(note));
    }
}

impl Found {
    /// The only value that was asked for.
    pub(super) fn one(&self) -> Option<&Bytes> {
        self.value(0, 0)
    }

    /// A value by group and place.
    pub(super) fn value(&self, group: usize, place: usize) -> Option<&Bytes> {
        match self {
            Self::Values(groups) => groups.get(group)?.get(place)?.as_ref(),
            Self::Entries(_) => None,
        }
    }

    /// The entries of a range.
    pub(super) fn entries(self) -> Vec<(Bytes, Bytes)> {
        match self {
            Self::Values(_) => Vec::new(),
            Self::Entries(entries) => entries,
        }
    }
}

impl Op {
    /// The task it is about, if it is about one.
    pub(super) fn task(&self) -> Option<TaskId> {
        match self {
            Self::Finish(finish) => Some(finish.id),
            Self::Cancel(cancel) => Some(cancel.id),
            Self::Update(update) => Some(update.id),
            Self::Resubmit(resubmit) => Some(resubmit.id),
            Self::Get(get) => Some(get.id),
            Self::Watch(watch) => Some(watch.id),
            Self::Submit(_) | Self::Step(_) | Self::Claim(_) | Self::Renew(_) | Self::List(_) => None,
            Self::Stats { .. } | Self::Drain => None,
        }
    }
}
