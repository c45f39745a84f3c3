//! Progress on standard error: a spinner while the amount of work is unknown, a bar once it is known.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How often it is drawn.
const TICK: Duration = Duration::from_millis(120);

/// A progress display; invisible unless somebody looks at a terminal. It disappears when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    colour: bool,
    total: Option<u64>,
}

impl Progress {
    pub(super) fn new(visible: bool, colour: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let progress = Self { bar: ProgressBar::with_draw_target(None, target), colour, total: None };
        progress.bar.set_style(progress.style());
        if visible {
            // Drawn from a thread of its own, so that it moves while we wait.
            progress.bar.enable_steady_tick(TICK);
        }
        progress
    }

    /// Whether anybody sees it.
    #[must_use]
    pub(crate) fn is_visible(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Says what is going on.
    pub(crate) fn say(&self, message: impl Into<String>) {
        let message: String = message.into();
        // Messages of tools reach this terminal: no control characters.
        self.bar
            .set_message(message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>());
    }

    /// Says how far it is; the unit is the work's own.
    pub(crate) fn advance(&mut self, done: u64, total: Option<u64>) {
        if self.total != total {
            self.total = total;
            match total {
                Some(total) => self.bar.set_length(total),
                None => self.bar.unset_length(),
            }
            self.bar.set_style(self.style());
        }
        self.bar.set_position(done);
    }

    /// Removes it.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn style(&self) -> ProgressStyle {
        let template = match (self.total.is_some(), self.colour) {
            (true, true) => "{spinner:.cyan} [{bar:30.cyan/dim}] {pos}/{len} {elapsed} {wide_msg}",
            (true, false) => "{spinner} [{bar:30}] {pos}/{len} {elapsed} {wide_msg}",
            (false, true) => "{spinner:.cyan} {elapsed} {wide_msg}",
            (false, false) => "{spinner} {elapsed} {wide_msg}",
        };
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .progress_chars("=> ")
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid_and_a_hidden_display_does_nothing() {
        for colour in [true, false] {
            let mut progress = Progress::new(false, colour);
            progress.say("line\none");
            progress.advance(3, Some(10));
            progress.advance(4, None);
            assert!(!progress.is_visible());
        }
        for template in [
            "{spinner:.cyan} [{bar:30.cyan/dim}] {pos}/{len} {elapsed} {wide_msg}",
            "{spinner} {elapsed} {wide_msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
