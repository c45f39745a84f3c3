//! Proof of what the crate promises, claim by claim.

mod actors;
mod lifecycle;
mod ports;
mod restarts;
mod served;
