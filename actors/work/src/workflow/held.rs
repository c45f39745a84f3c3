//! Requests that wait for their answer.

use super::logic::Answer;
use meshwork_kit::Reply;
use meshwork_proto::workflow::{
    Coordinated, DagView, HistoryPage, RunChanged, RunPage, RunSubmitted, RunView, TakenOver, WorkflowError,
};

macro_rules! held {
    ($($(#[$doc:meta])* $variant:ident($value:ty) <- $answer:ident $(=> $open:expr)?;)*) => {
        /// Whom to answer, with what type.
        #[derive(Debug)]
        pub(super) enum Held { $($(#[$doc])* $variant(Reply<Result<$value, WorkflowError>>),)* }

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
    /// An accepted run.
    Submitted(RunSubmitted) <- Submitted;
    /// A run.
    Run(RunView) <- Run => |shown: Box<super::logic::Shown>| shown.view;
    /// A page of runs.
    Page(RunPage) <- Page;
    /// Where a run stands after a change.
    Changed(RunChanged) <- Changed;
    /// The graph of a run.
    Dag(DagView) <- Dag => |view: Box<DagView>| *view;
    /// What happened.
    History(HistoryPage) <- History;
    /// Who coordinates a run.
    Coordinated(Coordinated) <- Coordinated;
    /// A run was taken over.
    TakenOver(TakenOver) <- TakenOver;
}
