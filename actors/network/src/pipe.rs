//! Frames over a stream, both ways, from one task: what is pushed is collected and written in one go, what is read is
//! cut into frames. Owns the buffers of a stream and their limits; knows nothing of what is in a frame.

use bytes::{Buf, Bytes, BytesMut};
use futures::{AsyncRead, AsyncWrite};
use meshwork_proto::frame::{FrameDecoder, FrameError, frame_header};
use prometheus::IntCounter;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes read from a stream at a time: one frame of the multiplexer below.
const READ_AT_ONCE: usize = 16 * 1024;
/// Who has more bytes than this to write stops taking up work that makes more of them.
pub(crate) const HIGH_WATER: usize = 1024 * 1024;
/// An output buffer that has grown beyond this is given back when it is empty.
const KEEP_BUFFER: usize = 256 * 1024;

/// What goes wrong with a stream of frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl PipeError {
    /// Whether the other side sent what is no frame; a stream that breaks or ends early is nobody's fault.
    pub(crate) const fn is_offence(&self) -> bool {
        matches!(self, Self::Frame(FrameError::TooLarge { .. } | FrameError::Empty))
    }
}

/// What a stream of frames has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// A frame came.
    Frame(Bytes),
    /// It was clogged and is no more.
    Room,
    /// The other side has ended the stream.
    End,
}

/// Counters of the bytes that pass.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    pub(crate) read: IntCounter,
    pub(crate) written: IntCounter,
}

/// A stream of frames.
pub(crate) struct FramePipe<S> {
    stream: S,
    max: usize,
    decoder: FrameDecoder,
    input: Box<[u8]>,
    output: BytesMut,
    flushed: bool,
    traffic: Traffic,
}

impl<S: AsyncRead + AsyncWrite + Unpin> FramePipe<S> {
    /// Frames of at most `max` bytes, in both directions.
    pub(crate) fn new(stream: S, max: usize, traffic: Traffic) -> Self {
        Self {
            stream,
            max,
            decoder: FrameDecoder::new(max),
            input: vec![0; READ_AT_ONCE.min(max.max(64))].into_boxed_slice(),
            output: BytesMut::new(),
            flushed: true,
            traffic,
        }
    }

    /// Adds a frame to what is to be written; it goes out while [`FramePipe::next`] is awaited.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        let header = frame_header(payload.len(), self.max)?;
        self.output.extend_from_slice(&header);
        self.output.extend_from_slice(payload);
        Ok(())
    }

    /// Whether more is to be written than should be.
    pub(crate) fn is_clogged(&self) -> bool {
        self.output.len() >= HIGH_WATER
    }

    /// Writes what is to be written, and reads; answers when there is something to do. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&mut self) -> Result<Flow, PipeError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Like [`FramePipe::next`], for who only reads; `None` at the end of the stream.
    pub(crate) async fn next_frame(&mut self) -> Result<Option<Bytes>, PipeError> {
        loop {
            match self.next().await? {
                Flow::Frame(frame) => return Ok(Some(frame)),
                Flow::Room => {}
                Flow::End => return Ok(None),
            }
        }
    }

    /// Writes everything and closes this side's direction.
    pub(crate) async fn close(&mut self) -> Result<(), PipeError> {
        poll_fn(|cx| self.poll_write_out(cx)).await?;
        Ok(poll_fn(|cx| Pin::new(&mut self.stream).poll_close(cx)).await?)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Flow, PipeError>> {
        let was_clogged = self.is_clogged();
        // Pending is fine: the stream wakes this task when it can take more.
        if let Poll::Ready(Err(error)) = self.poll_write_out(cx) {
            return Poll::Ready(Err(error.into()));
        }
        // Whoever held work back because of it would not look again by itself.
        if was_clogged && !self.is_clogged() {
            return Poll::Ready(Ok(Flow::Room));
        }
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Poll::Ready(Ok(Flow::Frame(frame)));
            }
            let count = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut self.input))?;
            if count == 0 {
                self.decoder.finish()?;
                return Poll::Ready(Ok(Flow::End));
            }
            self.traffic.read.inc_by(count as u64);
            self.decoder.push(&self.input[..count])?;
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.traffic.written.inc_by(count as u64);
            self.output.advance(count);
            self.flushed = false;
        }
        if self.output.capacity() > KEEP_BUFFER {
            self.output = BytesMut::new();
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::NetworkMetrics;
    use futures::{AsyncReadExt, AsyncWriteExt};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    fn traffic() -> Traffic {
        NetworkMetrics::unregistered().traffic()
    }

    #[tokio::test]
    async fn frames_larger_than_every_buffer_pass_both_ways_at_once() {
        let (near, far) = tokio::io::duplex(100);
        let (mut a, mut b) = (
            FramePipe::new(near.compat(), 1 << 20, traffic()),
            FramePipe::new(far.compat(), 1 << 20, traffic()),
        );
        let (to_b, to_a) = (vec![1_u8; 300_000], vec![2_u8; 500_000]);
        a.push(&to_b).unwrap();
        a.push(b"last").unwrap();
        b.push(&to_a).unwrap();
        let at_b = async {
            assert_eq!(b.next_frame().await.unwrap().unwrap(), to_b);
            assert_eq!(b.next_frame().await.unwrap().unwrap(), &b"last"[..]);
            b.close().await.unwrap();
            b
        };
        let at_a = async {
            assert_eq!(a.next_frame().await.unwrap().unwrap(), to_a);
            a.close().await.unwrap();
            assert!(a.next_frame().await.unwrap().is_none());
        };
        tokio::join!(at_a, at_b);
    }

    #[tokio::test]
    async fn a_frame_that_claims_four_gigabytes_is_refused_at_its_header() {
        let (near, far) = tokio::io::duplex(100);
        let mut pipe = FramePipe::new(near.compat(), 4 << 20, traffic());
        let mut far = far.compat();
        far.write_all(&[0xff; 40]).await.unwrap();
        let error = pipe.next().await.unwrap_err();
        assert!(matches!(error, PipeError::Frame(FrameError::TooLarge { len: 0xffff_ffff, .. })), "{error}");
        assert!(pipe.decoder.buffered() == 0 && pipe.output.capacity() == 0);
    }

    #[tokio::test]
    async fn a_clogged_stream_says_when_there_is_room_again() {
        let (near, far) = tokio::io::duplex(1000);
        let mut pipe = FramePipe::new(near.compat(), 4 << 20, traffic());
        pipe.push(&vec![1; HIGH_WATER]).unwrap();
        assert!(pipe.is_clogged());
        let mut far = far.compat();
        let reading = tokio::spawn(async move {
            let mut all = vec![0; HIGH_WATER + 4];
            far.read_exact(&mut all).await.unwrap();
            far
        });
        assert_eq!(pipe.next().await.unwrap(), Flow::Room);
        assert!(!pipe.is_clogged());
        // The rest is written while the next frame is waited for.
        let mut far = tokio::select! {
            far = reading => far.unwrap(),
            flow = pipe.next() => panic!("{flow:?}"),
        };
        far.close().await.unwrap();
        assert_eq!(pipe.next().await.unwrap(), Flow::End);
    }

    #[tokio::test]
    async fn many_small_frames_leave_in_few_writes() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut pipe = FramePipe::new(near.compat(), 100, traffic());
        for _ in 0..1000 {
            pipe.push(&[7; 96]).unwrap();
        }
        pipe.close().await.unwrap();
        let mut all = Vec::new();
        far.compat().read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 100_000);
        assert!(pipe.push(&[0; 101]).is_err());
    }
}
