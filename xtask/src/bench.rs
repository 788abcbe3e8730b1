//! `cargo xtask bench`: builds the programs and the benchmark for use, and becomes the benchmark.

#[path = "../../benches/src/args.rs"]
mod args;
#[path = "../../benches/src/privilege.rs"]
mod privilege;
mod sizes;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

pub(crate) use self::args::Args;
use crate::{build, command, setup, workspace};

/// The program that measures.
const PROGRAM: &str = "l2sm-bench";

/// Builds, and replaces this process by the benchmark: an interrupt then reaches it alone, and
/// whoever started us sees its end when everything is removed.
///
/// # Errors
/// Bad input, a missing privilege; when something cannot be built or started.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    args.check_names()?;
    privilege::check()?;
    // Whatever happens now, nobody takes the figures of an earlier run for those of this one.
    workspace::remove(Path::new(args::RESULTS))?;
    setup::run()?;
    let takes_sizes = args.check && args.only.is_empty();
    let release = build::Args { release: true };
    // Only an attach is timed with the plugin.
    if takes_sizes {
        build::run(&release)?;
    } else {
        build::build_programs(&release)?;
    }
    let program = build_benchmark()?;
    let missed = if takes_sizes { sizes::judge()? } else { None };
    let error = command::new(&program).args(typed(args, missed)).exec();
    Err(error).with_context(|| format!("cannot run {program}"))
}

/// Builds the benchmark; where cargo put it, which is beside the programs that it measures.
fn build_benchmark() -> Result<String> {
    let mut cargo = command::cargo();
    cargo.args(["build", "--release", "--package", PROGRAM]);
    let built = build::build(cargo)?;
    let program = built.into_iter().find(|path| Path::new(path).ends_with(PROGRAM));
    program.with_context(|| format!("cargo built no {PROGRAM}"))
}

/// The arguments as the benchmark takes them, and what was missed before it.
fn typed(args: &Args, missed: Option<String>) -> Vec<String> {
    let flag = |set: bool, name: &str| set.then(|| name.to_owned());
    let mut typed: Vec<String> =
        args.only.iter().flat_map(|only| ["--only".to_owned(), only.clone()]).collect();
    typed.extend(args.rounds.iter().flat_map(|n| ["--rounds".to_owned(), n.to_string()]));
    typed.extend(flag(args.check, "--check"));
    typed.extend(flag(args.publish, "--publish"));
    let missed = missed.into_iter().chain(args.missed.clone());
    typed.extend(missed.map(|what| format!("--missed={what}")));
    typed
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn arguments_reach_the_benchmark_as_they_came() {
        let given = ["--only", "a", "--only", "b", "--rounds", "3", "--check"];
        let args = Args::parse_from(["bench"].iter().chain(&given));
        assert_eq!(typed(&args, None), given);
    }

    #[test]
    fn what_was_missed_before_the_benchmark_reaches_it() {
        let typed = typed(&Args::parse_from(["bench", "--check"]), Some("a, b".to_owned()));
        assert_eq!(typed, ["--check", "--missed=a, b"]);
        let args = Args::parse_from(["bench"].iter().map(|&word| word.to_owned()).chain(typed));
        assert_eq!(args.missed.as_deref(), Some("a, b"));
    }

    #[test]
    fn bad_input_is_refused_before_anything_is_built() {
        for bad in [&["--rounds", "0"][..], &["--publish", "--only", "udp64_pps"]] {
            assert!(Args::try_parse_from(["bench"].iter().chain(bad)).is_err(), "{bad:?}");
        }
        let error = run(&Args::parse_from(["bench", "--only", "typo"])).unwrap_err();
        assert!(error.to_string().starts_with("--only typo: no such measure"), "{error}");
    }
}
