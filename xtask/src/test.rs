//! `cargo xtask test`: all tests, on a machine that has what they take.
//!
//! Unit and documentation tests run as cargo runs them. Integration tests (`tests/*.rs` of any
//! package) share one kernel, its network namespaces, links and pinned maps, and run one at a time.
//!
//! A test that cannot run here because it needs what cannot be fetched (another kernel, say)
//! appends the line `NOT RUN: name, why` to the file named by the environment variable
//! `L2SM_NOT_RUN_FILE` (`target/not-run.txt`, emptied before each run) and returns. The summary
//! prints these lines and counts each as skipped, not as passed.
//!
//! The closing line of the summary, `N passed, M failed, K skipped`, is also left in
//! `target/test-summary.txt`.

mod klog;
mod report;

use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use self::report::Report;
use crate::say::say;
use crate::{build, cluster, command, images, setup, workspace};

/// Tests append to the file that this variable names.
const NOT_RUN_VARIABLE: &str = "L2SM_NOT_RUN_FILE";

/// The integration test that needs `cargo xtask build --release`.
const RELEASE_TEST: &str = "scale";

/// How cargo is asked for each kind of test, and whether they run one at a time.
const KINDS: [(&[&str], bool); 4] = [
    (&["--workspace", "--lib", "--bins"], false),
    (&["--workspace", "--doc"], false),
    (&["--workspace", "--test", "*"], true),
    // Its programs are another object; only this test needs it built.
    (&["--package", "l2sm-agent", "--features", "log", "--test", "log"], true),
];

/// The tests that take a cluster.
const CLUSTER_TESTS: &str = "k8s";

/// Run every test: unit, documentation, kernel, network namespaces, Kubernetes. As root.
///
/// Sets up what is missing, builds, runs everything even when something fails, and ends with a
/// summary; a new warning in the kernel's log fails it. Tests that cannot run here are named
/// `NOT RUN: name, why`. The last line is `N passed, M failed, K skipped`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the tests whose names contain one of these.
    filter: Vec<String>,
}

/// Runs the tests and prints the summary.
///
/// # Errors
/// When the tests cannot be run at all: no root, setup or build failed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !setup::is_root()? {
        bail!("the tests need root: they load programs and make network namespaces");
    }
    setup::run()?;
    let summary = workspace::target_file("test-summary.txt")?;
    workspace::remove(&summary)?;
    build::run(&build::Args { release: false })?;
    if !command::show(command::cargo().args(["test", "--workspace", "--no-run"]))? {
        bail!("the tests do not build: the compiler's messages are above");
    }
    if needs_cluster(&args.filter)? {
        cluster::prepare()?;
        cluster::program()?;
        images::run(&images::Args { release: false })?;
    }
    if wants_release(&args.filter)? {
        build::run(&build::Args { release: true })?;
    }
    let report = suite(&args.filter)?;
    for line in report.lines() {
        say!("{line}");
    }
    let closing = report.closing();
    fs::write(&summary, format!("{closing}\n"))
        .with_context(|| format!("cannot write {}", summary.display()))?;
    say!("{closing}");
    Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a test is to run that takes a cluster.
fn needs_cluster(filter: &[String]) -> Result<bool> {
    let mut list = command::cargo();
    list.args([
        "test",
        "--quiet",
        "--package",
        "l2sm-tests",
        "--test",
        CLUSTER_TESTS,
        "--",
        "--list",
    ]);
    let tests = command::read(&mut list)?;
    let mut names = tests.lines().filter_map(|line| line.strip_suffix(": test"));
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|part| name.contains(part));
    Ok(names.any(wanted))
}

/// Whether the filter takes a test of sizes and times: those run the programs that users run.
fn wants_release(filter: &[String]) -> Result<bool> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--quiet", "--workspace", "--test", RELEASE_TEST, "--", "--list"]);
    let listed = command::read(cargo.args(filter))?;
    Ok(listed.lines().any(|line| line.ends_with(": test")))
}

/// Runs tests of every kind, and looks at the kernel's log around them.
fn suite(filter: &[String]) -> Result<Report> {
    let not_run = workspace::target_file("not-run.txt")?;
    fs::write(&not_run, "").with_context(|| format!("cannot write {}", not_run.display()))?;
    let mut report = Report::default();
    let before = klog::read()?;
    for (targets, one_at_a_time) in KINDS {
        let mut cargo = command::cargo();
        cargo.args(["test", "--no-fail-fast"]).args(targets);
        cargo.arg("--").args(one_at_a_time.then_some("--test-threads=1")).args(filter);
        cargo.env(NOT_RUN_VARIABLE, absolute(&not_run)?);
        say!("$ {}", command::typed(&cargo));
        let passed = watch(cargo, |line| {
            say!("{line}");
            report.line(line);
        })?;
        report.end_of_kind(passed);
    }
    let said = klog::said(&before, &klog::read()?);
    for line in &said.shortages {
        say!("the kernel, about a shortage: {line}");
    }
    report.kernel(said.warnings);
    report.not_run(&fs::read_to_string(&not_run).context("cannot read what did not run")?);
    Ok(report)
}

/// Runs cargo and gives `see` each line of its output as it comes. Whether cargo succeeded.
pub(crate) fn watch(mut cargo: Command, mut see: impl FnMut(&str)) -> Result<bool> {
    if io::stdout().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    // Cargo names each test binary on standard error and the binary says its results on standard
    // output: one pipe for both keeps them in order.
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    cargo.stdout(writer.try_clone().context("cannot share a pipe")?).stderr(writer);
    let mut child = cargo.spawn().context("cannot run cargo")?;
    // It holds our ends of the pipe, without which we would never see its end.
    drop(cargo);
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("cannot read what the tests print")?;
        see(&String::from_utf8_lossy(&line));
    }
    Ok(child.wait().context("cannot wait for cargo")?.success())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot resolve {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_of_a_child_are_seen_in_order_and_its_failure_too() {
        let mut child = command::new("sh");
        child.args(["-c", "echo 1; echo 2 >&2; echo 3; echo 4 >&2; exit 3"]);
        let mut seen = Vec::new();
        assert!(!watch(child, |line| seen.push(line.to_owned())).unwrap());
        assert_eq!(seen, ["1", "2", "3", "4"]);
    }
}
