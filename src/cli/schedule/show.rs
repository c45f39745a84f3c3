//! `schedule list`, and how a schedule is told of.

use crate::client::{Answer, NodeClient};
use crate::output::{Cell, Failure, Output, Table, Tone, age, clip, duration, without_code};
use meshwork_kit::Clock;
use meshwork_proto::ErrorCode;

/// Longest remark.
const NOTE: usize = 80;

pub(super) async fn list(
    client: &NodeClient,
    name: Option<&str>,
    peer: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    let answer = client.list_schedules(name, peer).await?;
    if output.is_json() {
        return output.json(&answer.0);
    }
    let schedules = answer.items("schedules");
    if schedules.is_empty() {
        match name {
            Some(name) => {
                let message = format!("no schedule {name:?}: see `meshwork schedule list`");
                return Err(Failure::new(ErrorCode::UnknownSchedule, message));
            }
            None => output.note("no schedules"),
        }
        return Ok(());
    }
    let now = now();
    let mut table = Table::new(["schedule", "when", "starts", "next", "last", "made", "skipped", "note"]);
    for schedule in &schedules {
        table.row(row(schedule, now));
    }
    output.table(&table)?;
    if let (Some(_), [only]) = (name, schedules.as_slice()) {
        let starts = starts(only, now);
        if !starts.is_empty() {
            output.line("")?;
            output.table(&starts)?;
        }
    }
    Ok(())
}

/// Seconds since the Unix epoch, the unit of the times in answers.
fn now() -> f64 {
    Clock::system().now().0 as f64 / 1e3
}

/// When something is started, in words.
fn when(schedule: &Answer) -> String {
    match (schedule.text("cron"), schedule.number("every_s")) {
        (Some(cron), _) => format!("{cron} {}", schedule.text("timezone").unwrap_or("UTC")),
        (None, Some(every)) => format!("every {}", duration(every)),
        (None, None) => String::new(),
    }
}

fn until(at: f64, now: f64) -> String {
    if at <= now { "now".into() } else { format!("in {}", duration(at - now)) }
}

fn row(schedule: &Answer, now: f64) -> [Cell; 8] {
    let next = match schedule.number("next") {
        _ if schedule.is_true("paused") => Cell::toned("paused", Tone::Warn),
        Some(next) => Cell::text(until(next, now)),
        None => Cell::toned("never", Tone::Faint),
    };
    let last = schedule.items("last").first().cloned().unwrap_or_default();
    [
        Cell::text(clip(&schedule.shown("name"), 40)),
        Cell::text(clip(&when(schedule), 40)),
        Cell::text(clip(&schedule.shown("what"), 40)),
        next,
        Cell::text(last.number("at").map(|at| age(at, now)).unwrap_or_default()),
        Cell::number(schedule.shown("starts")),
        Cell::number(schedule.shown("skipped")),
        failure(&last),
    ]
}

fn failure(start: &Answer) -> Cell {
    let error = start.member("error");
    let code = ErrorCode::from_text(error.text("code").unwrap_or_default());
    let message = error.text("message").map(|message| clip(without_code(message, code), NOTE));
    message.map(|message| Cell::toned(message, Tone::Bad)).unwrap_or_default()
}

/// The latest starts of a schedule.
fn starts(schedule: &Answer, now: f64) -> Table {
    let mut table = Table::new(["due", "late by", "task or run", "error"]);
    for start in schedule.items("last") {
        let late = match (start.number("due"), start.number("at")) {
            (Some(due), Some(at)) => duration((at - due).max(0.0)),
            _ => String::new(),
        };
        table.row([
            Cell::text(start.number("due").map(|due| age(due, now)).unwrap_or_default()),
            Cell::number(late),
            Cell::text(start.text("workflow_id").or_else(|| start.text("task_id")).unwrap_or_default()),
            failure(&start),
        ]);
    }
    table
}

/// A schedule that was made, in a line.
pub(super) fn next(schedule: &Answer) -> String {
    let (name, what, when) = (schedule.shown("name"), schedule.shown("what"), when(schedule));
    let next = match schedule.number("next") {
        Some(next) => format!("next {}", until(next, now())),
        None => "never: its times are over".to_owned(),
    };
    format!("{name} starts {what} {when}, {next}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schedule_shows_when_it_starts_what_and_what_went_wrong() {
        let schedule = Answer(json!({
            "name": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "what": "build", "next": 220.0, "paused": false,
            "starts": 4, "skipped": 1,
            "last": [{"due": 100.0, "at": 100.5, "error": {"code": "queue_full", "message": "full (queue_full)"}},
                     {"due": 40.0, "at": 40.0, "workflow_id": "0193"}],
        }));
        let mut table = Table::default();
        table.row(row(&schedule, 160.0));
        let text = table.render(false, false);
        for word in ["nightly", "0 3 * * * Europe/Berlin", "build", "in 60 s", "60 s ago", "full"] {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
        let starts = starts(&schedule, 160.0).render(false, false);
        assert!(starts.contains("500 ms") && starts.contains("0193"), "{starts}");
    }

    #[test]
    fn a_paused_schedule_and_one_without_a_next_time_say_so() {
        let every = json!({"name": "beat", "every_s": 30.0, "what": "echo", "paused": true, "starts": 0, "skipped": 0, "last": []});
        let mut table = Table::default();
        table.row(row(&Answer(every), 0.0));
        assert!(table.render(false, false).contains("paused"));
        let over = Answer(json!({"name": "once", "cron": "0 0 1 1 * 2020", "what": "echo", "next": null}));
        assert_eq!(next(&over), "once starts echo 0 0 1 1 * 2020 UTC, never: its times are over");
    }
}
