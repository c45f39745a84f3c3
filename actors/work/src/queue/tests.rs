//! Stories about the queue: what each operation promises, told with the state machine, a store in memory and a clock
//! that only the story moves.

mod actor;
pub(super) mod bench;
mod cancel;
mod change;
mod claim;
pub(crate) mod disk;
mod durable;
mod finish;
mod lease;
mod list;
mod model;
mod prune;
mod read;
mod restart;
mod size;
mod submit;
mod tenants;
mod watch;
