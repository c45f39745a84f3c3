//! Misbehaviour: what it costs a peer, and what follows at named thresholds.
//!
//! [`logic`] is the table of scores; [`flood`] tells a busy peer from a flooding one. Both are pure. The swarm task owns the
//! table and does what follows; whoever sees an offence reports it there.

mod flood;
mod logic;

pub(crate) use flood::{FloodGate, STREAM_COST};
pub(crate) use logic::{Action, Scores, THROTTLED_REQUESTS};
