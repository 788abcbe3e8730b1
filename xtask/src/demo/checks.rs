//! Checks: one line each, `ok` or `FAIL`, with its figures.

use crate::say::say;

/// Says what the next checks are about.
pub(crate) fn heading(title: &str) {
    say!("\n{title}:");
}

/// How many checks held, and how many did not.
#[derive(Default)]
pub(crate) struct Checks {
    held: u32,
    failed: u32,
}

impl Checks {
    /// Says how a check ended. `figures` is what was seen, whichever way it ended.
    pub(crate) fn record(&mut self, held: bool, figures: &str) {
        let word = if held { "ok  " } else { "FAIL" };
        let count = if held { &mut self.held } else { &mut self.failed };
        *count += 1;
        say!("  {word} {figures}");
    }

    /// Whether there were checks and all of them held.
    pub(crate) fn all_held(&self) -> bool {
        self.failed == 0 && self.held > 0
    }

    /// One line about all.
    pub(crate) fn summary(&self) -> String {
        format!("{} checks held, {} failed", self.held, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::Checks;

    #[test]
    fn one_failure_is_enough_and_nothing_checked_is_no_success() {
        let mut checks = Checks::default();
        assert!(!checks.all_held());
        checks.record(true, "a");
        assert!(checks.all_held());
        checks.record(false, "b");
        assert!(!checks.all_held());
        assert_eq!(checks.summary(), "1 checks held, 1 failed");
    }
}
