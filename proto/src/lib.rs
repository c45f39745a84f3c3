//! What is said in a mesh: ids, records, messages, errors, canonical JSON with content ids, and wire frames.
//!
//! This crate does no I/O, reads no clock and names neither actix, tokio, libp2p nor rocksdb: everything in it can be
//! tested with plain functions. A message lives in the module named after the actor that *receives* it
//! ([`store`], [`transport`], [`discovery`], [`bootstrap`], [`queue`], [`workflow`],
//! [`schedule`], [`executor`], [`upstream`], [`node`]); what crosses the wire `/meshwork/3` is in [`wire`].

pub mod artifact;
pub mod bootstrap;
pub mod caller;
pub mod canonical;
pub mod cid;
pub mod code;
pub mod codec;
pub mod discovery;
pub mod executor;
pub mod frame;
pub mod id;
pub mod invite;
pub mod json;
pub mod node;
pub mod queue;
pub mod request;
pub mod schedule;
pub mod store;
pub mod task;
pub mod time;
pub mod transport;
pub mod upstream;
pub mod wire;
pub mod workflow;

pub use caller::{Caller, Role};
pub use cid::Cid;
pub use code::{Coded, ErrorCode, MeshError};
pub use id::{Fence, PeerId, RunId, ScheduleId, TaskId, WorkerId};
pub use json::Json;
pub use request::Request;
pub use time::UnixMillis;
