//! The HTTP client of the SDK with one difference: results of tool calls come through byte for byte.

use super::raw::CallIds;
use axum::http::{HeaderName, HeaderValue, header};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, future};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use sse_stream::{Sse, SseStream};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

type Error = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

const SESSION: &str = "mcp-session-id";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The client of one connection.
#[derive(Clone)]
pub(super) struct RawHttp {
    http: reqwest::Client,
    calls: CallIds,
}

impl RawHttp {
    pub(super) fn new(http: reqwest::Client) -> Self {
        Self { http, calls: CallIds::default() }
    }

    fn raw_events(&self, events: Events) -> Events {
        let calls = self.calls.clone();
        let rewritten = events.map_ok(move |mut event| {
            if let Some(raw) = event.data.as_deref().and_then(|data| calls.rewrite(data)) {
                event.data = Some(raw);
            }
            event
        });
        rewritten.boxed()
    }

    /// Posts a tool call, as the SDK would, and reads the answer ourselves.
    async fn post_call(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Error> {
        let mut request = self.http.post(uri.as_ref()).header(header::ACCEPT, format!("{EVENTS}, {JSON}"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let in_session = session.is_some();
        if let Some(session) = session {
            request = request.header(SESSION, session.as_ref());
        }
        let response = request.json(&message).send().await.map_err(StreamableHttpError::Client)?;
        let status = response.status();
        if status == reqwest::StatusCode::NOT_FOUND && in_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        let session = response.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let kind = media_type(&response);
        if status.is_success() && kind == EVENTS {
            let events =
                SseStream::from_bytes_stream(bounded(response.bytes_stream(), limits.max_sse_event_size));
            return Ok(StreamableHttpPostResponse::Sse(self.raw_events(events.boxed()), session));
        }
        if kind != JSON {
            let body = read(response, limits.max_error_response_size).await.unwrap_or_default();
            let text = super::clip(&String::from_utf8_lossy(&body));
            return Err(StreamableHttpError::UnexpectedServerResponse(
                format!("HTTP {status}: {text}").into(),
            ));
        }
        let body = read(response, limits.max_json_response_size).await?;
        let answer = self.calls.decode(&body)?;
        // An error status with a JSON-RPC error says both; with anything else the status counts.
        if !status.is_success() && !matches!(answer, ServerJsonRpcMessage::Error(_)) {
            return Err(StreamableHttpError::UnexpectedServerResponse(format!("HTTP {status}").into()));
        }
        Ok(StreamableHttpPostResponse::Json(answer, session))
    }
}

fn media_type(response: &reqwest::Response) -> String {
    let value = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The whole body, if it is not longer than `max`.
async fn read(response: reqwest::Response, max: usize) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(StreamableHttpError::Client)? {
        if body.len().saturating_add(chunk.len()) > max {
            return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Ends a stream of events with an error when one event becomes longer than `max`: events end with an empty line.
fn bounded(
    chunks: impl futures::Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
    max: usize,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let (mut len, mut line) = (0_usize, 0_usize);
    chunks.map_err(std::io::Error::other).and_then(move |chunk| {
        let mut checked = Ok(());
        for byte in &chunk {
            len = len.saturating_add(1);
            match byte {
                b'\n' if line == 0 => len = 0,
                b'\n' => line = 0,
                b'\r' => {}
                _ => line = line.saturating_add(1),
            }
            if len > max {
                checked = Err(std::io::Error::other(format!("an event is longer than {max} bytes")));
                break;
            }
        }
        future::ready(checked.map(|()| chunk))
    })
}

impl StreamableHttpClient for RawHttp {
    type Error = reqwest::Error;

    fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> impl Future<Output = Result<StreamableHttpPostResponse, Error>> + Send + '_ {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session, token, headers, limits)
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Error> {
        if self.calls.sent(&message) {
            return Box::pin(self.post_call(uri, message, session, token, headers, limits)).await;
        }
        let posted =
            self.http.post_message_with_response_limits(uri, message, session, token, headers, limits);
        Box::pin(posted).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<(), Error> {
        self.http.delete_session(uri, session, token, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event_id: Option<String>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<Events, Error> {
        let events = self.http.get_stream(uri, session, last_event_id, token, headers).await?;
        Ok(self.raw_events(events))
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event_id: Option<String>,
        token: Option<String>,
        headers: Headers,
        max_sse_event_size: usize,
    ) -> Result<Events, Error> {
        let stream = self.http.get_stream_with_max_sse_event_size(
            uri,
            session,
            last_event_id,
            token,
            headers,
            max_sse_event_size,
        );
        Ok(self.raw_events(Box::pin(stream).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn total(chunks: &'static [&'static str], max: usize) -> Result<usize, String> {
        let chunks =
            futures::stream::iter(chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))));
        let seen = bounded(chunks, max).try_fold(0, |sum, chunk| future::ready(Ok(sum + chunk.len()))).await;
        seen.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn events_may_be_many_but_each_is_bounded() {
        let short = &["data: 1\n\ndata", ": 2\r\n\r\n", "data: 3\n\n"];
        assert_eq!(total(short, 12).await, Ok(29));
        assert!(total(&["data: 1234", "5678\n\n"], 12).await.unwrap_err().contains("longer than 12"));
    }
}
