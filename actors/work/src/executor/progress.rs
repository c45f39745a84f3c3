//! What a running tool says about itself: progress and the last lines of its log.

use meshwork_proto::task::Progress;
use serde::Deserialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Log lines kept for the submitter.
const LOG_LINES: usize = 20;
/// Longest log line kept, in bytes.
const LOG_LINE: usize = 400;
/// Longest progress message kept, in bytes.
const MESSAGE: usize = 400;

/// A line of standard error that reports progress.
#[derive(Debug, Deserialize)]
struct ProgressLine {
    progress: f64,
    total: Option<f64>,
    message: Option<String>,
}

type Listener = Box<dyn Fn() + Send + Sync>;

struct Inner {
    state: Mutex<State>,
    listener: Option<Listener>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    changed: bool,
    /// Log lines of the report that is under way; none if it had no news.
    sent: Option<Vec<String>>,
}

/// Where a tool reports to; clones are the same sink.
#[derive(Clone)]
pub(super) struct ProgressSink(Arc<Inner>);

impl ProgressSink {
    /// `listener` hears of each change that has not been taken yet; it must not block.
    pub(super) fn new(listener: Option<Listener>) -> Self {
        Self(Arc::new(Inner { state: Mutex::new(State::default()), listener }))
    }

    /// A line of a tool's standard error: progress if it is a JSON object with a number `progress`, else a log line.
    /// True if it was progress.
    pub(super) fn line(&self, line: &str) -> bool {
        let report =
            line.trim_start().starts_with('{').then(|| serde_json::from_str::<ProgressLine>(line).ok());
        match report.flatten() {
            Some(report) => {
                self.change(|progress| {
                    progress.done = report.progress;
                    progress.total = report.total.or(progress.total);
                    progress.message =
                        report.message.map(|text| clip(&text, MESSAGE)).or(progress.message.take());
                });
                true
            }
            None => {
                self.log(line);
                false
            }
        }
    }

    /// A line of its log.
    pub(super) fn log(&self, line: &str) {
        self.change(|progress| {
            if progress.log.len() >= LOG_LINES {
                progress.log.remove(0);
            }
            progress.log.push(clip(line, LOG_LINE));
        });
    }

    /// What there is to report, if anything changed since this was last asked. Of the log only the lines that are new:
    /// who keeps them adds them to what it has. Asking anew says that the report before this one arrived.
    pub(super) fn take_news(&self) -> Option<Progress> {
        let mut state = self.state();
        let news = std::mem::take(&mut state.changed).then(|| {
            let log = std::mem::take(&mut state.progress.log);
            Progress { log, ..state.progress.clone() }
        });
        state.sent = news.as_ref().map(|news| news.log.clone());
        news
    }

    /// The last report did not arrive: it is news again.
    pub(super) fn not_taken(&self) {
        let mut state = self.state();
        let Some(mut lines) = state.sent.take() else { return };
        lines.append(&mut state.progress.log);
        let too_many = lines.len().saturating_sub(LOG_LINES);
        lines.drain(..too_many);
        state.progress.log = lines;
        state.changed = true;
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let news = {
            let mut state = self.state();
            change(&mut state.progress);
            !std::mem::replace(&mut state.changed, true)
        };
        if let Some(listener) = self.0.listener.as_ref().filter(|_| news) {
            listener();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first `max` bytes of a text, cut between characters.
pub(super) fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_json_object_with_progress_is_progress_and_all_else_is_log() {
        let sink = ProgressSink::new(None);
        assert!(sink.line(r#"{"progress": 3, "total": 10, "message": "reading"}"#));
        assert!(sink.line(r#"{"progress": 4.5}"#));
        for other in ["hello", "{\"level\":\"info\"}", "{broken", "{\"progress\":\"x\"}"] {
            assert!(!sink.line(other), "{other}");
        }
        let news = sink.take_news().unwrap();
        assert_eq!((news.done, news.total, news.message.as_deref()), (4.5, Some(10.0), Some("reading")));
        assert_eq!(news.log.len(), 4);
        sink.not_taken();
        assert_eq!(sink.take_news(), Some(news));
        assert_eq!(sink.take_news(), None);
    }

    #[test]
    fn a_log_line_is_reported_once_and_again_only_if_its_report_did_not_arrive() {
        let sink = ProgressSink::new(None);
        let report = || sink.take_news().map(|news| news.log);
        let lines = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        sink.log("a");
        assert_eq!(report(), lines(&["a"]));
        sink.log("b");
        assert_eq!(report(), lines(&["b"]));
        sink.log("c");
        sink.not_taken();
        assert_eq!(report(), lines(&["b", "c"]), "in their order");
        assert_eq!(report(), None);
        sink.not_taken();
        assert_eq!(report(), None, "what did not arrive said nothing");
        (0..LOG_LINES).for_each(|_| sink.log("d"));
        report();
        sink.log("e");
        sink.not_taken();
        assert_eq!(report().map(|log| log.len()), Some(LOG_LINES));
    }

    #[test]
    fn the_log_is_bounded_in_lines_and_length_and_cut_between_characters() {
        let sink = ProgressSink::new(None);
        for n in 0..100 {
            sink.log(&format!("{n} {}", "ä".repeat(10_000)));
        }
        let log = sink.take_news().unwrap().log;
        assert_eq!(log.len(), LOG_LINES);
        assert!(log[0].starts_with("80 ") && log.iter().all(|line| line.len() <= LOG_LINE + 3));
    }

    #[test]
    fn the_listener_hears_only_of_the_first_change_until_it_was_taken() {
        let heard = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&heard);
        let sink = ProgressSink::new(Some(Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        })));
        (0..50).for_each(|_| sink.log("x"));
        assert_eq!(heard.load(Ordering::Relaxed), 1);
        sink.take_news();
        sink.log("y");
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }
}
