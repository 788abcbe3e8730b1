//! When what could not be done is tried again: ever later, for it may stay so for long.

use std::time::Duration;

use tokio::time::Instant;

/// How soon it is tried again first.
pub(super) const FIRST: Duration = Duration::from_secs(2);
/// How late at most.
const LAST: Duration = Duration::from_mins(1);

/// When something is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    wait: Duration,
    pub(super) due: Instant,
}

impl Retry {
    /// After it failed for the first time.
    pub(super) fn first(now: Instant) -> Self {
        Self { wait: FIRST, due: now + FIRST }
    }

    /// After it failed again in the same way; tried before it was due, it stays as it is.
    pub(super) fn again(self, now: Instant) -> Self {
        if now < self.due {
            return self;
        }
        let wait = (self.wait * 2).min(LAST);
        Self { wait, due: now + wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_ever_later_up_to_a_minute() {
        let begin = Instant::now();
        let mut retry = Retry::first(begin);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let due = retry.due;
            assert_eq!(retry.again(begin), retry, "it is not due yet");
            retry = retry.again(due);
            waits.push((retry.due - due).as_secs());
        }
        assert_eq!(waits, [4, 8, 16, 32, 60, 60]);
    }
}
