//! The figures of the mesh as tables for people and as JSON for programs.

use super::book::Book;
use super::first::First;
use super::simulated::{Simulated, Size};
use super::spread::Spread;
use crate::output::{Cell, Output, Table};
use serde::Serialize;

/// All figures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MeshReport {
    pub(super) first: Vec<First>,
    pub(super) book: Book,
    pub(super) spread: Vec<Spread>,
    pub(super) simulated: Simulated,
}

impl MeshReport {
    /// Three tables and some lines.
    pub(crate) fn text(&self, output: Output) -> String {
        let render = |table: Table| table.render(output.is_coloured(), output.is_terminal());
        let mut text = format!(
            "from the start of a process to its first admitted connection, by source:\n{}\n\n\
             a book of {} peers that were named and have not spoken: {} bytes of memory for each ({} counted for one with \
             its signed record)\n\
             another node is told 50 of them in {} us, and that nobody has a tool in {} us; an MCP client is told 50 in \
             {} us (median)\n\n\
             so many nodes of which all know one, until all know all; in processes, and simulated:\n{}\n\n\
             what each of them sends in a minute at rest; in processes, and simulated:\n{}",
            render(self.first_table()),
            self.book.peers,
            self.book.bytes_per_peer,
            self.simulated.bytes_per_peer,
            self.book.list_us,
            self.book.search_us,
            self.book.tool_us,
            render(self.gathering_table()),
            render(self.rest_table()),
        );
        if let Some(life) = &self.simulated.life {
            text.push_str("\n\n");
            text.push_str(&life.text());
        }
        text
    }

    fn first_table(&self) -> Table {
        let mut table = Table::new(["source", "median ms", "from", "to", "problem"]);
        for first in &self.first {
            let millis = |value: Option<u64>| Cell::number(shown(value));
            table.row([
                Cell::text(first.source),
                millis(first.median_ms),
                millis(first.range_ms.map(|range| range.0)),
                millis(first.range_ms.map(|range| range.1)),
                Cell::text(first.problem.clone().unwrap_or_default()),
            ]);
        }
        table
    }

    /// Each size, with what was measured of it in processes and what was simulated.
    fn sizes(&self) -> impl Iterator<Item = (Option<&Spread>, &Size)> {
        let of = |size: &Size| self.spread.iter().find(|spread| spread.nodes == size.nodes);
        self.simulated.sizes.iter().map(move |size| (of(size), size))
    }

    fn gathering_table(&self) -> Table {
        let mut table = Table::new([
            "nodes",
            "started ms",
            "all known ms",
            "CPU ms each",
            "connections",
            "MiB each",
            "simulated ms",
            "messages each",
        ]);
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        for (spread, size) in self.sizes() {
            table.row([
                Cell::number(size.nodes),
                Cell::number(shown(spread.map(|spread| spread.started_ms))),
                Cell::number(shown(spread.map(|spread| spread.all_known_ms))),
                Cell::number(shown(spread.map(|spread| spread.cpu_ms))),
                Cell::number(digits(spread.map(|spread| spread.connections), 1)),
                Cell::number(digits(spread.map(|spread| mib(spread.resident_bytes)), 1)),
                Cell::number(shown(size.all_known_ms)),
                Cell::number(digits(Some(size.messages_until_known), 0)),
            ]);
        }
        table
    }

    fn rest_table(&self) -> Table {
        let mut table = Table::new([
            "nodes",
            "messages",
            "bytes",
            "CPU %",
            "gossip messages",
            "gossip bytes",
            "simulated messages",
            "simulated bytes",
        ]);
        for (spread, size) in self.sizes() {
            let rest = spread.map(|spread| spread.rest);
            table.row([
                Cell::number(size.nodes),
                Cell::number(digits(rest.map(|rest| rest.messages), 0)),
                Cell::number(digits(rest.map(|rest| rest.bytes), 0)),
                Cell::number(digits(rest.map(|rest| rest.cpu_percent), 2)),
                Cell::number(digits(rest.map(|rest| rest.gossip_messages), 1)),
                Cell::number(digits(rest.map(|rest| rest.gossip_bytes), 0)),
                Cell::number(digits(Some(size.messages_per_minute), 1)),
                Cell::number(digits(Some(size.bytes_per_minute), 0)),
            ]);
        }
        table
    }
}

/// Nothing where nothing was measured.
fn shown(value: Option<u64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn digits(value: Option<f64>, digits: usize) -> String {
    value.map(|value| format!("{value:.digits$}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::spread::Rest;
    use super::*;
    use crate::config::Environment;
    use crate::output::ColorChoice;

    fn size(nodes: usize) -> Size {
        Size {
            nodes,
            all_known_ms: Some(1234),
            messages_until_known: 56.7,
            messages_per_minute: 8.4,
            bytes_per_minute: 567.0,
        }
    }

    #[test]
    fn a_size_that_was_only_simulated_has_no_figures_of_processes() {
        let rest = Rest {
            messages: 48.0,
            bytes: 2736.0,
            gossip_messages: 8.0,
            gossip_bytes: 600.0,
            cpu_percent: 0.52,
        };
        let spread = Spread {
            nodes: 3,
            started_ms: 140,
            all_known_ms: 191,
            cpu_ms: 90,
            connections: 2.0,
            resident_bytes: 40 << 20,
            rest,
        };
        let failed =
            First { source: "mdns", median_ms: None, range_ms: None, problem: Some("no route".into()) };
        let report = MeshReport {
            first: vec![failed],
            book: Book { peers: 5000, bytes_per_peer: 978, list_us: 300, search_us: 100, tool_us: 900 },
            spread: vec![spread],
            simulated: Simulated { sizes: vec![size(3), size(200)], bytes_per_peer: 900, life: None },
        };
        let text = report.text(Output::new(false, ColorChoice::Never, &Environment::of([])));
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(rows.contains(&vec!["mdns", "-", "-", "-", "no", "route"]), "{text}");
        assert!(rows.contains(&vec!["3", "140", "191", "90", "2.0", "40.0", "1234", "57"]), "{text}");
        assert!(rows.contains(&vec!["200", "-", "-", "-", "-", "-", "1234", "57"]), "{text}");
        assert!(rows.contains(&vec!["3", "48", "2736", "0.52", "8.0", "600", "8.4", "567"]), "{text}");
        assert!(rows.contains(&vec!["200", "-", "-", "-", "-", "-", "8.4", "567"]), "{text}");
    }
}
