//! The tools of schedules: tasks and workflows that are started at times.
//!
//! All of them can be asked of a peer as well; whose schedules a caller may see and change is judged where the schedule is.

pub(super) mod control;
pub(super) mod create;
pub(super) mod list;
mod record;
