//! The sizes of a node and the times of an attach, which tests take and hold against their bars.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command;
use crate::say::say;
use crate::test::watch;

/// What a test says of a bar before it fails.
const MISSED: &str = "bar missed: ";

/// Runs the tests, on the programs that users run. In words what was missed, or not measured; `None`:
/// nothing.
///
/// # Errors
/// They do not build.
pub(super) fn judge() -> Result<Option<String>> {
    if !command::show(tests().arg("--no-run"))? {
        bail!("the tests of sizes and times do not build: the compiler's messages are above");
    }
    say!("sizes of a node, and times of an attach:");
    let mut run = tests();
    run.args(["--", "--nocapture", "--test-threads=1"]).env("L2SM_BARS", "judge");
    let mut lines = Vec::new();
    let passed = watch(run, |line| {
        say!("{line}");
        lines.push(line.to_owned());
    })?;
    Ok((!passed).then(|| describe(&lines)))
}

/// Cargo, asked for them. With `--release`: then the programs beside them are the same ones, and no
/// others need be built.
fn tests() -> Command {
    let mut cargo = command::cargo();
    cargo.args(["test", "--quiet", "--release", "--package", "l2sm-tests", "--test", "scale"]);
    cargo
}

/// What a failed run says: bars that were missed, and what could not be measured.
fn describe(lines: &[String]) -> String {
    let missed: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(MISSED)).collect();
    let failed = lines.iter().find_map(|line| failed(line));
    let mut parts = Vec::new();
    if !missed.is_empty() {
        parts.push(format!("bars of sizes and times missed: {}", missed.join(", ")));
    }
    // A test fails by the first bar that it misses.
    match failed.map(|failed| failed.saturating_sub(missed.len())) {
        None => parts.push("the tests of sizes and times ended early".to_owned()),
        Some(0) => {}
        Some(others) => parts.push(format!("{others} of sizes and times could not be measured")),
    }
    parts.join("; ")
}

/// The number of failed tests in the last line of libtest.
fn failed(line: &str) -> Option<usize> {
    let counts = line.strip_prefix("test result: FAILED.")?;
    counts.split(';').find_map(|count| count.trim().strip_suffix(" failed")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::describe;

    fn described(lines: &[&str]) -> String {
        describe(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_missed_bar_is_named() {
        let lines = [
            "measured: CNI ADD: p50 12.1ms",
            "thread 'attach::pods' panicked at scale.rs:1:1:",
            "bar missed: CNI ADD, p50",
            "test result: FAILED. 5 passed; 1 failed; 0 ignored",
        ];
        assert_eq!(described(&lines), "bars of sizes and times missed: CNI ADD, p50");
    }

    #[test]
    fn what_could_not_be_measured_is_told_from_what_was_missed() {
        let alone = ["l2sm-cni is not built", "test result: FAILED. 4 passed; 2 failed; 0 ignored"];
        assert_eq!(described(&alone), "2 of sizes and times could not be measured");
        let both = ["bar missed: start", "test result: FAILED. 4 passed; 2 failed; 0 ignored"];
        let expected =
            "bars of sizes and times missed: start; 1 of sizes and times could not be measured";
        assert_eq!(described(&both), expected);
    }

    #[test]
    fn tests_that_end_without_a_count_have_ended_early() {
        assert_eq!(described(&["signal: 9"]), "the tests of sizes and times ended early");
    }
}
