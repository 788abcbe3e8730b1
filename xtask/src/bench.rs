//! `cargo xtask bench`: builds the programs and the benchmark for use, and becomes the benchmark.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::say::say;
use crate::setup;

/// The programs that are measured, and the one that measures.
const PACKAGES: [&str; 4] = ["l2sm-agent", "l2sm-controller", "l2smctl", "l2sm-bench"];

/// Where cargo puts them.
const PROGRAM: &str = "target/release/l2sm-bench";

/// Measure l2sm against the kernel's own bridge and vxlan, on this machine, in one run. As root.
///
/// Sets up what is missing, builds everything for use, runs interleaved rounds of each row, prints a table and writes
/// target/bench/results.json. All of it happens in network namespaces, which are gone afterwards.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only this; may be given several times. An unknown name lists all.
    #[arg(long, value_name = "MEASURE")]
    only: Vec<String>,
    /// Rounds of each row [default: 7; with --check 15, and not fewer].
    #[arg(long, value_name = "N")]
    rounds: Option<u16>,
    /// Judge the results by the bars, and fail if one is not reached.
    #[arg(long)]
    check: bool,
    /// Write docs/performance.md and its plot.
    #[arg(long)]
    publish: bool,
}

/// Builds, and replaces this process by the benchmark: an interrupt then reaches it alone, and
/// whoever started us sees its end when everything is removed.
///
/// # Errors
/// When it cannot be built or started.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !setup::is_root()? {
        bail!("the benchmark needs root: it makes network namespaces and loads programs");
    }
    setup::run()?;
    let mut cargo = command::cargo();
    cargo.args(["build", "--quiet", "--release"]);
    cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    if !command::show(&mut cargo)? {
        bail!("the build failed: the compiler's messages are above");
    }
    if args.check && args.only.is_empty() {
        say!("sizes of a node, and times of an attach:");
        let mut scale = command::cargo();
        scale.args(["test", "--package", "l2sm-tests", "--test", "scale", "--", "--nocapture"]);
        scale.args(["--test-threads=1"]).env("L2SM_BARS", "judge");
        // Judged by its own words: the rows are measured all the same.
        if !command::show(&mut scale)? {
            say!("a bar of sizes or times was missed: see above");
        }
    }
    let error = command::new(PROGRAM).args(args.typed()).exec();
    Err(error).with_context(|| format!("cannot run {PROGRAM}"))
}

impl Args {
    /// As the benchmark takes them.
    fn typed(&self) -> Vec<String> {
        let flag = |set: bool, name: &str| set.then(|| name.to_owned());
        let mut typed: Vec<String> =
            self.only.iter().flat_map(|only| ["--only".to_owned(), only.clone()]).collect();
        typed.extend(self.rounds.iter().flat_map(|n| ["--rounds".to_owned(), n.to_string()]));
        typed.extend(flag(self.check, "--check"));
        typed.extend(flag(self.publish, "--publish"));
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_benchmark_as_they_came() {
        let args = Args {
            only: vec!["a".to_owned(), "b".to_owned()],
            rounds: Some(3),
            check: true,
            publish: false,
        };
        assert_eq!(args.typed(), ["--only", "a", "--only", "b", "--rounds", "3", "--check"]);
    }
}
