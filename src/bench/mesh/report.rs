//! The figures of the mesh as tables for people and as JSON for programs.

use super::book::Book;
use super::first::First;
use super::spread::Spread;
use crate::output::{Cell, Output, Table};
use serde::Serialize;

/// All figures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MeshReport {
    pub(super) first: Vec<First>,
    pub(super) book: Book,
    pub(super) spread: Vec<Spread>,
}

impl MeshReport {
    /// Two tables and a line.
    pub(crate) fn text(&self, output: Output) -> String {
        let render = |table: Table| table.render(output.is_coloured(), output.is_terminal());
        format!(
            "from the start of a process to its first admitted connection, by source:\n{}\n\n\
             a book of {} peers: {} bytes of memory for each; another node is told 50 of them in {} us, and that nobody \
             has a tool in {} us (median)\n\n\
             so many nodes that know one address of their mesh:\n{}",
            render(self.first_table()),
            self.book.peers,
            self.book.bytes_per_peer,
            self.book.list_us,
            self.book.search_us,
            render(self.spread_table()),
        )
    }

    fn first_table(&self) -> Table {
        let mut table = Table::new(["source", "median ms", "from", "to", "problem"]);
        for first in &self.first {
            let millis = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
            table.row([
                Cell::text(first.source),
                Cell::number(millis(first.median_ms)),
                Cell::number(millis(first.range_ms.map(|range| range.0))),
                Cell::number(millis(first.range_ms.map(|range| range.1))),
                Cell::text(first.problem.clone().unwrap_or_default()),
            ]);
        }
        table
    }

    fn spread_table(&self) -> Table {
        let mut table = Table::new([
            "nodes",
            "started ms",
            "all known ms",
            "connections",
            "messages/min",
            "bytes/min",
            "MiB",
            "CPU %",
        ]);
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        for spread in &self.spread {
            table.row([
                Cell::number(spread.nodes),
                Cell::number(spread.started_ms),
                Cell::number(spread.all_known_ms),
                Cell::number(format!("{:.1}", spread.connections)),
                Cell::number(format!("{:.0}", spread.messages_per_minute)),
                Cell::number(format!("{:.0}", spread.bytes_per_minute)),
                Cell::number(format!("{:.1}", mib(spread.resident_bytes))),
                Cell::number(format!("{:.2}", spread.cpu_percent)),
            ]);
        }
        table
    }
}
