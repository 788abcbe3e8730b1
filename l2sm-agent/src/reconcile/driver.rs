//! When passes happen: on a signal, when something is due, again with backoff after a failure, and
//! every 8 seconds anyway. What is desired is followed at once, by what was last seen of the node; the
//! node is looked at when it has changed.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use l2sm_core::image::Image;
use tokio::sync::{oneshot, watch};

use super::Reconciler;
use crate::{
    datapath::{Datapath, DatapathError},
    netlink::Links,
    state::{Counters, Desired, Outcome},
};

/// A pass happens at least this often: notices can be lost, and next hops must be asked whether they
/// are there.
const PERIOD: Duration = Duration::from_secs(8);
/// Between passes that look at the node, at least: neighbours of other traffic change all the time.
const QUIET: Duration = Duration::from_millis(100);
/// Such passes, where they find nothing to do, take at most about one part in this many of the time, since
/// what is desired waits meanwhile;
const SHARE: u32 = 10;
/// but the node is never left for longer than this.
const LONGEST_QUIET: Duration = Duration::from_secs(1);
/// Whether what is handed up comes back is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// Between two parts of what can be done at leisure: each may hold up a pod that starts.
const LEISURE: Duration = Duration::from_millis(250);
/// First and longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Why a pass may be due.
#[derive(Debug)]
pub enum Signal {
    /// What is desired has changed.
    Desired,
    /// Links, routes or neighbours have changed.
    Node,
    /// Somebody wants the counters.
    Count(oneshot::Sender<Result<Counters, DatapathError>>),
    /// Somebody wants what the maps and hooks hold.
    Read(oneshot::Sender<Result<Image, DatapathError>>),
    /// No more passes.
    Stop,
}

/// Runs a reconciler.
#[derive(Debug)]
pub struct Driver {
    /// What is desired, always the newest.
    pub desired: watch::Receiver<Desired>,
    /// What came of it.
    pub outcome: watch::Sender<Outcome>,
    /// Wakes.
    pub signals: Receiver<Signal>,
}

/// When what is due.
struct Timetable {
    /// The node is not looked at before, whatever changes.
    quiet: Instant,
    /// It is looked at again, with a pass.
    look: Instant,
    /// A pass, though nothing has changed: something waits for its time.
    follow: Option<Instant>,
    /// Whether what is handed up comes back is looked at.
    slow_path: Instant,
    /// Something is done at leisure, also where pass follows on pass; `None`: there is nothing left.
    settle: Option<Instant>,
}

impl Timetable {
    /// When something is due next.
    fn next(&self) -> Instant {
        let others = [self.follow, self.settle].into_iter().flatten();
        others.fold(self.look.min(self.slow_path), Instant::min)
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A pass that looks at the node.
    Look,
    /// A pass that goes by what was seen of it.
    Follow,
    /// No more passes.
    Stop,
}

impl Driver {
    /// Runs passes until told to stop. Blocks: a thread of its own.
    pub fn run<D: Datapath, L: Links>(mut self, reconciler: &mut Reconciler<D, L>) {
        let mut failures = 0_u32;
        let now = Instant::now();
        let mut due =
            Timetable { quiet: now, look: now, follow: None, slow_path: now, settle: None };
        let mut next = Next::Look;
        while next != Next::Stop {
            let started = Instant::now();
            let desired = self.desired.borrow_and_update().clone();
            let pass = match next {
                Next::Look => reconciler.pass(&desired, started),
                Next::Follow | Next::Stop => reconciler.follow(&desired, started),
            };
            let took = started.elapsed();
            reconciler.add_time(took);
            let failed = pass.outcome.failures > 0 || !pass.outcome.errors.is_empty();
            failures = if failed { failures.saturating_add(1) } else { 0 };
            let changed = pass.outcome.changes > 0;
            report(&pass.outcome, failures);
            self.outcome.send_replace(pass.outcome);
            if next == Next::Look {
                let idle = if changed { Duration::ZERO } else { took.saturating_mul(SHARE) };
                due.quiet = started + idle.clamp(QUIET, LONGEST_QUIET);
                due.look = started + PERIOD;
            }
            if failed {
                due.look = due.look.min(started + backoff(failures));
            }
            due.follow = pass.again;
            due.slow_path = started + LOOK;
            due.settle = due.settle.or(Some(started + LEISURE));
            next = self.wait(reconciler, &mut due);
        }
    }

    /// Waits for the next pass.
    fn wait<D: Datapath, L: Links>(
        &self,
        reconciler: &mut Reconciler<D, L>,
        due: &mut Timetable,
    ) -> Next {
        loop {
            let now = Instant::now();
            if due.settle.is_some_and(|settle| now >= settle) {
                due.settle = reconciler.settle().then(|| Instant::now() + LEISURE);
            }
            if now >= due.slow_path {
                due.slow_path = now + LOOK;
                if reconciler.watch_slow_path(now) {
                    return Next::Follow;
                }
            }
            if now >= due.look {
                return Next::Look;
            }
            if due.follow.is_some_and(|follow| now >= follow) {
                return Next::Follow;
            }
            let patience = due.next().saturating_duration_since(now);
            match self.signals.recv_timeout(patience) {
                Ok(Signal::Desired) => return Next::Follow,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Signal::Node) => due.look = due.look.min(due.quiet),
                Ok(Signal::Count(reply)) => {
                    if reply.send(reconciler.counters()).is_err() {
                        tracing::debug!("nobody waits for the counters any more");
                    }
                }
                Ok(Signal::Read(reply)) => {
                    if reply.send(reconciler.read_afresh(Instant::now())).is_err() {
                        tracing::debug!("nobody waits for the image any more");
                    }
                }
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Next::Stop,
            }
        }
    }
}

fn backoff(failures: u32) -> Duration {
    let (first, longest) = BACKOFF;
    first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest)
}

/// An error is told when it comes, not each time it is met again.
fn report(outcome: &Outcome, failures: u32) {
    if failures == 1 {
        for error in &outcome.errors {
            tracing::error!(reason = error.reason, "{error}");
        }
    }
    if outcome.changes > 0 {
        tracing::debug!(changes = outcome.changes, failures = outcome.failures, "pass");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        assert_eq!(backoff(1), Duration::from_millis(250));
        assert_eq!(backoff(2), Duration::from_millis(500));
        assert_eq!(backoff(u32::MAX), Duration::from_secs(15));
    }
}
