//! What a run does: the rows and probes that were asked for, without those that cannot be here.

use std::time::Duration;

use crate::{
    load::{Slot, processor::Processors},
    measure::Measure,
    probe::{PROBES, Probe},
    rows::{ROWS, Row},
};

/// One thing to do.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// Traffic, variant against variant.
    Row(&'static Row),
    /// Figures without a peer.
    Probe(&'static Probe),
}

impl Item {
    /// What is printed while it runs.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Row(row) => row.title,
            Self::Probe(probe) => probe.title,
        }
    }

    /// The figures that it yields.
    pub fn measures(&self) -> &'static [Measure] {
        match self {
            Self::Row(row) => row.measures,
            Self::Probe(probe) => probe.measures,
        }
    }

    /// Whether it needs pods.
    pub fn needs_lab(&self) -> bool {
        match self {
            Self::Row(_) => true,
            Self::Probe(probe) => probe.kind.needs_lab(),
        }
    }

    /// Time that a round takes.
    fn round(&self, slot: Slot) -> Duration {
        match self {
            Self::Row(row) => slot.total() * u32::try_from(row.variants.len()).unwrap_or(1),
            Self::Probe(_) => slot.total(),
        }
    }

    fn yields(&self, name: &str) -> bool {
        self.measures().iter().any(|measure| measure.name == name)
    }
}

/// What yields these measures; all where none is named.
pub fn choose(only: &[String]) -> Vec<Item> {
    let asked = |item: &Item| only.is_empty() || only.iter().any(|name| item.yields(name));
    all().filter(asked).collect()
}

/// Everything: first what the bars are about.
fn all() -> impl Iterator<Item = Item> {
    ROWS.iter().map(Item::Row).chain(PROBES.iter().map(Item::Probe))
}

/// Parts what can be measured here from what cannot, with the reason.
pub fn part(items: Vec<Item>, processors: Processors) -> (Vec<Item>, Vec<(Item, &'static str)>) {
    let (mut possible, mut left_out) = (Vec::new(), Vec::new());
    for item in items {
        let across = matches!(item, Item::Row(row) if row.traffic.needs_two_processors());
        if across && processors.second.is_none() {
            left_out.push((item, "one CPU may be used"));
        } else {
            possible.push(item);
        }
    }
    (possible, left_out)
}

/// About how long a run takes.
pub fn estimate(items: &[Item], rounds: usize, slot: Slot) -> Duration {
    let round: Duration = items.iter().map(|item| item.round(slot)).sum();
    round * u32::try_from(rounds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;
    use crate::{
        args::{Args, MEASURES},
        gates::{GATES, Subject},
    };

    #[test]
    fn an_unknown_measure_is_refused_with_those_that_there_are() {
        let args = Args::parse_from(["bench", "--only", "udp64_pps", "--only", "pingpong"]);
        let error = args.check_names().unwrap_err().to_string();
        assert!(error.starts_with("--only pingpong: no such measure; there are pingpong_p50, "));
        assert!(error.contains("decap_skb_bytes"), "{error}");
    }

    #[test]
    fn the_names_that_are_taken_are_those_that_rows_yield() {
        let names: Vec<_> = all().flat_map(|item| item.measures()).map(|m| m.name).collect();
        assert_eq!(names, MEASURES);
    }

    #[test]
    fn a_measure_brings_those_of_its_row_and_no_others() {
        let items = choose(&["udp64_cpu".to_owned()]);
        let names: Vec<_> = items.iter().flat_map(Item::measures).map(|m| m.name).collect();
        assert_eq!(names, ["udp64_pps", "udp64_cpu"]);
    }

    #[test]
    fn every_measure_has_one_name() {
        let names: Vec<_> = all().flat_map(|item| item.measures()).map(|m| m.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn what_readers_of_the_results_expect_is_measured() {
        let names: BTreeSet<_> =
            all().flat_map(|item| item.measures().iter()).map(|measure| measure.name).collect();
        let expected = [
            "pingpong_p50",
            "pingpong_p99",
            "udp64_pps",
            "udp64_cpu",
            "tcp1_super",
            "tcp4_super",
            "tcp1_wire",
            "tcp_msg3k",
            "tcp_msg8k",
            "tcp_msg16k",
            "tcp_crr",
            "foreign_pps",
            "tcp_cpu_per_gb",
            "tcp_cpu_per_gb_super",
            "decap_skb_bytes",
            "encap_ns",
            "decap_ns",
        ];
        for name in expected {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn every_gate_has_its_measures() {
        for gate in GATES {
            let names = match gate.subject {
                Subject::Ratio(name) | Subject::Value(name) => vec![name],
                Subject::Sum(one, other) => vec![one, other],
            };
            for name in names {
                assert!(all().any(|item| item.yields(name)), "{name}");
            }
        }
    }

    #[test]
    fn one_processor_leaves_out_what_needs_two_and_says_why() {
        let one = Processors { first: 0, second: None };
        let (possible, left_out) = part(choose(&[]), one);
        let left_out: Vec<_> = left_out.iter().map(|(item, why)| (item.title(), *why)).collect();
        let why = "one CPU may be used";
        let across = ["ping-pong, two CPUs", "ping-pong beside 50 % load, two CPUs"];
        assert_eq!(left_out, across.map(|title| (title, why)));
        assert!(!possible.iter().any(|item| item.yields("pingpong_xcpu_p50")));
    }
}
