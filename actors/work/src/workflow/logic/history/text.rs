//! Events as sentences.

use crate::workflow::definition::Workflow;
use crate::workflow::records::{Ended, Event, How, Unit};
use meshwork_proto::{MeshError, PeerId, UnixMillis};

/// A sentence about an event.
pub(super) fn of(workflow: &Workflow, step: Option<&str>, event: &Event) -> String {
    match event {
        Event::Submitted => format!("the run of workflow {} was accepted", workflow.name),
        Event::Started => "the run started".to_owned(),
        Event::Paused { by } => format!("the run was paused{}", asked(by.as_ref())),
        Event::Resumed { by } => format!("the run was resumed{}", asked(by.as_ref())),
        Event::Spread { peers, by } if peers.is_empty() => {
            format!("any peer may work on the run{}", asked(by.as_ref()))
        }
        Event::Spread { peers, by } => {
            let peers: Vec<&str> = peers.iter().map(PeerId::as_str).collect();
            format!("only these peers may work on the run: {}{}", peers.join(", "), asked(by.as_ref()))
        }
        Event::Signal { name, by, .. } => format!("signal {name:?} was received{}", asked(by.as_ref())),
        Event::Failing { error, compensate, .. } => {
            format!("the run fails: {}{}", said(error), then(*compensate))
        }
        Event::Cancelling { reason, compensate, by } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("the run is cancelled{}{reason}{}", asked(by.as_ref()), then(*compensate))
        }
        Event::Finished { state, error: Some(error), .. } => format!("the run is {state}: {}", said(error)),
        Event::Finished { state, .. } => format!("the run is {state}"),
        Event::Retried { from: Some(_), by } => {
            format!("the run goes on from step {}{}", step.unwrap_or("?"), asked(by.as_ref()))
        }
        Event::Retried { from: None, by } => {
            format!("the run goes on with what has not completed{}", asked(by.as_ref()))
        }
        Event::UndoGivenUp { by } => {
            format!("taking back was given up{}: what is left stays as it is", asked(by.as_ref()))
        }
        Event::MoveBegun { to, epoch, by } => {
            format!("the run is to be coordinated by peer {to}, as epoch {epoch}{}", asked(by.as_ref()))
        }
        Event::MoveEnded { error, .. } => format!("the run stays with its coordinator: {}", said(error)),
        Event::Moved { to, epoch } => format!("peer {to} coordinates the run, as epoch {epoch}"),
        Event::TakenOver { from, epoch } => {
            format!("the run was taken over from peer {from}, as epoch {epoch}")
        }
        Event::ParentMoved { peer } => {
            format!("the run that this one is a part of is coordinated by peer {peer}")
        }
        Event::Exported => "everything of the run is sent to the peer that is to coordinate it".to_owned(),
        event => of_unit(step.unwrap_or("?"), event),
    }
}

fn of_unit(step: &str, event: &Event) -> String {
    let unit = event.unit().unwrap_or(Unit::step(0));
    let what = match unit.item {
        Some(item) => format!("step {step}, item {item}"),
        None => format!("step {step}"),
    };
    match event {
        Event::Skipped { .. } => format!("{what} was skipped: its condition is false"),
        Event::Items { count, .. } => format!("{what} has {count} items"),
        Event::TaskBegun { input: Some(_), .. } => format!("{what} started"),
        Event::TaskBegun { input: None, .. } => format!("{what} started again"),
        Event::SubBegun { peer, .. } => format!("{what} started its sub-workflow at peer {peer}"),
        Event::SubPlaced { run, .. } => format!("{what} waits for workflow run {run}"),
        Event::Waiting { until: Some(until), .. } => format!("{what} waits, until {}", time(*until)),
        Event::Waiting { until: None, .. } => format!("{what} waits"),
        Event::Completed { how, ended, .. } => match how {
            How::Ran => format!("{what} completed{}", at(ended)),
            How::Cached => format!("{what} completed with the result of an earlier run"),
            How::Waited => format!("{what} waited long enough"),
            How::Signal(_) => format!("{what} got its signal"),
            How::Gathered => format!("{what} completed: all its items are finished"),
        },
        Event::Failed { error, retry_at: Some(retry), ended, .. } => {
            format!("{what} failed{}, and is tried again at {}: {}", at(ended), time(*retry), said(error))
        }
        Event::Failed { error, ended, .. } => format!("{what} failed{}: {}", at(ended), said(error)),
        Event::Withdrawn { .. } => format!("{what} was taken out of the queue: it has not begun"),
        Event::Dropped { .. } => format!("{what} was given up"),
        Event::UndoBegun { input: Some(_), .. } => format!("{what} is being taken back"),
        Event::UndoBegun { input: None, .. } => format!("{what} is being taken back, another attempt"),
        Event::UndoFailed { error, retry_at: Some(retry), .. } => {
            format!("{what} could not be taken back, and is tried again at {}: {}", time(*retry), said(error))
        }
        Event::UndoFailed { error, .. } => format!("{what} could not be taken back: {}", said(error)),
        Event::Undone { ended, .. } => format!("{what} was taken back{}", at(ended)),
        other => other.kind().replace('_', " "),
    }
}

fn asked(by: Option<&PeerId>) -> String {
    by.map(|peer| format!(" by peer {peer}")).unwrap_or_default()
}

fn at(ended: &Ended) -> String {
    ended.peer.as_ref().map(|peer| format!(" at peer {peer}")).unwrap_or_default()
}

fn then(compensate: bool) -> &'static str {
    if compensate { "; what completed is taken back" } else { "" }
}

fn said(error: &MeshError) -> String {
    format!("{} ({})", error.message, error.code)
}

/// A time that a person can read: UTC, to the second.
fn time(at: UnixMillis) -> String {
    let seconds = at.0 / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's days-to-civil, for days since 1970-01-01.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(time(UnixMillis(0)), "1970-01-01T00:00:00Z");
        assert_eq!(time(UnixMillis(1_700_000_000_123)), "2023-11-14T22:13:20Z");
        assert_eq!(time(UnixMillis(1_709_164_800_000)), "2024-02-29T00:00:00Z");
    }
}
