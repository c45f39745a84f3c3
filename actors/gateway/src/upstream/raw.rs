//! Results of tool calls as the server wrote them.
//!
//! The SDK reads a result into closed types, which drop what they do not know, and takes a whole result for something
//! else when one enum in it has a value it does not know. So the result of a `tools/call` is taken out of the message
//! before the SDK reads it, and travels through it as what it never looks into: a JSON string in a custom result.

use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomResult, RequestId, ServerJsonRpcMessage,
    ServerResult,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ids of the tool calls of one connection that have no answer yet.
#[derive(Debug, Clone, Default)]
pub(super) struct CallIds(Arc<Mutex<BTreeSet<i64>>>);

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

impl CallIds {
    fn ids(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        // Nothing that holds the lock can leave the set half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a call that is sent, and forgets one that is cancelled. Says whether the message is a call.
    pub(super) fn sent(&self, message: &ClientJsonRpcMessage) -> bool {
        match message {
            ClientJsonRpcMessage::Request(request) => match (&request.request, &request.id) {
                (ClientRequest::CallToolRequest(_), RequestId::Number(id)) => {
                    self.ids().insert(*id);
                    true
                }
                _ => false,
            },
            ClientJsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(RequestId::Number(id)) = cancelled.params.request_id
                {
                    self.ids().remove(&id);
                }
                false
            }
            _ => false,
        }
    }

    /// Reads a message of the server.
    pub(super) fn decode(&self, message: &[u8]) -> Result<ServerJsonRpcMessage, serde_json::Error> {
        match self.answer(message) {
            Some((id, raw)) => {
                let result = ServerResult::CustomResult(CustomResult(Value::String(raw)));
                Ok(ServerJsonRpcMessage::response(result, RequestId::Number(id)))
            }
            None => serde_json::from_slice(message),
        }
    }

    /// Rewrites a message of the server that the SDK will read itself; none when it may stay as it is.
    pub(super) fn rewrite(&self, message: &str) -> Option<String> {
        let (id, raw) = self.answer(message.as_bytes())?;
        Some(serde_json::json!({ "jsonrpc": "2.0", "id": id, "result": raw }).to_string())
    }

    /// Id and result, if this is the result of a call; forgets the call.
    fn answer(&self, message: &[u8]) -> Option<(i64, String)> {
        let head: Head<'_> = serde_json::from_slice(message).ok()?;
        // Some servers answer with the id as text.
        let id: i64 = head.id?.get().trim_matches('"').parse().ok()?;
        if !self.ids().remove(&id) {
            return None;
        }
        head.result.map(|result| (id, result.get().to_owned()))
    }
}

/// The result as the server wrote it, or as near to it as the SDK kept it.
pub(super) fn text_of(result: ServerResult) -> Result<String, serde_json::Error> {
    match result {
        ServerResult::CustomResult(CustomResult(Value::String(raw))) => Ok(raw),
        other => serde_json::to_string(&other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::{
        CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam,
    };

    const RESULT: &str = r#"{"content":[{"type":"hologram"}],"big":123456789012345678901234567890,"x":1.0}"#;

    fn ids_with_call(id: i64) -> CallIds {
        let ids = CallIds::default();
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(CallToolRequestParams::new("t")));
        assert!(ids.sent(&ClientJsonRpcMessage::request(request, RequestId::Number(id))));
        ids
    }

    fn answer(id: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{RESULT}}}"#)
    }

    fn raw(message: ServerJsonRpcMessage) -> String {
        let (result, id) = message.into_response().unwrap();
        assert_eq!(id, RequestId::Number(7));
        text_of(result).unwrap()
    }

    #[test]
    fn the_result_of_a_call_comes_through_byte_for_byte() {
        for id in ["7", "\"7\""] {
            assert_eq!(raw(ids_with_call(7).decode(answer(id).as_bytes()).unwrap()), RESULT);
            let rewritten = ids_with_call(7).rewrite(&answer(id)).unwrap();
            // This is how the SDK reads an event of a stream.
            assert_eq!(raw(serde_json::from_str(&rewritten).unwrap()), RESULT);
        }
    }

    #[test]
    fn other_messages_are_left_to_the_sdk() {
        let ids = ids_with_call(7);
        assert!(ids.rewrite(&answer("8")).is_none());
        assert!(ids.rewrite(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).is_none());
        assert!(ids.rewrite("no json").is_none());
        let error = br#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no"}}"#;
        assert!(matches!(ids.decode(error), Ok(ServerJsonRpcMessage::Error(_))));
        assert!(ids.ids().is_empty());
    }

    #[test]
    fn a_cancelled_call_is_forgotten() {
        let ids = ids_with_call(7);
        let cancelled =
            CancelledNotification::new(CancelledNotificationParam::new(Some(RequestId::Number(7)), None));
        ids.sent(&ClientJsonRpcMessage::notification(cancelled.into()));
        assert!(ids.ids().is_empty());
    }
}
