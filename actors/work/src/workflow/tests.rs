//! Stories about the coordinator: what each operation promises, told with the state machine, a store and a queue in memory,
//! the real evaluator, and a clock that only the story moves.

mod actor;
mod basics;
pub(super) mod bench;
mod clock;
mod control;
pub(super) mod disk;
mod durable;
mod failures;
pub(super) mod fake_queue;
mod hand_over;
mod model;
mod moves;
mod nodes;
mod parts;
mod replaced;
mod shown;
mod sub;
mod undo;
mod wandering;
