//! The four meta-tools: every tool of this node and of its peers, found and called without listing them all to a client.
//!
//! Categories are those of this node's own tools ([`Category`](super::Category)), one per category of the executor's tools
//! (for an upstream MCP server its name), and one per connected peer, `peer:` and the end of its id, which is enough to
//! tell peers apart and may be written out in full.

mod catalogue;
mod dispatch;

pub(super) use dispatch::run_dispatch;

use super::{Failure, Hints, Listener, MeshTool, READS};
use crate::node::Node;
use catalogue::{Detail, Place};
use rmcp::model::{CallToolResult, JsonObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest description in a list, in characters.
const SHORT: usize = 100;

/// Lists categories.
pub(crate) struct ListCategories;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CategoriesIn {
    /// Also counts the tools of each category.
    include_count: Option<bool>,
}

/// A category.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CategoryOut {
    /// Its name.
    name: String,
    /// What is in it.
    description: String,
    /// How many tools it has, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_count: Option<usize>,
}

/// The categories there are.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CategoriesOut {
    /// Always success.
    status: String,
    /// How many there are.
    category_count: usize,
    /// The categories.
    categories: Vec<CategoryOut>,
}

impl MeshTool for ListCategories {
    const NAME: &'static str = "tools_list_categories";
    const TITLE: &'static str = "List tool categories";
    const DESCRIPTION: &'static str = "Lists the categories of all tools of this node and its peers. First step to any \
        tool that is not in your own list: then tools_list_tools, tools_get_schema, tools_dispatch.";
    const EXAMPLE: &'static str = r#"{"include_count": true}"#;
    const HINTS: Hints = READS;
    type Input = CategoriesIn;
    type Output = CategoriesOut;

    async fn run(node: &Node, input: CategoriesIn) -> Result<CategoriesOut, Failure> {
        let counted = input.include_count.unwrap_or(false);
        let found = catalogue::categories(node).await?;
        let categories: Vec<CategoryOut> = found
            .into_iter()
            .map(|category| CategoryOut {
                name: category.name,
                description: category.description,
                tool_count: counted.then_some(category.tools),
            })
            .collect();
        Ok(CategoriesOut { status: "success".into(), category_count: categories.len(), categories })
    }
}

/// Lists the tools of a category.
pub(crate) struct ListCategoryTools;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolsIn {
    /// A name from tools_list_categories.
    category: String,
}

/// A tool in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ToolOut {
    /// Its name.
    name: String,
    /// The beginning of its description.
    description: String,
}

/// The tools of a category.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ToolsOut {
    /// Always success.
    status: String,
    /// The category.
    category: String,
    /// What is in it.
    description: String,
    /// How many tools it has.
    tool_count: usize,
    /// The tools, by name.
    tools: Vec<ToolOut>,
}

impl MeshTool for ListCategoryTools {
    const NAME: &'static str = "tools_list_tools";
    const TITLE: &'static str = "List the tools of a category";
    const DESCRIPTION: &'static str =
        "Lists the tools of one category with the beginning of what each does. Next step: tools_get_schema.";
    const EXAMPLE: &'static str = r#"{"category": "taskqueue"}"#;
    const HINTS: Hints = READS;
    type Input = ToolsIn;
    type Output = ToolsOut;

    async fn run(node: &Node, input: ToolsIn) -> Result<ToolsOut, Failure> {
        let place = catalogue::find(node, &input.category).await?;
        let tools: Vec<ToolOut> = place
            .tools()
            .into_iter()
            .map(|detail| ToolOut { name: detail.name, description: shorten(&detail.description) })
            .collect();
        Ok(ToolsOut {
            status: "success".into(),
            category: input.category,
            description: place.description(),
            tool_count: tools.len(),
            tools,
        })
    }
}

/// The beginning of a description: its first line, at most [`SHORT`] characters.
fn shorten(description: &str) -> String {
    let line = description.lines().next().unwrap_or_default();
    if line.chars().count() <= SHORT {
        return line.to_owned();
    }
    line.chars().take(SHORT - 3).chain("...".chars()).collect()
}

/// Gives a tool's schema.
pub(crate) struct GetSchema;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaIn {
    /// A name from tools_list_categories.
    category: String,
    /// A name from tools_list_tools.
    tool: Option<String>,
    /// The same as tool: give one of them.
    tool_name: Option<String>,
}

/// What a tool takes and gives.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SchemaOut {
    /// Always success.
    status: String,
    /// The category.
    category: String,
    /// The tool.
    name: String,
    /// What it does.
    description: String,
    /// built_in, process or mcp; own for this node's own MCP tools.
    kind: String,
    /// The peer that has it.
    peer_id: String,
    /// JSON Schema of its arguments.
    input_schema: Value,
    /// JSON Schema of its result, when known.
    output_schema: Option<Value>,
    /// Behaviour hints of MCP, when known.
    annotations: Option<Value>,
}

impl MeshTool for GetSchema {
    const NAME: &'static str = "tools_get_schema";
    const TITLE: &'static str = "Get a tool's schema";
    const DESCRIPTION: &'static str = "Gives what a tool does and the JSON Schemas of its arguments and result. Next step: \
        tools_dispatch, or p2p_taskqueue_submit to have it run as a durable task.";
    const EXAMPLE: &'static str = r#"{"category": "taskqueue", "tool": "p2p_taskqueue_submit"}"#;
    const HINTS: Hints = READS;
    type Input = SchemaIn;
    type Output = SchemaOut;

    async fn run(node: &Node, input: SchemaIn) -> Result<SchemaOut, Failure> {
        let name = one_of("tool", input.tool, "tool_name", input.tool_name)?;
        let place = catalogue::find(node, &input.category).await?;
        let Detail { name, description, kind, input_schema, output_schema, annotations } =
            place.tool(&input.category, &name)?;
        let peer_id = match &place {
            Place::Peer { peer, .. } => peer.to_string(),
            Place::Own(_) | Place::Executor { .. } => node.local().to_string(),
        };
        Ok(SchemaOut {
            status: "success".into(),
            category: input.category,
            name,
            description,
            kind,
            peer_id,
            input_schema,
            output_schema,
            annotations,
        })
    }
}

/// The value of an argument that may be spelled in two ways.
fn one_of<T>(first: &str, a: Option<T>, second: &str, b: Option<T>) -> Result<T, Failure> {
    match (a, b) {
        (Some(value), None) | (None, Some(value)) => Ok(value),
        (None, None) => {
            Err(Failure::invalid(format!("missing field `{first}` (also accepted as `{second}`)")))
        }
        (Some(_), Some(_)) => {
            Err(Failure::invalid(format!("{first} and {second} mean the same: give one of them")))
        }
    }
}

/// Calls a tool.
pub(crate) struct Dispatch;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DispatchIn {
    /// A name from tools_list_categories.
    category: String,
    /// A name from tools_list_tools.
    tool: Option<String>,
    /// The same as tool: give one of them.
    tool_name: Option<String>,
    /// The tool's arguments by name; none if absent.
    params: Option<JsonObject>,
    /// The same as params: give one of them.
    parameters: Option<JsonObject>,
    /// Peer to run it at, as peer id or multiaddress; where the category says if absent.
    peer: Option<String>,
}

impl MeshTool for Dispatch {
    const NAME: &'static str = "tools_dispatch";
    const TITLE: &'static str = "Call any tool";
    const DESCRIPTION: &'static str = "Calls a tool of any category now and gives its result. A tool that this node has not \
        is called at a connected peer that has it. For work that must not be lost use p2p_taskqueue_submit.";
    const EXAMPLE: &'static str =
        r#"{"category": "taskqueue", "tool": "p2p_taskqueue_status", "params": {"detail": true}}"#;
    // The tool that it calls may do anything.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: false, open_world: true };
    type Input = DispatchIn;
    // The result is that of the tool called, whatever it is: no schema is declared.
    type Output = ();

    async fn run(_: &Node, _: DispatchIn) -> Result<(), Failure> {
        // Calls go through `run_dispatch`, which can relay a result unchanged.
        Err(Failure::invalid("tools_dispatch gives the result of another tool"))
    }
}

/// Runs `tools_dispatch` after its arguments were read.
async fn dispatch(node: &Node, input: DispatchIn, listener: &Listener) -> Result<CallToolResult, Failure> {
    let name = one_of("tool", input.tool, "tool_name", input.tool_name)?;
    let params = match (input.params, input.parameters) {
        (None, None) => JsonObject::new(),
        (a, b) => one_of("params", a, "parameters", b)?,
    };
    dispatch::call(node, &input.category, &name, params, input.peer.as_deref(), listener).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_description_is_cut_and_a_short_one_is_not() {
        assert_eq!(shorten("first line\nsecond"), "first line");
        let cut = shorten(&"ä".repeat(500));
        assert_eq!(cut.chars().count(), SHORT);
        assert!(cut.ends_with("..."));
    }

    #[test]
    fn both_spellings_are_accepted_but_not_together() {
        assert_eq!(one_of("tool", Some(1), "tool_name", None).unwrap(), 1);
        assert_eq!(one_of("tool", None, "tool_name", Some(1)).unwrap(), 1);
        assert!(
            one_of("tool", None::<u8>, "tool_name", None).unwrap_err().error.message.contains("tool_name")
        );
        assert!(one_of("tool", Some(1), "tool_name", Some(1)).is_err());
    }
}
