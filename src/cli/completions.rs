//! `completions`: scripts that complete commands in a shell.

use super::Cli;
use crate::output::{Failure, Output};
use clap::CommandFactory;
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  meshwork completions bash > ~/.local/share/bash-completion/completions/meshwork
  meshwork completions zsh > ~/.zfunc/_meshwork
  meshwork completions fish > ~/.config/fish/completions/meshwork.fish";

/// Arguments of `completions`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub(crate) shell: Shell,
}

pub(super) fn execute(args: &CompletionsArgs, output: Output) -> Result<(), Failure> {
    // Into memory first: the generator panics when its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "meshwork", &mut script);
    output.line(String::from_utf8_lossy(&script).trim_end())
}
