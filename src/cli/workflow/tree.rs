//! A run of a workflow as a tree of lines: each step under the step that it waits for longest.

mod layout;
mod line;

use crate::client::{Answer, RunStatus};
use crate::output::{Table, Tone, clip, duration, paint, without_code};
use layout::Placed;
use meshwork_proto::ErrorCode;

pub(super) use line::changes;

/// Longest reason that is shown behind a run.
const REASON: usize = 120;

/// The states of steps with the symbols that stand for them, most urgent first: where there is no room for all steps, the
/// last ones are left out.
const STATES: [(&str, &str); 9] = [
    ("failed", "✗"),
    ("running", "●"),
    ("retrying", "↻"),
    ("waiting", "◷"),
    ("pending", "○"),
    ("compensated", "↩"),
    ("cancelled", "⊘"),
    ("skipped", "–"),
    ("completed", "✓"),
];

/// The lines of a run, its header first; at most `room` of them if that is given.
pub(super) fn lines(run: &RunStatus, now: f64, colour: bool, room: Option<usize>) -> Vec<String> {
    let placed = layout::place(&run.steps);
    let (shown, left_out) = match room {
        // The header, and the line that says what is left out.
        Some(room) if placed.len() + 1 > room => select(&placed, &run.steps, room.saturating_sub(2)),
        _ => (placed, String::new()),
    };
    let steps: Vec<(&Answer, usize)> =
        shown.iter().filter_map(|placed| Some((run.steps.get(placed.step)?, placed.depth))).collect();
    let mut lines = vec![header(run, now, colour)];
    lines.extend(rows(&steps, now, colour));
    if !left_out.is_empty() {
        lines.push(left_out);
    }
    lines
}

/// The lines of steps with how far each is indented.
fn rows(steps: &[(&Answer, usize)], now: f64, colour: bool) -> Vec<String> {
    let mut table = Table::default();
    for (step, depth) in steps {
        table.row(line::cells(step, *depth, now));
    }
    if table.is_empty() {
        return Vec::new();
    }
    let columns = table.render(colour, false);
    // A remark is as long as it is: as a column it would widen all lines to the longest one.
    let with_note = |(columns, (step, _)): (&str, &(&Answer, usize))| match line::remark(step, colour) {
        Some(remark) => format!("{columns}  {remark}"),
        None => columns.to_owned(),
    };
    columns.lines().zip(steps).map(with_note).collect()
}

/// The most urgent steps for which there is room, in the order of the tree, and what is left out.
fn select(placed: &[Placed], steps: &[Answer], room: usize) -> (Vec<Placed>, String) {
    let urgency = |placed: &Placed| {
        let state = steps.get(placed.step).map(|step| step.shown("state")).unwrap_or_default();
        STATES.iter().position(|(name, _)| *name == state).unwrap_or(STATES.len())
    };
    let mut by_urgency: Vec<(usize, usize)> =
        placed.iter().enumerate().map(|(place, placed)| (urgency(placed), place)).collect();
    by_urgency.sort_unstable();
    let left = by_urgency.split_off(room.min(by_urgency.len()));
    let mut counts = [0_u32; STATES.len() + 1];
    for (urgency, _) in &left {
        if let Some(count) = counts.get_mut(*urgency) {
            *count += 1;
        }
    }
    let names = STATES.iter().map(|(name, _)| *name).chain(["other"]);
    let told = counts.iter().zip(names).filter(|(count, _)| **count > 0);
    let told: Vec<String> = told.map(|(count, name)| format!("{count} {name}")).collect();
    let mut places: Vec<usize> = by_urgency.into_iter().map(|(_, place)| place).collect();
    places.sort_unstable();
    let shown = places.into_iter().filter_map(|place| placed.get(place).copied()).collect();
    (shown, format!("… {} more", told.join(", ")))
}

/// The line of the run itself.
fn header(run: &RunStatus, now: f64, colour: bool) -> String {
    let done = run.steps.iter().filter(|step| line::is_finished(&step.shown("state"))).count();
    let mut note = format!("{done}/{} steps", run.steps.len());
    if let Some(took) = took(&run.json, now) {
        note.push_str(&format!("  {}", duration(took)));
    }
    let head = format!("{}  {}", run.json.shown("name"), run.id);
    let state = paint(&run.state, line::tone(&run.state), colour);
    let mut line = format!("{}  {state}  {note}", paint(&head, Tone::Plain, false));
    if let Some(reason) = reason(run) {
        let tone = if run.error.is_some() { Tone::Bad } else { Tone::Faint };
        line.push_str(&format!("  {}", paint(&clip(&reason, REASON), tone, colour)));
    }
    line
}

/// How long a run took, or takes so far; none while it is pending.
fn took(run: &Answer, now: f64) -> Option<f64> {
    let started = run.number("started")?;
    Some((run.number("finished").unwrap_or(now) - started).max(0.0))
}

/// What holds the run up, or what went wrong.
fn reason(run: &RunStatus) -> Option<String> {
    match &run.error {
        Some(error) => Some(format!("{} ({})", without_code(&error.message, error.code), error.code)),
        None => run.json.text("waiting_for").map(|what| format!("waits for: {what}")),
    }
}

/// The message of an error as an answer has it, with its code.
fn error_text(error: &Answer) -> Option<String> {
    let code = ErrorCode::from_text(error.text("code").unwrap_or_default());
    error.text("message").map(|message| format!("{} ({code})", without_code(message, code)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(in crate::cli::workflow) fn run(state: &str, steps: Value) -> RunStatus {
        let json = json!({
            "workflow_id": "0193", "name": "greet", "state": state, "version": 4, "started": 100.0, "steps": steps,
        });
        let json = Answer(json);
        RunStatus {
            id: "0193".into(),
            state: state.into(),
            version: 4,
            output: Value::Null,
            error: None,
            steps: json.items("steps"),
            json,
        }
    }

    #[test]
    fn a_run_is_a_header_and_a_line_for_each_step_under_the_one_that_it_needs() {
        let steps = json!([
            {"id": "hello", "what": "echo", "state": "completed", "needs": [], "attempt": 1, "max_attempts": 1,
             "peer": "12D3KooWPJCReWN7n7HzyVz1A1S9kmuzt9tE4a2uxPqr59Qoa6rv", "started": 100.0, "finished": 100.25},
            {"id": "each", "what": "echo", "state": "running", "needs": ["hello"], "attempt": 4, "max_attempts": 3,
             "started": 100.5, "items": {"total": 3, "pending": 0, "running": 1, "completed": 2, "failed": 0}},
        ]);
        let lines = lines(&run("running", steps), 102.0, false, None);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines[0].starts_with("greet  0193  running  1/2 steps  2.0 s"), "{lines:#?}");
        assert!(lines[1].starts_with("✓ hello"), "{lines:#?}");
        for word in ["echo", "…59Qoa6rv", "250 ms"] {
            assert!(lines[1].contains(word), "{word} is missing in {lines:#?}");
        }
        assert!(lines[2].starts_with("●   each") && lines[2].contains("2/3 items"), "{lines:#?}");
        assert!(lines[2].contains("1.5 s"), "{lines:#?}");
    }

    #[test]
    fn where_there_is_no_room_what_needs_attention_is_shown_and_the_rest_is_counted() {
        let mut steps: Vec<Value> =
            (0..50).map(|n| json!({"id": format!("s{n}"), "state": "completed"})).collect();
        steps[20] =
            json!({"id": "bad", "state": "failed", "error": {"code": "tool_failed", "message": "no"}});
        steps[40] = json!({"id": "busy", "state": "running"});
        steps[45] = json!({"id": "next", "state": "pending"});
        let lines = lines(&run("running", json!(steps)), 0.0, false, Some(6));
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(lines[1].starts_with("✓ s0"), "{lines:#?}");
        assert!(lines[2].starts_with("✗ bad") && lines[2].contains("no (tool_failed)"), "{lines:#?}");
        assert!(lines[3].starts_with("● busy") && lines[4].starts_with("○ next"), "{lines:#?}");
        assert_eq!(lines[5], "… 46 completed more");
    }

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        let steps = json!([{"id": "a\u{1b}[2J", "what": "x\ny", "state": "failed",
                            "error": {"code": "tool_failed", "message": "a\u{1b}]0;b\u{7}"}}]);
        let text = lines(&run("failed", steps), 0.0, false, None).join("\n");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
        assert_eq!(text.lines().count(), 2, "{text:?}");
    }
}
