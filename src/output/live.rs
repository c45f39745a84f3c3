//! A block of lines on standard error that is drawn again in its place.

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines of the terminal that the block leaves free: one for the cursor.
const FREE_LINES: usize = 1;

/// The block; invisible unless somebody looks at a terminal. It disappears when dropped.
#[derive(Debug)]
pub(crate) struct Live {
    bar: ProgressBar,
    term: Term,
    colour: bool,
}

impl Live {
    pub(super) fn new(visible: bool, colour: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Self { bar, term: Term::stderr(), colour }
    }

    /// Whether anybody sees it.
    #[must_use]
    pub(crate) fn is_visible(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Whether it is coloured.
    #[must_use]
    pub(crate) const fn is_coloured(&self) -> bool {
        self.colour
    }

    /// Lines that have room.
    #[must_use]
    pub(crate) fn lines(&self) -> usize {
        usize::from(self.term.size().0).saturating_sub(FREE_LINES).max(1)
    }

    /// Draws these lines in the place of the last ones; each is cut at the width of the terminal.
    pub(crate) fn draw<'a>(&self, lines: impl IntoIterator<Item = &'a str>) {
        // A line of the full width would wrap on some terminals.
        let width = usize::from(self.term.size().1).saturating_sub(1).max(1);
        let cut = lines.into_iter().take(self.lines()).map(|line| console::truncate_str(line, width, "…"));
        self.bar.set_message(cut.collect::<Vec<_>>().join("\n"));
    }

    /// Does something that writes to the terminal; what is written stays above the block.
    pub(crate) fn above(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Removes it for good.
    pub(crate) fn erase(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.erase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_block_does_nothing_and_the_template_is_valid() {
        let live = Live::new(false, true);
        assert!(!live.is_visible() && live.is_coloured() && live.lines() >= 1);
        live.draw(["one", "two"]);
        let mut written = false;
        live.above(|| written = true);
        live.erase();
        assert!(written);
        assert!(ProgressStyle::with_template("{msg}").is_ok());
    }
}
