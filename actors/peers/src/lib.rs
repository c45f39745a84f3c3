//! Who is in the mesh: the peer book ([`discovery`]), the ways of finding peers ([`sources`]), the first contacts
//! ([`bootstrap`]) and the forgetting of those that are gone ([`reaper`]).

mod address;
pub mod bootstrap;
mod clip;
pub mod discovery;
pub mod public_ip;
pub mod reaper;
pub mod sources;
