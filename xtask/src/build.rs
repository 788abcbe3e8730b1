//! `cargo xtask build`: the programs that run on a host.

mod plugin;

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command;
use crate::say::say;

/// The packages whose programs a node or a user runs.
const PACKAGES: [&str; 3] = ["l2sm-agent", "l2sm-controller", "l2smctl"];

/// Build the programs: l2sm-agent, l2sm-controller, l2smctl, and the CNI plugin l2sm-cni.
///
/// The agent's build script builds the kernel object and the agent carries it; `cargo xtask setup`
/// installs what that takes. With --release the plugin is a small static program. Prints where the
/// programs are.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build for use rather than for debugging: slower to build, faster to run.
    #[arg(long)]
    pub(crate) release: bool,
}

/// Builds the programs and says where they are.
pub(crate) fn run(args: &Args) -> Result<()> {
    build_programs(args)?;
    if args.release {
        plugin::build()?;
    }
    Ok(())
}

/// The same without the plugin as it is installed, which takes a build of its own.
pub(crate) fn build_programs(args: &Args) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.arg("build");
    cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    if args.release {
        cargo.arg("--release");
    } else {
        cargo.args(["--package", plugin::PACKAGE]);
    }
    for program in build(cargo)? {
        say!("built {program}");
    }
    Ok(())
}

/// Runs `cargo build` in view; the programs that it made.
pub(crate) fn build(cargo: Command) -> Result<Vec<String>> {
    say!("$ {}", command::typed(&cargo));
    quietly(cargo)
}

/// Runs `cargo build`; the programs that it made.
pub(crate) fn quietly(mut cargo: Command) -> Result<Vec<String>> {
    // Cargo says on standard output, a JSON message a line, what it made; the rest is for people.
    cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the build failed: the compiler's messages are above");
    }
    Ok(programs(&String::from_utf8_lossy(&output.stdout)))
}

/// The programs that cargo's messages name.
fn programs(messages: &str) -> Vec<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| message.get("executable")?.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::programs;

    #[test]
    fn programs_are_told_from_libraries() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/debug/l2smctl"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        assert_eq!(programs(messages), ["/t/debug/l2smctl"]);
    }
}
