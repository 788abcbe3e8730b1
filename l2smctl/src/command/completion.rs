//! `l2smctl completion`: a script that teaches a shell our commands and options.

use std::process::ExitCode;

use anyhow::Result;
use clap_complete::{Shell, generate};

use crate::say;

/// Write a script for completion by the shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(l2smctl completion bash)
  l2smctl completion zsh > \"${fpath[1]}/_l2smctl\"
  l2smctl completion fish > ~/.config/fish/completions/l2smctl.fish")]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

/// Writes the script, for the name that we are called by.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let name = if crate::is_kubectls() { "kubectl-l2sm" } else { "l2smctl" };
    let mut script = Vec::new();
    generate(args.shell, &mut crate::command_line(), name, &mut script);
    say::text(format_args!("{}", String::from_utf8(script)?));
    Ok(ExitCode::SUCCESS)
}
