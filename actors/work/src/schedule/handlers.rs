//! From messages to what the logic calls them.

use super::actor::{Held, Scheduler};
use super::logic::Op;
use meshwork_kit::{Ctx, Handles, Reply};
use meshwork_proto::schedule::{AddSchedule, By, ControlSchedule, ListSchedules, ScheduleError, ScheduleOp};

type Answered<T> = Reply<Result<<T as ScheduleOp>::Answer, ScheduleError>>;

macro_rules! handles {
    ($($message:ty, $held:ident, $open:expr;)*) => {
        $(impl Handles<By<$message>> for Scheduler {
            fn handle(&mut self, by: By<$message>, reply: Answered<$message>, ctx: &mut Ctx<'_, Self>) {
                let open: fn($message) -> Op = $open;
                self.take_up(Held::$held(reply), by.caller, open(by.op), ctx);
            }
        })*
    };
}

handles! {
    AddSchedule, View, Op::Add;
    ListSchedules, List, Op::List;
    ControlSchedule, View, Op::Control;
}
