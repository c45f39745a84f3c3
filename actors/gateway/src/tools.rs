//! The tools that this node offers to MCP clients.
//!
//! Each tool is one type that implements [`MeshTool`]: what it takes and gives are Rust types, from which the JSON
//! Schemas are made. The table of all of them is built once and never changes, so that clients may cache it.

mod announce;
mod category;
mod change;
mod document;
mod input;
mod listener;
mod meta;
mod outcome;
mod peers;
mod read;
mod record;
mod result;
mod schedule;
mod schema;
mod status;
mod stop;
mod submit;
#[cfg(test)]
mod tests;
pub(crate) mod workflow;

pub(crate) use category::Category;
pub use category::OWN_CATEGORIES;
pub(crate) use listener::Listener;
pub(crate) use outcome::{Failure, closest};

use crate::node::Node;
use futures::future::BoxFuture;
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, LazyLock};

/// What a client may expect of a tool (MCP's hints, honestly).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hints {
    /// Changes nothing.
    pub(crate) read_only: bool,
    /// May undo or overwrite something.
    pub(crate) destructive: bool,
    /// A second call with the same arguments changes nothing more.
    pub(crate) idempotent: bool,
    /// Reaches things outside of the mesh.
    pub(crate) open_world: bool,
}

/// Changes nothing and stays within the mesh.
pub(crate) const READS: Hints =
    Hints { read_only: true, destructive: false, idempotent: true, open_world: false };

/// One tool.
pub(crate) trait MeshTool: 'static {
    /// Name, as clients call it.
    const NAME: &'static str;
    /// Title for people.
    const TITLE: &'static str;
    /// What it does, when to use it, what comes back.
    const DESCRIPTION: &'static str;
    /// Arguments that work, as JSON; they end the description.
    const EXAMPLE: &'static str;
    /// What a client may expect of it.
    const HINTS: Hints;
    /// What it takes: a struct that refuses unknown fields.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// What it gives.
    type Output: Serialize + JsonSchema + Send;

    /// Runs it.
    fn run(node: &Node, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>> + Send;

    /// Runs it for a client that may hear how far it is. Only tools that wait have something to say.
    fn run_heard(
        node: &Node,
        input: Self::Input,
        _: &Listener,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send {
        Self::run(node, input)
    }
}

type Run = for<'a> fn(&'a Node, &'a [String], JsonObject, &'a Listener) -> BoxFuture<'a, CallToolResult>;

/// A tool in the table.
pub(crate) struct Registered {
    /// As clients see it.
    pub(crate) tool: Tool,
    /// The category in which it is listed; the meta-tools, which list it, are in none.
    category: Option<Category>,
    /// Names of its arguments.
    fields: Vec<String>,
    run: Run,
}

impl Registered {
    fn of<T: MeshTool>(category: Option<Category>) -> Self {
        let input = schema::input::<T::Input>();
        let fields = schema::properties(&input);
        let output = schema::output::<T::Output>();
        let tool = describe::<T>(input).with_raw_output_schema(Arc::new(output));
        Self { tool, category, fields, run: run::<T> }
    }

    /// A tool whose results are those of other tools.
    fn relaying<T: MeshTool>(run: Run) -> Self {
        let input = schema::input::<T::Input>();
        let fields = schema::properties(&input);
        Self { tool: describe::<T>(input), category: None, fields, run }
    }

    /// Whether it takes the argument `peer`, and so can act at another node.
    pub(crate) fn takes_peer(&self) -> bool {
        self.fields.iter().any(|field| field == "peer")
    }

    /// Calls it. What goes wrong is in the result, as MCP wants it.
    pub(crate) fn call<'a>(
        &'a self,
        node: &'a Node,
        arguments: JsonObject,
        listener: &'a Listener,
    ) -> BoxFuture<'a, CallToolResult> {
        (self.run)(node, &self.fields, arguments, listener)
    }
}

fn describe<T: MeshTool>(input: JsonObject) -> Tool {
    let description = format!("{}\nExample: {}", T::DESCRIPTION, T::EXAMPLE);
    let hints = T::HINTS;
    let annotations = ToolAnnotations::with_title(T::TITLE)
        .read_only(hints.read_only)
        .destructive(hints.destructive)
        .idempotent(hints.idempotent)
        .open_world(hints.open_world);
    Tool::new(T::NAME, description, Arc::new(input)).with_title(T::TITLE).with_annotations(annotations)
}

fn run<'a, T: MeshTool>(
    node: &'a Node,
    fields: &'a [String],
    arguments: JsonObject,
    listener: &'a Listener,
) -> BoxFuture<'a, CallToolResult> {
    Box::pin(async move {
        let outcome = match input::parse::<T::Input>(fields, arguments) {
            Ok(input) => T::run_heard(node, input, listener).await,
            Err(error) => Err(error.into()),
        };
        outcome.map_or_else(|failure| failure.into_result(), |output| outcome::success(&output))
    })
}

/// All tools of this node.
pub(crate) struct Table(BTreeMap<&'static str, Registered>);

impl Table {
    /// The tool with this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Registered> {
        self.0.get(name)
    }

    /// All tools, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Registered)> {
        self.0.iter().map(|(name, registered)| (*name, registered))
    }

    /// The tools of a category, by name.
    pub(crate) fn of(&self, category: Category) -> impl Iterator<Item = (&'static str, &Registered)> {
        self.iter().filter(move |(_, registered)| registered.category == Some(category))
    }
}

/// The table of all tools.
pub(crate) fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(build);
    &TABLE
}

fn build() -> Table {
    let mut tools = BTreeMap::new();
    let mut add = |name, registered| tools.insert(name, registered);
    macro_rules! tools {
        ($category:expr; $($tool:ty),* $(,)?) => {
            $(add(<$tool as MeshTool>::NAME, Registered::of::<$tool>($category));)*
        };
    }
    tools![
        Some(Category::Taskqueue);
        announce::AnnounceTool,
        announce::DiscoverPeers,
        announce::Heartbeat,
        change::CancelTask,
        change::ResubmitTask,
        change::SetPriority,
        change::UpdateTask,
        read::ListTasks,
        read::TaskStatusTool,
        result::GetResult,
        status::Status,
        status::WorkerStats,
        stop::ShutdownTool,
        submit::SubmitTask,
    ];
    tools![
        Some(Category::Peers);
        peers::bootstrap::BootstrapTool,
        peers::bootstrap::ContactsTool,
        peers::bootstrap::FromDnsTool,
        peers::bootstrap::FromEnvTool,
        peers::bootstrap::FromFileTool,
        peers::bootstrap::FromPublicTool,
        peers::change::CleanupTool,
        peers::change::ForgetTool,
        peers::change::RevokeTool,
        peers::find::DiscoverTool,
        peers::find::ListTool,
        peers::pair::PairTool,
        peers::public_ip::PublicIpTool,
        peers::register::RegisterTool,
    ];
    tools![
        Some(Category::Workflows);
        workflow::control::CancelTool,
        workflow::control::PauseTool,
        workflow::control::ResumeTool,
        workflow::control::RetryTool,
        workflow::control::SignalTool,
        workflow::coordinate::CoordinateTool,
        workflow::dag::DagTool,
        workflow::history::HistoryTool,
        workflow::list::ListTool,
        workflow::status::StatusTool,
        workflow::submit::SubmitTool,
        workflow::validate::ValidateTool,
    ];
    tools![
        Some(Category::Schedules);
        schedule::control::PauseTool,
        schedule::control::RemoveTool,
        schedule::control::ResumeTool,
        schedule::control::TriggerTool,
        schedule::create::CreateTool,
        schedule::list::ListTool,
    ];
    tools![None; meta::ListCategories, meta::ListCategoryTools, meta::GetSchema];
    add(<meta::Dispatch as MeshTool>::NAME, Registered::relaying::<meta::Dispatch>(meta::run_dispatch));
    Table(tools)
}
