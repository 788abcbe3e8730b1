//! What the tests did: read from the lines that cargo and the test binaries print.

mod lines;

use std::collections::BTreeSet;

use self::lines::{Counts, binary, failed_test, plain, result};

/// How a line begins that names a test which could not run.
const NOT_RUN: &str = "NOT RUN: ";

/// What the tests did.
#[derive(Debug, Default)]
pub(super) struct Report {
    binaries: Vec<Binary>,
    /// Names of failed tests, in order.
    failed: Vec<String>,
    /// Lines about tests that could not run.
    not_run: BTreeSet<String>,
    /// What the kernel logged that it should not have.
    kernel: Vec<String>,
    /// Whether cargo failed although no test did.
    unexplained: bool,
}

/// One test binary, or the documentation tests of one crate.
#[derive(Debug, Default, PartialEq)]
struct Binary {
    name: String,
    counts: Counts,
    seconds: f64,
    /// Whether it came to its end.
    complete: bool,
}

impl Report {
    /// Takes one line of output.
    pub(super) fn line(&mut self, line: &str) {
        let line = plain(line);
        let line = line.trim();
        if let Some(name) = binary(line) {
            self.binaries.push(Binary { name, ..Binary::default() });
        } else if let Some((counts, seconds)) = result(line) {
            self.add(counts, seconds);
        } else if let Some(name) = failed_test(line) {
            self.failed.push(name.to_owned());
        }
    }

    /// Adds a result to the last binary: documentation tests may have more than one.
    fn add(&mut self, counts: Counts, seconds: f64) {
        let Some(binary) = self.binaries.last_mut() else {
            return;
        };
        binary.counts.passed += counts.passed;
        binary.counts.failed += counts.failed;
        binary.counts.skipped += counts.skipped;
        binary.seconds += seconds;
        binary.complete = true;
    }

    /// Takes the end of one run of cargo: every binary it started should have come to its end, and
    /// it should have succeeded if no test failed.
    pub(super) fn end_of_kind(&mut self, succeeded: bool) {
        for binary in self.binaries.iter_mut().filter(|binary| !binary.complete) {
            binary.counts.failed += 1;
            binary.complete = true;
            self.failed.push(format!("{}: ended before its last test", binary.name));
        }
        self.unexplained |= !succeeded && self.counts().failed == 0;
    }

    /// Takes what the kernel logged that it should not have.
    pub(super) fn kernel(&mut self, lines: Vec<String>) {
        self.kernel = lines;
    }

    /// Takes the lines that tests left which could not run.
    pub(super) fn not_run(&mut self, text: &str) {
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with(NOT_RUN));
        self.not_run.extend(lines.map(str::to_owned));
    }

    /// Sums over all binaries. A test that could not run has returned, which libtest takes for a
    /// pass.
    fn counts(&self) -> Counts {
        let sum = |of: fn(&Counts) -> usize| self.binaries.iter().map(|b| of(&b.counts)).sum();
        let (passed, failed, skipped): (usize, usize, usize) =
            (sum(|c| c.passed), sum(|c| c.failed), sum(|c| c.skipped));
        let not_run = self.not_run.len();
        Counts { passed: passed.saturating_sub(not_run), failed, skipped: skipped + not_run }
    }

    /// Whether tests ran and nothing failed, the kernel included.
    pub(super) fn good(&self) -> bool {
        let Counts { passed, failed, .. } = self.counts();
        passed > 0 && failed == 0 && self.kernel.is_empty() && !self.unexplained
    }

    /// The summary, without its last line.
    pub(super) fn lines(&self) -> Vec<String> {
        let ran = self.binaries.iter().filter(|binary| binary.counts != Counts::default());
        let mut lines: Vec<String> = ran.map(Binary::describe).collect();
        lines.extend(self.failed.iter().map(|name| format!("FAILED: {name}")));
        if self.unexplained {
            lines.push("FAILED: cargo, though no test did: its message is above".to_owned());
        }
        if !self.kernel.is_empty() {
            lines.push("FAILED: the kernel logged, while the tests ran:".to_owned());
            lines.extend(self.kernel.iter().map(|line| format!("  {line}")));
        }
        if self.counts().passed + self.counts().failed == 0 {
            lines.push("FAILED: no test ran".to_owned());
        }
        lines.extend(self.not_run.iter().cloned());
        lines
    }

    /// The last line of the summary.
    pub(super) fn closing(&self) -> String {
        let Counts { passed, failed, skipped } = self.counts();
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Binary {
    fn describe(&self) -> String {
        let Counts { passed, failed, skipped } = self.counts;
        let Self { name, seconds, .. } = self;
        format!("{name:<40} {passed} passed, {failed} failed, {skipped} skipped, {seconds:.2} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "     Running unittests src/lib.rs (target/debug/deps/l2sm_core-0a1b)";
    const KERNEL: &str = "     Running tests/frames.rs (/t/debug/deps/frames-77aa)";
    const OK: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.25s";
    const BAD: &str = "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s";
    const EMPTY: &str = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        for line in lines {
            report.line(line);
        }
        report.end_of_kind(!lines.contains(&BAD));
        report
    }

    #[test]
    fn results_are_counted_by_binary_and_in_all() {
        let report = report(&[UNIT, OK, KERNEL, "test a::b ... FAILED", BAD]);
        let lines = report.lines();
        assert!(lines[0].starts_with("l2sm_core, src/lib.rs "), "{lines:?}");
        assert!(lines[0].ends_with(" 3 passed, 0 failed, 1 skipped, 0.25 s"), "{lines:?}");
        assert!(lines[1].starts_with("tests/frames.rs "), "{lines:?}");
        assert_eq!(lines[2], "FAILED: a::b");
        assert_eq!(report.closing(), "4 passed, 1 failed, 1 skipped");
        assert!(!report.good());
    }

    #[test]
    fn tests_that_all_pass_are_good() {
        assert!(report(&[UNIT, OK]).good());
    }

    #[test]
    fn a_binary_that_dies_before_its_result_is_a_failure() {
        let report = report(&[KERNEL, UNIT, OK]);
        assert_eq!(report.closing(), "3 passed, 1 failed, 1 skipped");
        let line = "FAILED: tests/frames.rs: ended before its last test".to_owned();
        assert!(report.lines().contains(&line));
    }

    #[test]
    fn no_test_at_all_is_a_failure() {
        let report = report(&[UNIT, EMPTY]);
        assert!(!report.good());
        assert_eq!(report.lines(), ["FAILED: no test ran"]);
        assert_eq!(report.closing(), "0 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn a_failure_of_cargo_itself_is_a_failure() {
        let mut report = report(&[UNIT, OK]);
        report.end_of_kind(false);
        assert!(!report.good());
    }

    #[test]
    fn a_test_that_could_not_run_is_skipped_not_passed() {
        let mut report = report(&[UNIT, OK]);
        let line = "NOT RUN: kernel_6_1, no such kernel here";
        report.not_run(&format!("{line}\nnoise\n{line}\n"));
        assert_eq!(report.closing(), "2 passed, 0 failed, 2 skipped");
        assert_eq!(report.lines().last().map(String::as_str), Some(line));
        assert!(report.good());
    }

    #[test]
    fn a_warning_of_the_kernel_is_a_failure() {
        let mut report = report(&[UNIT, OK]);
        report.kernel(vec!["WARNING: CPU: 0".to_owned()]);
        assert!(!report.good());
        assert!(report.lines().contains(&"  WARNING: CPU: 0".to_owned()));
    }

    #[test]
    fn documentation_tests_with_two_results_are_one_line() {
        let report = report(&["   Doc-tests l2sm_common", OK, OK]);
        assert!(report.lines()[0].starts_with("l2sm_common, documentation "));
        assert_eq!(report.closing(), "6 passed, 0 failed, 2 skipped");
    }
}
