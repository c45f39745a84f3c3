//! The tools of this node by name: built in, configured commands, and those that upstream servers told of.

use super::builtin::{self, BuiltIn};
use super::options::{ExecutorOptions, ProcessTool};
use super::progress::clip;
use meshwork_proto::executor::{ToolError, ToolInfo, ToolKind, UpstreamTool, UpstreamTools};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Tools of one upstream server that are kept.
const MAX_UPSTREAM_TOOLS: usize = 2_000;
/// Tools of the node, together: queues accept no larger offers.
const MAX_TOOLS: usize = 4_000;
/// Longest name of a tool, in bytes: no task could name a longer one.
const MAX_NAME: usize = meshwork_proto::task::MAX_NAME;
/// How alike names must be (0 to 1) for one to be a hint for the other.
const ALIKE: f64 = 0.6;

/// What runs a tool.
#[derive(Debug, Clone)]
pub(super) enum Runner {
    BuiltIn(BuiltIn),
    Process(Arc<ProcessTool>),
    Mcp {
        /// Server's name.
        server: String,
        /// The tool's name there.
        tool: String,
    },
}

/// A tool and how it is run.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) info: ToolInfo,
    pub(super) runner: Runner,
    /// Longest run.
    pub(super) timeout: Duration,
}

impl Tool {
    pub(super) fn name(&self) -> &str {
        &self.info.name
    }

    pub(super) fn kind(&self) -> ToolKind {
        self.info.kind
    }
}

/// All tools of the node.
#[derive(Debug)]
pub(super) struct Registry {
    tools: BTreeMap<String, Arc<Tool>>,
    /// Their names, for whoever asks for one that is not there.
    names: Names,
    upstream_timeout: Duration,
}

/// The names of all tools at some time.
#[derive(Debug, Clone)]
pub(super) struct Names(Arc<Vec<String>>);

impl Registry {
    /// The built-in tools and the configured ones; the options have been checked.
    pub(super) fn new(options: &ExecutorOptions) -> Self {
        let max_run = options.max_run();
        let slots = options.slots();
        let mut tools = BTreeMap::new();
        for built_in in builtin::ALL {
            let tool =
                Tool { info: built_in.info(slots), runner: Runner::BuiltIn(built_in), timeout: max_run };
            tools.insert(tool.info.name.clone(), Arc::new(tool));
        }
        for process in &options.tools {
            let timeout = process.timeout().min(max_run);
            let tool = Tool {
                info: process_info(process),
                runner: Runner::Process(Arc::new(process.clone())),
                timeout,
            };
            tools.insert(process.name.clone(), Arc::new(tool));
        }
        let names = Names::of(&tools);
        Self { tools, names, upstream_timeout: max_run }
    }

    /// The tools of one upstream server are these now. A name that is taken by another tool is left out.
    pub(super) fn set_upstream(&mut self, update: UpstreamTools) {
        self.replace(update);
        self.names = Names::of(&self.tools);
    }

    fn replace(&mut self, update: UpstreamTools) {
        let UpstreamTools { server, tools } = update;
        self.tools
            .retain(|_, tool| !matches!(&tool.runner, Runner::Mcp { server: owner, .. } if *owner == server));
        if tools.len() > MAX_UPSTREAM_TOOLS {
            tracing::warn!(
                server,
                "MCP server has {} tools: only {MAX_UPSTREAM_TOOLS} are kept",
                tools.len()
            );
        }
        for UpstreamTool { mut info, upstream_name } in tools.into_iter().take(MAX_UPSTREAM_TOOLS) {
            info.kind = ToolKind::Mcp;
            info.concurrency = info.concurrency.max(1);
            if let Some(problem) = self.obstacle(&info.name) {
                tracing::warn!(server, tool = clip(&info.name, 200), "tool is left out: {problem}");
                continue;
            }
            let runner = Runner::Mcp { server: server.clone(), tool: upstream_name };
            let name = info.name.clone();
            self.tools.insert(name, Arc::new(Tool { info, runner, timeout: self.upstream_timeout }));
        }
    }

    /// Why a tool of this name cannot be added.
    fn obstacle(&self, name: &str) -> Option<&'static str> {
        if name.is_empty() || name.len() > MAX_NAME {
            Some("its name does not have 1 to 200 bytes")
        } else if self.tools.contains_key(name) {
            Some("another one has its name")
        } else if self.tools.len() >= MAX_TOOLS {
            Some("the node has 4000 others")
        } else {
            None
        }
    }

    /// The tool of this name, or the names there are.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Tool>, Names> {
        self.tools.get(name).cloned().ok_or_else(|| self.names.clone())
    }

    /// Names with their limits.
    pub(super) fn limits(&self) -> impl Iterator<Item = (&str, u32)> {
        self.tools.values().map(|tool| (tool.name(), tool.info.concurrency))
    }

    /// All tools as others see them, sorted by name.
    pub(super) fn list(&self) -> Vec<ToolInfo> {
        self.tools.values().map(|tool| tool.info.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.tools.len()
    }
}

impl Names {
    fn of(tools: &BTreeMap<String, Arc<Tool>>) -> Self {
        Self(Arc::new(tools.keys().cloned().collect()))
    }

    /// The error for a name that is not there, with the nearest ones.
    pub(super) fn unknown(&self, name: &str) -> ToolError {
        ToolError::Unknown { name: clip(name, 200), hint: self.hint(&clip(name, 80)) }
    }

    fn hint(&self, name: &str) -> String {
        let known = self.0.iter().map(|known| (likeness(name, known), known.as_str()));
        let mut alike: Vec<(f64, &str)> = known.filter(|(score, _)| *score >= ALIKE).collect();
        alike.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let names: Vec<_> = alike.iter().take(3).map(|(_, known)| format!("{known:?}")).collect();
        if names.is_empty() {
            format!("it has {} others, see `meshwork tools list`", self.0.len())
        } else {
            format!("did you mean {}?", names.join(" or "))
        }
    }
}

/// An upstream tool is often asked for by its own name, without the server's in front.
fn likeness(asked: &str, known: &str) -> f64 {
    let whole = strsim::normalized_damerau_levenshtein(asked, known);
    let own =
        known.split_once("__").map_or(0.0, |(_, own)| strsim::normalized_damerau_levenshtein(asked, own));
    whole.max(own)
}

fn process_info(tool: &ProcessTool) -> ToolInfo {
    ToolInfo {
        name: tool.name.clone(),
        category: tool.category.clone(),
        description: tool.description.clone(),
        kind: ToolKind::Process,
        input_schema: tool.input_schema.clone(),
        output_schema: tool.output_schema.clone(),
        annotations: tool.annotations.clone(),
        concurrency: tool.concurrency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshwork_proto::Json;

    fn upstream(server: &str, names: &[&str]) -> UpstreamTools {
        let tool = |name: &&str| UpstreamTool {
            info: ToolInfo {
                name: (*name).to_owned(),
                category: server.to_owned(),
                description: String::new(),
                kind: ToolKind::Mcp,
                input_schema: Json::from_value(&serde_json::json!({})),
                output_schema: None,
                annotations: None,
                concurrency: 0,
            },
            upstream_name: name.split("__").last().unwrap_or_default().to_owned(),
        };
        UpstreamTools { server: server.to_owned(), tools: names.iter().map(tool).collect() }
    }

    fn registry() -> Registry {
        let tools = vec![ProcessTool::new("word_count", ["wc"])];
        Registry::new(&ExecutorOptions { tools, ..ExecutorOptions::default() })
    }

    #[test]
    fn an_unknown_tool_is_answered_with_the_nearest_names() {
        let mut all = registry();
        all.set_upstream(upstream("git", &["git__git_status"]));
        let hint = |name: &str| all.find(name).unwrap_err().unknown(name).to_string();
        assert!(hint("ehco").contains(r#"did you mean "echo"?"#), "{}", hint("ehco"));
        assert!(hint("git_status").contains("git__git_status"), "{}", hint("git_status"));
        assert!(hint("zzzzzzzzzzz").contains("meshwork tools list"));
        assert!(hint(&"x".repeat(100_000)).len() < 1_000);
    }

    #[test]
    fn the_tools_of_a_server_come_and_go_together_and_take_no_name_from_others() {
        let mut all = registry();
        let before = all.len();
        all.set_upstream(upstream("git", &["git__log", "echo"]));
        assert_eq!(all.len(), before + 1);
        assert_eq!(all.find("echo").unwrap().kind(), ToolKind::BuiltIn);
        assert_eq!(all.find("git__log").unwrap().info.concurrency, 1);
        let long = format!("long__{}", "x".repeat(MAX_NAME));
        all.set_upstream(upstream("long", &[&long, ""]));
        assert_eq!(all.len(), before + 1);
        all.set_upstream(upstream("git", &["git__status"]));
        assert!(all.find("git__log").is_err());
        all.set_upstream(upstream("git", &[]));
        assert_eq!(all.len(), before);
    }

    #[test]
    fn the_list_is_sorted_by_name() {
        let names: Vec<_> = registry().list().into_iter().map(|tool| tool.name).collect();
        assert_eq!(names, ["cid", "echo", "sleep", "word_count"]);
    }
}
