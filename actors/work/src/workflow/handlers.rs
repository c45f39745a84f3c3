//! From messages to what the logic calls them.

use super::actor::{Deferred, WorkflowActor};
use super::held::Held;
use super::logic::Op;
use meshwork_kit::{Ctx, Handles, Reply};
use meshwork_proto::workflow::{
    By, ControlRun, CoordinateRun, GetDag, GetHistory, GetRun, ListRuns, SubmitRun, TakeOverRun, TaskEnded,
    ValidateWorkflow, WorkflowError, WorkflowOp,
};

type Answered<T> = Reply<Result<<T as WorkflowOp>::Answer, WorkflowError>>;

macro_rules! handles {
    ($($message:ty, $held:ident, $open:expr;)*) => {
        $(impl Handles<By<$message>> for WorkflowActor {
            fn handle(&mut self, by: By<$message>, reply: Answered<$message>, ctx: &mut Ctx<'_, Self>) {
                let open: fn($message) -> Op = $open;
                self.take_up(Deferred::Op(Held::$held(reply), by.caller, open(by.op)), ctx);
            }
        })*
    };
}

handles! {
    SubmitRun, Submitted, Op::Submit;
    GetRun, Run, Op::Get;
    ListRuns, Page, Op::List;
    ControlRun, Changed, Op::Control;
    GetDag, Dag, Op::Dag;
    GetHistory, History, Op::History;
    TakeOverRun, TakenOver, Op::TakeOver;
}

impl Handles<By<ValidateWorkflow>> for WorkflowActor {
    fn handle(
        &mut self,
        by: By<ValidateWorkflow>,
        reply: Answered<ValidateWorkflow>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        // No run is concerned: it need not wait until they are loaded.
        self.validate(by.op, reply, ctx);
    }
}

impl Handles<By<CoordinateRun>> for WorkflowActor {
    fn handle(&mut self, by: By<CoordinateRun>, reply: Answered<CoordinateRun>, ctx: &mut Ctx<'_, Self>) {
        self.coordinate(by, reply, ctx);
    }
}

impl Handles<TaskEnded> for WorkflowActor {
    fn handle(&mut self, ended: TaskEnded, _: Reply<()>, ctx: &mut Ctx<'_, Self>) {
        self.take_up(Deferred::Ended(Box::new(ended)), ctx);
    }
}
