//! Waiting for a task with a display of how far it is, and reporting its end.

use crate::client::{self, Answer, NodeClient, Observed, TaskEnd, WaitOptions};
use crate::output::{Exit, Failure, Output, Progress, counted};
use meshwork_proto::ErrorCode;
use serde_json::Value;
use std::time::Duration;

/// Waits for the end of a task, or until the time is over.
pub(super) async fn wait(
    client: &NodeClient,
    task_id: &str,
    peer: Option<&str>,
    within: Option<Duration>,
    output: Output,
) -> Result<TaskEnd, Failure> {
    let mut progress = output.progress();
    let watched = progress.is_visible();
    let options = WaitOptions { task_id: task_id.to_owned(), peer: peer.map(str::to_owned), within, watched };
    let end = client::wait(client, &options, |observed| show(&mut progress, &observed)).await?;
    progress.finish();
    Ok(end)
}

fn show(progress: &mut Progress, observed: &Observed<'_>) {
    match observed {
        Observed::NodeAway(error) => progress.say(format!("{error}; trying again")),
        Observed::Task(task) => {
            let report = task.member("progress");
            if let Some(done) = report.number("done") {
                progress.advance(units(done), report.number("total").map(units));
            }
            progress.say(describe(task, &report));
        }
    }
}

/// Progress is in the tool's own unit, which may have fractions; a bar has not.
fn units(amount: f64) -> u64 {
    // Saturates, and nothing is counted for what is no number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range before"
    )]
    let units = amount.clamp(0.0, 9e15).round() as u64;
    units
}

fn describe(task: &Answer, report: &Answer) -> String {
    let status = task.text("status").unwrap_or("unknown");
    match (status, report.text("message"), client::worker(task)) {
        ("running", Some(message), _) => message.to_owned(),
        ("running", None, Some(worker)) => format!("running at {worker}"),
        ("queued", ..) => format!("queued: {}", waiting_for(task)),
        _ => status.to_owned(),
    }
}

/// Why a task waits, in words.
pub(super) fn waiting_for(task: &Answer) -> String {
    let waiting = task.member("waiting_for");
    let reason = waiting.text("reason").or_else(|| waiting.0.as_str()).unwrap_or("waiting").replace('_', " ");
    if let Some(message) = waiting.text("message").or_else(|| waiting.text("detail")) {
        return message.to_owned();
    }
    let Value::Object(members) = &waiting.0 else { return reason };
    let rest: Vec<String> = members
        .keys()
        .filter(|name| *name != "reason")
        .map(|name| format!("{} {}", name.replace('_', " "), waiting.shown(name)))
        .collect();
    if rest.is_empty() { reason } else { format!("{reason} ({})", rest.join(", ")) }
}

/// Shows how a task ended: its result on standard output, or the error; unfinished ones count as a timeout.
pub(super) fn report(end: &TaskEnd, output: Output) -> Result<(), Failure> {
    let exit = match end.status.as_str() {
        "completed" => Exit::Ok,
        _ if end.is_finished() => Exit::TaskFailed,
        _ => Exit::Timeout,
    };
    if output.is_json() {
        output.json(&end.json.0)?;
        return if exit == Exit::Ok { Ok(()) } else { Err(Failure::Shown(exit)) };
    }
    match exit {
        Exit::Ok => completed(end, output),
        Exit::TaskFailed => Err(failed(end)),
        _ => {
            let message = format!(
                "task {} is {} and not finished: wait again with `meshwork task wait`",
                end.task_id, end.status
            );
            Err(Failure::new(ErrorCode::Timeout, message))
        }
    }
}

fn completed(end: &TaskEnd, output: Output) -> Result<(), Failure> {
    let worker = end.worker.as_deref().unwrap_or("unknown");
    let cid = end.output_cid.as_deref().unwrap_or("-");
    output.note(format!("completed by {worker}, attempt {}, {cid}", end.attempts));
    if end.result.is_null()
        && let Some(hint) = end.json.text("hint")
    {
        output.note(hint);
    }
    output.json(&end.result)
}

/// Whatever the code of its error, a task that ended without a result is a failed task.
fn failed(end: &TaskEnd) -> Failure {
    let (code, reason) = match &end.error {
        Some(error) => (error.code, format!(": {}", error.message)),
        None => (ErrorCode::ToolFailed, String::new()),
    };
    let after = counted(end.attempts, "attempt");
    Failure::new(code, format!("task {} {} after {after}{reason}", end.task_id, end.status))
        .exiting(Exit::TaskFailed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_waiting_task_says_why() {
        let task = Answer(
            json!({"status": "queued", "waiting_for": {"reason": "no_worker_for_type", "tool": "resize"}}),
        );
        assert_eq!(describe(&task, &Answer::default()), "queued: no worker for type (tool resize)");
        let told = Answer(
            json!({"status": "queued", "waiting_for": {"reason": "x", "message": "nobody serves resize"}}),
        );
        assert_eq!(waiting_for(&told), "nobody serves resize");
    }

    #[test]
    fn a_running_task_says_what_it_does_or_where_it_runs() {
        let task = Answer(json!({"status": "running", "worker": "w1"}));
        assert_eq!(describe(&task, &Answer::default()), "running at w1");
        assert_eq!(describe(&task, &Answer(json!({"message": "page 3"}))), "page 3");
    }

    #[test]
    fn a_failed_task_keeps_the_code_of_its_error_and_has_one_exit_code() {
        let error = meshwork_proto::MeshError::new(ErrorCode::InvalidArgument, "seconds must be a number");
        let end = TaskEnd {
            task_id: "01".into(),
            status: "failed".into(),
            result: Value::Null,
            error: Some(error),
            output_cid: None,
            attempts: 1,
            worker: None,
            json: Answer::default(),
        };
        let failure = failed(&end);
        assert_eq!(failure.exit(), Exit::TaskFailed);
        let text = "error: task 01 failed after 1 attempt: seconds must be a number (invalid_argument)";
        assert_eq!(failure.render(false).as_deref(), Some(text));
    }

    #[test]
    fn progress_of_any_number_fits_a_bar() {
        assert_eq!(
            [units(2.4), units(-1.0), units(1e300), units(f64::NAN)],
            [2, 0, 9_000_000_000_000_000, 0]
        );
    }
}
