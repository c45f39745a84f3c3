//! `task get` and `task list`.

use super::progress::waiting_for;
use crate::client::{self, Answer, ListArgs, NodeClient};
use crate::output::{Cell, Failure, Output, Table, Tone, age, clip, duration, without_code};
use meshwork_kit::Clock;
use meshwork_proto::ErrorCode;
use serde_json::{Value, json};
use std::time::Duration;

/// Tasks in one request.
const PAGE: u32 = 500;
/// Lines of the log of a running task that are shown.
const LOG_LINES: usize = 5;
/// Characters of such a line, and of what the task says it is doing.
const LOG_WIDTH: usize = 160;

/// Arguments of `task list`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct ListOptions {
    /// Only this state
    #[arg(long, value_name = "STATE", value_parser = ["queued", "running", "completed", "failed", "cancelled"])]
    pub(crate) status: Option<String>,
    /// Only this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) task_type: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
    /// Go on where a list ended (its next_cursor)
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// The peer (id or address) whose queue is listed
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn get(
    client: &NodeClient,
    id: &str,
    peer: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    let mut record = client.task_status(id, peer).await?;
    let end = client.get_result(id, Duration::ZERO, peer).await?;
    if let Value::Object(members) = &mut record.0 {
        members.entry("result").or_insert_with(|| end.result.clone());
    }
    if output.is_json() {
        return output.json(&record.0);
    }
    output.table(&summary(&record, now()))?;
    let history = history(&record);
    if !history.is_empty() {
        output.line("")?;
        output.table(&history)?;
    }
    if end.is_completed() {
        output.line("")?;
        output.json(&end.result)?;
    }
    Ok(())
}

fn summary(task: &Answer, now: f64) -> Table {
    let mut table = Table::default();
    table.pair("task", Cell::text(task.shown("task_id")));
    table.pair("type", Cell::text(task.shown("task_type")));
    let status = task.shown("status");
    table.pair("status", Cell::status(&status));
    if status == "queued" {
        table.pair("waits for", Cell::toned(waiting_for(task), Tone::Warn));
    }
    if status == "running" {
        progress(&mut table, &task.member("progress"));
    }
    let error = task.member("error");
    if let Some(message) = error.text("message") {
        let message = without_code(message, ErrorCode::from_text(&error.shown("code")));
        table.pair("error", Cell::toned(format!("{message} ({})", error.shown("code")), Tone::Bad));
    }
    if let Some(worker) = client::worker(task) {
        table.pair("worker", Cell::text(worker));
    }
    if let Some(created) = task.number("created") {
        table.pair("submitted", Cell::text(age(created, now)));
        if let Some(finished) = task.number("finished") {
            table.pair("finished after", Cell::text(duration(finished - created)));
        }
    }
    for name in
        ["priority", "attempts", "max_attempts", "lease_losses", "labels", "queue", "tenant", "metadata"]
    {
        let shown = task.shown(name);
        if !shown.is_empty() && shown != "[]" && shown != "0" {
            table.pair(&name.replace('_', " "), Cell::text(shown));
        }
    }
    for (name, label) in [("input_cid", "input"), ("output_cid", "output")] {
        if let Some(cid) = task.text(name) {
            table.pair(label, Cell::text(cid));
        }
    }
    table
}

/// How far a running task is, and the end of its log.
fn progress(table: &mut Table, report: &Answer) {
    if report.is_null() {
        return;
    }
    let done = report.number("done").map(|done| done.to_string()).unwrap_or_default();
    let amount = match report.number("total") {
        Some(total) => format!("{done}/{total}"),
        None => done,
    };
    let message = report.text("message").map(|message| clip(message, LOG_WIDTH)).unwrap_or_default();
    table.pair("progress", Cell::text(format!("{amount} {message}").trim()));
    let log = report.texts("log");
    for (index, line) in log.iter().skip(log.len().saturating_sub(LOG_LINES)).enumerate() {
        table.pair(if index == 0 { "log" } else { "" }, Cell::toned(clip(line, LOG_WIDTH), Tone::Faint));
    }
}

fn history(task: &Answer) -> Table {
    let mut table = Table::new(["attempt", "worker", "took", "error"]);
    for attempt in task.items("history") {
        let error = attempt.member("error");
        let text = error.text("message").map(str::to_owned).unwrap_or_else(|| attempt.shown("error"));
        let worker = client::worker(&attempt).map(|worker| client::short_worker(&worker)).unwrap_or_default();
        let took = match (attempt.number("started"), attempt.number("ended")) {
            (Some(started), Some(ended)) => duration(ended - started),
            _ => String::new(),
        };
        table.row([
            Cell::number(attempt.shown("attempt")),
            Cell::text(worker),
            Cell::number(took),
            Cell::toned(text, Tone::Bad),
        ]);
    }
    table
}

pub(super) async fn list(client: &NodeClient, options: &ListOptions, output: Output) -> Result<(), Failure> {
    let mut tasks: Vec<Answer> = Vec::new();
    let mut cursor = options.cursor.clone();
    loop {
        let left = options.limit.saturating_sub(u32::try_from(tasks.len()).unwrap_or(u32::MAX));
        let arguments = ListArgs {
            status: options.status.clone(),
            task_type: options.task_type.clone(),
            limit: Some(left.min(PAGE)),
            cursor,
            peer: options.peer.clone(),
        };
        let page = client.list_tasks(&arguments).await?;
        tasks.extend(page.items("tasks"));
        cursor = page.text("next_cursor").map(str::to_owned);
        if cursor.is_none() || tasks.len() >= options.limit as usize {
            break;
        }
    }
    if output.is_json() {
        return output.json(&json!({"tasks": tasks, "next_cursor": cursor}));
    }
    if tasks.is_empty() {
        output.note("no tasks");
        return Ok(());
    }
    let mut table =
        Table::new(["task", "type", "status", "priority", "attempts", "submitted", "worker", "note"]);
    let now = now();
    for task in &tasks {
        table.row(row(task, now));
    }
    output.table(&table)?;
    if let Some(cursor) = cursor {
        output.note(format!("there are more: --cursor {cursor}"));
    }
    Ok(())
}

/// Seconds since the Unix epoch, the unit of the times in answers.
fn now() -> f64 {
    Clock::system().now().0 as f64 / 1e3
}

fn row(task: &Answer, now: f64) -> Vec<Cell> {
    let status = task.shown("status");
    let error = task.member("error");
    let note = match error.text("message") {
        Some(message) => Cell::toned(clip(message, 60), Tone::Bad),
        None if status == "queued" && !task.member("waiting_for").is_null() => {
            Cell::toned(clip(&waiting_for(task), 60), Tone::Faint)
        }
        None => Cell::default(),
    };
    vec![
        Cell::text(task.shown("task_id")),
        Cell::text(clip(&task.shown("task_type"), 30)),
        Cell::status(&status),
        Cell::number(task.shown("priority")),
        Cell::number(task.shown("attempts")),
        Cell::text(task.number("created").map(|created| age(created, now)).unwrap_or_default()),
        Cell::text(client::worker(task).map(|worker| client::short_worker(&worker)).unwrap_or_default()),
        note,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_task_shows_its_error_and_history() {
        let task = Answer(json!({
            "task_id": "01", "task_type": "resize", "status": "failed", "attempts": 2,
            "error": {"code": "tool_crashed", "message": "resize crashed: signal 9"},
            "history": [{"attempt": 1, "worker": "w1", "error": {"code": "lease_lost", "message": "worker gone"}}],
        }));
        let text = summary(&task, 5.0).render(false, false);
        assert!(text.contains("resize crashed: signal 9 (tool_crashed)"), "{text}");
        assert!(history(&task).render(false, false).contains("worker gone"));
        assert_eq!(row(&task, 0.0).len(), 8);
    }

    #[test]
    fn a_running_task_shows_how_far_it_is_and_the_end_of_its_log() {
        let log: Vec<String> = (1..=7).map(|line| format!("line {line}")).collect();
        let report = json!({"done": 3.0, "total": 10.5, "message": "reading", "log": log});
        let running = Answer(json!({"task_id": "01", "status": "running", "progress": report}));
        let text = summary(&running, 5.0).render(false, false);
        assert!(text.contains("3/10.5 reading"), "{text}");
        assert!(text.contains("line 3") && text.contains("line 7") && !text.contains("line 2"), "{text}");
        let silent = Answer(json!({"task_id": "01", "status": "running", "progress": null}));
        assert!(!summary(&silent, 5.0).render(false, false).contains("progress"));
    }
}
