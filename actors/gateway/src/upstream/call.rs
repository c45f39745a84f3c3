//! A call to an upstream server: bounded, with a deadline, cancelled at the server when nobody waits for it.

use super::{Routes, Server, clip, raw};
use crate::metrics::Outcome;
use meshwork_proto::Json;
use meshwork_proto::upstream::{CallUpstream, UpstreamError, UpstreamResult};
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, ClientRequest,
    JsonObject, RequestId,
};
use rmcp::service::{Peer, PeerRequestOptions, ServiceError};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a call waits for a server that is being started.
const WAIT_UP: Duration = Duration::from_secs(5);
/// JSON-RPC: the arguments are not what the method takes.
const INVALID_PARAMS: i64 = -32602;

/// Calls a tool of an upstream server. Dropping the future cancels the call at the server.
pub(crate) async fn call_upstream(
    routes: Arc<Routes>,
    call: CallUpstream,
) -> Result<UpstreamResult, UpstreamError> {
    let Some(server) = routes.get(&call.server) else {
        let names: Vec<&str> = routes.keys().map(String::as_str).collect();
        let problem = format!("it is not configured; configured are [{}]", names.join(", "));
        return Err(UpstreamError::Unavailable { server: call.server, problem });
    };
    let mut counted = Counted { server, outcome: Outcome::Cancelled };
    let result = Box::pin(server.call(call)).await;
    counted.outcome = match &result {
        Ok(result) if !result.is_error => Outcome::Ok,
        _ => Outcome::Error,
    };
    result
}

/// Counts the call when it is over, however that is.
struct Counted<'a> {
    server: &'a Server,
    outcome: Outcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.server.metrics.upstream_called(self.server.name(), self.outcome);
    }
}

/// Counts a call that is under way.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells the server that nobody waits for a call any more, unless it was answered.
struct CancelOnDrop {
    peer: Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            let peer = self.peer.clone();
            runtime.spawn(async move {
                let params =
                    CancelledNotificationParam::new(Some(id), Some("nobody waits for the answer".into()));
                // A server that is gone needs not be told.
                let _ = peer.send_notification(CancelledNotification::new(params).into()).await;
            });
        }
    }
}

impl Server {
    async fn call(&self, call: CallUpstream) -> Result<UpstreamResult, UpstreamError> {
        let limit = Duration::from_millis(call.timeout_ms).min(self.options.call_timeout);
        let deadline = Instant::now() + limit;
        let late = || UpstreamError::Timeout {
            server: self.name().to_owned(),
            after_ms: crate::node::millis(limit),
        };
        let arguments = arguments(self.name(), &call.arguments)?;

        let waiting = self.waiting.try_acquire().map_err(|_| {
            self.unavailable(format!("{} calls wait for it already; try again later", super::WAITING))
        })?;
        let slot = tokio::time::timeout_at(deadline, self.slots.acquire()).await.map_err(|_| late())?;
        let _slot = slot.map_err(|_| self.unavailable("the gateway stops".into()))?;
        let peer = self.connected(deadline).await?;
        drop(waiting);

        let _in_flight = InFlight::new(&self.in_flight);
        let params = CallToolRequestParams::new(call.tool).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let sent = peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
        let handle = sent.map_err(|error| self.failed(error))?;
        let mut cancel = CancelOnDrop { peer, id: Some(handle.id.clone()) };
        let answer = tokio::time::timeout_at(deadline, handle.await_response()).await.map_err(|_| late())?;
        cancel.id = None;
        let text = answer.map_err(|error| self.failed(error)).and_then(|result| {
            raw::text_of(result)
                .map_err(|error| self.unavailable(format!("its answer cannot be read: {error}")))
        })?;
        self.understand(text)
    }

    /// The connection; waits a little for a server that is being started.
    async fn connected(&self, deadline: Instant) -> Result<Peer<RoleClient>, UpstreamError> {
        let mut connection = self.peer.subscribe();
        let deadline = deadline.min(Instant::now() + WAIT_UP);
        let up = tokio::time::timeout_at(deadline, connection.wait_for(Option::is_some)).await;
        if let Ok(Ok(peer)) = &up
            && let Some(peer) = peer.as_ref()
        {
            return Ok(peer.clone());
        }
        let problem = self.status.borrow().last_error.clone();
        Err(self.unavailable(problem.unwrap_or_else(|| "it has not started yet".into())))
    }

    fn unavailable(&self, problem: String) -> UpstreamError {
        UpstreamError::Unavailable { server: self.name().to_owned(), problem }
    }

    fn failed(&self, error: ServiceError) -> UpstreamError {
        match error {
            ServiceError::McpError(error) => UpstreamError::Refused {
                server: self.name().to_owned(),
                code: i64::from(error.code.0),
                message: clip(&error.message),
            },
            ServiceError::TransportClosed => self.unavailable("it ended while it worked on the call".into()),
            other => self.unavailable(clip(&crate::causes::of_request(&other))),
        }
    }

    /// Takes out of a result what the mesh needs, and keeps the whole.
    fn understand(&self, text: String) -> Result<UpstreamResult, UpstreamError> {
        let shape: Shape<'_> = match serde_json::from_str(&text) {
            Ok(shape) => shape,
            Err(error) => return Err(self.unavailable(format!("its result is not one of a tool: {error}"))),
        };
        if let Some(kind) = shape.result_type
            && kind != "complete"
        {
            // This node says that it can do neither, so a server that asks for it breaks the protocol.
            return Err(self.unavailable(format!(
                "it answered with {kind:?}, which this client did not offer to handle"
            )));
        }
        let inner = shape.structured_content.or(shape.content).map_or("[]", RawValue::get);
        let result = Json::from_checked(inner.to_owned().into());
        let is_error = shape.is_error.unwrap_or(false);
        Ok(UpstreamResult { result, is_error, raw: Json::from_checked(text.into()) })
    }
}

/// The members of a tool's result that matter here, as they were written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    #[serde(borrow, default)]
    structured_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(default)]
    result_type: Option<String>,
}

fn arguments(server: &str, arguments: &Json) -> Result<JsonObject, UpstreamError> {
    match arguments.to_value() {
        Value::Object(arguments) => Ok(arguments),
        _ => Err(UpstreamError::Refused {
            server: server.to_owned(),
            code: INVALID_PARAMS,
            message: "the arguments are not a JSON object".into(),
        }),
    }
}
