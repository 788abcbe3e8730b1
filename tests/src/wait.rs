//! Waiting on a condition with a deadline, instead of sleeping.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

/// Time that anything on one machine may take before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until the answer is `Some`; panics with `what` when `PATIENCE` has run out.
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask)
}

/// The same with another patience.
pub fn until_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until the answer is `expected`.
pub fn until_equal<T: PartialEq + Debug>(what: &str, expected: &T, mut ask: impl FnMut() -> T) {
    let mut last = None;
    let deadline = Instant::now() + PATIENCE;
    while last.as_ref() != Some(expected) {
        assert!(Instant::now() < deadline, "{what}: {last:?}, not {expected:?} in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
        last = Some(ask());
    }
}
