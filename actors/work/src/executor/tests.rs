//! The executor with fake owners, store and upstreams under a paused clock.

mod calls;
mod fakes;
mod peers;
mod tasks;
