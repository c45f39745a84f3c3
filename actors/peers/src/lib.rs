//! Who is in the mesh: the peer book ([`discovery`]) and the first contacts ([`bootstrap`]).

pub mod bootstrap;
pub mod discovery;
