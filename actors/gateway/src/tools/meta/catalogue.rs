//! What tools there are, by category.

use crate::node::{At, Node, PATIENCE};
use crate::tools::{Category as Own, Failure, closest, table};
use meshwork_proto::discovery::{ListPeers, PeerView};
use meshwork_proto::executor::{ToolInfo, ToolKind};
use meshwork_proto::transport::PeerTarget;
use meshwork_proto::wire::ListNodeTools;
use meshwork_proto::{ErrorCode, Json, MeshError, PeerId};
use rmcp::model::Tool;
use serde_json::Value;
use std::collections::BTreeMap;

/// How the categories of peers begin.
const PEER: &str = "peer:";

/// A category in the list of all.
pub(super) struct Category {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) tools: usize,
}

/// Where the tools of a category are.
pub(super) enum Place {
    /// This node's own MCP tools of this category.
    Own(Own),
    /// The executor's tools of this category.
    Executor { tools: Vec<ToolInfo> },
    /// The tools of a peer.
    Peer { peer: PeerId, tools: Vec<ToolInfo> },
}

/// A tool in full.
pub(super) struct Detail {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) kind: String,
    pub(super) input_schema: Value,
    pub(super) output_schema: Option<Value>,
    pub(super) annotations: Option<Value>,
}

impl From<&ToolInfo> for Detail {
    fn from(info: &ToolInfo) -> Self {
        let kind = match info.kind {
            ToolKind::BuiltIn => "built_in",
            ToolKind::Process => "process",
            ToolKind::Mcp => "mcp",
        };
        Self {
            name: info.name.clone(),
            description: info.description.clone(),
            kind: kind.into(),
            input_schema: info.input_schema.to_value(),
            output_schema: info.output_schema.as_ref().map(Json::to_value),
            annotations: info.annotations.as_ref().map(Json::to_value),
        }
    }
}

impl From<&Tool> for Detail {
    fn from(tool: &Tool) -> Self {
        Self {
            name: tool.name.to_string(),
            description: tool.description.as_deref().unwrap_or_default().to_owned(),
            kind: "own".into(),
            input_schema: Value::Object(tool.input_schema.as_ref().clone()),
            output_schema: tool.output_schema.as_ref().map(|schema| Value::Object(schema.as_ref().clone())),
            annotations: tool.annotations.as_ref().and_then(|hints| serde_json::to_value(hints).ok()),
        }
    }
}

impl Place {
    /// Its tools, by name.
    pub(super) fn tools(&self) -> Vec<Detail> {
        match self {
            Self::Own(own) => {
                table().of(*own).map(|(_, registered)| Detail::from(&registered.tool)).collect()
            }
            Self::Executor { tools } | Self::Peer { tools, .. } => tools.iter().map(Detail::from).collect(),
        }
    }

    /// The tool with this name.
    pub(super) fn tool(&self, category: &str, name: &str) -> Result<Detail, Failure> {
        let mut tools = self.tools();
        match tools.iter().position(|detail| detail.name == name) {
            Some(index) => Ok(tools.swap_remove(index)),
            None => Err(unknown_tool(category, name, tools.into_iter().map(|detail| detail.name).collect())),
        }
    }

    /// What is in it.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Own(own) => own.description().into(),
            Self::Executor { tools } => describe(tools),
            Self::Peer { peer, .. } => format!("Tools of peer {peer}"),
        }
    }
}

/// The failure for a tool that is not in its category.
pub(super) fn unknown_tool(category: &str, name: &str, names: Vec<String>) -> Failure {
    let shown: String = name.chars().take(80).collect();
    let near = closest(name, names.iter().map(String::as_str));
    let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    let message = format!("no tool {shown:?} in the category {category:?}{hint}");
    Failure::from(MeshError::new(ErrorCode::UnknownTool, message)).with_names("available_tools", names)
}

/// All categories: this node's own, the executor's by name, then the peers' by name.
pub(super) async fn categories(node: &Node) -> Result<Vec<Category>, Failure> {
    let own = |own: Own| Category {
        name: own.name().into(),
        description: own.description().into(),
        tools: table().of(own).count(),
    };
    let mut all: Vec<Category> = Own::ALL.into_iter().map(own).collect();
    for (name, tools) in local(node).await? {
        all.push(Category { name, description: describe(&tools), tools: tools.len() });
    }
    let mut peers: Vec<Category> = connected(node)
        .await?
        .into_iter()
        .filter_map(|view| {
            let tools = view.advertisement.as_ref().map_or(0, |said| said.tools.len());
            let name = format!("{PEER}{}", view.peer.short());
            (tools > 0).then(|| Category { name, description: format!("Tools of peer {}", view.peer), tools })
        })
        .collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    all.extend(peers);
    Ok(all)
}

/// The category with this name.
pub(super) async fn find(node: &Node, category: &str) -> Result<Place, Failure> {
    if let Some(own) = Own::named(category) {
        return Ok(Place::Own(own));
    }
    if let Some(end) = category.strip_prefix(PEER) {
        let views = connected(node).await?;
        // The end of an id may belong to two peers; then only the whole id will do.
        let mut matching = views.iter().filter(|view| !end.is_empty() && view.peer.as_str().ends_with(end));
        if let (Some(view), None) = (matching.next(), matching.next()) {
            let tools = tools_at(node, &view.peer).await?;
            return Ok(Place::Peer { peer: view.peer.clone(), tools });
        }
    } else if let Some(tools) = local(node).await?.remove(category) {
        return Ok(Place::Executor { tools });
    }
    let names: Vec<String> = categories(node).await?.into_iter().map(|category| category.name).collect();
    let shown: String = category.chars().take(80).collect();
    let message = format!("no category {shown:?}: tools_list_categories lists those there are");
    Err(Failure::invalid(message).with_names("available_categories", names))
}

/// The executor's tools by category, each list by name.
pub(super) async fn local(node: &Node) -> Result<BTreeMap<String, Vec<ToolInfo>>, MeshError> {
    let answer = node.ask(&At::Here, ListNodeTools, PATIENCE).await?;
    let mut categories: BTreeMap<String, Vec<ToolInfo>> = BTreeMap::new();
    for info in answer.value {
        categories.entry(info.category.clone()).or_default().push(info);
    }
    Ok(categories)
}

async fn tools_at(node: &Node, peer: &PeerId) -> Result<Vec<ToolInfo>, MeshError> {
    let answer = node.ask(&At::Peer(PeerTarget::Id(peer.clone())), ListNodeTools, PATIENCE).await?;
    Ok(answer.value)
}

/// Connected peers, by id.
pub(super) async fn connected(node: &Node) -> Result<Vec<PeerView>, MeshError> {
    let answer = node.ask(&At::Here, ListPeers { capability: None, max_peers: 0 }, PATIENCE).await?;
    Ok(answer.value.into_iter().filter(|view| view.connected && view.role.is_some()).collect())
}

fn describe(tools: &[ToolInfo]) -> String {
    match tools.first() {
        Some(ToolInfo { kind: ToolKind::Mcp, category, .. }) => format!("Tools of the MCP server {category}"),
        Some(ToolInfo { kind: ToolKind::Process, .. }) => "Commands configured on this node".into(),
        Some(ToolInfo { kind: ToolKind::BuiltIn, .. }) | None => "Tools built into this node".into(),
    }
}
