//! Real networks on loopback, with doubles for everything around them. Time is real here, so nothing waits longer than
//! it must: [`world::eventually`] looks again and again, with patience.

mod artifacts;
mod connections;
mod finding;
mod reaching;
mod requests;
mod starting;
mod trusting;
mod world;
