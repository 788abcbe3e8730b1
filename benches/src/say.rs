//! What the benchmark prints.

use std::{
    fmt::Arguments,
    io::{self, Write as _},
};

/// Prints one line on standard output.
macro_rules! say {
    ($($argument:tt)*) => { $crate::say::line(format_args!($($argument)*)) };
}

pub(crate) use say;

/// Writes `line` and a line end. A reader that went away does not stop the run: what it made is
/// still to be removed.
pub fn line(line: Arguments<'_>) {
    part(format_args!("{line}\n"));
}

/// Writes `text` as it is, and at once.
pub fn part(text: Arguments<'_>) {
    let mut out = io::stdout().lock();
    drop(out.write_fmt(text).and_then(|()| out.flush()));
}

/// Writes `error: what: why` on one line to standard error.
pub fn error(error: &anyhow::Error) {
    let text = format!("{error:#}");
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    drop(writeln!(io::stderr().lock(), "error: {}", line.join(" ")));
}
