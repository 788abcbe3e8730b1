//! Progress of a run: a line for each step, with what came out of it.

use std::{
    io::{self, IsTerminal as _},
    time::Instant,
};

use anyhow::Result;

use crate::say::part;

/// Back to the start of the line, which is cleared.
const CLEAR: &str = "\r\x1b[K";

/// Prints progress.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
}

impl Progress {
    /// To standard output.
    pub fn to_stdout() -> Self {
        Self { terminal: io::stdout().is_terminal() }
    }

    /// Does `work` as a step with a title.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn step<T>(&self, title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.begin(title);
        let began = Instant::now();
        let done = work();
        let how = if done.is_ok() { "done in" } else { "failed after" };
        self.end(title, &format!("{how} {:.1} s", began.elapsed().as_secs_f64()));
        done
    }

    /// A step begins.
    pub fn begin(&self, title: &str) {
        part(format_args!("{title} ... "));
    }

    /// How far the step has come; on a terminal only.
    pub fn at(&self, title: &str, text: &str) {
        if self.terminal {
            part(format_args!("{CLEAR}{title} ... {text}"));
        }
    }

    /// The step ends.
    pub fn end(&self, title: &str, text: &str) {
        if self.terminal {
            part(format_args!("{CLEAR}{title} ... {text}\n"));
        } else {
            part(format_args!("{text}\n"));
        }
    }
}
