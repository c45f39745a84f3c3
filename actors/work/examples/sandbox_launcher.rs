//! The launcher of process tools on its own, as the node's binary has it inside: this crate's tests start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The first argument is the subcommand, as it is in the node's binary.
    meshwork_work::executor::sandbox::run(std::env::args_os().skip(2))
}
