//! Tables: framed by nothing but space, so that they can be read by people and cut by tools.

use comfy_table::{Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, presets};

/// Spaces around the words of a cell.
const PADDING: usize = 2;
/// Columns of a terminal that make wrapping worth while.
const LEAST_ROOM: usize = 24;

/// What a cell says, beside its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// It went well.
    Good,
    /// It needs attention.
    Warn,
    /// It went wrong.
    Bad,
    /// Something is going on.
    Active,
    /// Not important.
    Faint,
}

/// A text as it is meant, on one line: a control character must not steer the terminal.
#[must_use]
pub(crate) fn paint(text: &str, tone: Tone, colour: bool) -> String {
    let text = plain(text);
    let style = console::Style::new().force_styling(colour);
    let style = match tone {
        Tone::Plain => style,
        Tone::Good => style.green(),
        Tone::Warn => style.yellow(),
        Tone::Bad => style.red(),
        Tone::Active => style.cyan(),
        Tone::Faint => style.dim(),
    };
    style.apply_to(text).to_string()
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A cell: text, how it is meant, and whether it is a number (set to the right).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    number: bool,
}

impl Cell {
    /// A text.
    #[must_use]
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A text that is meant in some way.
    #[must_use]
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone, number: false }
    }

    /// A number.
    #[must_use]
    pub(crate) fn number(number: impl ToString) -> Self {
        Self { text: number.to_string(), tone: Tone::Plain, number: true }
    }

    /// The state of a task in its colour.
    #[must_use]
    pub(crate) fn status(status: &str) -> Self {
        let tone = match status {
            "completed" => Tone::Good,
            "failed" => Tone::Bad,
            "running" => Tone::Active,
            "cancelled" => Tone::Faint,
            _ => Tone::Plain,
        };
        Self::toned(status, tone)
    }

    fn styled(&self) -> comfy_table::Cell {
        // One cell, one line: a control character in a name must not tear the table or steer the terminal.
        let text = plain(&self.text);
        let cell = comfy_table::Cell::new(if text.is_empty() { "-".to_owned() } else { text });
        let cell = if self.number { cell.set_alignment(CellAlignment::Right) } else { cell };
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Warn => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Active => cell.fg(Color::Cyan),
            Tone::Faint => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// A table: a header and rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns; none for a list of names and values.
    #[must_use]
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self { header: header.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a name and its value.
    pub(crate) fn pair(&mut self, name: &str, value: Cell) {
        self.row([Cell::toned(name, Tone::Faint), value]);
    }

    /// Whether it has no rows.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text: coloured or not; on a terminal the last column is wrapped to its width, elsewhere each row is a line.
    #[must_use]
    pub(crate) fn render(&self, colour: bool, terminal: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        if colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if !self.header.is_empty() {
            let header = self
                .header
                .iter()
                .map(|name| comfy_table::Cell::new(name.to_uppercase()).add_attribute(Attribute::Bold));
            table.set_header(header.collect::<Vec<_>>());
        }
        for row in &self.rows {
            table.add_row(row.iter().map(Cell::styled).collect::<Vec<_>>());
        }
        if let Some(first) = table.column_mut(0) {
            first.set_padding((0, 1));
        }
        fit(&mut table, terminal);
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// On a terminal the last column, which has the longest words, is wrapped to the room that the others leave. The others
/// stay whole, since ids that are torn apart cannot be copied; if they leave no room, nothing is wrapped.
fn fit(table: &mut comfy_table::Table, terminal: bool) {
    table.set_content_arrangement(ContentArrangement::Disabled);
    let widths = table.column_max_content_widths();
    let Some((_, others)) = widths.split_last() else { return };
    let taken = others.iter().map(|width| usize::from(*width) + PADDING).sum::<usize>();
    let room = table.width().map_or(0, usize::from).saturating_sub(taken);
    if terminal && room >= LEAST_ROOM {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        for index in 0..others.len() {
            if let Some(column) = table.column_mut(index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(["task", "status", "tries"]);
        table.row([Cell::text("a b"), Cell::status("completed"), Cell::number(3)]);
        table.row([Cell::text("c\u{1b}[31m\nd"), Cell::status("failed"), Cell::number(12)]);
        table
    }

    #[test]
    fn without_colours_there_is_not_one_escape_sequence_and_a_row_is_a_line() {
        let text = sample().render(false, false);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with("TASK"), "{text:?}");
    }

    #[test]
    fn a_painted_text_has_escape_sequences_only_of_ours_and_only_where_colours_are() {
        assert_eq!(paint("a\u{1b}[2J", Tone::Bad, false), "a [2J");
        assert_eq!(paint("a\n", Tone::Bad, true), "\u{1b}[31ma \u{1b}[0m");
        assert_eq!(paint("a", Tone::Plain, true), "a");
    }

    #[test]
    fn with_colours_a_failed_task_is_red() {
        let text = sample().render(true, false);
        assert!(text.contains("\u{1b}["), "{text:?}");
    }
}
