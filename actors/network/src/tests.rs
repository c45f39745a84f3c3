//! Real networks on loopback, with doubles for everything around them. Time is real here, so nothing waits longer than
//! it must: [`world::eventually`] looks again and again, with patience.

mod artifacts;
mod candidates;
mod connections;
mod finding;
mod identifying;
mod misbehaving;
mod old_node;
mod pairing;
mod reaching;
mod requests;
mod revoking;
mod secrets;
mod starting;
mod trusting;
mod versions;
mod world;
