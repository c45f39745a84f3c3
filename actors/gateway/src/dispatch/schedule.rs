//! Requests about schedules. Who may see or change which schedule is for the scheduler to judge.
//!
//! A workflow is checked when its schedule is made, by the coordinator that is going to run it: nobody reads what is wrong
//! with it at three in the morning.

use super::{Dispatcher, SOON, workflow};
use crate::node::ask;
use meshwork_kit::Port;
use meshwork_proto::schedule::{By, ScheduleOp, Scheduled};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{Caller, ErrorCode, MeshError};

/// Answers a request about schedules.
pub(super) async fn serve(
    node: &Dispatcher,
    caller: Caller,
    request: MeshRequest,
) -> Result<MeshReply, MeshError> {
    let ports = &node.ports.schedules;
    match request {
        MeshRequest::AddSchedule(op) => {
            // What is started at each time must be here: nobody may be there to give it then.
            if let Caller::Peer { peer, .. } = &caller {
                match &op.what {
                    Scheduled::Task(spec) => node.check_task(peer, spec).await?,
                    Scheduled::Workflow(run) => workflow::receive(node, peer, run).await?,
                }
            }
            if let Scheduled::Workflow(run) = &op.what {
                workflow::check(node, caller.clone(), run).await?;
            }
            by(&ports.add, caller, op).await.map(MeshReply::Schedule)
        }
        MeshRequest::ListSchedules(op) => by(&ports.list, caller, op).await.map(MeshReply::Schedules),
        MeshRequest::ControlSchedule(op) => by(&ports.control, caller, op).await.map(MeshReply::Schedule),
        other => {
            let message = format!("{} is no request about schedules", other.name());
            Err(MeshError::new(ErrorCode::Internal, message))
        }
    }
}

/// Asks the scheduler in the name of the caller.
async fn by<T: ScheduleOp>(port: &Port<By<T>>, caller: Caller, op: T) -> Result<T::Answer, MeshError> {
    ask(port, By { caller, op }, SOON).await?.map_err(|error| MeshError::from_coded(&error))
}
