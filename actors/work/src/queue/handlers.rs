//! From messages to what the logic calls them.

use super::actor::{Deferred, Queue};
use super::held::Held;
use super::logic::Op;
use meshwork_kit::{Ctx, Handles, Reply};
use meshwork_proto::queue::{
    By, Cancel, Claim, Finish, GetTask, List, QueueError, QueueOp, Renew, Resubmit, StartDraining, Stats,
    StepsKnown, Submit, SubmitStep, Update, WatchTask, WorkerPeerBack, WorkerPeerLost,
};

type Answered<T> = Reply<Result<<T as QueueOp>::Answer, QueueError>>;

macro_rules! handles {
    ($($message:ty, $held:ident, $open:expr;)*) => {
        $(impl Handles<By<$message>> for Queue {
            fn handle(&mut self, by: By<$message>, reply: Answered<$message>, ctx: &mut Ctx<'_, Self>) {
                let open: fn($message) -> Op = $open;
                self.take_up(Deferred::Op(Held::$held(reply), by.caller, open(by.op)), ctx);
            }
        })*
    };
}

handles! {
    Submit, Submitted, |Submit(spec)| Op::Submit(spec);
    SubmitStep, Submitted, |SubmitStep(spec)| Op::Step(spec);
    WatchTask, Submitted, Op::Watch;
    Claim, Claimed, Op::Claim;
    Renew, Renewed, Op::Renew;
    Finish, Finished, Op::Finish;
    Cancel, Submitted, Op::Cancel;
    Update, Task, Op::Update;
    Resubmit, Submitted, Op::Resubmit;
    GetTask, Task, Op::Get;
    List, Page, Op::List;
    Stats, Stats, |Stats { detail }| Op::Stats { detail };
    StartDraining, Draining, |StartDraining| Op::Drain;
}

impl Handles<StepsKnown> for Queue {
    fn handle(&mut self, StepsKnown: StepsKnown, _: Reply<()>, ctx: &mut Ctx<'_, Self>) {
        self.take_up(Deferred::StepsKnown, ctx);
    }
}

impl Handles<WorkerPeerLost> for Queue {
    fn handle(&mut self, WorkerPeerLost(peer): WorkerPeerLost, _: Reply<()>, ctx: &mut Ctx<'_, Self>) {
        self.take_up(Deferred::PeerLost(peer), ctx);
    }
}

impl Handles<WorkerPeerBack> for Queue {
    fn handle(&mut self, WorkerPeerBack(peer): WorkerPeerBack, _: Reply<()>, ctx: &mut Ctx<'_, Self>) {
        self.take_up(Deferred::PeerBack(peer), ctx);
    }
}
