//! What the pods' lines mean.

use std::collections::BTreeMap;

use serde::Serialize;

use super::pods::COUNT;

/// A line of a pod that reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Number of the line, from 1; 0: there is none yet.
    pub(super) line: u64,
    /// Frames received.
    rx: u64,
    /// IPv4 broadcasts received.
    broadcasts: u64,
    /// MTU of the interface.
    mtu: u64,
}

impl Counters {
    /// Reads `line N rx N broadcasts N mtu N`; `None`: it is something else.
    pub(super) fn read(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        let number = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse().ok()
        };
        Some(Self {
            line: number("line")?,
            rx: number("rx")?,
            broadcasts: number("broadcasts")?,
            mtu: number("mtu")?,
        })
    }
}

/// What the prober printed.
#[derive(Debug, Default)]
pub(super) struct Probed {
    mtu: u64,
    /// Replies, by the name of the probe.
    replies: BTreeMap<String, u32>,
}

impl Probed {
    /// Reads the output of `ping` after each `== NAME`.
    pub(super) fn read(log: &str) -> Self {
        let mut probed = Self::default();
        let mut section = String::new();
        for line in log.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                name.trim().clone_into(&mut section);
                let mtu = name.strip_prefix("mtu ").and_then(|mtu| mtu.trim().parse().ok());
                probed.mtu = mtu.unwrap_or(probed.mtu);
            } else if let Some(replies) = received(line) {
                probed.replies.insert(section.clone(), replies);
            }
        }
        probed
    }

    fn replies(&self, probe: &str) -> Option<u32> {
        self.replies.get(probe).copied()
    }
}

/// Of `5 packets transmitted, 5 packets received, 0% packet loss`: the second number.
fn received(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("packets transmitted, ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What is checked.
    pub(crate) name: &'static str,
    /// Whether it holds.
    pub(crate) passed: bool,
    /// What was seen.
    pub(crate) detail: String,
}

/// What holds, by what the prober printed and what the listener and the stranger counted.
pub(super) fn checks(probed: &Probed, before: [Counters; 2], after: [Counters; 2]) -> Vec<Check> {
    let [listener_before, stranger_before] = before;
    let [listener, stranger] = after;
    let broadcasts = listener.broadcasts.saturating_sub(listener_before.broadcasts);
    let leaked = stranger.rx.saturating_sub(stranger_before.rx);
    let sent = u64::from(COUNT);
    let same = probed.mtu == listener.mtu;
    vec![
        answered(probed, "unicast", "unicast"),
        Check {
            name: "broadcast",
            passed: broadcasts == sent,
            detail: format!("{broadcasts} of {sent} arrived"),
        },
        Check {
            name: "isolation: nobody answers",
            passed: probed.replies("stranger") == Some(0),
            detail: match probed.replies("stranger") {
                Some(replies) => format!("{replies} of {COUNT} pings answered by another network"),
                None => "the probe did not run".to_owned(),
            },
        },
        Check {
            name: "isolation: nothing is seen",
            passed: leaked == 0,
            detail: format!("{leaked} frames arrived in another network"),
        },
        Check {
            passed: same && probed.replies("full") == Some(COUNT),
            detail: format!(
                "{}; MTU {} and {}",
                answered(probed, "full", "MTU").detail,
                probed.mtu,
                listener.mtu
            ),
            name: "MTU: full-size frames",
        },
    ]
}

fn answered(probed: &Probed, probe: &str, name: &'static str) -> Check {
    let replies = probed.replies(probe);
    let detail = match replies {
        Some(replies) => format!("{replies} of {COUNT} pings answered"),
        None => "the probe did not run".to_owned(),
    };
    Check { name, passed: replies == Some(COUNT), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "== mtu 1450\n\
        == unicast\nPING x\n5 packets transmitted, 5 packets received, 0% packet loss\n\
        == full\n5 packets transmitted, 5 received, 0% packet loss, time 4ms\n\
        == broadcast\n5 packets transmitted, 0 packets received, 100% packet loss\n\
        == stranger\n5 packets transmitted, 0 packets received, 100% packet loss\n== end\n";

    fn counters(rx: u64, broadcasts: u64) -> Counters {
        let line = format!("line 9 rx {rx} broadcasts {broadcasts} mtu 1450\n");
        Counters::read(&line).unwrap()
    }

    fn failed(log: &str, after: [Counters; 2]) -> Vec<&'static str> {
        let before = [counters(3, 1), counters(2, 0)];
        let checks = checks(&Probed::read(log), before, after);
        checks.iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn all_is_well_when_all_arrives_and_nothing_leaks() {
        assert_eq!(failed(GOOD, [counters(40, 6), counters(2, 0)]), Vec::<&str>::new());
    }

    #[test]
    fn each_fault_fails_its_own_check() {
        let good = [counters(40, 6), counters(2, 0)];
        assert_eq!(failed(GOOD, [counters(40, 1), good[1]]), ["broadcast"]);
        assert_eq!(failed(GOOD, [good[0], counters(3, 0)]), ["isolation: nothing is seen"]);
        let small = Counters { mtu: 1400, ..good[0] };
        assert_eq!(failed(GOOD, [small, good[1]]), ["MTU: full-size frames"]);
        let silent = GOOD.replacen("5 packets received", "0 packets received", 1);
        assert_eq!(failed(&silent, good), ["unicast"]);
        let answered = GOOD.replace(
            "== stranger\n5 packets transmitted, 0",
            "== stranger\n5 packets transmitted, 1",
        );
        assert_eq!(failed(&answered, good), ["isolation: nobody answers"]);
    }

    #[test]
    fn a_probe_that_did_not_run_is_no_success() {
        let nothing = failed("sh: ping: not found\n", [counters(3, 1), counters(2, 0)]);
        assert_eq!(
            nothing,
            ["unicast", "broadcast", "isolation: nobody answers", "MTU: full-size frames"]
        );
    }
}
