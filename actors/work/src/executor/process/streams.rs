//! The three standard streams of a tool, each with a bound.

use super::super::progress::ProgressSink;
use super::super::sandbox;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// The end of standard error that an error message shows, in bytes.
pub(super) const TAIL: usize = 4 * 1024;
/// A longer line of standard error is cut into several.
const LONGEST_LINE: usize = 4 * 1024;
const PIECE: usize = 16 * 1024;

/// Writes the arguments and closes. A tool need not read them: a broken pipe is its own affair.
pub(super) async fn feed(stdin: Option<impl AsyncWrite + Unpin>, bytes: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(bytes).await;
        let _ = stdin.shutdown().await;
    }
}

/// Standard output so far.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// There was more than the limit.
    pub(super) overflow: bool,
}

/// Reads up to `limit` bytes; at the first byte more it says so and stops reading.
pub(super) async fn collect(
    stdout: Option<impl AsyncRead + Unpin>,
    limit: u64,
    output: &mut Output,
    overflow: &Notify,
) {
    let Some(mut stdout) = stdout else { return };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut piece = vec![0_u8; PIECE];
    while let Ok(read) = stdout.read(&mut piece).await {
        if read == 0 {
            return;
        }
        if output.bytes.len() + read > limit {
            output.overflow = true;
            overflow.notify_one();
            return;
        }
        output.bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
}

/// Standard error: its end, and what the launcher said instead of the tool.
#[derive(Debug, Default)]
pub(super) struct Log {
    tail: String,
    pub(super) launcher: Option<String>,
}

impl Log {
    /// The end of the log for an error message: with a separator in front, or empty.
    pub(super) fn shown(&self) -> String {
        let tail = self.tail.trim_end();
        if tail.is_empty() { String::new() } else { format!("; its standard error ends with: {tail}") }
    }

    fn line(&mut self, line: &str, sink: &ProgressSink) {
        if let Some(said) = line.strip_prefix(sandbox::MARK) {
            self.launcher = Some(said.to_owned());
        }
        if sink.line(line) {
            return;
        }
        self.tail.push_str(line);
        self.tail.push('\n');
        if self.tail.len() > 2 * TAIL {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let from = self.tail.len().saturating_sub(TAIL);
        let from = (from..self.tail.len()).find(|at| self.tail.is_char_boundary(*at)).unwrap_or(from);
        self.tail = self.tail.split_off(from);
    }
}

/// Reads lines until the end, forwarding each.
pub(super) async fn follow(stderr: Option<impl AsyncRead + Unpin>, sink: &ProgressSink, log: &mut Log) {
    let Some(mut stderr) = stderr else { return };
    let mut piece = vec![0_u8; PIECE];
    let mut line: Vec<u8> = Vec::new();
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        for byte in piece.get(..read).unwrap_or_default() {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if *byte == b'\n' || line.len() >= LONGEST_LINE {
                log.line(&String::from_utf8_lossy(&line), sink);
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        log.line(&String::from_utf8_lossy(&line), sink);
    }
    log.cut();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_up_to_the_limit_is_kept_and_one_byte_more_is_an_overflow() {
        for (len, fits) in [(PIECE * 2, true), (PIECE * 2 + 1, false)] {
            let (bytes, notify, mut output) = (vec![b'x'; len], Notify::new(), Output::default());
            collect(Some(&bytes[..]), (PIECE * 2) as u64, &mut output, &notify).await;
            assert_eq!(output.overflow, !fits);
            assert!(output.bytes.len() <= PIECE * 2);
        }
    }

    #[tokio::test]
    async fn the_tail_of_the_log_is_bounded_and_progress_is_not_in_it() {
        let sink = ProgressSink::new(None);
        let mut log = Log::default();
        let text = format!("{}\n{{\"progress\": 1}}\n{}the end", "ä".repeat(100_000), "line\n".repeat(3_000));
        follow(Some(text.as_bytes()), &sink, &mut log).await;
        assert!(log.tail.len() <= TAIL && log.tail.ends_with("the end\n"));
        assert!(!log.tail.contains("progress"));
        assert_eq!(sink.take_news().unwrap().done, 1.0);
    }

    #[tokio::test]
    async fn what_the_launcher_says_is_told_apart() {
        let (sink, mut log) = (ProgressSink::new(None), Log::default());
        let text = format!("{}no such program\n", sandbox::MARK);
        follow(Some(text.as_bytes()), &sink, &mut log).await;
        assert_eq!(log.launcher.as_deref(), Some("no such program"));
    }
}
