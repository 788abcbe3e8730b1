//! Whether the host drops what is handed up to `l2sm-vxlan`.
//!
//! `l2sm_uplink_rx` counts what it hands up, `l2sm_tunnel_rx` what comes back. If the first grows and
//! the second does not, something between them (a firewall's input rule) drops our tunnel packets:
//! every ping passes and bulk transfers die.

use core::time::Duration;

/// What is handed up has come back within this, or is lost.
const GRACE: Duration = Duration::from_secs(2);
/// Packets that must be missing: single ones are lost for many reasons.
const LEAST: u64 = 4;
/// A few that went missing are forgotten when no more follow for this long.
const FORGET: Duration = Duration::from_mins(1);
/// A blocked path is tried again after this, then after twice as long, and so on.
const RETRY: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));

/// Packets on the slow path, over all networks, as the programs count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlowPathCount {
    /// Handed up to `l2sm-vxlan`.
    pub handed_up: u64,
    /// Come back from it.
    pub received: u64,
}

/// Judges the slow path by two counters.
#[derive(Clone, Debug, Default)]
pub struct SlowPathWatch {
    last: Option<SlowPathCount>,
    missing: Option<Missing>,
    blocked: Option<Blocked>,
}

/// Packets that have not come back.
#[derive(Clone, Copy, Debug)]
struct Missing {
    first: Duration,
    latest: Duration,
    packets: u64,
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    /// When it is tried again.
    retry: Duration,
    /// How long it was left alone this time.
    wait: Duration,
    /// It is being tried.
    trial: bool,
}

impl SlowPathWatch {
    /// Takes the counters as they stand at `now` (since any fixed moment). True: what
    /// [`is_blocked`](Self::is_blocked) or [`is_avoided`](Self::is_avoided) say has changed.
    pub fn observe(&mut self, now: Duration, count: SlowPathCount) -> bool {
        let before = (self.is_blocked(), self.is_avoided());
        let last = self.last.replace(count).unwrap_or(count);
        if count.received < last.received || count.handed_up < last.handed_up {
            // Counters that began anew say nothing about what went before.
            self.missing = None;
        } else if count.received > last.received {
            self.missing = None;
            self.blocked = None;
        } else {
            self.note_missing(now, count.handed_up - last.handed_up);
            self.judge(now);
        }
        before != (self.is_blocked(), self.is_avoided())
    }

    /// The host drops what is handed up: the node's condition `SlowPathBlocked`.
    pub const fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// What can be is decapsulated in BPF instead (`CONFIG`'s flag `SLOW_PATH_BLOCKED`): while blocked,
    /// but for the moments when it is tried again.
    pub fn is_avoided(&self) -> bool {
        self.blocked.is_some_and(|blocked| !blocked.trial)
    }

    fn note_missing(&mut self, now: Duration, packets: u64) {
        let forgotten =
            |missing: &Missing| packets == 0 && now.saturating_sub(missing.latest) >= FORGET;
        self.missing = self.missing.filter(|missing| !forgotten(missing));
        if packets == 0 {
            return;
        }
        let missing = self.missing.get_or_insert(Missing { first: now, latest: now, packets: 0 });
        missing.latest = now;
        missing.packets += packets;
    }

    fn judge(&mut self, now: Duration) {
        let lost = self.missing.is_some_and(|missing| {
            missing.packets >= LEAST && now.saturating_sub(missing.first) >= GRACE
        });
        match &mut self.blocked {
            None if lost => {
                let (wait, _longest) = RETRY;
                self.blocked = Some(Blocked { retry: now + wait, wait, trial: false });
                self.missing = None;
            }
            Some(blocked) if blocked.trial && lost => {
                let (_first, longest) = RETRY;
                let wait = blocked.wait.saturating_mul(2).min(longest);
                *blocked = Blocked { retry: now + wait, wait, trial: false };
                self.missing = None;
            }
            Some(blocked) if !blocked.trial && now >= blocked.retry => {
                blocked.trial = true;
                self.missing = None;
            }
            None | Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds (second, handed up, received); what is said after each.
    fn said(watch: &mut SlowPathWatch, seen: &[(u64, u64, u64)]) -> Vec<(bool, bool)> {
        seen.iter()
            .map(|(second, handed_up, received)| {
                let count = SlowPathCount { handed_up: *handed_up, received: *received };
                let before = (watch.is_blocked(), watch.is_avoided());
                let changed = watch.observe(Duration::from_secs(*second), count);
                let after = (watch.is_blocked(), watch.is_avoided());
                assert_eq!(changed, before != after);
                after
            })
            .collect()
    }

    const OPEN: (bool, bool) = (false, false);
    const BLOCKED: (bool, bool) = (true, true);
    const TRIED: (bool, bool) = (true, false);

    #[test]
    fn a_path_that_carries_is_open() {
        let seen = [(0, 0, 0), (1, 100, 90), (2, 200, 190), (9, 200, 200), (99, 300, 300)];
        assert_eq!(said(&mut SlowPathWatch::default(), &seen), [OPEN; 5]);
    }

    #[test]
    fn what_was_counted_before_the_agent_started_is_not_missing() {
        let seen = [(0, 1000, 0), (5, 1000, 0), (10, 1000, 0)];
        assert_eq!(said(&mut SlowPathWatch::default(), &seen), [OPEN; 3]);
    }

    #[test]
    fn packets_that_do_not_come_back_block_it_after_the_grace() {
        let seen = [(0, 0, 0), (1, 50, 0), (2, 50, 0), (3, 51, 0)];
        assert_eq!(said(&mut SlowPathWatch::default(), &seen), [OPEN, OPEN, OPEN, BLOCKED]);
    }

    #[test]
    fn few_lost_packets_do_not_block_it_and_are_forgotten() {
        let seen = [(0, 0, 0), (1, 3, 0), (30, 3, 0), (61, 3, 0), (100, 6, 0), (110, 6, 0)];
        assert_eq!(said(&mut SlowPathWatch::default(), &seen), [OPEN; 6]);
    }

    #[test]
    fn one_packet_that_comes_back_opens_it() {
        let mut watch = SlowPathWatch::default();
        assert_eq!(said(&mut watch, &[(0, 0, 0), (1, 9, 0), (3, 9, 0)]), [OPEN, OPEN, BLOCKED]);
        assert_eq!(said(&mut watch, &[(4, 10, 1)]), [OPEN]);
    }

    #[test]
    fn a_blocked_path_is_tried_again_less_and_less_often() {
        let mut watch = SlowPathWatch::default();
        let first = [(0, 0, 0), (1, 9, 0), (3, 9, 0), (62, 9, 0), (63, 9, 0)];
        assert_eq!(said(&mut watch, &first), [OPEN, OPEN, BLOCKED, BLOCKED, TRIED]);
        let again = [(64, 18, 0), (66, 18, 0), (185, 18, 0), (186, 18, 0)];
        assert_eq!(said(&mut watch, &again), [TRIED, BLOCKED, BLOCKED, TRIED]);
        assert_eq!(said(&mut watch, &[(187, 20, 2)]), [OPEN]);
    }

    #[test]
    fn counters_that_begin_anew_are_no_loss() {
        let seen = [(0, 900, 900), (1, 0, 0), (2, 10, 10), (5, 10, 10)];
        assert_eq!(said(&mut SlowPathWatch::default(), &seen), [OPEN; 4]);
    }
}
