//! `l2smctl`: the user's tool. One file per command under `command/`; this one only dispatches.
#![forbid(unsafe_code)]

mod agent;
mod client;
#[expect(clippy::large_stack_frames, reason = "futures: `cluster::with` has them on the heap")]
mod cluster;
mod command;
mod condition;
mod duration;
mod lab;
mod manifest;
mod output;
mod progress;
mod say;
mod target;

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt;

use command::{Common, LogFormat, Logging, Misuse};
use command::{apply, attach, delete, describe, detach, get, lab as lab_command, status, wait};
use command::{completion, connectivity, install, uninstall, version};

/// Version and git revision.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (git ", env!("L2SM_GIT_REVISION"), ")");

/// Virtual Layer-2 networks: apply, look at and delete them; attach to them; build a lab.
#[derive(Debug, Parser)]
#[command(name = "l2smctl", version = VERSION, max_term_width = 100, after_help = "\
Examples:
  l2smctl lab up                                   build two nodes and their pods on this machine
  l2smctl --server lab get networks                look at the lab's networks
  l2smctl apply -f blue.yaml                       make the networks of a manifest
  l2smctl wait --for=condition=Ready l2net/blue    until every node has it in its kernel
  l2smctl attach blue --netns /run/netns/web       plug a namespace of this node into a network
  l2smctl status --socket /run/l2sm/agent.sock     what this node forwards and drops
  l2smctl install --wait                           put l2sm on a Kubernetes cluster
  l2smctl connectivity test                        and try it")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Apply(apply::Args),
    Get(get::Args),
    Describe(describe::Args),
    Delete(delete::Args),
    Wait(wait::Args),
    Status(status::Args),
    Attach(attach::Args),
    Detach(detach::Args),
    Lab(lab_command::Args),
    Install(install::Args),
    Uninstall(uninstall::Args),
    Connectivity(connectivity::Args),
    Version(version::Args),
    Completion(completion::Args),
}

impl Command {
    /// Whether it works on a cluster.
    fn knows_clusters(&self) -> bool {
        match self {
            Self::Status(_)
            | Self::Install(_)
            | Self::Uninstall(_)
            | Self::Connectivity(_)
            | Self::Version(_) => true,
            Self::Apply(_)
            | Self::Get(_)
            | Self::Describe(_)
            | Self::Delete(_)
            | Self::Wait(_)
            | Self::Attach(_)
            | Self::Detach(_)
            | Self::Lab(_)
            | Self::Completion(_) => false,
        }
    }
}

fn main() -> ExitCode {
    let cli = command_line().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => return answer(&error),
    };
    start_logging(&cli.common.logging);
    run(&cli).unwrap_or_else(|error| {
        say::error(format_args!("{error:#}"));
        if error.is::<Misuse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

/// Help and version as they are; bad usage in one line.
fn answer(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that has gone has seen enough.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    say::error(format_args!("{}", line.strip_prefix("error: ").unwrap_or(&line)));
    ExitCode::from(2)
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let common = &cli.common;
    if common.access.is_given() && !cli.command.knows_clusters() {
        let why = "--kubeconfig, --context: this command does not work on a cluster; use kubectl";
        return Err(Misuse(why.to_owned()).into());
    }
    match &cli.command {
        Command::Apply(args) => apply::run(args, common),
        Command::Get(args) => get::run(args, common),
        Command::Describe(args) => describe::run(args, common),
        Command::Delete(args) => delete::run(args, common),
        Command::Wait(args) => wait::run(args, common),
        Command::Status(args) => status::run(args, common),
        Command::Attach(args) => attach::run(args, common),
        Command::Detach(args) => detach::run(args, common),
        Command::Lab(args) => lab_command::run(args),
        Command::Install(args) => install::run(args, common),
        Command::Uninstall(args) => uninstall::run(args, common),
        Command::Connectivity(args) => connectivity::run(args, common),
        Command::Version(args) => version::run(args, common),
        Command::Completion(args) => completion::run(args),
    }
}

/// The command line; its usage says `kubectl l2sm` when we are kubectl's plugin of that name.
fn command_line() -> clap::Command {
    let called = env::args_os().next().unwrap_or_default();
    let command = Cli::command();
    if is_plugin(&called) { command.bin_name("kubectl l2sm") } else { command }
}

/// Whether we are kubectl's plugin: then a cluster is meant unless something else is said.
fn is_kubectls() -> bool {
    is_plugin(&env::args_os().next().unwrap_or_default())
}

fn is_plugin(called: &OsStr) -> bool {
    Path::new(called).file_name() == Some(OsStr::new("kubectl-l2sm"))
}

fn start_logging(logging: &Logging) {
    // The client of the API server logs errors that we say ourselves.
    let level = logging.log_level;
    let kubes = if level <= LevelFilter::ERROR { LevelFilter::OFF } else { level };
    let wanted = Targets::new().with_default(level).with_target("kube_client", kubes);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match logging.log_format {
        LogFormat::Text => registry().with(lines.with_filter(wanted)).init(),
        LogFormat::Json => registry().with(lines.json().with_filter(wanted)).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn kubectl_knows_us_by_the_name_of_the_file() {
        assert!(is_plugin(OsStr::new("/usr/local/bin/kubectl-l2sm")));
        assert!(!is_plugin(OsStr::new("/usr/local/bin/l2smctl")));
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
