//! A double of the scheduler: it keeps what it is given and starts nothing by itself.

use super::{State, port};
use crate::SchedulePorts;
use meshwork_proto::schedule::{
    AddSchedule, By, ControlSchedule, ListSchedules, ScheduleAction, ScheduleError, ScheduleView, Scheduled,
    Started,
};
use meshwork_proto::{PeerId, ScheduleId, TaskId, UnixMillis};
use std::sync::Arc;

/// The ports.
pub(super) fn ports(state: &Arc<State>) -> SchedulePorts {
    SchedulePorts {
        add: port(state, |state, By { caller, op }: By<AddSchedule>| async move {
            state.log(format!("add_schedule {} {:?}", op.name, op.timing));
            Ok(add(&state, caller.peer().cloned(), op))
        }),
        list: port(state, |state, By { op, .. }: By<ListSchedules>| async move {
            let schedules = state.schedules.lock().unwrap();
            let wanted = |view: &&ScheduleView| op.name.as_ref().is_none_or(|name| view.name == *name);
            Ok(schedules.values().filter(wanted).cloned().collect())
        }),
        control: port(state, |state, By { op, .. }: By<ControlSchedule>| async move { control(&state, &op) }),
    }
}

fn add(state: &State, submitter: Option<PeerId>, op: AddSchedule) -> ScheduleView {
    let (what, workflow) = match &op.what {
        Scheduled::Task(spec) => (spec.tool.clone(), false),
        Scheduled::Workflow(run) => {
            let (name, _) = super::workflow::read(state, &run.definition);
            (name, true)
        }
    };
    let view = ScheduleView {
        id: ScheduleId::from_bytes([5; 16]),
        name: op.name.clone(),
        timing: op.timing,
        missed: op.missed,
        no_overlap: op.no_overlap,
        what,
        workflow,
        paused: false,
        submitter,
        created: UnixMillis(1_700_000_000_000),
        next: Some(UnixMillis(1_700_000_060_000)),
        last: Vec::new(),
        starts: 0,
        skipped: 0,
    };
    state.schedules.lock().unwrap().insert(op.name, view.clone());
    view
}

fn control(state: &State, op: &ControlSchedule) -> Result<ScheduleView, ScheduleError> {
    state.log(format!("control_schedule {:?}", op.action));
    let mut schedules = state.schedules.lock().unwrap();
    let unknown = || ScheduleError::Unknown(op.which.clone());
    let view = schedules.get_mut(&op.which).ok_or_else(unknown)?;
    match op.action {
        ScheduleAction::Pause => (view.paused, view.next) = (true, None),
        ScheduleAction::Resume => view.paused = false,
        ScheduleAction::Trigger => {
            view.starts += 1;
            let at = UnixMillis(1_700_000_030_000);
            let task = Some(TaskId::from_bytes([3; 16]));
            view.last.insert(0, Started { due: at, at, task, run: None, error: None });
        }
        ScheduleAction::Remove => return schedules.remove(&op.which).ok_or_else(unknown),
    }
    Ok(view.clone())
}
