//! The developer's verbs: `cargo xtask setup`, `build`, `test`, `lint`. One file each; this one
//! only dispatches.

mod bench;
mod build;
mod cluster;
mod command;
mod crds;
mod demo;
mod images;
mod lint;
mod progress;
mod say;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The developer's verbs of l2sm.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Bench(bench::Args),
    Setup(setup::Args),
    Build(build::Args),
    Cluster(cluster::Args),
    Crds(crds::Args),
    Demo(demo::Args),
    Images(images::Args),
    Lint(lint::Args),
    Test(test::Args),
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    run(&verb).unwrap_or_else(|error| {
        say::error(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn run(verb: &Verb) -> Result<ExitCode> {
    workspace::enter()?;
    match verb {
        Verb::Bench(args) => bench::run(args),
        Verb::Setup(_) => setup::run().map(|()| ExitCode::SUCCESS),
        Verb::Build(args) => build::run(args).map(|()| ExitCode::SUCCESS),
        Verb::Cluster(args) => cluster::run(args).map(|()| ExitCode::SUCCESS),
        Verb::Crds(args) => crds::run(args),
        Verb::Demo(args) => demo::run(args),
        Verb::Images(args) => images::run(args).map(|()| ExitCode::SUCCESS),
        Verb::Lint(args) => lint::run(args),
        Verb::Test(args) => test::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
