//! Admission: the handshake in which two connected peers decide on one another.
//!
//! It runs once on each connection, opened by the side that dialled it, as an application protocol: libp2p's own
//! pre-shared-key transport would exclude QUIC. [`logic`] is the pure state machine; this file carries its frames over
//! a stream within a deadline. What a verdict means for the peer is decided where peers are kept.

pub(crate) mod logic;
#[cfg(test)]
mod tests;

use crate::pipe::{FramePipe, PipeError, Traffic};
use futures::{AsyncRead, AsyncWrite};
use logic::{Handshake, HandshakeError, Outcome};
use meshwork_proto::codec::{CodecError, decode_wire, encode_wire};
use meshwork_proto::frame::FrameError;
use meshwork_proto::wire::admission::{AdmissionFrame, MAX_ADMISSION_FRAME};
use std::time::Duration;

/// Why a handshake came to no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmissionError {
    /// The peer said something that does not belong there.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Pipe(#[from] PipeError),
    /// Something else than a frame of the handshake came.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// The peer closed the stream before its last frame.
    #[error("the peer ended it")]
    Ended,
    /// It took too long.
    #[error("not finished within {0:?}")]
    Timeout(Duration),
    /// The peer speaks no admission protocol.
    #[error(
        "the peer speaks no version of the admission protocol that this node speaks: is it a meshwork node?"
    )]
    Unsupported,
    /// The stream could not be opened.
    #[error("no stream could be opened: {0}")]
    Open(String),
}

impl AdmissionError {
    /// Whether an honest peer could not have caused it. Time-outs, closed streams and other versions are nobody's fault.
    pub(crate) fn is_offence(&self) -> bool {
        match self {
            Self::Handshake(HandshakeError::Version { .. }) => false,
            Self::Handshake(_) | Self::Codec(_) => true,
            Self::Pipe(error) => error.is_offence(),
            Self::Ended | Self::Timeout(_) | Self::Unsupported | Self::Open(_) => false,
        }
    }
}

impl From<FrameError> for AdmissionError {
    fn from(error: FrameError) -> Self {
        Self::Pipe(error.into())
    }
}

/// Runs the handshake to its outcome; takes at most `within`.
pub(crate) async fn run<S>(
    stream: S,
    handshake: Handshake,
    traffic: Traffic,
    within: Duration,
) -> Result<Outcome, AdmissionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pipe = FramePipe::new(stream, MAX_ADMISSION_FRAME, traffic);
    tokio::time::timeout(within, converse(pipe, handshake))
        .await
        .unwrap_or(Err(AdmissionError::Timeout(within)))
}

async fn converse<S>(mut pipe: FramePipe<S>, mut handshake: Handshake) -> Result<Outcome, AdmissionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(frame) = handshake.start() {
        send(&mut pipe, &frame)?;
    }
    loop {
        let bytes = pipe.next_frame().await?.ok_or(AdmissionError::Ended)?;
        let step = handshake.receive(decode_wire(&bytes, MAX_ADMISSION_FRAME)?)?;
        let said = step.send.is_some();
        if let Some(frame) = step.send {
            send(&mut pipe, &frame)?;
        }
        if let Some(outcome) = step.done {
            // The last word must arrive; who only heard it has nothing left to deliver.
            if said {
                pipe.close().await?;
            }
            return Ok(outcome);
        }
    }
}

fn send<S>(pipe: &mut FramePipe<S>, frame: &AdmissionFrame) -> Result<(), AdmissionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Ok(pipe.push(&encode_wire(frame, MAX_ADMISSION_FRAME)?)?)
}
