//! The graph of a run as a text for Mermaid and for Graphviz (DOT): states are classes and colours, the critical path is
//! thick. Whatever the names of steps and tools are, the text stays well-formed.

use meshwork_proto::workflow::{DagNode, DagView, StepKind, StepState};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Longest name of a tool that is shown, in characters.
const SHOWN: usize = 60;
/// Colour of the critical path.
const CRITICAL: &str = "#d6336c";

/// How a state is drawn.
struct Look {
    fill: &'static str,
    line: &'static str,
    dashed: bool,
}

const fn look(state: StepState) -> Look {
    let (fill, line, dashed) = match state {
        StepState::Pending => ("#f2f2f2", "#999999", false),
        StepState::Running => ("#cfe2ff", "#0d6efd", false),
        StepState::Waiting => ("#e2d9f3", "#6f42c1", false),
        StepState::Retrying => ("#fff3cd", "#fd7e14", false),
        StepState::Completed => ("#d1e7dd", "#198754", false),
        StepState::Failed => ("#f8d7da", "#dc3545", false),
        StepState::Skipped => ("#ffffff", "#999999", true),
        StepState::Cancelled => ("#e2e3e5", "#6c757d", true),
        StepState::Compensated => ("#ffe5d0", "#ca6510", true),
    };
    Look { fill, line, dashed }
}

/// Steps on the critical path.
pub(super) fn critical_steps(dag: &DagView) -> BTreeSet<&str> {
    dag.critical_path.iter().map(String::as_str).collect()
}

/// Edges on the critical path.
fn critical_edges(dag: &DagView) -> BTreeSet<(&str, &str)> {
    dag.critical_path
        .windows(2)
        .filter_map(|pair| Some((pair.first()?.as_str(), pair.get(1)?.as_str())))
        .collect()
}

/// The lines of a step: its id, what it does, and how it is.
fn lines(node: &DagNode) -> [String; 3] {
    let mut what: String = node.what.chars().take(SHOWN).collect();
    if what.len() < node.what.len() {
        what.push_str("...");
    }
    if let Some(items) = node.items {
        // Writing to a text cannot fail.
        let _ = write!(what, " x {items}");
    }
    let how = match (node.state, node.duration_ms) {
        (state, 0) => state.to_string(),
        (state, millis) => format!("{state}, {}", time(millis)),
    };
    [node.id.clone(), what, how]
}

/// A time for a person.
fn time(millis: u64) -> String {
    let seconds = millis / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{millis} ms"),
        (0, 0, seconds) => format!("{seconds}.{} s", millis % 1000 / 100),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// The graph for Mermaid. Steps are named by their number: some names, such as `end`, mean something there.
pub(super) fn mermaid(dag: &DagView) -> String {
    let mut text = String::from("flowchart TD\n");
    let title = format!("{}, run {}: {}", dag.name, dag.id, dag.state);
    push(&mut text, format_args!("    %% {}\n", title.replace(char::is_control, " ")));
    let numbers = numbers(dag);
    for (number, node) in dag.nodes.iter().enumerate() {
        let label = lines(node).map(|line| mermaid_text(&line)).join("<br/>");
        let (open, close) = match node.kind {
            StepKind::Task => ("[", "]"),
            StepKind::Workflow => ("[[", "]]"),
            StepKind::Wait => ("([", "])"),
        };
        push(&mut text, format_args!("    s{number}{open}\"{label}\"{close}:::{}\n", node.state));
    }
    let critical = critical_edges(dag);
    let mut thick = Vec::new();
    let edges = dag.edges.iter().filter_map(|edge| {
        let ends = (edge.from.as_str(), edge.to.as_str());
        Some((ends, *numbers.get(ends.0)?, *numbers.get(ends.1)?))
    });
    for (index, (ends, from, to)) in edges.enumerate() {
        let arrow = if critical.contains(&ends) { "==>" } else { "-->" };
        push(&mut text, format_args!("    s{from} {arrow} s{to}\n"));
        if critical.contains(&ends) {
            thick.push(index.to_string());
        }
    }
    for state in dag.nodes.iter().map(|node| node.state).collect::<BTreeSet<_>>() {
        let Look { fill, line, dashed } = look(state);
        let dash = if dashed { ",stroke-dasharray:4 3" } else { "" };
        push(&mut text, format_args!("    classDef {state} fill:{fill},stroke:{line},color:#1f1f1f{dash}\n"));
    }
    let on_path: Vec<String> =
        dag.critical_path.iter().filter_map(|id| Some(format!("s{}", numbers.get(id.as_str())?))).collect();
    if !on_path.is_empty() {
        push(&mut text, format_args!("    classDef critical stroke:{CRITICAL},stroke-width:4px\n"));
        push(&mut text, format_args!("    class {} critical\n", on_path.join(",")));
    }
    if !thick.is_empty() {
        push(
            &mut text,
            format_args!("    linkStyle {} stroke:{CRITICAL},stroke-width:3px\n", thick.join(",")),
        );
    }
    text
}

fn numbers(dag: &DagView) -> BTreeMap<&str, usize> {
    dag.nodes.iter().enumerate().map(|(number, node)| (node.id.as_str(), number)).collect()
}

/// A text inside of a label of Mermaid, where everything that could mean something is written as its code.
fn mermaid_text(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for character in line.chars() {
        match character {
            '"' | '#' | '<' | '>' | '&' | '`' | '\\' | ';' => {
                push(&mut text, format_args!("#{};", u32::from(character)));
            }
            control if control.is_control() => text.push(' '),
            other => text.push(other),
        }
    }
    text
}

/// The graph for Graphviz.
pub(super) fn dot(dag: &DagView) -> String {
    let mut text = String::new();
    push(&mut text, format_args!("digraph {} {{\n", dot_text(&dag.name)));
    let title = format!("{}, run {}: {}", dag.name, dag.id, dag.state);
    text.push_str("    rankdir=TB;\n    labelloc=t;\n    fontname=\"sans-serif\";\n");
    push(&mut text, format_args!("    label={};\n", dot_text(&title)));
    text.push_str("    node [style=\"rounded,filled\", fontname=\"sans-serif\", fontcolor=\"#1f1f1f\"];\n");
    let on_path = critical_steps(dag);
    for node in &dag.nodes {
        let Look { fill, line, dashed } = look(node.state);
        let critical = on_path.contains(node.id.as_str());
        let shape = match node.kind {
            StepKind::Task => "box",
            StepKind::Workflow => "component",
            StepKind::Wait => "hexagon",
        };
        let style = if dashed { "rounded,filled,dashed" } else { "rounded,filled" };
        let (line, width) = if critical { (CRITICAL, 3) } else { (line, 1) };
        let class = if critical { format!("{} critical", node.state) } else { node.state.to_string() };
        let label = lines(node).map(|line| dot_inner(&line)).join("\\n");
        push(
            &mut text,
            format_args!(
                "    {} [label=\"{label}\", shape={shape}, style=\"{style}\", fillcolor=\"{fill}\", \
                 color=\"{line}\", penwidth={width}, class=\"{class}\"];\n",
                dot_text(&node.id)
            ),
        );
    }
    let critical = critical_edges(dag);
    for edge in &dag.edges {
        push(&mut text, format_args!("    {} -> {}", dot_text(&edge.from), dot_text(&edge.to)));
        if critical.contains(&(edge.from.as_str(), edge.to.as_str())) {
            push(&mut text, format_args!(" [color=\"{CRITICAL}\", penwidth=3, class=\"critical\"]"));
        }
        text.push_str(";\n");
    }
    text.push_str("}\n");
    text
}

fn dot_text(text: &str) -> String {
    format!("\"{}\"", dot_inner(text))
}

/// A text inside of the quotes of DOT, where a backslash begins an escape.
fn dot_inner(text: &str) -> String {
    let mut inner = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => inner.extend(['\\', character]),
            control if control.is_control() => inner.push(' '),
            other => inner.push(other),
        }
    }
    inner
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = text.write_fmt(line);
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
