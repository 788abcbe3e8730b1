//! What the verbs print: plain lines on standard output, one line per error on standard error.

use std::fmt::{Arguments, Display};
use std::io::{self, Write};
use std::process;

/// Prints one line on standard output.
macro_rules! say {
    ($($argument:tt)*) => { $crate::say::line(format_args!($($argument)*)) };
}

pub(crate) use say;

/// Writes `line` and a line end.
pub(crate) fn line(line: Arguments<'_>) {
    part(format_args!("{line}\n"));
}

/// Writes `text` as it is, and at once.
///
/// Ends the program when nobody reads us any more (`cargo xtask lint | head`), where `println!`
/// would panic.
pub(crate) fn part(text: Arguments<'_>) {
    let mut out = io::stdout().lock();
    if out.write_fmt(text).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}

/// Writes `error: what: why`, on one line whatever `error` holds, to standard error.
#[expect(clippy::print_stderr, reason = "the one place of a command-line program that does")]
pub(crate) fn error(error: impl Display) {
    eprintln!("error: {}", one_line(&error.to_string()));
}

/// `text` with every line end, and the blanks around it, replaced by one blank.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn an_error_of_several_lines_becomes_one() {
        assert_eq!(
            one_line("apt failed:\n\n  E: no such package\n"),
            "apt failed: E: no such package"
        );
    }
}
