//! Progress of long work, on standard error: one line per step, with the time it took.

use std::io::{self, IsTerminal};
use std::time::Instant;

use anyhow::Result;

use crate::say;

/// Does `work` as a step called `title`. On a terminal the line is there from the beginning of the
/// step; elsewhere it is written when the step ends, whole.
///
/// # Errors
/// Those of `work`.
pub(crate) fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let terminal = io::stderr().is_terminal();
    if terminal {
        say::progress(format_args!("{title} ..."));
    }
    let began = Instant::now();
    let result = work();
    finish(title, terminal, began, result.is_ok());
    result
}

/// As [`step`], of work that waits.
///
/// # Errors
/// Those of `work`.
pub(crate) async fn step_of<T>(title: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let terminal = io::stderr().is_terminal();
    if terminal {
        say::progress(format_args!("{title} ..."));
    }
    let began = Instant::now();
    let result = work.await;
    finish(title, terminal, began, result.is_ok());
    result
}

fn finish(title: &str, terminal: bool, began: Instant, good: bool) {
    let how = if good { "done in" } else { "failed after" };
    let again = if terminal { "\r\x1b[K" } else { "" };
    let took = began.elapsed().as_secs_f64();
    say::progress(format_args!("{again}{title} ... {how} {took:.1} s\n"));
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::step;

    #[test]
    fn a_step_returns_what_its_work_returns() {
        assert_eq!(step("good", || Ok(7)).unwrap(), 7);
        assert_eq!(step::<()>("bad", || bail!("no")).unwrap_err().to_string(), "no");
    }
}
