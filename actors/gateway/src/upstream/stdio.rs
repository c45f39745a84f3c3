//! A server's process as a transport of the SDK.

use super::lines::Lines;
use super::process::{Group, Streams};
use super::raw::CallIds;
use crate::options::MAX_MESSAGE;
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex as Guarded, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::Mutex;

/// Longest line of a server's log in bytes.
const MAX_LOG_LINE: usize = 8 * 1024;
/// Lines of a server's log that are kept for its error.
const LOG_KEPT: usize = 5;

/// The last lines that a server wrote to its standard error, and how it ended.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWords(Arc<Guarded<VecDeque<String>>>);

impl LastWords {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LOG_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines in one, or nothing.
    pub(super) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// The transport.
pub(super) struct StdioTransport {
    group: Group,
    input: Arc<Mutex<Option<ChildStdin>>>,
    output: Lines<ChildStdout>,
    calls: CallIds,
    last_words: LastWords,
}

impl StdioTransport {
    /// Takes a process over; its standard error goes to the debug log.
    pub(super) fn new(server: &str, group: Group, streams: Streams) -> (Self, LastWords) {
        let last_words = LastWords::default();
        tokio::spawn(log(server.to_owned(), streams.errors, last_words.clone()));
        let transport = Self {
            group,
            input: Arc::new(Mutex::new(Some(streams.input))),
            output: Lines::new(streams.output, MAX_MESSAGE),
            calls: CallIds::default(),
            last_words: last_words.clone(),
        };
        (transport, last_words)
    }
}

/// Passes a server's log on; ends with it.
async fn log(server: String, errors: ChildStderr, last_words: LastWords) {
    let mut lines = Lines::new(errors, MAX_LOG_LINE);
    while let Ok(Some(line)) = lines.next().await {
        let line = String::from_utf8_lossy(line).into_owned();
        tracing::debug!(server, "{line}");
        last_words.push(line);
    }
}

impl Transport<RoleClient> for StdioTransport {
    type Error = io::Error;

    fn send(&mut self, item: ClientJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.calls.sent(&item);
        let input = Arc::clone(&self.input);
        async move {
            let mut line = serde_json::to_vec(&item)?;
            line.push(b'\n');
            match input.lock().await.as_mut() {
                Some(input) => {
                    input.write_all(&line).await?;
                    input.flush().await
                }
                None => Err(io::Error::new(io::ErrorKind::NotConnected, "the server's input is closed")),
            }
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            match self.output.next().await {
                Ok(Some([])) => {}
                Ok(Some(line)) => match self.calls.decode(line) {
                    Ok(message) => return Some(message),
                    // Some servers print to standard output what belongs into their log.
                    Err(error) => tracing::debug!(%error, "a line that is no message is skipped"),
                },
                Ok(None) => {
                    if let Some(status) = self.group.exit_status() {
                        self.last_words.push(status.to_string());
                    }
                    return None;
                }
                Err(error) => {
                    self.last_words.push(format!("its output cannot be read: {error}"));
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        drop(self.input.lock().await.take());
        self.group.end().await;
        Ok(())
    }
}
