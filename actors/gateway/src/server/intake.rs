//! Bodies on their way to the MCP server: bounded, and refused in the terms of JSON-RPC when they are no message of it.

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// JSON-RPC: the body is not JSON.
const PARSE_ERROR: i32 = -32700;
/// JSON-RPC: the body is JSON, but no request.
const INVALID_REQUEST: i32 = -32600;
/// Room made for a body because of its declared length; more only as it comes.
const MOST_RESERVED: usize = 1024 * 1024;

/// Why a body was not read.
enum Unread {
    TooLarge,
    Broken(axum::Error),
}

/// Passes on what is JSON and has at most `max` bytes. The SDK copies the body once more, but gives the copy back
/// before it builds anything from it.
pub(super) async fn intake(State(max): State<usize>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let says_json = says_json(&parts.headers);
    let body = match read(body, declared_len(&parts.headers), max).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            let message = format!("the body of the request is larger than the limit of {max} bytes");
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, &message);
        }
        Err(Unread::Broken(error)) => {
            let message = format!("the body of the request could not be read: {error}");
            return refusal(StatusCode::BAD_REQUEST, PARSE_ERROR, &message);
        }
    };
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(&body) {
        let message = format!("the body of the request is not JSON: {error}");
        return refusal(StatusCode::BAD_REQUEST, PARSE_ERROR, &message);
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    // The SDK blames the media type when JSON is no message.
    if says_json && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let message = "the body of the request is JSON, but not one JSON-RPC message as MCP has them";
        return refusal(StatusCode::BAD_REQUEST, INVALID_REQUEST, message);
    }
    response
}

fn says_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/json")
}

fn declared_len(headers: &HeaderMap) -> usize {
    let len = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok());
    len.and_then(|len| len.parse().ok()).unwrap_or(0)
}

async fn read(body: Body, declared: usize, max: usize) -> Result<Bytes, Unread> {
    let mut chunks = body.into_data_stream();
    if declared > max {
        return Err(skip(chunks, max).await);
    }
    let Some(first) = chunks.try_next().await.map_err(Unread::Broken)? else {
        return Ok(Bytes::new());
    };
    // Most bodies come in one piece and need no copy.
    if first.len() <= max && first.len() == declared {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(declared.min(MOST_RESERVED));
    let mut next = Some(first);
    while let Some(chunk) = next {
        if whole.len().saturating_add(chunk.len()) > max {
            drop(whole);
            return Err(skip(chunks, max).await);
        }
        whole.extend_from_slice(&chunk);
        next = chunks.try_next().await.map_err(Unread::Broken)?;
    }
    Ok(whole.freeze())
}

/// Reads on for a while without keeping anything: a client that is still sending when the connection is closed never
/// sees the answer.
async fn skip(mut chunks: BodyDataStream, mut most: usize) -> Unread {
    while let Ok(Some(chunk)) = chunks.try_next().await {
        let Some(left) = most.checked_sub(chunk.len()) else {
            break;
        };
        most = left;
    }
    Unread::TooLarge
}

fn refusal(status: StatusCode, code: i32, message: &str) -> Response {
    let error = json!({"jsonrpc": "2.0", "id": Value::Null, "error": {"code": code, "message": message}});
    (status, Json(error)).into_response()
}
