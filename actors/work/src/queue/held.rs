//! Requests that wait for their answer.

use super::logic::Answer;
use meshwork_kit::Reply;
use meshwork_proto::queue::{Claimed, Finished, QueueError, QueueStats, Renewal, Submitted, TaskPage};
use meshwork_proto::task::TaskView;

macro_rules! held {
    ($($(#[$doc:meta])* $variant:ident($value:ty) <- $answer:ident $(=> $open:expr)?;)*) => {
        /// Whom to answer, with what type.
        #[derive(Debug)]
        pub(super) enum Held { $($(#[$doc])* $variant(Reply<Result<$value, QueueError>>),)* }

        impl Held {
            /// Whether the asker has gone.
            pub(super) fn is_gone(&self) -> bool {
                match self { $(Self::$variant(reply) => reply.is_abandoned(),)* }
            }

            /// Answers.
            pub(super) fn send(self, answer: Answer) {
                match (self, answer) {
                    $((Self::$variant(reply), Answer::Refused(error)) => reply.send(Err(error)),)*
                    $((Self::$variant(reply), Answer::$answer(value)) => {
                        $(let open: fn(_) -> _ = $open; let value = open(value);)?
                        reply.send(Ok(value));
                    })*
                    (held, answer) => tracing::error!(?held, ?answer, "an answer of the wrong type was dropped"),
                }
            }
        }
    };
}

held! {
    /// An accepted, watched, cancelled or resubmitted task.
    Submitted(Submitted) <- Submitted;
    /// Work.
    Claimed(Claimed) <- Claimed;
    /// Renewals.
    Renewed(Vec<Renewal>) <- Renewed;
    /// What became of a report.
    Finished(Finished) <- Finished;
    /// A task.
    Task(TaskView) <- Task => |view: Box<TaskView>| *view;
    /// A page of tasks.
    Page(TaskPage) <- Page;
    /// Counts.
    Stats(QueueStats) <- Stats => |stats: Box<QueueStats>| *stats;
    /// Running tasks at the beginning of a drain.
    Draining(u64) <- Draining;
}
