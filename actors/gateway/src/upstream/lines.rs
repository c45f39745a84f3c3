//! Lines of a stream, bounded in length. Cutting a read off loses nothing.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Reads lines of at most so many bytes; longer ones are skipped as a whole.
pub(super) struct Lines<R> {
    read: BufReader<R>,
    line: Vec<u8>,
    max: usize,
    /// A line that is too long is being skipped, to its end.
    skipping: bool,
    /// The line in `line` was given out.
    given: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(read: R, max: usize) -> Self {
        Self { read: BufReader::new(read), line: Vec::new(), max, skipping: false, given: false }
    }

    /// The next line without its end; `None` at the end of the stream, where an unfinished line is dropped.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<&[u8]>> {
        if self.given {
            self.line.clear();
            self.given = false;
        }
        loop {
            // Nothing is awaited between reading from the buffer and consuming it.
            let available = self.read.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |index| index + 1);
            if !self.skipping {
                if self.line.len().saturating_add(taken) > self.max.saturating_add(1) {
                    self.skipping = true;
                    self.line.clear();
                    tracing::warn!(max = self.max, "a line that is too long is skipped");
                } else {
                    self.line.extend_from_slice(available.get(..taken).unwrap_or(available));
                }
            }
            self.read.consume(taken);
            if end.is_none() {
                continue;
            }
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            self.given = true;
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            return Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_one_by_one_and_too_long_ones_are_skipped() {
        let text: &[u8] = b"one\r\n0123456789\ntwo\n\n\xff\nunfinished";
        let mut lines = Lines::new(text, 5);
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            seen.push(line.to_vec());
        }
        assert_eq!(seen, [b"one".to_vec(), b"two".to_vec(), b"".to_vec(), b"\xff".to_vec()]);
    }

    #[tokio::test]
    async fn a_read_that_is_cut_off_goes_on_where_it_was() {
        use futures::FutureExt;
        use tokio::io::AsyncWriteExt;
        let (mut write, read) = tokio::io::duplex(64);
        let mut lines = Lines::new(read, 100);
        write.write_all(b"half").await.unwrap();
        assert!(lines.next().now_or_never().is_none());
        write.write_all(b" whole\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(b"half whole".as_slice()));
    }
}
