//! A tiny MCP server on standard input and output, to try upstream servers with: it echoes, is slow, ends on demand and
//! grows a tool while it runs. `TINY_NAME` names it; with `TINY_REFUSE` it ends at once.

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Clone, Default)]
struct Tiny {
    name: String,
    grown: Arc<AtomicBool>,
    changed: Arc<Notify>,
    cancelled: Arc<AtomicU64>,
}

fn tool(name: &'static str, description: &'static str) -> Tool {
    Tool::new(name, description, JsonObject::from_iter([("type".to_owned(), Value::from("object"))]))
}

impl Tiny {
    async fn slow(&self, seconds: f64, context: &RequestContext<RoleServer>) -> CallToolResult {
        tokio::select! {
            () = tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default()) => {}
            () = context.ct.cancelled() => {
                self.cancelled.fetch_add(1, Ordering::SeqCst);
            }
        }
        CallToolResult::structured(json!({ "slept": seconds }))
    }
}

impl ServerHandler for Tiny {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut tools = vec![
            tool("echo", "Gives its arguments back."),
            tool("slow", "Waits for `seconds`."),
            tool("fail", "Says that it failed."),
            tool("crash", "Ends the process."),
            tool("grow", "Adds a tool."),
            tool("cancelled", "Says how many calls were cancelled."),
            tool("child", "Starts a process that outlives its call and gives its id."),
            tool("environment", "Gives the names of its environment."),
        ];
        if self.grown.load(Ordering::SeqCst) {
            tools.push(tool("grown.later", "Was added."));
        }
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let result = match request.name.as_ref() {
            "echo" => CallToolResult::structured(Value::Object(arguments)),
            "slow" => {
                let seconds = arguments.get("seconds").and_then(Value::as_f64).unwrap_or(1.0);
                self.slow(seconds, &context).await
            }
            "fail" => CallToolResult::error(vec![ContentBlock::text("it did not work")]),
            "crash" => {
                eprintln_last_words();
                std::process::abort()
            }
            "grow" => {
                self.grown.store(true, Ordering::SeqCst);
                self.changed.notify_waiters();
                // Clients of the older era hear it this way; those of the present one refuse nothing by it.
                let _ = context.peer.notify_tool_list_changed().await;
                CallToolResult::structured(json!({ "grown": true }))
            }
            "cancelled" => {
                CallToolResult::structured(json!({ "cancelled": self.cancelled.load(Ordering::SeqCst) }))
            }
            "child" => {
                let child = tokio::process::Command::new("sleep").arg("600").spawn();
                let id = child.ok().and_then(|child| child.id());
                CallToolResult::structured(json!({ "pid": id }))
            }
            "environment" => {
                let names: Vec<String> =
                    std::env::vars_os().map(|(name, _)| name.to_string_lossy().into()).collect();
                CallToolResult::structured(json!({ "names": names }))
            }
            other => {
                return Err(ErrorData::invalid_params(format!("{} has no tool {other:?}", self.name), None));
            }
        };
        Ok(result.into())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = self.changed.notified() => {
                    let _ = context.sink().notify_tool_list_changed().await;
                }
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program's last words")]
fn eprintln_last_words() {
    eprintln!("these are my last words");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::var_os("TINY_REFUSE").is_some() {
        eprintln_last_words();
        return ExitCode::FAILURE;
    }
    let name = std::env::var_os("TINY_NAME")
        .map_or_else(|| "tiny".into(), |name| name.to_string_lossy().into_owned());
    let served = Tiny { name, ..Tiny::default() }.serve((tokio::io::stdin(), tokio::io::stdout())).await;
    let Ok(running) = served else {
        return ExitCode::FAILURE;
    };
    if running.waiting().await.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
