//! Tests of the whole: real processes, real files, other people's programs. One binary, one module for each story.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "a test fails by panicking, reads its seed from the environment, and says on standard error what it skips"
)]

mod bad_input;
mod boundaries;
mod command_line;
mod disk_full;
mod documentation;
mod examples;
mod fourteen_tools;
mod kill_nine;
mod membership;
mod readme;
mod support;
mod two_nodes;
mod workflows;
