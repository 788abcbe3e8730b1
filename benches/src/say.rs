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
    drop(writeln!(io::stderr().lock(), "error: {}", one_line(error)));
}

/// An error as a part of a line, without its middle where it is long: what the verifier says has hundreds
/// of lines, and its last words are why.
pub fn briefly(error: &anyhow::Error) -> String {
    let line: Vec<char> = one_line(error).chars().collect();
    if line.len() <= LONGEST {
        return line.into_iter().collect();
    }
    let (begin, rest) = line.split_at(LONGEST / 2);
    let (_, end) = rest.split_at(rest.len() - LONGEST / 2);
    begin.iter().chain(&[' ', '…', ' ']).chain(end).collect()
}

/// Characters of an error that is a part of a line.
const LONGEST: usize = 300;

fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::briefly;

    #[test]
    fn an_error_of_many_lines_is_one_line_with_its_beginning_and_its_end() {
        let log = "0: (b7) r0 = 0\n".repeat(500) + "R1 invalid mem access\n";
        let text = briefly(&anyhow::anyhow!(log).context("the kernel refuses l2sm_port_rx"));
        assert!(text.starts_with("the kernel refuses l2sm_port_rx: 0: (b7)"), "{text}");
        assert!(text.ends_with("R1 invalid mem access"), "{text}");
        assert_eq!((text.lines().count(), text.chars().count()), (1, 303));
    }

    #[test]
    fn a_short_error_is_left_as_it_is() {
        assert_eq!(briefly(&anyhow::anyhow!("no\n answer")), "no answer");
    }
}
