//! `p2p_workflow_get_dag`: the graph of a run, as JSON or drawn.

use super::{ask_for, draw, run_id};
use crate::node::{Node, PATIENCE};
use crate::tools::input::invalid;
use crate::tools::record::secs;
use crate::tools::{Failure, Hints, MeshTool, READS, closest};
use meshwork_proto::MeshError;
use meshwork_proto::workflow::{DagEdge, DagNode, DagView, GetDag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a graph is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Mermaid,
    Dot,
}

impl Format {
    const NAMES: [&'static str; 3] = ["json", "mermaid", "dot"];

    fn read(text: Option<&str>) -> Result<Self, MeshError> {
        match text {
            None | Some("json") => Ok(Self::Json),
            Some("mermaid") => Ok(Self::Mermaid),
            Some("dot") => Ok(Self::Dot),
            Some(other) => {
                let shown: String = other.chars().take(80).collect();
                let hint = closest(other, Self::NAMES)
                    .map_or(String::new(), |near| format!("did you mean {near:?}? "));
                Err(invalid(format!(
                    "format {shown:?} is unknown: {hint}expected {}",
                    Self::NAMES.join(", ")
                )))
            }
        }
    }
}

/// Gives the graph of a run.
pub(crate) struct DagTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DagIn {
    /// The run's id.
    workflow_id: String,
    /// json: nodes and edges (if absent); mermaid or dot: the graph as a text that such a program draws.
    #[schemars(extend("enum" = ["json", "mermaid", "dot", null]))]
    format: Option<String>,
    /// Peer at which it was submitted, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// A step in the graph.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NodeOut {
    /// Its id in the definition.
    id: String,
    /// task, workflow or wait.
    kind: String,
    /// Its tool or task type, the name of its sub-workflow, or what it waits for.
    what: String,
    /// pending, running, waiting, retrying, completed, failed, skipped, cancelled or compensated.
    state: String,
    /// Number of its items, when it has for_each and they are known.
    items: Option<u32>,
    /// How long it took so far, in seconds.
    duration_s: f64,
    /// Whether it is on the critical path.
    critical: bool,
}

/// A step that needs another one.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EdgeOut {
    /// The step that is needed.
    from: String,
    /// The step that needs it.
    to: String,
}

/// The graph of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagOut {
    /// The run's id.
    workflow_id: String,
    /// The peer that coordinates it.
    peer_id: String,
    /// Name of the workflow.
    name: String,
    /// pending, running, paused, completed, failed or cancelled.
    state: String,
    /// json, mermaid or dot.
    format: String,
    /// The steps, for the format json.
    nodes: Option<Vec<NodeOut>>,
    /// Who needs whom, for the format json.
    edges: Option<Vec<EdgeOut>>,
    /// The text to be drawn, for the formats mermaid and dot.
    text: Option<String>,
    /// Steps on the longest chain by time.
    critical_path: Vec<String>,
    /// How long that chain took so far, in seconds.
    critical_s: f64,
}

impl DagOut {
    fn new(peer_id: String, dag: &DagView, format: Format) -> Self {
        let critical = draw::critical_steps(dag);
        let node = |node: &DagNode| NodeOut {
            id: node.id.clone(),
            kind: node.kind.to_string(),
            what: node.what.clone(),
            state: node.state.to_string(),
            items: node.items,
            duration_s: secs(node.duration_ms),
            critical: critical.contains(node.id.as_str()),
        };
        let edge = |edge: &DagEdge| EdgeOut { from: edge.from.clone(), to: edge.to.clone() };
        let (name, text) = match format {
            Format::Json => ("json", None),
            Format::Mermaid => ("mermaid", Some(draw::mermaid(dag))),
            Format::Dot => ("dot", Some(draw::dot(dag))),
        };
        let json = format == Format::Json;
        Self {
            workflow_id: dag.id.to_string(),
            peer_id,
            name: dag.name.clone(),
            state: dag.state.to_string(),
            format: name.to_owned(),
            nodes: json.then(|| dag.nodes.iter().map(node).collect()),
            edges: json.then(|| dag.edges.iter().map(edge).collect()),
            text,
            critical_path: dag.critical_path.clone(),
            critical_s: secs(dag.critical_ms),
        }
    }
}

impl MeshTool for DagTool {
    const NAME: &'static str = "p2p_workflow_get_dag";
    const TITLE: &'static str = "Graph of a workflow";
    const DESCRIPTION: &'static str = "Gives the graph of a run: its steps with their states and times, who needs whom, and \
        the critical path, which is the longest chain by time. As JSON, or as text for Mermaid or Graphviz (DOT), where \
        states are colours and the critical path is drawn thick.";
    const EXAMPLE: &'static str =
        r#"{"workflow_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60", "format": "mermaid"}"#;
    const HINTS: Hints = READS;
    type Input = DagIn;
    type Output = DagOut;

    async fn run(node: &Node, input: DagIn) -> Result<DagOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = run_id(&input.workflow_id)?;
        let format = Format::read(input.format.as_deref())?;
        let answer = ask_for(node, &at, id, GetDag { id }, PATIENCE).await?;
        Ok(DagOut::new(answer.peer.to_string(), &answer.value, format))
    }
}
