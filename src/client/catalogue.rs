//! Every tool of the mesh, through the four meta-tools.

use super::answers::Answer;
use super::arguments::given;
use super::connection::{NodeClient, structured, tool_error};
use super::error::ClientError;
use meshwork_proto::{ErrorCode, MeshError};
use serde_json::{Map, Value};
use std::time::Duration;

/// Most categories that are looked through for a tool.
const MAX_CATEGORIES: usize = 10_000;

/// A tool, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ToolEntry {
    /// Category it is in.
    pub(crate) category: String,
    /// Its name there.
    pub(crate) name: String,
    /// What it does, shortened by the node.
    pub(crate) description: String,
}

/// What a tool gave back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolResult {
    /// Structured content if there is some, else the blocks of content.
    pub(crate) value: Value,
    /// The tool says that it failed.
    pub(crate) error: Option<MeshError>,
}

impl NodeClient {
    /// The categories: `{categories: [{name, description, tool_count}]}`.
    ///
    /// # Errors
    /// As every call: see [`NodeClient::call`].
    pub(crate) async fn categories(&self) -> Result<Answer, ClientError> {
        self.call("tools_list_categories", given([("include_count", Some(true.into()))])).await.map(Answer)
    }

    /// The tools of one category, or of all.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn tools(&self, category: Option<&str>) -> Result<Vec<ToolEntry>, ClientError> {
        let categories = match category {
            Some(category) => vec![category.to_owned()],
            None => {
                let known = self.categories().await?.items("categories");
                known.iter().filter_map(category_name).take(MAX_CATEGORIES).collect()
            }
        };
        let mut tools = Vec::new();
        for category in categories {
            let arguments = given([("category", Some(category.as_str().into()))]);
            let answer = Answer(self.call("tools_list_tools", arguments).await?);
            tools.extend(answer.items("tools").iter().filter_map(|tool| {
                let name = tool.text("name")?.to_owned();
                let description = tool.text("description").unwrap_or_default().to_owned();
                Some(ToolEntry { category: category.clone(), name, description })
            }));
        }
        tools.sort();
        Ok(tools)
    }

    /// The tool with this name: `CATEGORY/NAME`, or a name that only one category has.
    ///
    /// # Errors
    /// When there is none, with the nearest names, or several.
    pub(crate) async fn find_tool(
        &self,
        name: &str,
        category: Option<&str>,
    ) -> Result<ToolEntry, ClientError> {
        pick(&self.tools(category).await?, name)
    }

    /// The description of a tool with the JSON Schema of its arguments.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn schema(&self, tool: &ToolEntry) -> Result<Answer, ClientError> {
        let category = ("category", Some(tool.category.as_str().into()));
        let arguments = given([category, ("tool", Some(tool.name.as_str().into()))]);
        self.call("tools_get_schema", arguments).await.map(Answer)
    }

    /// Runs a tool now, without a task.
    ///
    /// # Errors
    /// When the call itself failed; a tool that failed is a result with an error.
    pub(crate) async fn dispatch(
        &self,
        tool: &ToolEntry,
        params: Map<String, Value>,
        peer: Option<&str>,
        within: Duration,
    ) -> Result<ToolResult, ClientError> {
        let category = ("category", Some(tool.category.as_str().into()));
        let name = ("tool", Some(tool.name.as_str().into()));
        let arguments =
            given([category, name, ("params", Some(params.into())), ("peer", peer.map(Value::from))]);
        let result = self.call_raw("tools_dispatch", arguments, within).await?;
        let error = (result.is_error == Some(true)).then(|| tool_error(&result));
        let value =
            structured(&result).unwrap_or_else(|| serde_json::to_value(&result.content).unwrap_or_default());
        Ok(ToolResult { value, error })
    }
}

/// A category is an object with a name; older nodes may give the name alone.
fn category_name(category: &Answer) -> Option<String> {
    category.text("name").or_else(|| category.0.as_str()).map(str::to_owned)
}

/// How the categories of tools that other peers run begin.
const AT_A_PEER: &str = "peer:";

/// The one tool that a name stands for; one of the node itself comes before those of its peers.
pub(super) fn pick(tools: &[ToolEntry], name: &str) -> Result<ToolEntry, ClientError> {
    let full = |tool: &ToolEntry| format!("{}/{}", tool.category, tool.name);
    let named: Vec<&ToolEntry> =
        tools.iter().filter(|tool| tool.name == name || full(tool) == name).collect();
    let local: Vec<&ToolEntry> =
        named.iter().copied().filter(|tool| !tool.category.starts_with(AT_A_PEER)).collect();
    let candidates = if local.len() == 1 { &local } else { &named };
    match candidates.as_slice() {
        [only] => Ok((*only).clone()),
        [] => {
            let hint = crate::config::nearest(name, tools.iter().map(|tool| tool.name.as_str())).map_or_else(
                || "see `meshwork tools list`".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            Err(MeshError::new(ErrorCode::UnknownTool, format!("no tool {name:?}: {hint}")).into())
        }
        several => {
            let names: Vec<String> = several.iter().map(|tool| full(tool)).collect();
            let message = format!("{name:?} stands for several tools: name one of {}", names.join(", "));
            Err(MeshError::new(ErrorCode::InvalidArgument, message).into())
        }
    }
}
