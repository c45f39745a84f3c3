//! The one trait that makes a plain struct a message with a typed reply.

/// A message between actors: a plain struct whose reply type is part of its definition.
///
/// Nothing here knows how it is delivered; `kit::Port` carries it.
pub trait Request: Send + 'static {
    /// What the receiver answers.
    type Reply: Send + 'static;
    /// Stable name in metrics, logs and errors (`snake_case`).
    const NAME: &'static str;
}
