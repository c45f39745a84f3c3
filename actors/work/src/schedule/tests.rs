//! Stories about schedules, told with the state machine, a store in memory, a queue that knows its keys, and a clock that
//! only the story moves.

mod access;
mod actor;
mod add;
mod bench;
mod control;
mod crash;
mod failure;
mod missed;
mod overlap;
mod random;
mod time;
