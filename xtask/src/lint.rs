//! `cargo xtask lint`: every gate that needs no kernel.

mod arrows;
mod code;
mod deploy;
mod finding;
mod rust;
mod seams;
mod sizes;
mod sources;
mod words;

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use self::finding::{Finding, Tally};
use self::sources::Source;
use crate::say;
use crate::say::say;

/// Check the code: format, lints, documentation, sizes, dependency arrows, words, seams,
/// and whether what is generated is in step.
///
/// Runs every gate, prints each finding as `file:line: what, and the limit`, and ends with a count.
/// Warnings are printed and do not fail.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this gate alone; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<Gate>,
}

/// A gate of the lint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Gate {
    /// `cargo fmt --check`.
    Fmt,
    /// clippy over every target of every crate, for this machine.
    Clippy,
    /// clippy over l2sm-ebpf, for the BPF target.
    Bpf,
    /// rustdoc, private items too.
    Doc,
    /// Files of at most 600 lines, functions of at most 80.
    Sizes,
    /// Which crate may depend on which.
    Arrows,
    /// Texts that may not occur.
    Words,
    /// Modules of the agent that may not import one another.
    Seams,
    /// Generated files of `deploy/`.
    Deploy,
}

impl Gate {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn check(self, sources: &[Source]) -> Result<Tally> {
        match self {
            Self::Fmt => rust::fmt(),
            Self::Clippy => rust::clippy(),
            Self::Bpf => rust::bpf(),
            Self::Doc => rust::doc(),
            Self::Sizes => Ok(report(&sizes::check(sources))),
            Self::Arrows => Ok(report(&arrows::check()?)),
            Self::Words => Ok(report(&words::check(sources))),
            Self::Seams => Ok(report(&seams::check(sources))),
            Self::Deploy => Ok(report(&deploy::check()?)),
        }
    }
}

/// Runs the gates asked for, all of them by default.
///
/// # Errors
/// When the files of the repository cannot be listed. A gate that cannot run counts as failed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let all = Gate::value_variants();
    let gates: Vec<Gate> = all
        .iter()
        .copied()
        .filter(|gate| args.only.is_empty() || args.only.contains(gate))
        .collect();
    let sources = sources::all()?;
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for gate in &gates {
        let name = gate.name();
        say!("lint: {name}");
        let tally = gate.check(&sources).unwrap_or_else(|error| {
            say::error(format_args!("{name}: {error:#}"));
            Tally { findings: 1, warnings: 0 }
        });
        total = total + tally;
        if tally.findings > 0 {
            failed.push(name);
        }
    }
    say!("{}", closing(gates.len(), &failed, total));
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the findings, a line each, and counts them.
fn report(findings: &[Finding]) -> Tally {
    for finding in findings {
        say!("{finding}");
    }
    Tally::of(findings)
}

/// The last line.
fn closing(gates: usize, failed: &[String], Tally { findings, warnings }: Tally) -> String {
    let names = if failed.is_empty() { String::new() } else { format!(" ({})", failed.join(", ")) };
    let failed = failed.len();
    format!("lint: gates {gates}, failed {failed}{names}, findings {findings}, warnings {warnings}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_names_the_gates_that_failed() {
        let total = Tally { findings: 3, warnings: 1 };
        let line = closing(8, &["fmt".to_owned(), "sizes".to_owned()], total);
        assert_eq!(line, "lint: gates 8, failed 2 (fmt, sizes), findings 3, warnings 1");
        let line = closing(1, &[], Tally::default());
        assert_eq!(line, "lint: gates 1, failed 0, findings 0, warnings 0");
    }

    #[test]
    fn a_gate_goes_by_its_name_on_the_command_line() {
        assert_eq!(Gate::Bpf.name(), "bpf");
    }
}
