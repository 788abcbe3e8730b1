//! What a scanner found, and how many.

use std::fmt;
use std::ops::Add;

/// Something in a file that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) file: String,
    /// Counted from one.
    pub(super) line: usize,
    /// What, and the limit.
    pub(super) what: String,
    pub(super) level: Level,
}

/// Whether a finding fails the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Error,
    Warning,
}

/// How much was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) findings: usize,
    pub(super) warnings: usize,
}

impl Finding {
    /// A finding that fails the gate.
    pub(super) fn error(file: &str, line: usize, what: String) -> Self {
        Self { file: file.to_owned(), line, what, level: Level::Error }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "",
            Level::Warning => "warning: ",
        };
        write!(out, "{}:{}: {level}{}", self.file, self.line, self.what)
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { findings: self.findings + other.findings, warnings: self.warnings + other.warnings }
    }
}

impl Tally {
    /// Counts the findings.
    pub(super) fn of(findings: &[Finding]) -> Self {
        let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
        Self { findings: errors, warnings: findings.len() - errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_says_so_and_does_not_fail() {
        let error = Finding::error("a.rs", 7, "too long".to_owned());
        let warning = Finding { level: Level::Warning, ..Finding::error("b.rs", 1, "long".into()) };
        assert_eq!(error.to_string(), "a.rs:7: too long");
        assert_eq!(warning.to_string(), "b.rs:1: warning: long");
        assert_eq!(Tally::of(&[error, warning]), Tally { findings: 1, warnings: 1 });
    }
}
