//! One step as one line.

use super::{STATES, error_text};
use crate::client::{Answer, short_worker};
use crate::output::{Cell, Tone, clip, counted, duration, paint};
use std::collections::BTreeMap;

/// Longest id of a step that is shown whole.
const ID: usize = 40;
/// Longest name of a tool.
const WHAT: usize = 28;
/// Longest remark.
const NOTE: usize = 100;

/// The colour of a state, of a step or of a run.
pub(super) fn tone(state: &str) -> Tone {
    match state {
        "completed" => Tone::Good,
        "failed" => Tone::Bad,
        "running" => Tone::Active,
        "retrying" | "waiting" | "paused" | "compensated" => Tone::Warn,
        "pending" | "skipped" | "cancelled" => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// Whether nothing happens to a step in this state any more.
pub(super) fn is_finished(state: &str) -> bool {
    matches!(state, "completed" | "failed" | "skipped" | "cancelled" | "compensated")
}

/// State, id, tool, peer, time and attempt.
pub(super) fn cells(step: &Answer, depth: usize, now: f64) -> [Cell; 5] {
    let state = step.shown("state");
    let symbol = STATES.iter().find(|(name, _)| *name == state).map_or("?", |(_, symbol)| *symbol);
    let id = format!("{symbol} {}{}", "  ".repeat(depth), clip(&step.shown("id"), ID));
    // What there is nothing to say of stays empty: dashes would be most of the picture.
    let blank = |text: String| if text.is_empty() { " ".to_owned() } else { text };
    [
        Cell::toned(id, tone(&state)),
        Cell::text(blank(clip(&step.shown("what"), WHAT))),
        Cell::text(blank(step.text("peer").map(short_worker).unwrap_or_default())),
        Cell::number(blank(time(step, &state, now))),
        Cell::number(blank(attempt(step))),
    ]
}

/// What else there is to say, in its colour.
pub(super) fn remark(step: &Answer, colour: bool) -> Option<String> {
    let state = step.shown("state");
    let note = clip(&note(step, &state), NOTE);
    (!note.is_empty()).then(|| paint(&note, note_tone(step, &state), colour))
}

/// How long it took, or takes so far; until when it waits.
fn time(step: &Answer, state: &str, now: f64) -> String {
    if let ("waiting" | "retrying", Some(due)) = (state, step.number("due")) {
        return format!("in {}", duration((due - now).max(0.0)));
    }
    let Some(started) = step.number("started") else { return String::new() };
    let ended = step.number("finished").or_else(|| (!is_finished(state)).then_some(now));
    ended.map(|ended| duration((ended - started).max(0.0))).unwrap_or_default()
}

/// The number of the attempt, where there may be several. Items count their attempts together, which tells nothing here.
fn attempt(step: &Answer) -> String {
    let (made, most) = (step.whole("attempt").unwrap_or(0), step.whole("max_attempts").unwrap_or(1));
    let says_something = made > 0 && most > 1 && step.member("items").is_null();
    if says_something { format!("try {made}/{most}") } else { String::new() }
}

fn note_tone(step: &Answer, state: &str) -> Tone {
    match state {
        "failed" => Tone::Bad,
        "retrying" => Tone::Warn,
        _ if step.member("items").whole("failed").unwrap_or(0) > 0 => Tone::Warn,
        _ => Tone::Faint,
    }
}

/// Items, progress, what it waits for, what went wrong: what there is of that.
fn note(step: &Answer, state: &str) -> String {
    let mut parts = Vec::new();
    parts.extend(items(&step.member("items")));
    if !is_finished(state) {
        parts.extend(progress(&step.member("progress")));
        parts.extend(waiting(step));
    }
    if step.is_true("cached") {
        parts.push("taken from an earlier run".to_owned());
    }
    let run = step.member("run");
    parts.extend(run.text("workflow_id").map(|id| format!("run {id}")));
    parts.extend(error_text(&step.member("error")));
    parts.join("  ")
}

fn items(items: &Answer) -> Option<String> {
    let (completed, total) = (items.whole("completed")?, items.whole("total")?);
    let done = format!("{completed}/{}", counted(total, "item"));
    Some(match items.whole("failed") {
        None | Some(0) => done,
        Some(failed) => format!("{done}, {failed} failed"),
    })
}

fn progress(progress: &Answer) -> Option<String> {
    let done = progress.number("done")?;
    let amount = match progress.number("total") {
        Some(total) => format!("{done}/{total}"),
        None => done.to_string(),
    };
    Some(format!("{amount} {}", progress.text("message").unwrap_or_default()).trim().to_owned())
}

/// Why it does not go on; that somebody has it is said by its state.
fn waiting(step: &Answer) -> Option<String> {
    let waiting = step.member("waiting_for");
    if waiting.text("reason") == Some("lease") {
        return None;
    }
    waiting.text("message").or_else(|| waiting.0.as_str()).map(str::to_owned)
}

/// A line for each step whose state or attempt is another one than it was, for where nothing can be drawn again.
pub(in crate::cli::workflow) fn changes(
    known: &mut BTreeMap<String, (String, u64)>,
    steps: &[Answer],
    now: f64,
) -> Vec<String> {
    let mut lines = Vec::new();
    for step in steps {
        let (id, state) = (step.shown("id"), step.shown("state"));
        // Each item raises the attempts of its step: a line for each would be no summary.
        let has_items = !step.member("items").is_null();
        let attempt = if has_items { 0 } else { step.whole("attempt").unwrap_or(0) };
        let is_new = state == "pending" && !known.contains_key(&id);
        let before = known.insert(id, (state.clone(), attempt));
        if !is_new && before.as_ref() != Some(&(state, attempt)) {
            lines.push(text(step, now));
        }
    }
    lines
}

/// The step as a line of plain text.
fn text(step: &Answer, now: f64) -> String {
    let state = step.shown("state");
    let mut parts = vec![format!("{} {state}", step.shown("id")), step.shown("what")];
    parts.extend(step.text("peer").map(|peer| format!("at {}", short_worker(peer))));
    parts.extend([time(step, &state, now), attempt(step), clip(&note(step, &state), NOTE)]);
    let line = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ");
    line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shown(step: Value, now: f64) -> String {
        text(&Answer(step), now)
    }

    #[test]
    fn a_step_says_what_it_does_where_and_how_far_it_is() {
        let running = json!({
            "id": "resize", "what": "resize", "state": "running", "attempt": 2, "max_attempts": 3, "started": 10.0,
            "peer": "12D3KooWPJCReWN7n7HzyVz1A1S9kmuzt9tE4a2uxPqr59Qoa6rv", "progress": {"done": 3.0, "total": 10.0, "message": "page 3"},
        });
        assert_eq!(shown(running, 12.0), "resize running  resize  at …59Qoa6rv  2.0 s  try 2/3  3/10 page 3");
        let queued = json!({
            "id": "a", "what": "resize", "state": "running", "attempt": 1, "max_attempts": 1, "started": 10.0,
            "waiting_for": {"reason": "no_worker_for_type", "message": "no connected worker serves the tool \"resize\""},
        });
        assert_eq!(
            shown(queued, 11.0),
            "a running  resize  1.0 s  no connected worker serves the tool \"resize\""
        );
    }

    #[test]
    fn a_step_that_waits_says_until_when_and_one_that_failed_says_why() {
        let retrying = json!({
            "id": "a", "what": "x", "state": "retrying", "attempt": 1, "max_attempts": 3, "started": 1.0, "due": 13.0,
            "error": {"code": "tool_failed", "message": "no luck (tool_failed)"},
        });
        assert_eq!(shown(retrying, 11.0), "a retrying  x  in 2.0 s  try 1/3  no luck (tool_failed)");
        let items = json!({"id": "a", "what": "x", "state": "failed", "attempt": 7, "max_attempts": 3,
                           "items": {"total": 4, "completed": 2, "failed": 1}});
        assert_eq!(shown(items, 11.0), "a failed  x  2/4 items, 1 failed");
        let cached = json!({"id": "a", "what": "x", "state": "completed", "cached": true, "started": 1.0, "finished": 1.0});
        assert_eq!(shown(cached, 11.0), "a completed  x  0 µs  taken from an earlier run");
    }

    #[test]
    fn only_what_changed_is_a_line_and_items_do_not_fill_the_screen() {
        let mut known = BTreeMap::new();
        let step =
            |state: &str, attempt: u32| vec![Answer(json!({"id": "a", "state": state, "attempt": attempt}))];
        assert_eq!(changes(&mut known, &step("pending", 0), 0.0).len(), 0, "it has not begun");
        assert_eq!(changes(&mut known, &step("running", 1), 0.0).len(), 1);
        assert_eq!(changes(&mut known, &step("running", 1), 0.0).len(), 0);
        assert_eq!(changes(&mut known, &step("running", 2), 0.0).len(), 1, "another attempt");
        let items = |done: u32| {
            vec![Answer(
                json!({"id": "b", "state": "running", "attempt": done, "items": {"total": 9, "completed": done}}),
            )]
        };
        assert_eq!(changes(&mut known, &items(1), 0.0).len(), 1);
        assert_eq!(changes(&mut known, &items(5), 0.0).len(), 0);
    }
}
