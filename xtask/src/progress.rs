//! Progress of long work: one line per step, with the time it took.
//!
//! On a terminal the line is redrawn in place, with the seconds so far, until the step ends.
//! Elsewhere the step is named when it begins and the same line is completed when it ends, so that
//! a log shows where something hangs. Nothing else may print while a step is open.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::say;

/// How often the line is redrawn on a terminal.
const REDRAW: Duration = Duration::from_millis(250);

/// Back to the start of the line, which is cleared.
const CLEAR: &str = "\r\x1b[K";

/// The longest title that is redrawn, characters: a line that wraps cannot be redrawn in place.
const WIDTH: usize = 64;

/// Does `work` as a step called `title`.
///
/// # Errors
/// Those of `work`, after the step's line has said that it failed.
pub(crate) fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let step = Step::begin(title, io::stdout().is_terminal());
    let result = work();
    step.end(result.is_ok());
    result
}

/// A step that has begun.
struct Step {
    title: String,
    began: Instant,
    ticker: Option<Ticker>,
}

impl Step {
    fn begin(title: &str, terminal: bool) -> Self {
        let began = Instant::now();
        if !terminal {
            say::part(format_args!("{title} ... "));
        }
        let short: String = title.chars().take(WIDTH).collect();
        let draw = move || {
            say::part(format_args!("{CLEAR}{short} ... {} s", began.elapsed().as_secs()));
        };
        Self { title: title.to_owned(), began, ticker: terminal.then(|| Ticker::start(draw)) }
    }

    fn end(self, good: bool) {
        let took = ending(good, self.began.elapsed());
        match self.ticker {
            Some(ticker) => {
                ticker.stop();
                say::line(format_args!("{CLEAR}{} ... {took}", self.title));
            }
            None => say::line(format_args!("{took}")),
        }
    }
}

/// How the line of a step ends.
fn ending(good: bool, took: Duration) -> String {
    let word = if good { "done in" } else { "failed after" };
    format!("{word} {:.1} s", took.as_secs_f64())
}

/// Redraws the line of a step, from a thread of its own, until it is stopped.
struct Ticker {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Ticker {
    fn start(draw: impl Fn() + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            loop {
                draw();
                if stopped.recv_timeout(REDRAW) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        // The thread ends by returning; had it panicked, only the drawing would be lost.
        drop(self.thread.join());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticker_draws_at_once_and_again_and_ends_when_it_is_stopped() {
        let (sender, draws) = mpsc::channel();
        let ticker = Ticker::start(move || sender.send(()).unwrap());
        let deadline = Duration::from_secs(10);
        assert!(draws.recv_timeout(deadline).is_ok());
        assert!(draws.recv_timeout(deadline).is_ok());
        ticker.stop();
        // What it drew before it was stopped.
        while draws.try_recv().is_ok() {}
        assert_eq!(draws.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn the_end_says_how_it_went_and_how_long_it_took() {
        assert_eq!(ending(true, Duration::from_millis(1250)), "done in 1.2 s");
        assert_eq!(ending(false, Duration::from_secs(3)), "failed after 3.0 s");
    }
}
