//! Frames on a byte stream: a length of four bytes, big-endian, then so many bytes.
//!
//! Plain functions and a decoder without I/O. A length above the limit is refused when it is read, before anything
//! is allocated for it; memory grows with the bytes that really arrive, never with the length that a peer claims.

use crate::{Coded, ErrorCode};
use bytes::{BufMut, Bytes, BytesMut};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 4;

/// Why bytes are not a frame that we accept or send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload is, or claims to be, larger than the limit.
    #[error("frame of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// Length of the payload, or the one its header claims, in bytes.
        len: u64,
        /// The limit in bytes.
        max: usize,
    },
    /// A frame without payload: no message is empty.
    #[error("frame of 0 bytes: a frame carries at least one byte")]
    Empty,
    /// The stream ended inside a frame.
    #[error("stream ended after {have} of the {need} bytes of a frame")]
    Truncated {
        /// Bytes of the frame that arrived, header included.
        have: usize,
        /// Bytes that the frame has as far as is known, header included.
        need: usize,
    },
    /// More bytes were pushed although a whole frame waits to be taken.
    #[error("{buffered} bytes are buffered, which is a whole frame: take frames before pushing more bytes")]
    Undrained {
        /// Bytes buffered.
        buffered: usize,
    },
}

impl Coded for FrameError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Empty | Self::Truncated { .. } => ErrorCode::InvalidArgument,
            Self::Undrained { .. } => ErrorCode::Internal,
        }
    }
}

/// The header of a payload of `len` bytes, for writers that send header and payload separately.
///
/// # Errors
/// [`FrameError::TooLarge`] above `max` (or 4 GiB), [`FrameError::Empty`] for 0.
pub fn frame_header(len: usize, max: usize) -> Result<[u8; HEADER_LEN], FrameError> {
    let too_large = FrameError::TooLarge { len: len as u64, max };
    match u32::try_from(len) {
        Ok(0) => Err(FrameError::Empty),
        Ok(header) if len <= max => Ok(header.to_be_bytes()),
        _ => Err(too_large),
    }
}

/// Header and payload in one buffer.
///
/// # Errors
/// [`FrameError::TooLarge`] above `max` (or 4 GiB), [`FrameError::Empty`] for an empty payload.
pub fn encode_frame(payload: &[u8], max: usize) -> Result<Bytes, FrameError> {
    let header = frame_header(payload.len(), max)?;
    let mut out = BytesMut::with_capacity(HEADER_LEN + payload.len());
    out.put_slice(&header);
    out.put_slice(payload);
    Ok(out.freeze())
}

/// Cuts a stream of bytes into frames.
///
/// Push what was read, then take frames until there is none. It holds at most one incomplete frame and the last piece
/// pushed. After an error the stream cannot be followed any further: every later call returns the same error.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    max: usize,
    failed: Option<FrameError>,
}

impl FrameDecoder {
    /// A decoder that accepts payloads of 1 to `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), max, failed: None }
    }

    /// Adds bytes that were read from the stream.
    ///
    /// # Errors
    /// [`FrameError::Undrained`] when a frame of the largest size already waits (nothing is added, and the decoder
    /// goes on once frames are taken); the decoder's own error when it has failed before.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.buffer.len() >= self.max.saturating_add(HEADER_LEN) {
            return Err(FrameError::Undrained { buffered: self.buffer.len() });
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole frame's payload, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] and [`FrameError::Empty`] for a header that announces such a frame.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(len) = self.announced() else { return Ok(None) };
        if let Err(error) = self.check(len) {
            self.failed = Some(error);
            // Nothing behind a refused header is ever read.
            self.buffer = BytesMut::new();
            return Err(error);
        }
        // `check` compared it with a usize.
        let len = len as usize;
        if self.buffer.len() - HEADER_LEN < len {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(HEADER_LEN + len);
        Ok(Some(frame.split_off(HEADER_LEN).freeze()))
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] when it ends inside a frame; the decoder's own error when it has failed before.
    pub fn finish(&self) -> Result<(), FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let have = self.buffer.len();
        match self.announced() {
            None if have == 0 => Ok(()),
            None => Err(FrameError::Truncated { have, need: HEADER_LEN }),
            Some(len) => match self.check(len) {
                Ok(()) => Err(FrameError::Truncated { have, need: HEADER_LEN + len as usize }),
                Err(error) => Err(error),
            },
        }
    }

    /// Bytes held at present.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The length in the header, once the header is whole.
    fn announced(&self) -> Option<u32> {
        self.buffer.first_chunk::<HEADER_LEN>().map(|header| u32::from_be_bytes(*header))
    }

    /// Whether a frame of this length is accepted.
    fn check(&self, len: u32) -> Result<(), FrameError> {
        match usize::try_from(len) {
            Ok(0) => Err(FrameError::Empty),
            Ok(fits) if fits <= self.max => Ok(()),
            _ => Err(FrameError::TooLarge { len: u64::from(len), max: self.max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(decoder: &mut FrameDecoder) -> Vec<Bytes> {
        std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
    }

    #[test]
    fn a_frame_is_a_big_endian_length_and_the_payload() {
        assert_eq!(&encode_frame(b"hello", 5).unwrap()[..], b"\x00\x00\x00\x05hello");
        assert_eq!(frame_header(0x0102_0304, usize::MAX).unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_header_that_claims_a_hundred_megabytes_is_refused_and_nothing_is_allocated() {
        let mut decoder = FrameDecoder::new(1024);
        decoder.push(&100_000_000_u32.to_be_bytes()).unwrap();
        let refused = FrameError::TooLarge { len: 100_000_000, max: 1024 };
        assert_eq!(decoder.next_frame(), Err(refused));
        assert!(decoder.buffer.capacity() < 64, "capacity {}", decoder.buffer.capacity());
        // The stream cannot be followed behind it: it stays refused and takes no more bytes.
        assert_eq!(decoder.push(&[0; 4096]), Err(refused));
        assert_eq!(decoder.next_frame(), Err(refused));
        assert_eq!(decoder.finish(), Err(refused));
        assert_eq!(decoder.buffered(), 0);
        assert_eq!(refused.code(), ErrorCode::TooLarge);
    }

    #[test]
    fn a_header_within_the_limit_allocates_only_what_arrives() {
        let mut decoder = FrameDecoder::new(100_000_000);
        decoder.push(&100_000_000_u32.to_be_bytes()).unwrap();
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.buffer.capacity() < 64, "capacity {}", decoder.buffer.capacity());
    }

    #[test]
    fn the_limit_itself_is_accepted_and_one_more_is_not() {
        let mut decoder = FrameDecoder::new(3);
        decoder.push(b"\x00\x00\x00\x03abc\x00\x00\x00\x04").unwrap();
        assert_eq!(decoder.next_frame().unwrap().unwrap(), "abc");
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge { len: 4, max: 3 }));
        assert_eq!(encode_frame(b"abcd", 3), Err(FrameError::TooLarge { len: 4, max: 3 }));
        assert!(encode_frame(b"abc", 3).is_ok());
    }

    #[test]
    fn empty_frames_are_refused_in_both_directions() {
        assert_eq!(encode_frame(b"", 10), Err(FrameError::Empty));
        let mut decoder = FrameDecoder::new(10);
        decoder.push(&[0; 4]).unwrap();
        assert_eq!(decoder.next_frame(), Err(FrameError::Empty));
        assert_eq!(decoder.next_frame(), Err(FrameError::Empty));
    }

    #[test]
    fn a_stream_that_ends_inside_a_frame_says_how_much_is_missing() {
        let mut decoder = FrameDecoder::new(10);
        assert_eq!(decoder.finish(), Ok(()));
        decoder.push(&[0, 0]).unwrap();
        assert_eq!(decoder.finish(), Err(FrameError::Truncated { have: 2, need: 4 }));
        decoder.push(&[0, 5, b'a']).unwrap();
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.finish(), Err(FrameError::Truncated { have: 5, need: 9 }));
        decoder.push(b"bcde").unwrap();
        assert_eq!(decoder.next_frame().unwrap().unwrap(), "abcde");
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn pushing_without_taking_frames_is_refused_instead_of_growing() {
        let mut decoder = FrameDecoder::new(4);
        decoder.push(b"\x00\x00\x00\x04abcd").unwrap();
        assert_eq!(decoder.push(b"more"), Err(FrameError::Undrained { buffered: 8 }));
        assert_eq!(drain(&mut decoder), ["abcd"]);
        decoder.push(b"\x00\x00\x00\x01x").unwrap();
        assert_eq!(drain(&mut decoder), ["x"]);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..100), 0..10),
            cut in 1_usize..64,
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|frame| encode_frame(frame, 100).unwrap()).collect();
            let mut decoder = FrameDecoder::new(100);
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece).unwrap();
                seen.extend(drain(&mut decoder));
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn hostile_bytes_never_panic_and_never_hold_more_than_one_frame_and_one_piece(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            max in 0_usize..300,
        ) {
            let mut decoder = FrameDecoder::new(max);
            for piece in &pieces {
                if decoder.push(piece).is_err() {
                    break;
                }
                while let Ok(Some(frame)) = decoder.next_frame() {
                    prop_assert!(!frame.is_empty() && frame.len() <= max);
                }
                prop_assert!(decoder.buffered() <= max + HEADER_LEN);
            }
        }
    }
}
