//! Running one tool, whichever kind it is: what a task and a direct call have in common.

use super::metrics::Metrics;
use super::options::ExecutorOptions;
use super::process::{ProcessCall, Processes, Spawner};
use super::progress::{ProgressSink, clip};
use super::registry::{Runner, Tool};
use super::stop::{Stop, StopReason};
use bytes::Bytes;
use meshwork_kit::Port;
use meshwork_proto::canonical;
use meshwork_proto::executor::{ToolError, ToolOutput};
use meshwork_proto::upstream::{CallUpstream, UpstreamError, UpstreamResult};
use meshwork_proto::{Coded, Fence, Json, TaskId};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Documents larger than this are parsed in the blocking pool, in bytes.
const LARGE: usize = 64 * 1024;
/// Longest document that is read, in bytes: above every limit of results, which say it better.
const LARGEST: usize = 128 * 1024 * 1024;
/// An upstream that keeps its own deadline answers within this after it.
const UPSTREAM_SLACK: Duration = Duration::from_secs(1);

/// The attempt that a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskTag {
    pub(super) id: TaskId,
    pub(super) attempt: u32,
    pub(super) fence: Fence,
}

/// A call of a tool.
pub(super) struct Call {
    pub(super) tool: Arc<Tool>,
    /// A JSON object.
    pub(super) arguments: Json,
    /// How long it may run; the tool's own limit applies too.
    pub(super) timeout: Option<Duration>,
    pub(super) stop: Stop,
    pub(super) sink: ProgressSink,
    pub(super) task: Option<TaskTag>,
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended<T> {
    /// With a result.
    Done(T),
    /// With an error.
    Failed(ToolError),
    /// It was stopped from outside.
    Stopped(StopReason),
}

/// What running tools needs.
pub(super) struct Tools {
    pub(super) options: Arc<ExecutorOptions>,
    processes: Processes,
    upstream: Port<CallUpstream>,
    metrics: Metrics,
}

impl Tools {
    pub(super) fn new(
        options: Arc<ExecutorOptions>,
        spawner: Spawner,
        upstream: Port<CallUpstream>,
        metrics: Metrics,
    ) -> Self {
        let processes = Processes { spawner, metrics: metrics.clone() };
        Self { options, processes, upstream, metrics }
    }

    /// Runs a call to its end. The result of a built-in or process tool is canonical JSON.
    pub(super) async fn run(&self, call: Call) -> Ended<ToolOutput> {
        let kind = call.tool.kind();
        let begun = Instant::now();
        self.metrics.started(kind);
        let running = Running { metrics: &self.metrics, kind };
        let ended = self.dispatch(&call).await;
        drop(running);
        let outcome = match &ended {
            Ended::Done(_) => "completed",
            Ended::Failed(error) => error.code().as_str(),
            Ended::Stopped(reason) => reason.label(),
        };
        self.metrics.ran(kind, outcome, begun.elapsed());
        ended
    }

    async fn dispatch(&self, call: &Call) -> Ended<ToolOutput> {
        let timeout = call.timeout.map_or(call.tool.timeout, |timeout| timeout.min(call.tool.timeout));
        match &call.tool.runner {
            Runner::BuiltIn(tool) => {
                let arguments = match parse_object(call).await {
                    Ok(arguments) => arguments,
                    Err(error) => return Ended::Failed(error),
                };
                let work = async {
                    let value = tool.run(arguments, &self.options).await?;
                    to_canonical(call.tool.name(), value).await
                };
                limited(call, timeout, Duration::ZERO, work).await
            }
            Runner::Process(tool) => {
                if let Err(error) = check_object(call).await {
                    return Ended::Failed(error);
                }
                let process = ProcessCall {
                    tool,
                    arguments: call.arguments.bytes(),
                    task: call.task,
                    timeout,
                    stop: &call.stop,
                    sink: &call.sink,
                };
                match self.processes.run(process, &self.options).await {
                    Ended::Done(bytes) => match canonical_output(call.tool.name(), bytes).await {
                        Ok(result) => Ended::Done(ToolOutput { result, mcp_result: None }),
                        Err(error) => Ended::Failed(error),
                    },
                    Ended::Failed(error) => Ended::Failed(error),
                    Ended::Stopped(reason) => Ended::Stopped(reason),
                }
            }
            Runner::Mcp { server, tool } => {
                if let Err(error) = check_object(call).await {
                    return Ended::Failed(error);
                }
                let work = self.ask_upstream(call, server, tool, timeout);
                limited(call, timeout, UPSTREAM_SLACK, work).await
            }
        }
    }

    async fn ask_upstream(
        &self,
        call: &Call,
        server: &str,
        tool: &str,
        timeout: Duration,
    ) -> Result<ToolOutput, ToolError> {
        let request = CallUpstream {
            server: server.to_owned(),
            tool: tool.to_owned(),
            arguments: call.arguments.clone(),
            timeout_ms: millis(timeout),
        };
        let name = call.tool.name();
        match self.upstream.ask(request, timeout + UPSTREAM_SLACK).await {
            Ok(Ok(result)) => upstream_output(name, result),
            Ok(Err(error)) => Err(upstream_error(name, error)),
            Err(error) => Err(ToolError::Unavailable { tool: name.to_owned(), problem: error.to_string() }),
        }
    }
}

/// The gauge falls also when the future is dropped.
struct Running<'a> {
    metrics: &'a Metrics,
    kind: meshwork_proto::executor::ToolKind,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.ended(self.kind);
    }
}

/// Runs work that ends when it is dropped, until it is told to stop or its time is over; `slack` later than that if
/// the work keeps the time itself.
async fn limited(
    call: &Call,
    timeout: Duration,
    slack: Duration,
    work: impl Future<Output = Result<ToolOutput, ToolError>>,
) -> Ended<ToolOutput> {
    tokio::select! {
        biased;
        reason = call.stop.wanted() => Ended::Stopped(reason),
        result = work => match result {
            Ok(output) => Ended::Done(output),
            Err(error) => Ended::Failed(error),
        },
        () = tokio::time::sleep(timeout + slack) => {
            Ended::Failed(ToolError::Timeout { tool: call.tool.name().to_owned(), after_ms: millis(timeout) })
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Runs CPU work on documents: here if they are small, in the blocking pool if not.
pub(super) async fn crunch<T: Send + 'static>(
    len: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    if len <= LARGE { Ok(work()) } else { tokio::task::spawn_blocking(work).await }
}

async fn parse_object(call: &Call) -> Result<serde_json::Map<String, Value>, ToolError> {
    let wrong = |problem: String| ToolError::Arguments { tool: call.tool.name().to_owned(), problem };
    let arguments = call.arguments.clone();
    match crunch(arguments.len(), move || arguments.parse()).await {
        Ok(Ok(Value::Object(map))) => Ok(map),
        Ok(Ok(other)) => Err(wrong(format!("expected a JSON object, got {}", type_of(&other)))),
        Ok(Err(error)) => Err(wrong(format!("expected a JSON object: {error}"))),
        Err(error) => Err(wrong(format!("could not be parsed: {error}"))),
    }
}

/// That the arguments are an object, without building it.
async fn check_object(call: &Call) -> Result<(), ToolError> {
    type Members<'a> = std::collections::BTreeMap<String, &'a serde_json::value::RawValue>;
    let wrong = |problem: String| ToolError::Arguments { tool: call.tool.name().to_owned(), problem };
    let bytes = call.arguments.bytes().clone();
    let checked =
        crunch(bytes.len(), move || serde_json::from_slice::<Members<'_>>(&bytes).map(|_| ())).await;
    match checked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(wrong(format!("expected a JSON object: {error}"))),
        Err(error) => Err(wrong(format!("could not be parsed: {error}"))),
    }
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Strict reading, with a limit above that of all results.
fn canonical_bytes(bytes: &[u8]) -> Result<Vec<u8>, canonical::CanonicalError> {
    let limits = canonical::Limits { max_bytes: LARGEST, ..canonical::Limits::default() };
    canonical::to_canonical(&canonical::parse_strict(bytes, &limits)?)
}

/// The canonical form of what a tool wrote.
///
/// # Errors
/// [`ToolError::Output`] when it is not one JSON document.
pub(super) async fn canonical_output(tool: &str, bytes: Vec<u8>) -> Result<Json, ToolError> {
    let unusable = |problem: String| ToolError::Output { tool: tool.to_owned(), problem };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(unusable("it gave nothing: expected one JSON document".into()));
    }
    let start = clip(&String::from_utf8_lossy(bytes.get(..64).unwrap_or(&bytes)), 80);
    match crunch(bytes.len(), move || canonical_bytes(&bytes)).await {
        Ok(Ok(canonical)) => Ok(Json::from_checked(Bytes::from(canonical))),
        Ok(Err(error)) => {
            Err(unusable(format!("{error}; expected one JSON document, it starts with {start:?}")))
        }
        Err(error) => Err(unusable(format!("it could not be checked: {error}"))),
    }
}

async fn to_canonical(tool: &str, value: Value) -> Result<ToolOutput, ToolError> {
    let unusable = |problem: String| ToolError::Output { tool: tool.to_owned(), problem };
    let written = canonical::to_canonical(&value).map_err(|error| unusable(error.to_string()))?;
    Ok(ToolOutput { result: Json::from_checked(Bytes::from(written)), mcp_result: None })
}

fn upstream_output(tool: &str, result: UpstreamResult) -> Result<ToolOutput, ToolError> {
    let UpstreamResult { raw, result, is_error } = result;
    if is_error {
        let message = failure_text(&result);
        return Err(ToolError::Failed { tool: tool.to_owned(), message, mcp_result: Some(raw) });
    }
    Ok(ToolOutput { result, mcp_result: Some(raw) })
}

/// What a failed MCP tool says, as text: its text blocks, or else the document.
fn failure_text(result: &Json) -> String {
    const SHOWN: usize = 2_000;
    let value = result.to_value();
    let blocks = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect();
    if texts.is_empty() { clip(&value.to_string(), SHOWN) } else { clip(&texts.join("\n"), SHOWN) }
}

fn upstream_error(tool: &str, error: UpstreamError) -> ToolError {
    let tool = tool.to_owned();
    match error {
        UpstreamError::Timeout { after_ms, .. } => ToolError::Timeout { tool, after_ms },
        UpstreamError::Refused { code: -32602, message, .. } => {
            ToolError::Arguments { tool, problem: clip(&message, 2_000) }
        }
        error @ UpstreamError::Refused { .. } => {
            ToolError::Failed { tool, message: clip(&error.to_string(), 2_000), mcp_result: None }
        }
        error @ UpstreamError::Unavailable { .. } => {
            ToolError::Unavailable { tool, problem: clip(&error.to_string(), 2_000) }
        }
    }
}
