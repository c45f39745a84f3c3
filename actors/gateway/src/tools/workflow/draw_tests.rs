//! Graphs as texts.

use super::*;
use meshwork_proto::RunId;
use meshwork_proto::workflow::{DagEdge, RunState};

fn node(id: &str, kind: StepKind, what: &str, state: StepState, duration_ms: u64) -> DagNode {
    DagNode { id: id.into(), kind, what: what.into(), state, items: None, duration_ms }
}

fn edge(from: &str, to: &str) -> DagEdge {
    DagEdge { from: from.into(), to: to.into() }
}

/// a -> b -> end, a -> wait -> end; the way through b took longer.
fn diamond() -> DagView {
    let many = DagNode { items: Some(12), ..node("b", StepKind::Task, "hash", StepState::Failed, 61_000) };
    DagView {
        id: RunId::from_bytes([7; 16]),
        name: "diamond".into(),
        state: RunState::Failed,
        nodes: vec![
            node("a", StepKind::Task, "echo", StepState::Completed, 1_234),
            many,
            node("wait", StepKind::Wait, "signal approved", StepState::Waiting, 0),
            node("end", StepKind::Workflow, "part", StepState::Skipped, 0),
        ],
        edges: vec![edge("a", "b"), edge("a", "wait"), edge("b", "end"), edge("wait", "end")],
        critical_path: vec!["a".into(), "b".into(), "end".into()],
        critical_ms: 62_234,
    }
}

#[test]
fn mermaid_shows_states_as_classes_and_the_critical_path_thick() {
    let text = mermaid(&diamond());
    let expected = "\
flowchart TD
    %% diamond, run 07070707070707070707070707070707: failed
    s0[\"a<br/>echo<br/>completed, 1.2 s\"]:::completed
    s1[\"b<br/>hash x 12<br/>failed, 1 min 1 s\"]:::failed
    s2([\"wait<br/>signal approved<br/>waiting\"]):::waiting
    s3[[\"end<br/>part<br/>skipped\"]]:::skipped
    s0 ==> s1
    s0 --> s2
    s1 ==> s3
    s2 --> s3
    classDef waiting fill:#e2d9f3,stroke:#6f42c1,color:#1f1f1f
    classDef completed fill:#d1e7dd,stroke:#198754,color:#1f1f1f
    classDef failed fill:#f8d7da,stroke:#dc3545,color:#1f1f1f
    classDef skipped fill:#ffffff,stroke:#999999,color:#1f1f1f,stroke-dasharray:4 3
    classDef critical stroke:#d6336c,stroke-width:4px
    class s0,s1,s3 critical
    linkStyle 0,2 stroke:#d6336c,stroke-width:3px
";
    assert_eq!(text, expected);
}

#[test]
fn dot_shows_states_as_colours_and_the_critical_path_thick() {
    let text = dot(&diamond());
    assert!(text.starts_with("digraph \"diamond\" {\n") && text.ends_with("}\n"), "{text}");
    let steps = [
        "\"a\" [label=\"a\\necho\\ncompleted, 1.2 s\", shape=box, style=\"rounded,filled\", fillcolor=\"#d1e7dd\", \
         color=\"#d6336c\", penwidth=3, class=\"completed critical\"];",
        "\"wait\" [label=\"wait\\nsignal approved\\nwaiting\", shape=hexagon, style=\"rounded,filled\", \
         fillcolor=\"#e2d9f3\", color=\"#6f42c1\", penwidth=1, class=\"waiting\"];",
        "\"end\" [label=\"end\\npart\\nskipped\", shape=component, style=\"rounded,filled,dashed\"",
        "\"a\" -> \"b\" [color=\"#d6336c\", penwidth=3, class=\"critical\"];",
        "\"a\" -> \"wait\";",
    ];
    for part in steps {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn hostile_names_stay_inside_of_their_labels() {
    let evil = "\"]; evil[\"x\"] --> y\n%% `<b>` \\";
    let mut dag = diamond();
    dag.name = evil.into();
    dag.nodes = vec![node("a", StepKind::Task, evil, StepState::Pending, 0)];
    let drawn = mermaid(&dag);
    // One line each for the kind, the title, the step, its class and the critical path: nothing was added.
    let label: Vec<&str> = drawn.lines().filter(|line| line.contains("evil[")).collect();
    assert_eq!(label.len(), 2, "{drawn}");
    let inside = label[1].strip_prefix("    s0[\"").unwrap().strip_suffix("\"]:::pending").unwrap();
    assert!(!inside.contains(['"', '`', '\\', '\n']) && inside.contains("#34;"), "{inside}");

    let drawn = dot(&dag);
    for line in drawn.lines() {
        let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert_eq!(quotes % 2, 0, "{line}");
    }
    assert_eq!(
        drawn.lines().filter(|line| line.contains("evil")).count(),
        3,
        "name, title and step\n{drawn}"
    );
}

#[test]
fn a_long_name_is_cut_and_an_empty_graph_is_a_graph() {
    let mut dag = diamond();
    dag.nodes = vec![node("a", StepKind::Task, &"ä".repeat(500), StepState::Running, 0)];
    assert!(mermaid(&dag).contains(&format!("{}...", "ä".repeat(60))));
    dag.nodes.clear();
    dag.critical_path.clear();
    assert_eq!(mermaid(&dag).lines().count(), 2, "edges of steps that are not there are left out");
    assert!(dot(&dag).starts_with("digraph"));
}

#[test]
fn times_are_short_and_readable() {
    for (millis, text) in [
        (1, "1 ms"),
        (999, "999 ms"),
        (59_999, "59.9 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h 0 min"),
        (90_000_000, "25 h 0 min"),
    ] {
        assert_eq!(time(millis), text);
    }
}
