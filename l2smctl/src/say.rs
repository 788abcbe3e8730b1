//! What the program prints: results on standard output, progress and errors on standard error.

use std::fmt::{Arguments, Display};
use std::io::{self, Write};
use std::process;

/// Prints one line on standard output.
macro_rules! say {
    ($($argument:tt)*) => { $crate::say::line(format_args!($($argument)*)) };
}

pub(crate) use say;

/// Writes `line` and a line end to standard output.
pub(crate) fn line(line: Arguments<'_>) {
    text(format_args!("{line}\n"));
}

/// Writes `text` as it is to standard output.
///
/// Ends the program when nobody reads us any more (`l2smctl get networks | head`), where `println!`
/// would panic.
pub(crate) fn text(text: Arguments<'_>) {
    let mut out = io::stdout().lock();
    if out.write_fmt(text).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}

/// Writes `text` as it is to standard error: progress, which nobody has to read.
pub(crate) fn progress(text: Arguments<'_>) {
    let mut err = io::stderr().lock();
    drop(err.write_fmt(text).and_then(|()| err.flush()));
}

/// Writes `error: what: why` to standard error, a line for each that `error` holds.
pub(crate) fn error(error: impl Display) {
    let text = error.to_string();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        progress(format_args!("error: {line}\n"));
    }
}
