//! The kernel's log, before and after the tests: a frame that makes the kernel warn is a bug of
//! ours, whatever the tests say.

use anyhow::{Context, Result};

use crate::command;

/// What the kernel says when something is wrong with it.
const SIGNS: [&str; 7] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "Call Trace",
    "general protection fault",
    "UBSAN:",
    // A network namespace that cannot go because a device of it is still held.
    "unregister_netdevice: waiting for",
];

/// The most lines that are worth printing.
const MOST: usize = 60;

/// The kernel's log as it is.
///
/// # Errors
/// When `dmesg` cannot read it.
pub(super) fn read() -> Result<String> {
    command::read(&mut command::new("dmesg")).context("cannot read the kernel's log")
}

/// What is in `after` and not yet in `before`, from the first sign of something wrong; empty when
/// there is none.
pub(super) fn warnings(before: &str, after: &str) -> Vec<String> {
    let wrong = |line: &&str| SIGNS.iter().any(|sign| line.contains(sign));
    let lines = fresh(before, after).skip_while(|line| !wrong(line));
    lines.take(MOST).map(str::to_owned).collect()
}

/// The lines of `after` that come after the last of `before`. The kernel drops old lines from a
/// full log; when that last line is gone, all that are left are new.
fn fresh<'a>(before: &str, after: &'a str) -> impl Iterator<Item = &'a str> {
    let last = before.lines().next_back();
    let seen = after.lines().collect::<Vec<_>>().into_iter().rposition(|line| Some(line) == last);
    after.lines().skip(seen.map_or(0, |at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "[ 1.0] boot\n[ 2.0] WARNING: old\n[ 3.0] up\n";

    #[test]
    fn old_warnings_are_not_ours() {
        assert_eq!(warnings(BEFORE, BEFORE), [""; 0]);
        assert_eq!(warnings(BEFORE, &format!("{BEFORE}[ 4.0] link up\n")), [""; 0]);
    }

    #[test]
    fn a_new_warning_is_shown_with_what_follows_it() {
        let after = format!("{BEFORE}[ 4.0] link up\n[ 5.0] WARNING: CPU: 0\n[ 5.1]  dump\n");
        assert_eq!(warnings(BEFORE, &after), ["[ 5.0] WARNING: CPU: 0", "[ 5.1]  dump"]);
    }

    #[test]
    fn each_sign_is_seen() {
        for sign in SIGNS {
            assert_eq!(warnings("", &format!("[ 1.0] {sign} x\n")).len(), 1, "{sign}");
        }
    }

    #[test]
    fn a_log_that_has_turned_over_is_all_new() {
        assert_eq!(warnings(BEFORE, "[ 9.0] BUG: x\n"), ["[ 9.0] BUG: x"]);
    }
}
